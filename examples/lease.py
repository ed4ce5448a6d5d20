#!/usr/bin/env python3
"""Leases a PostgreSQL connection and runs SQL over it.

Needs: pip install grpcio grpcio-tools
The stubs are made from proto/ at every start, in a temporary directory. A real
client makes them once, when it is built.
"""

import argparse
import importlib
import pathlib
import sys
import tempfile

import grpc
import grpc_tools
from google.protobuf.duration_pb2 import Duration
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROTOS = [
    "connection_pool.proto",
    "sql.proto",
    "errors.proto",
    "google/rpc/status.proto",
    "google/rpc/error_details.proto",
]
# How long a statement may take. The service cancels it then, and says what became of it.
STATEMENT_SECONDS = 10
# Deadlines of calls are longer than what was asked for takes: they are for the case
# that no answer comes at all.
ACQUIRE_SECONDS = 40.0
CALL_SECONDS = 15.0


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as directory:
        compile_protos(directory)
        sys.path.insert(0, directory)
        with channel(options) as opened:
            try:
                use_a_lease(opened, options)
            except grpc.RpcError as error:
                show(error)
                return 1
    return 0


def use_a_lease(opened, options):
    # Every call says who calls. A client certificate does so too, and then there is no token.
    known = [("authorization", f"Bearer {options.token}")] if options.token else []
    pool_pb2, sql_pb2 = module("connection_pool_pb2"), module("sql_pb2")
    pool = module("connection_pool_pb2_grpc").ConnectionPoolServiceStub(opened)
    sql_service = module("sql_pb2_grpc").SqlServiceStub(opened)

    # A tenant that the operator has configured needs no DSN: its name is enough.
    request = pool_pb2.ConnectionRequest(
        tenant_id=options.tenant, dsn=options.dsn, holder="examples/lease.py"
    )
    # It waits its turn for 30 s unless wait_timeout says otherwise.
    granted = pool.GetConnection(request, timeout=ACQUIRE_SECONDS, metadata=known)
    # connection_id is the right to use the lease: keep it secret, do not print it.
    connection_id, lease = granted.connection_id, granted.lease
    print(f"leased {lease.lease_name}: backend pid {lease.backend_pid}, ttl {lease.ttl.seconds} s")

    def execute(*statements, **more):
        return sql_service.Execute(
            sql_pb2.ExecuteRequest(
                connection_id=connection_id,
                statements=[statement(sql_pb2, *parts) for parts in statements],
                timeout=Duration(seconds=STATEMENT_SECONDS),
                **more,
            ),
            timeout=CALL_SECONDS,
            metadata=known,
        )

    try:
        for _ in range(2):
            print("select pg_backend_pid()  ->", rows(execute(["select pg_backend_pid()"])))

        execute(["create temporary table account (name text primary key, balance numeric)"])
        # All or nothing: the service puts BEGIN and COMMIT around the statements.
        answer = execute(
            ["insert into account values ($1, $2)", "alice", "100.50"],
            ["insert into account values ($1, $2)", "bob", 7],
            atomic=True,
        )
        print("atomic inserts           ->", [result.command_tag for result in answer.results])

        # A transaction by plain SQL. Every answer says where the session stands.
        execute(["begin"])
        execute(["update account set balance = balance - 10 where name = $1", "alice"])
        answer = execute(["select name, balance from account order by name"])
        print("in a transaction         ->", rows(answer), state(pool_pb2, answer))
        answer = execute(["commit"])
        print("commit                   ->", answer.results[0].command_tag, state(pool_pb2, answer))

        try:
            execute(["insert into account values ('alice', 1)"])
        except grpc.RpcError as error:
            show(error)
        print("the lease lives on       ->", rows(execute(["select 1"])))
    finally:
        release = pool_pb2.ConnectionRelease(connection_id=connection_id)
        released = pool.ReleaseConnection(release, timeout=CALL_SECONDS, metadata=known)
        outcome = pool_pb2.ReleaseOutcome.Name(released.outcome)
        print("released                 ->", released.success, outcome)


def show(error):
    """Prints a failed call: its code and text, and the details behind them."""
    print(f"failed: {error.code().name}: {error.details()}")
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if details is None:
        return  # Not from the service, for example: nobody listens there.
    status = module("google.rpc.status_pb2").Status.FromString(details)
    known = [
        module("google.rpc.error_details_pb2").ErrorInfo,
        module("google.rpc.error_details_pb2").RetryInfo,
        module("errors_pb2").WorkOutcome,
        module("errors_pb2").PostgresError,
    ]
    for packed in status.details:
        for kind in known:
            if packed.Is(kind.DESCRIPTOR):
                message = kind()
                packed.Unpack(message)
                print(f"  {kind.DESCRIPTOR.name}: {' '.join(str(message).split())}")


def statement(sql_pb2, sql, *parameters):
    return sql_pb2.Statement(sql=sql, parameters=[value(sql_pb2, p) for p in parameters])


def value(sql_pb2, given):
    if given is None:
        return sql_pb2.Value(null=True)
    # bool comes before int, for in Python it is one.
    for kind, field in ((bool, "bool"), (int, "int"), (float, "double"), (bytes, "bytes")):
        if isinstance(given, kind):
            return sql_pb2.Value(**{field: given})
    # Text fits a parameter of every type: numeric, date, uuid, json, ...
    return sql_pb2.Value(text=str(given))


def rows(answer):
    """The rows of the last statement's result."""
    return [[plain(v) for v in row.values] for row in answer.results[-1].rows]


def plain(v):
    kind = v.WhichOneof("kind")
    return None if kind == "null" else getattr(v, kind)


def state(pool_pb2, answer):
    return pool_pb2.TransactionState.Name(answer.session.transaction_state)


def channel(options):
    address = f"{options.host}:{options.port}"
    if options.insecure:
        return grpc.insecure_channel(address)
    trusted = pathlib.Path(options.cert).read_bytes()
    # The client's own certificate, for a service that asks for one, and its key.
    shown = [path and pathlib.Path(path).read_bytes() for path in (options.key_file, options.cert_file)]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(trusted, *shown))


def compile_protos(directory):
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    failed = protoc.main(
        ["protoc", f"-I{ROOT / 'proto'}", f"-I{well_known}"]
        + [f"--python_out={directory}", f"--grpc_python_out={directory}"]
        + PROTOS
    )
    if failed:
        sys.exit("the files in proto/ do not compile")


def module(name):
    return importlib.import_module(name)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="localhost", help="a name the certificate has")
    parser.add_argument("--port", type=int, default=50052)
    security = parser.add_mutually_exclusive_group()
    security.add_argument("--cert", default="certs/cert.pem", help="PEM file to trust")
    security.add_argument("--insecure", action="store_true", help="no TLS")
    parser.add_argument("--cert-file", help="the client's certificate, PEM; with --key-file")
    parser.add_argument("--key-file", help="its private key, PEM")
    parser.add_argument("--token", help="the bearer token of an identity")
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--dsn", help="its PostgreSQL; only for a tenant that is not configured")
    options = parser.parse_args()
    if (options.cert_file is None) != (options.key_file is None):
        parser.error("--cert-file and --key-file go together")
    if options.insecure and options.cert_file:
        parser.error("--cert-file needs TLS, so it does not go with --insecure")
    return options


if __name__ == "__main__":
    sys.exit(main())

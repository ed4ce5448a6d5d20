//! What `docs/leases.md` and `examples/` show, run as it stands there, with Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::demo::Demo;
use crate::harness::{eventually, repository, tenant, Service, Tenant};

/// Where the Python with grpcio lies that `make test` sets up beside the build.
fn pythons() -> PathBuf {
    let bin = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("python/bin");
    let python = bin.join("python3");
    assert!(python.exists(), "{} is missing: run `.ci/install-deps.sh tests`", python.display());
    bin
}

fn python() -> Command {
    Command::new(pythons().join("python3"))
}

fn cert(service: &Service) -> PathBuf {
    service.certs.path().join("cert.pem")
}

fn says(out: &Output) -> String {
    let texts = [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    texts.concat()
}

#[test]
fn the_example_runs_by_the_command_line_that_the_demo_prints() {
    let demo = Demo::start();
    let mut shell = demo.beside(Command::new("sh"));
    let path = std::env::var("PATH").unwrap();
    shell.args(["-c", &demo.shown]).env("PATH", format!("{}:{path}", pythons().display()));
    let out = shell.output().unwrap();
    let said = says(&out);
    assert!(out.status.success(), "{said}");
    for part in ["leased lease-", "[['alice', '90.50'], ['bob', '7']]", "SQLSTATE 23505"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(said.contains("RELEASE_OUTCOME_RELEASED"), "{said}");
}

/// The lines between the fences of this block of Python in the page, the first being 1.
fn lines_of_the_page(block: usize) -> String {
    let page = std::fs::read_to_string(repository("docs/leases.md")).unwrap();
    let block = page.split("```python\n").nth(block).expect("a block of Python");
    block.split("```").next().unwrap().to_owned()
}

/// What the lines of the page take for granted.
const BEFORE: &str = r#"
import pathlib, queue, sys, tempfile, uuid
sys.path.insert(0, sys.argv[1])
import grpc, lease
from google.protobuf.duration_pb2 import Duration

stubs = tempfile.mkdtemp()
lease.compile_protos(stubs)
sys.path.insert(0, stubs)
from connection_pool_pb2 import ConnectionRequest, ConnectionRelease
from connection_pool_pb2_grpc import ConnectionPoolServiceStub
from sql_pb2 import (
    ExecuteRequest, SessionClose, SessionExecute, SessionRequest, Statement
)
from sql_pb2_grpc import SqlServiceStub

lines, port, cert, tenant, dsn = sys.argv[2:]
trusted = pathlib.Path(cert).read_bytes()
retries = (pathlib.Path(sys.argv[1]) / "retry.json").read_text()
channel = grpc.secure_channel(
    f"localhost:{port}",
    grpc.ssl_channel_credentials(trusted),
    options=[("grpc.service_config", retries)],
)
pool = ConnectionPoolServiceStub(channel)
"#;

/// Runs them so many times; the deadline of each `Execute` is cut to a tenth of a second.
const HASTY: &str = r#"
statement = "select pg_sleep(3600)"

class Hasty:
    stub = SqlServiceStub(channel)
    def Execute(self, request, timeout):
        return self.stub.Execute(request, timeout=0.1)

sql = Hasty()
for _ in range(10):
    try:
        exec(compile(lines, "leases.md", "exec"))
    except grpc.RpcError as error:
        print(error.code().name)
"#;

/// Runs them once as they are.
const SESSION: &str = r#"
sql, statement = SqlServiceStub(channel), "select 6 * 7"
exec(compile(lines, "leases.md", "exec"))
print(lease.lease_name[:6], executed.id, executed.response.results[0].rows[0].values[0].int, outcome)
"#;

fn run(block: usize, program: &str, service: &Service, tenant: &Tenant) -> String {
    let out = python()
        .args(["-c", &format!("{BEFORE}{program}")])
        .arg(repository("examples"))
        .arg(lines_of_the_page(block))
        .arg(service.port.to_string())
        .arg(cert(service))
        .args([&tenant.name, &tenant.dsn])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", says(&out));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_lines_of_the_page_leave_no_lease_when_their_deadline_passes() {
    let (service, tenant) = (Service::start(), tenant());
    let said = run(1, HASTY, &service, &tenant);
    assert_eq!(said, "DEADLINE_EXCEEDED\n".repeat(10), "what the caller hears");
    let stats = service.client().stats(&tenant.name).unwrap();
    assert_eq!(stats.leases, 0);
    service.wait_quiet(&tenant.name);
    eventually("no statement runs", || tenant.running("pg_sleep") == 0);
}

#[test]
fn the_lines_of_the_page_about_a_session_run_and_leave_nothing() {
    let (service, tenant) = (Service::start(), tenant());
    // RELEASE_OUTCOME_RELEASED is 1.
    assert_eq!(run(2, SESSION, &service, &tenant).trim(), "lease- 1 42 1");
    let stats = service.client().stats(&tenant.name).unwrap();
    assert_eq!(stats.leases, 0);
}

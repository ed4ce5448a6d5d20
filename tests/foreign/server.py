"""An echo service that knows nothing of the client: no generated code, no health service.

Prints its port, serves until its input ends. Arguments: the port (0 takes any), and with
`tls CERT KEY` TLS.
"""

import sys
import threading
from concurrent import futures

import grpc

calls = 0
lock = threading.Lock()


def count():
    global calls
    with lock:
        calls += 1


def say(request, context):
    count()
    if request == b"fail":
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "as asked")
    if request == b"calls":
        return str(calls).encode()
    return request


def letters(request, context):
    count()
    for letter in request:
        yield bytes([letter])


def join(requests, context):
    count()
    return b"".join(requests)


def talk(requests, context):
    count()
    yield from requests


def main():
    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Letters": grpc.unary_stream_rpc_method_handler(letters),
        "Join": grpc.stream_unary_rpc_method_handler(join),
        "Talk": grpc.stream_stream_rpc_method_handler(talk),
    }
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=32), options=[("grpc.so_reuseport", 0)]
    )
    handler = grpc.method_handlers_generic_handler("test.Echo", handlers)
    server.add_generic_rpc_handlers((handler,))
    address = f"127.0.0.1:{sys.argv[1]}"
    if sys.argv[2:3] == ["tls"]:
        cert, key = (open(path, "rb").read() for path in sys.argv[3:5])
        port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, cert)]))
    else:
        port = server.add_insecure_port(address)
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


main()

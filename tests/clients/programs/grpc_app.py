"""A gRPC server on $PORT. Messages are bytes as they are, so that no generated code is needed."""

import os
import signal
import sys
import time
from concurrent import futures

import grpc


def unary(request, context):
    context.send_initial_metadata([("leading", f"seen x-one={dict(context.invocation_metadata()).get('x-one')}")])
    context.set_trailing_metadata([("trailing", "bye"), ("kept-bin", b"\x00\xff")])
    return b"Hello, " + request


def client_stream(requests, context):
    return str(sum(1 for _ in requests)).encode()


def server_stream(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def bidi(requests, context):
    yield from requests


def fail(request, context):
    context.set_trailing_metadata([("trailing", "late")])
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: 100%, ü")


def sleep(request, context):
    # Until the caller has gone, or for as long as nobody waits in a test.
    gone = time.monotonic() + 30
    while context.is_active() and time.monotonic() < gone:
        time.sleep(0.01)
    return b""


def main():
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
    }
    server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("of.Test", handlers)])
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(5))
    server.wait_for_termination()


if "--fail" in sys.argv:
    sys.exit("no mood to start")
main()

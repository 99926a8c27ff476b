"""Calls grpc_app.py, and prints what came of it as JSON. With an authority to trust it comes by TLS."""

import json
import queue
import sys
from concurrent import futures

import grpc

*AUTHORITY, TARGET = sys.argv[1:]
NOISE = bytes(range(256)) * 16384
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]


def connect():
    if not AUTHORITY:
        return grpc.insecure_channel(TARGET, OPTIONS)
    with open(AUTHORITY[0], "rb") as file:
        return grpc.secure_channel(TARGET, grpc.ssl_channel_credentials(file.read()), OPTIONS)


def error_of(call, *args, **options):
    try:
        call(*args, **options)
    except grpc.RpcError as error:
        return error
    return None


def talk(channel):
    """Each answer is awaited before the next message is sent: neither side may be kept until the other has ended."""
    waiting = queue.SimpleQueue()
    answers = channel.stream_stream("/of.Test/Bidi")(iter(waiting.get, None), timeout=60)
    said = []
    for number in range(5):
        waiting.put(str(number).encode())
        said.append(next(answers).decode())
    waiting.put(None)
    assert list(answers) == []
    return said


def cancelled(channel):
    call = channel.unary_unary("/of.Test/Sleep").future(b"", timeout=60)
    call.cancel()
    return call.cancelled()


def main():
    with connect() as channel:
        unary = channel.unary_unary("/of.Test/Unary")
        answer, call = unary.with_call("ü".encode(), timeout=60, metadata=[("x-one", "1")])
        trailing = dict(call.trailing_metadata())
        found = {
            "unary": answer.decode(),
            "metadata": {
                "leading": dict(call.initial_metadata()).get("leading"),
                "trailing": trailing.get("trailing"),
                "binary": trailing.get("kept-bin", b"").hex(),
            },
        }
        many = (b"x" * number for number in range(1000))
        found["client_stream"] = int(channel.stream_unary("/of.Test/ClientStream")(many, timeout=60))
        found["server_stream"] = len(list(channel.unary_stream("/of.Test/ServerStream")(b"1000", timeout=60)))
        found["bidi"] = talk(channel)
        found["large"] = unary(NOISE, timeout=60) == b"Hello, " + NOISE
        error = error_of(channel.unary_unary("/of.Test/Fail"), b"", timeout=60)
        found["failed"] = [error.code().name, error.details(), dict(error.trailing_metadata()).get("trailing")]
        found["unknown"] = error_of(channel.unary_unary("/of.Test/Nothing"), b"", timeout=60).code().name
        found["deadline"] = error_of(channel.unary_unary("/of.Test/Sleep"), b"", timeout=0.3).code().name
        found["cancelled"] = cancelled(channel)
        with futures.ThreadPoolExecutor(20) as pool:
            answers = pool.map(lambda at: unary(str(at).encode(), timeout=60), range(100))
            found["at_once"] = sum(answer == f"Hello, {at}".encode() for at, answer in enumerate(answers))
    print(json.dumps(found))


main()

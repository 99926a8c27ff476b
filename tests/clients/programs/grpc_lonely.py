"""Makes one call that nobody can answer, and prints what it was told as JSON."""

import json
import sys

import grpc

with grpc.insecure_channel(sys.argv[1], [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]) as channel:
    try:
        channel.unary_unary("/of.Test/Unary")(b"", timeout=60)
        print(json.dumps({}))
    except grpc.RpcError as error:
        print(json.dumps({"code": error.code().name, "details": error.details()}))

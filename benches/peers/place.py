"""Where one proxy runs: a folder, addresses that nobody else has, a certificate."""

import os
import re
import socket
import subprocess
import urllib.request
from pathlib import Path

CONF = Path(__file__).resolve().parent / "conf"
LISTENERS = ("CLEAR", "TLS", "H2C", "ADMIN")


def free_ports(count):
    # All are bound before the first is let go, so that they differ.
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def answers(port):
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


def serves(port):
    """Whether a request is answered there: a socket may be open before anybody takes what comes in by it."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/small", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


class Certificate:
    """One for localhost, ECDSA as most are today; the same for all."""

    def __init__(self, folder):
        self.cert, self.key, self.pem = folder / "peers.crt", folder / "peers.key", folder / "peers.pem"
        words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        subprocess.run(
            [*words.split(), *names, "-keyout", self.key, "-out", self.cert], check=True, capture_output=True
        )
        self.pem.write_bytes(self.cert.read_bytes() + self.key.read_bytes())


class Place:
    def __init__(self, folder, origin_port, certificate):
        self.folder = folder
        self.access_log = folder / "access.log"
        self.ports = dict(zip(LISTENERS, free_ports(len(LISTENERS))))
        self.words = {
            "ORIGIN": f"127.0.0.1:{origin_port}",
            "ORIGIN_PORT": origin_port,
            "CERT": certificate.cert,
            "KEY": certificate.key,
            "PEM": certificate.pem,
            "FOLDER": folder,
            "WORKERS": os.cpu_count(),
        }
        for name, port in self.ports.items():
            self.words |= {name: f"127.0.0.1:{port}", f"{name}_PORT": port}

    def written(self, name):
        """The configuration of that name with this place's words in it."""
        text = (CONF / name).read_text()
        for word, value in self.words.items():
            text = text.replace(f"@{word}@", str(value))
        if left := re.search(r"@[A-Z_]+@", text):
            raise RuntimeError(f"{name}: nothing is called {left[0]}")
        path = self.folder / name
        path.write_text(text)
        return path

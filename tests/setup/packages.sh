# shellcheck shell=bash
# Programs that the suite needs: the Rust toolchain must be there, the rest comes from Debian.

# need PROGRAM PACKAGE: installs the package where the program is not to be found.
need() {
    command -v "$1" >/dev/null || missing+=("$2")
}

# install PACKAGE...: from Debian, or a word on what to install by hand.
install() { from_debian "$*" install_all "$@"; }

install_all() { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes "$@"; }

# The same without what packages recommend.
install_bare() { install_all --no-install-recommends "$@"; }

# from_debian WHAT COMMAND...: gets what is missing, or says what to install by hand.
from_debian() {
    local what=$1
    shift
    if ! command -v apt-get >/dev/null || ((EUID != 0)); then
        echo "missing: $what. Install them, or run tests/run as root on Debian, where it does so itself." >&2
        return 1
    fi
    echo "installing $what"
    local log
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        echo "apt-get could not install: $what" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

# The package brings a service, and starts it. No test uses that one: each starts a registry of its own.
stop_registry_service() {
    if [[ -d /run/systemd/system ]]; then
        systemctl disable --now --quiet docker-registry || true
    else
        service docker-registry stop >/dev/null 2>&1 || true
        update-rc.d docker-registry disable >/dev/null 2>&1 || true
    fi
}

# Where the pages of Prometheus's own interface lie; the tests look here, too.
readonly PROMETHEUS_PAGES=/usr/local/share/prometheus/web

# The programs of Debian's package prometheus, and the server's pages. The package itself would bring a service, started
# at once and after every boot, so it is only unpacked.
unpack_prometheus() (
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cd "$folder" &&
        apt-get update &&
        apt-get download prometheus &&
        dpkg-deb --fsys-tarfile prometheus_*.deb |
        tar --extract ./usr/bin/promtool ./usr/bin/prometheus ./usr/share/prometheus/web &&
        rm -rf "$PROMETHEUS_PAGES" &&
        mkdir -p "$(dirname "$PROMETHEUS_PAGES")" &&
        mv usr/share/prometheus/web "$PROMETHEUS_PAGES" &&
        mv usr/bin/promtool usr/bin/prometheus /usr/local/bin
)

install_packages() {
    if ! command -v cargo >/dev/null; then
        local version
        version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
        echo "cargo is missing, and Debian's is too old: install Rust $version or newer with rustup, see" >&2
        echo "https://www.rust-lang.org/tools/install, and run tests/run again." >&2
        return 1
    fi
    local component
    for component in fmt clippy; do
        if ! cargo "$component" --version >/dev/null 2>&1; then
            echo "cargo $component is missing: rustup component add rustfmt clippy" >&2
            return 1
        fi
    done

    local missing=()
    need cc build-essential
    need c++ build-essential
    need make build-essential
    need curl curl
    need jq jq
    need python3 python3
    python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
    need docker docker.io
    need docker-registry docker-registry
    # Networks and users of a test's own.
    need ip iproute2
    need setpriv util-linux
    if ((${#missing[@]})); then
        install "${missing[@]}"
        if [[ " ${missing[*]} " == *" docker-registry "* ]]; then
            stop_registry_service
        fi
    fi
    if ! { command -v promtool && command -v prometheus; } >/dev/null; then
        from_debian "promtool and prometheus" unpack_prometheus
    fi
    cargo --version
    docker --version
    promtool --version | sed -n 1p
}

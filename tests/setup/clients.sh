# shellcheck shell=bash
# Clients and apps that people use: a Python environment with those from PyPI, Node and a browser from Debian. The
# environment is kept for the next run, and made anew only where what is to be in it has changed.

readonly REQUIREMENTS=tests/clients/requirements.txt

# The place of the Python environment, which the tests are told.
use_clients() {
    TEST_CLIENTS=$(target_folder)/clients/venv
    export TEST_CLIENTS
    if [[ ! -f $TEST_CLIENTS/made-of ]]; then
        echo "the Python clients are not installed: tests/run prepare" >&2
        return 1
    fi
}

install_clients() {
    command -v node >/dev/null || install nodejs
    # What it recommends is a desktop's.
    command -v chromium-headless-shell >/dev/null ||
        from_debian chromium-headless-shell install_bare chromium-headless-shell
    node --version
    chromium-headless-shell --version 2>/dev/null

    local venv digest
    venv=$(target_folder)/clients/venv
    digest=$({
        cat "$REQUIREMENTS" tests/setup/clients.sh
        python3 --version
    } | sha256sum | cut -c -64)
    if [[ -f $venv/made-of && $(<"$venv/made-of") == "$digest" ]]; then
        echo "the Python environment is there"
    else
        rm -rf "$venv"
        # The machine's pip installs into it: an environment's own would take Debian's python3-venv. Most of what it
        # would compile at once is never imported.
        python3 -m venv --without-pip "$venv"
        python3 -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check --no-cache-dir \
            --no-compile --requirement "$REQUIREMENTS"
        printf '%s\n' "$digest" >"$venv/made-of"
        echo "made the Python environment: $(du -sh "$venv" | cut -f 1)"
    fi
    use_clients
}

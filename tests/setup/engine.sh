# shellcheck shell=bash
# The Docker Engine: used where one answers, else installed and started. It stays when the suite has ended.

engine_answers() {
    timeout 20 docker info >/dev/null 2>&1
}

# engine_within SECONDS [PID]: waits until the engine answers, as long as that process lives.
engine_within() {
    local deadline=$((SECONDS + $1))
    until engine_answers; do
        ((SECONDS < deadline)) && kill -0 "${2:-$$}" 2>/dev/null || return 1
        sleep 0.5
    done
}

start_engine() {
    if ! engine_answers; then
        if [[ -n ${DOCKER_HOST:-} ]]; then
            echo "no Docker Engine answers at DOCKER_HOST=$DOCKER_HOST" >&2
            return 1
        fi
        if ! command -v dockerd >/dev/null; then
            install docker.io
        fi
        start_daemon
    fi
    docker version --format 'Docker Engine {{.Server.Version}}, API {{.Server.APIVersion}}'
}

start_daemon() {
    if ((EUID != 0)); then
        echo "no Docker Engine answers, and only root can start one: start it, or run tests/run as root" >&2
        return 1
    fi
    echo "starting the Docker daemon"
    if [[ -d /run/systemd/system ]]; then
        systemctl start docker || true
    elif [[ -x /etc/init.d/docker ]]; then
        # Its script may fail in a container, where it may not raise a limit.
        service docker start >/dev/null 2>&1 || true
    fi
    if engine_within 15; then
        return
    fi
    local log=/var/log/pilotlight-test-dockerd.log
    setsid dockerd >"$log" 2>&1 </dev/null &
    local daemon=$!
    disown
    if ! engine_within 60 "$daemon"; then
        tail -n 20 "$log" >&2
        echo "the Docker daemon does not start (the whole log: $log). The suite needs an engine, and skips nothing." >&2
        return 1
    fi
}

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
    # A service that says at once that it cannot start is not waited for. One of these scripts fails in a container,
    # where it may not raise a limit.
    if [[ -d /run/systemd/system ]]; then
        systemctl start docker && engine_within 30 && return
    elif [[ -x /etc/init.d/docker ]]; then
        service docker start >/dev/null 2>&1 && engine_within 30 && return
    fi
    local log=/var/log/pilotlight-test-dockerd.log
    if run_daemon "$PATH" "$log"; then
        return
    fi
    # A kernel may lack what Debian's iptables speaks by default, and still know the older tables.
    if grep -q 'iptables' "$log" && command -v iptables-legacy >/dev/null; then
        echo "trying the older iptables"
        local links=/run/pilotlight-test-iptables program
        mkdir -p "$links"
        for program in iptables ip6tables; do
            ln -sf "$(command -v "$program-legacy")" "$links/$program"
        done
        if run_daemon "$links:$PATH" "$log"; then
            return
        fi
    fi
    tail -n 20 "$log" >&2
    echo "the Docker daemon does not start (the whole log: $log). The suite needs an engine, and skips nothing." >&2
    return 1
}

# run_daemon PATH LOG: a daemon of our own, which goes on when this script has ended. One that does not answer ends.
run_daemon() {
    PATH=$1 setsid dockerd >"$2" 2>&1 </dev/null &
    local daemon=$!
    disown
    if ! engine_within 60 "$daemon"; then
        kill "$daemon" 2>/dev/null || true
        return 1
    fi
}

# shellcheck shell=bash
# What tests must not leave behind: containers, networks and volumes of the proxies that they started, and processes.

# Tests write the identity of every proxy that they start to this file, and label what they make by themselves
# with its name: another run on this machine is not held against this one.
track_leftovers() {
    PILOTLIGHT_TEST_INSTANCES=$(mktemp)
    export PILOTLIGHT_TEST_INSTANCES
}

# find_containers FILTER, find_networks FILTER, find_volumes FILTER: by label.
find_containers() { docker ps --all --quiet --no-trunc --filter "label=$1"; }
find_networks() { docker network ls --quiet --no-trunc --filter "label=$1"; }
find_volumes() { docker volume ls --quiet --filter "label=$1"; }

check_leftovers() {
    local instance filter id count=0
    while read -r instance; do
        for filter in "pilotlight.instance=$instance" "pilotlight.test.run=$instance"; do
            while read -r id; do
                echo "left behind: container $(docker inspect --format '{{.Name}} {{.State.Status}}' "$id")" >&2
                docker rm --force --volumes "$id" >/dev/null
                count=$((count + 1))
            done < <(find_containers "$filter")
            while read -r id; do
                echo "left behind: network $id" >&2
                docker network rm "$id" >/dev/null
                count=$((count + 1))
            done < <(find_networks "$filter")
            while read -r id; do
                echo "left behind: volume $id" >&2
                docker volume rm "$id" >/dev/null
                count=$((count + 1))
            done < <(find_volumes "$filter")
        done
    done < <(sort --unique "$PILOTLIGHT_TEST_INSTANCES")
    rm -f "$PILOTLIGHT_TEST_INSTANCES"

    local link program
    for link in /proc/[0-9]*/exe; do
        program=$(readlink "$link" 2>/dev/null) || continue
        # An environment's Python is a link to the machine's; only the name it was called by tells.
        case $program in
        */python*) IFS= read -r -d '' program <"${link%exe}cmdline" 2>/dev/null || continue ;;
        esac
        case $program in
        "$(target_folder)"/*)
            id=${link#/proc/}
            id=${id%/exe}
            echo "left behind: process $id, $program" >&2
            kill -KILL "$id" 2>/dev/null || true
            count=$((count + 1))
            ;;
        esac
    done
    if ((count > 0)); then
        echo "$count left behind (and removed now)" >&2
        return 1
    fi
    echo "nothing was left behind"
}

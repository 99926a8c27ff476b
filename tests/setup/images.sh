# shellcheck shell=bash
# The two images that the tests use, and the static test app that one of them is made of. All are kept for the
# next run: an image is made anew only where what it is made of has changed, which a label tells.
#
#   pilotlight-test-app:latest   the test app, FROM scratch
#   python:3.11-slim             what the example's Dockerfile starts from. The real one where it is there or can
#                                be pulled; else one of Debian's packages, with the example's requirements aboard

readonly APP_IMAGE=pilotlight-test-app:latest
readonly BASE_IMAGE=python:3.11-slim
readonly ROOT_IMAGE=pilotlight-test-root:bookworm
readonly DIGEST_LABEL=pilotlight.test.digest

target_folder() {
    printf '%s' "${CARGO_TARGET_DIR:-$PWD/target}"
}

# image_label IMAGE LABEL: its value, or nothing where image or label is missing.
image_label() {
    docker image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null || true
}

# The place of the static test app, which the tests are told.
use_test_app() {
    TEST_APP=$(target_folder)/test-app/test-app
    export TEST_APP
    if [[ ! -x $TEST_APP ]]; then
        echo "the test app is not built: tests/run prepare" >&2
        return 1
    fi
}

make_test_app() {
    local folder digest
    folder=$(target_folder)/test-app
    mkdir -p "$folder"
    # Only the last crate is built in a way of its own; the others are those of the tests. Static, so that it
    # runs in an image that holds nothing else.
    cargo rustc --locked --package test-app --bin test-app -- -C target-feature=+crt-static
    if ! cmp --silent "$(target_folder)/debug/test-app" "$folder/test-app"; then
        # By name: a test app that somebody runs keeps its file.
        cp "$(target_folder)/debug/test-app" "$folder/new"
        mv "$folder/new" "$folder/test-app"
    fi
    if ldd "$folder/test-app" 2>&1 | grep -q '=>'; then
        echo "the test app is not static" >&2
        return 1
    fi
    use_test_app

    digest=$(sha256sum <"$folder/test-app" | cut -c -64)
    if [[ $(image_label "$APP_IMAGE" "$DIGEST_LABEL") == "$digest" ]]; then
        echo "$APP_IMAGE is there"
        return
    fi
    local old
    old=$(docker image inspect --format '{{.Id}}' "$APP_IMAGE" 2>/dev/null || true)
    tar --create --directory "$folder" test-app | docker import \
        --change 'ENTRYPOINT ["/test-app"]' \
        --change 'EXPOSE 8080' \
        --change 'LABEL pilotlight.test=app' \
        --change "LABEL $DIGEST_LABEL=$digest" \
        - "$APP_IMAGE" >/dev/null
    # The one before has no name any more. A container that still has it is no business of ours.
    [[ -z $old ]] || docker image rm "$old" >/dev/null 2>&1 || true
    echo "made $APP_IMAGE"
}

make_base_image() {
    local digest
    digest=$(cat config/fastapi/requirements.txt tests/setup/images.sh | sha256sum | cut -c -64)
    if docker image inspect "$BASE_IMAGE" >/dev/null 2>&1; then
        if [[ $(image_label "$BASE_IMAGE" pilotlight.test) != base ]]; then
            echo "$BASE_IMAGE is there, and not of our making: using it"
            return
        fi
        if [[ $(image_label "$BASE_IMAGE" "$DIGEST_LABEL") == "$digest" ]]; then
            echo "$BASE_IMAGE is there, of our making"
            return
        fi
    elif timeout 300 docker pull --quiet "$BASE_IMAGE" 2>/dev/null; then
        return
    fi
    echo "$BASE_IMAGE cannot be pulled: making one of Debian's packages (docker rmi $BASE_IMAGE removes it)"
    scratch=$(mktemp --directory)
    build_base_image "$scratch" "$digest" || {
        rm -rf "$scratch"
        return 1
    }
    rm -rf "$scratch"
}

# build_base_image FOLDER DIGEST. Called where a failure is looked at: each line says for itself that it must hold.
build_base_image() {
    local folder=$1 digest=$2
    if ! docker image inspect "$ROOT_IMAGE" >/dev/null 2>&1; then
        make_root_image "$folder" || return
    fi
    mkdir "$folder/wheels" || return
    # For the image's Python, whichever this machine has.
    python3 -m pip download --quiet --disable-pip-version-check --dest "$folder/wheels" \
        --only-binary :all: --implementation cp --python-version 3.11 \
        --requirement config/fastapi/requirements.txt || return
    # A build has the engine's network, which may reach no index, or one whose certificate it does not know.
    printf '[global]\nno-index = true\nfind-links = /usr/local/share/wheels\nroot-user-action = ignore\n' \
        >"$folder/pip.conf" || return
    cat >"$folder/Dockerfile" <<EOF || return
FROM $ROOT_IMAGE
COPY wheels /usr/local/share/wheels
COPY pip.conf /etc/pip.conf
LABEL pilotlight.test=base $DIGEST_LABEL=$digest
CMD ["python3"]
EOF
    docker_build --tag "$BASE_IMAGE" "$folder" || return
    echo "made $BASE_IMAGE"
}

# make_root_image FOLDER: Debian with Python, where `python` and `pip` do what they do in the official image.
make_root_image() {
    local root=$1/root log=$1/debootstrap.log
    command -v debootstrap >/dev/null || install debootstrap || return
    if ! debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates \
        bookworm "$root" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        return 1
    fi
    ln -s /usr/bin/python3 "$root/usr/local/bin/python" || return
    # The official image's Python is not Debian's, and pip may install there.
    rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED || return
    rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/* \
        "$root"/usr/share/{doc,info,locale,man}/* || return
    tar --create --directory "$root" . | docker import --change 'LABEL pilotlight.test=root' - "$ROOT_IMAGE" >/dev/null
}

# docker_build ARGUMENT...: quiet unless it fails.
docker_build() {
    local output
    if ! output=$(docker build "$@" 2>&1); then
        printf '%s\n' "$output" | tail -n 40 >&2
        return 1
    fi
}

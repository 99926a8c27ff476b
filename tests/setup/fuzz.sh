# shellcheck shell=bash
# Fuzz targets, built by the toolchain that builds everything else: libFuzzer needs the compiler's coverage pass, which
# the stable one has, and no sanitizer, which only a nightly one has. What is fuzzed has no unsafe code.

# For how long each target runs, in seconds.
readonly FUZZ_SECONDS=${FUZZ_SECONDS:-60}

fuzz_folder() {
    printf '%s/fuzz' "$(target_folder)"
}

# What `cargo fuzz build --sanitizer none` gives the compiler.
readonly FUZZ_FLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=16"

# With a target named, the flags are not for build scripts and macros.
build_fuzz_targets() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS=$FUZZ_FLAGS CARGO_TARGET_DIR=$(fuzz_folder) \
        cargo build --locked --release --manifest-path fuzz/Cargo.toml --bins --target "$host"
    fuzz_binaries=$(fuzz_folder)/$host/release
}

# fuzz_seed TARGET NAME: a seed of this name, of what comes in.
fuzz_seed() {
    cat >"$(fuzz_folder)/corpus/$1/$2"
}

# What a target is given to begin with. Those without seeds here begin with nothing, and with what they found before.
seed_fuzz_targets() {
    local file name body='POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nwiki\r\n0\r\nA: b\r\n\r\n'
    local length='POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nwiki' get='GET /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n'
    for file in fuzz/fuzz_targets/*.rs; do
        name=$(basename "$file" .rs)
        mkdir -p "$(fuzz_folder)/corpus/$name"
    done
    for file in config/*.yml tests/config/*.yml; do
        fuzz_seed config "$(basename "$file")" <"$file"
    done
    printf 'x.a.test:80\n/api/v1\na.test /\n*.a.test /api\n* /' | fuzz_seed route seed
    printf 'PROXY TCP4 192.0.2.1 198.51.100.2 51234 443\r\nGET' | fuzz_seed proxy_protocol line
    printf '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\xc8\x22\1\xbb' | fuzz_seed proxy_protocol block
    printf 'x\n6.6.6.6, 192.0.2.1:80\n[2001:db8::1]:1, 10.2.3.4' | fuzz_seed forwarded for
    printf '\nfor=192.0.2.1;proto=https, For="[2001:db8::1]:4711"' | fuzz_seed forwarded forwarded
    printf '\aHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwiki' | fuzz_seed answer length
    printf '\aHTTP/1.1 103 A\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nwiki\r\n0\r\nA: b\r\n\r\n' |
        fuzz_seed answer chunked
    for name in get length body; do
        # The formats are ours.
        # shellcheck disable=SC2059
        printf "${!name}" | fuzz_seed raw_head "$name"
        # shellcheck disable=SC2059
        printf "\\a${!name}${get}" | fuzz_seed inbound "$name"
    done
}

# fuzz_target TARGET: runs it for its time; says how that went, and with what input it failed.
fuzz_target() {
    local target=$1 log
    log=$(fuzz_folder)/$target.log
    # With a time for each input and a bound for its memory, what hangs or swells is found as well.
    if "$fuzz_binaries/$target" "$(fuzz_folder)/corpus/$target" -artifact_prefix="$(fuzz_folder)/$target-" \
        -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1; then
        printf '%s: %s inputs, nothing found\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
        return
    fi
    printf '%s: FAILED\n' "$target"
    # From the panic on; the bytes themselves are in the file that is named there.
    sed -n '/panicked at\|ERROR: libFuzzer/,$p' "$log" | head -n 60
    local input
    input=$(sed -n 's/^.*Test unit written to //p' "$log" | tail -n 1)
    if [[ -n $input ]]; then
        printf '%s: the input, kept in %s:\n' "$target" "$input"
        od -A d -t x1z "$input" | head -n 64
    fi
    return 1
}

# Two at a time: a target uses one core.
fuzz() {
    local fuzz_binaries
    build_fuzz_targets
    seed_fuzz_targets
    export -f fuzz_target fuzz_folder target_folder
    export fuzz_binaries FUZZ_SECONDS
    basename --suffix .rs --multiple fuzz/fuzz_targets/*.rs |
        xargs --max-procs 2 --max-args 1 bash -c 'set -euo pipefail; fuzz_target "$1"' fuzz
}

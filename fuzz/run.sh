#!/usr/bin/env bash
# Builds the fuzz targets and runs each for so many seconds of CPU time, as many at once as there
# are cores: `fuzz/run.sh SECONDS [TARGET...]`, all targets if none is named. Fails when one finds
# something; what it found is then in fuzz/artifacts.
#
# Ends with 0 and a message where there is no nightly toolchain or no C++ compiler.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift

case $(rustup toolchain list 2>/dev/null || true) in
*nightly*) ;;
*)
    ../.ci/skip 'fuzzing: it needs a nightly toolchain (rustup toolchain install nightly)'
    exit 0
    ;;
esac

if ! command -v c++ >/dev/null && ! ../.ci/packages g++; then
    ../.ci/skip 'fuzzing: libFuzzer needs a C++ compiler, which cannot be installed here'
    exit 0
fi
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked --quiet --version '^0.13'

cargo fmt --check
# Not --locked: a new dependency of the library is new to this lock file, too.
RUSTFLAGS='--cfg fuzzing' cargo clippy --quiet --all-targets -- -D warnings
cargo +nightly fuzz build --fuzz-dir .

targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo +nightly fuzz list --fuzz-dir .)
bin=target/$(rustc +nightly -vV | sed -n 's/^host: //p')/release
ticks=$(getconf CLK_TCK)

# The seconds of CPU time that a process has used; fails when it has ended.
cpu_seconds() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # Behind the name, which is in parentheses: the state is the first field.
    read -r -a stat <<<"${stat##*) }"
    [ "${stat[0]}" != Z ] || return 1
    echo $(((stat[11] + stat[12]) / ticks))
}

fuzz() {
    local target=$1 log=corpus/$1.log status=0 pid used
    mkdir -p "corpus/$target" "artifacts/$target"
    # The time-out is for one input. More than these 64 MB at once nobody has to ask for.
    "$bin/$target" "corpus/$target" "seeds/$target" -timeout=60 -malloc_limit_mb=64 \
        -artifact_prefix="artifacts/$target/" -print_final_stats=1 >"$log" 2>&1 &
    pid=$!
    # libFuzzer's own limit is in time that passes, whoever has the cores meanwhile.
    while used=$(cpu_seconds $pid) && [ "$used" -lt "$seconds" ]; do
        sleep 0.5
    done
    # It finishes the input that it is at, and ends.
    kill -USR1 $pid 2>/dev/null || true
    wait $pid || status=$?
    local executions edges
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    if [ "$status" -eq 0 ] && [ -n "$executions" ]; then
        printf '%-20s %10d executions, %6d edges\n' "$target" "$executions" "$edges"
    else
        printf '%-20s FAILED with %d; the end of fuzz/%s:\n' "$target" "$status" "$log"
        grep -v '^ ' "$log" | tail -n 25
        return 1
    fi
}

failed=0
for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
        wait -n || failed=1
    done
    fuzz "$target" &
done
while [ -n "$(jobs -p)" ]; do
    wait -n || failed=1
done
exit $failed

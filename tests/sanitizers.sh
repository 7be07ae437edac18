#!/usr/bin/env bash
# The stress test, and whatever else has threads, under ThreadSanitizer; the same and what is fed
# with any bytes under AddressSanitizer. `tests/sanitizers.sh [thread|address]`, both by default.
#
# It needs a nightly toolchain, and ends with 0 and a message where there is none. The sources of
# std are not needed: std is not instrumented, which tests/tsan.supp makes up for.
# DTLS_SESSION_STRESS_SECONDS says how long the stress takes, as everywhere.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly --version >/dev/null 2>&1; then
    .ci/skip 'sanitizers: they need a nightly toolchain'
    exit 0
fi
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
if [ "$host" != x86_64-unknown-linux-gnu ] && [ "$host" != aarch64-unknown-linux-gnu ]; then
    .ci/skip "sanitizers: they were not tried on $host"
    exit 0
fi

# Dependencies without optimization, which would take longer to make than it saves.
run() {
    local sanitizer=$1 flags=$2
    shift 2
    RUSTFLAGS="-Zsanitizer=$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer $flags" \
        cargo +nightly test --locked --target "$host" --target-dir "target/$sanitizer" \
        --config 'profile.dev.package.dtls-session.opt-level=1' \
        --config 'profile.dev.debug="line-tables-only"' "$@"
}

# What a test asks for in vain is refused, as without a sanitizer.
refuse=allocator_may_return_null=1
threads=(--lib --test stress --test keys --test warm_restart)
which=${1-both}

if [ "$which" != address ]; then
    echo 'ThreadSanitizer'
    TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp $refuse ${TSAN_OPTIONS-}" \
        run thread '--cfg dtls_session_tsan' "${threads[@]}"
fi
if [ "$which" != thread ]; then
    echo 'AddressSanitizer'
    ASAN_OPTIONS="$refuse ${ASAN_OPTIONS-}" run address '' "${threads[@]}" --test bad_input --test batches --test wire_flights
fi

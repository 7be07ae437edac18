#!/bin/sh
# Measures the tickets of OpenSSL, BoringSSL and aws-lc-rs beside the library's: installs what they
# are built with. Arguments go to the benchmark: `--test` does everything once.
#
# Ends with 0 and a message where these packages are missing and cannot be installed.
set -eu
cd "$(dirname "$0")"

packages="clang libclang-dev cmake g++ libssl3"

# shellcheck disable=SC2086 # a list of packages
if ! ../../.ci/packages $packages; then
    ../../.ci/skip "benches beside C stacks: $packages are needed, and cannot be installed here"
    exit 0
fi

# From there, where there may be a BoringSSL already: cargo takes it for another one, since crates
# that build it have other features there.
cd ../../tests/peers
for built in target/release/build/boring-sys-*/out/build/libcrypto.a; do
    [ -f "$built" ] || continue
    out=$PWD/${built%/build/libcrypto.a}
    export BORING_BSSL_PATH="$out/build" BORING_BSSL_INCLUDE_PATH="$out/boringssl/include"
done
build() {
    command=$1
    shift
    cargo "$command" --release -j"${JOBS:-2}" --manifest-path ../../benches/peers/Cargo.toml \
        --target-dir target "$@"
}
cargo fmt --manifest-path ../../benches/peers/Cargo.toml --check
build clippy -- -D warnings
build run -- "$@"

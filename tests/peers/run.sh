#!/bin/sh
# Lets real clients meet the reference gateway: installs what their stacks are built with, builds
# the gateway and the clients, and runs the tests. Arguments go to `cargo test`.
#
# NSS is not among them: that of Debian 12 (3.87) offers DTLS 1.3 by the number of its last draft,
# 0x7f2b, and gets the alert protocol_version as it should.
#
# Ends with 0 and a message where these packages are missing and cannot be installed.
set -eu
cd "$(dirname "$0")"

packages="autoconf automake libtool make patch clang libclang-dev cmake g++"

# shellcheck disable=SC2086 # a list of packages
if ! ../../.ci/packages $packages; then
    ../../.ci/skip "real clients: $packages are needed, and cannot be installed here"
    exit 0
fi

jobs=${JOBS:-2}
# From there: what .cargo/config.toml sets here is for wolfSSL only.
(cd ../.. && cargo build --release --locked -j"$jobs" --example gateway)
GATEWAY=$(../../.ci/target)/release/examples/gateway
export GATEWAY
cargo fmt --check
# Not --locked: a new dependency of the library is new to this lock file, too.
cargo clippy --release -j"$jobs" --all-targets -- -D warnings
cargo test --release -j"$jobs" "$@"

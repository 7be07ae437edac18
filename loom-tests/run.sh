#!/usr/bin/env bash
# Model-checks the code that ships: `loom-tests/run.sh [MODEL...]`, all models if none is named.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTFLAGS="--cfg dtls_session_loom --cfg crossbeam_loom"
# What is large in a release is small here: a table may have one place.
cargo clippy --quiet --locked --tests --package dtls-session-loom-tests --target-dir target/loom \
    -- -D warnings -A clippy::modulo_one
cargo test --quiet --locked --profile loom --package dtls-session-loom-tests \
    --target-dir target/loom -- --nocapture --test-threads "$(nproc)" "$@"

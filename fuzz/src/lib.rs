//! What the fuzz targets share: scripts in which the fuzzer says what happens, ClientHellos of real
//! clients, and a world of gateways in which every verdict is checked.

#[path = "../../tests/memory/allocator.rs"]
#[allow(dead_code, clippy::undocumented_unsafe_blocks)]
mod allocator;
pub mod captured;
#[path = "../../tests/common/mod.rs"]
pub mod common;
pub mod gateway;
pub mod hello;
pub mod script;

use dtls_session::schedule::CipherSuite;

/// Runs `work`, and returns the bytes that it leaves on the heap too, or takes from it.
pub fn kept_by<R>(work: impl FnOnce() -> R) -> (R, isize) {
    let (result, usage) = allocator::measure(work);
    (result, usage.kept)
}

/// All suites.
pub const SUITES: [CipherSuite; 3] = [
    CipherSuite::Aes128GcmSha256,
    CipherSuite::Aes256GcmSha384,
    CipherSuite::Chacha20Poly1305Sha256,
];

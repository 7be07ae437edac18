//! The key schedule of DTLS 1.3 as far as resumption and early data need it.

mod suite;

pub use suite::{CipherSuite, HashAlgorithm};

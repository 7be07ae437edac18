//! The key schedule of DTLS 1.3 as far as resumption and early data need it.
//!
//! From the bottom up: [`Hash`](struct@Hash) and [`HmacKey`], which start from chaining values; HKDF with the
//! labels of RFC 9147; the [`Transcript`] of a ClientHello; the [`EarlySecret`] and its binders.

mod early;
mod hash;
pub mod hkdf;
mod hmac;
mod suite;
mod transcript;

pub use early::{EarlySecret, finished_key, resumption_psk};
pub use hash::{Digest, Hash, MAX_DIGEST_LEN};
pub use hkdf::{LabelPrefix, Secret};
pub use hmac::{HmacKey, MAX_MIDSTATES_LEN, midstates_len};
pub use suite::{CipherSuite, HashAlgorithm};
pub use transcript::{ClientHelloHash, Transcript};

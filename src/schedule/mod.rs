//! The key schedule of DTLS 1.3 as far as resumption and early data need it.
//!
//! From the bottom up: [`Hash`](struct@Hash) and [`HmacKey`], which start from chaining values; HKDF with the
//! labels of RFC 9147; the [`Transcript`] of a ClientHello; the [`EarlySecret`] and its binders;
//! [`TrafficKeys`], and with them [`RecordSealer`], [`RecordOpener`] and [`EarlyDataOpener`].
//!
//! What derives a secret leaves no copy of it but the one that it returns, which is wiped where it
//! is dropped. To move a secret leaves a copy: what is to be moved belongs into a `Box`.

mod early;
mod early_data;
mod hash;
pub mod hkdf;
mod hmac;
mod opener;
mod record_keys;
mod sealer;
mod suite;
mod transcript;
#[doc(hidden)]
pub mod wide;
mod window;

pub use early::{EarlySecret, finished_key, resumption_psk};
pub use early_data::{EARLY_DATA_EPOCH, EarlyDataOpener, EarlyDataRejected, EarlyRecord};
pub use hash::{Digest, Hash, MAX_DIGEST_LEN};
pub use hkdf::{LabelPrefix, Secret};
pub use hmac::{HmacKey, MAX_MIDSTATES_LEN, midstates_len};
pub use opener::{Opened, RecordOpener, RecordRejected};
pub use record_keys::TrafficKeys;
pub use sealer::{RECORD_OVERHEAD_LEN, RecordSealer};
pub use suite::{CipherSuite, HashAlgorithm};
pub use transcript::{ClientHelloHash, Transcript};

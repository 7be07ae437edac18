//! What follows from one ClientHello, on every CPU: with the functions of the rest of the key
//! schedule.

use super::{Digest, EarlySecret, Hashed, HmacKey, LabelPrefix};
use super::{Sha256EarlyTraffic, Sha256Hello};
use crate::schedule::HashAlgorithm::Sha256;

/// As [`WideHasher::client_hellos`](super::WideHasher::client_hellos).
pub(super) fn client_hello(hello: Sha256Hello<'_>) {
    hello.stream.update(hello.truncated());
    let signed = Digest::from_words(&hello.stream.clone().finish());
    hello.stream.update(hello.binders());
    let full = Digest::from_words(&hello.stream.clone().finish());
    let key = HmacKey::from_midstates(Sha256, hello.binder_key);
    *hello.out = key.map(|key| Hashed {
        binder: key.sign(&[signed.as_bytes()]),
        full,
    });
}

/// As [`WideHasher::early_traffic_secrets`](super::WideHasher::early_traffic_secrets).
pub(super) fn early_traffic_secret(job: Sha256EarlyTraffic<'_>) {
    let early_secret = EarlySecret::from_bytes(Sha256, job.early_secret);
    let client_hello = Digest::from_bytes(Sha256, job.client_hello);
    *job.out = early_secret
        .zip(client_hello)
        .map(|(secret, hash)| secret.client_early_traffic_secret(LabelPrefix::Dtls13, &hash));
}

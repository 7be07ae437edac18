//! What follows from one ClientHello, on every CPU and with every hash: with the functions of the rest
//! of the key schedule.

use super::{EarlyTraffic, Hashed, Hello};
use crate::schedule::{EarlySecret, HmacKey, LabelPrefix};

/// As [`WideHasher::client_hellos`](super::WideHasher::client_hellos).
pub(super) fn client_hello(hello: Hello<'_>) {
    let transcript = hello.transcript;
    *hello.out = None;
    let Some((truncated, binders)) = hello.body.split_at_checked(hello.truncated_len) else {
        return;
    };
    transcript.update(truncated);
    let signed = transcript.digest();
    transcript.update(binders);
    let key = HmacKey::from_midstates(transcript.hash(), hello.binder_key);
    *hello.out = key.map(|key| Hashed {
        binder: key.sign(&[signed.as_bytes()]),
        full: transcript.digest(),
    });
}

/// As [`WideHasher::early_traffic_secrets`](super::WideHasher::early_traffic_secrets).
pub(super) fn early_traffic_secret(job: EarlyTraffic<'_>) {
    let early_secret = EarlySecret::from_kept(job.client_hello.hash(), job.early_secret);
    *job.out = early_secret.map(|early_secret| {
        early_secret.client_early_traffic_secret(LabelPrefix::Dtls13, job.client_hello)
    });
}

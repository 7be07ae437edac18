//! The two things that are derived from the digest of a ClientHello and a secret.

use super::few::{self, Compress};
use super::job::{Job, Sha256Job};
use super::x86::{Avx512, LANES};
use crate::schedule::{
    Digest, EarlySecret, HashAlgorithm, HmacKey, LabelPrefix, Secret, midstates_len,
};

pub(super) const BINDER_KEY_LEN: usize = midstates_len(HashAlgorithm::Sha256);
pub(super) const EARLY_SECRET_LEN: usize = HashAlgorithm::Sha256.output_len();

/// What is derived from a digest and `KEY` bytes.
pub(super) trait Derivation<const KEY: usize> {
    type Output;

    fn few<const N: usize>(compress: impl Compress<N>, jobs: [Sha256Job<'_, KEY, Self::Output>; N]);

    fn sixteen(avx512: Avx512, jobs: &mut [Option<Sha256Job<'_, KEY, Self::Output>>; LANES]);

    /// Of a job with another hash, or with a key of another length. Its data is hashed.
    fn other(job: Job<'_, Self::Output>);
}

/// See [`WideHasher::binders`](super::WideHasher::binders).
pub(super) struct Binders;

impl Derivation<BINDER_KEY_LEN> for Binders {
    type Output = Digest;

    fn few<const N: usize>(
        compress: impl Compress<N>,
        jobs: [Sha256Job<'_, BINDER_KEY_LEN, Digest>; N],
    ) {
        few::binders(compress, jobs);
    }

    fn sixteen(avx512: Avx512, jobs: &mut [Option<Sha256Job<'_, BINDER_KEY_LEN, Digest>>; LANES]) {
        avx512.binders(jobs);
    }

    fn other(job: Job<'_, Digest>) {
        let binder_key = HmacKey::from_midstates(job.transcript.hash(), job.key);
        *job.out = binder_key.map(|key| key.sign(&[job.transcript.digest().as_bytes()]));
    }
}

/// See [`WideHasher::early_traffic_secrets`](super::WideHasher::early_traffic_secrets).
pub(super) struct EarlyTrafficSecrets;

impl Derivation<EARLY_SECRET_LEN> for EarlyTrafficSecrets {
    type Output = Secret;

    fn few<const N: usize>(
        compress: impl Compress<N>,
        jobs: [Sha256Job<'_, EARLY_SECRET_LEN, Secret>; N],
    ) {
        few::early_traffic_secrets(compress, jobs);
    }

    fn sixteen(
        avx512: Avx512,
        jobs: &mut [Option<Sha256Job<'_, EARLY_SECRET_LEN, Secret>>; LANES],
    ) {
        avx512.early_traffic_secrets(jobs);
    }

    fn other(job: Job<'_, Secret>) {
        let early_secret = EarlySecret::from_bytes(job.transcript.hash(), job.key);
        let digest = job.transcript.digest();
        *job.out = early_secret.map(|early_secret| {
            early_secret.client_early_traffic_secret(LabelPrefix::Dtls13, &digest)
        });
    }
}

//! HKDF and HKDF-Expand-Label (RFC 5869; RFC 8446, 7.1; RFC 9147, 5.9).

use std::fmt;

use super::HashAlgorithm;
use super::hash::{Digest, MAX_DIGEST_LEN};
use super::hmac::HmacKey;
use crate::Error;
use crate::wipe::{overwrite, scrubbed};

/// What the labels of the key schedule begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelPrefix {
    /// `"dtls13"`, without a space (RFC 9147, 5.9).
    Dtls13,
    /// `"tls13 "`, for TLS 1.3 itself and its published vectors (RFC 8446, 7.1).
    Tls13,
}

impl LabelPrefix {
    const fn bytes(self) -> &'static [u8; 6] {
        match self {
            Self::Dtls13 => b"dtls13",
            Self::Tls13 => b"tls13 ",
        }
    }
}

/// A secret of the key schedule, as long as its hash's output. Wiped when dropped.
#[derive(Clone)]
pub struct Secret {
    hash: HashAlgorithm,
    bytes: [u8; MAX_DIGEST_LEN],
}

impl Secret {
    /// The secret that consists of `bytes`, if they are as many as `hash` puts out.
    #[must_use]
    #[inline]
    pub fn from_bytes(hash: HashAlgorithm, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != hash.output_len() {
            return None;
        }
        let mut secret = Self::zero(hash);
        secret.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(secret)
    }

    /// As many zeros as `hash` puts out: what stands for a missing input (RFC 8446, 7.1).
    #[must_use]
    #[inline]
    pub const fn zero(hash: HashAlgorithm) -> Self {
        Self {
            hash,
            bytes: [0; MAX_DIGEST_LEN],
        }
    }

    /// The bytes of a secret of SHA-256, where they are.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn sha256_mut(&mut self) -> &mut [u8; 32] {
        &mut self.bytes.as_chunks_mut().0[0]
    }

    /// Its bytes: 32 for SHA-256, 48 for SHA-384.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.hash.output_len()]
    }

    /// The hash of the key schedule that it belongs to.
    #[must_use]
    #[inline]
    pub const fn hash(&self) -> HashAlgorithm {
        self.hash
    }
}

impl Drop for Secret {
    #[inline]
    fn drop(&mut self) {
        overwrite(&mut self.bytes);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:?})", self.hash)
    }
}

/// HKDF-Extract (RFC 5869, 2.2).
#[must_use]
pub fn extract(hash: HashAlgorithm, salt: &[u8], ikm: &[u8]) -> Secret {
    scrubbed(|| {
        let prk = HmacKey::new(hash, salt).sign(&[ikm]);
        let mut secret = Secret::zero(hash);
        secret.bytes[..prk.as_bytes().len()].copy_from_slice(prk.as_bytes());
        secret
    })
}

/// HKDF-Expand (RFC 5869, 2.3). An error if `out` is longer than 255 outputs of `hash`.
pub fn expand(hash: HashAlgorithm, prk: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), Error> {
    if out.len() > 255 * hash.output_len() {
        return Err(Error::Length("HKDF output"));
    }
    scrubbed(|| expand_parts(&HmacKey::new(hash, prk), &[info], out));
    Ok(())
}

/// HKDF-Expand-Label (RFC 8446, 7.1) with `label` behind the prefix.
///
/// An error if the label is longer than 249 bytes, the context longer than 255, or `out` longer
/// than 255 outputs of the hash.
pub fn expand_label(
    prefix: LabelPrefix,
    secret: &Secret,
    label: &[u8],
    context: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    if label.len() > 249 {
        return Err(Error::Length("HKDF label"));
    }
    if context.len() > 255 {
        return Err(Error::Length("HKDF context"));
    }
    if out.len() > 255 * secret.hash.output_len() {
        return Err(Error::Length("HKDF output"));
    }
    scrubbed(|| Expander::new(prefix, secret).expand_label(label, context, out));
    Ok(())
}

/// Derive-Secret (RFC 8446, 7.1), with the hash of the messages rather than the messages.
///
/// An error if the label is longer than 249 bytes.
pub fn derive_secret(
    prefix: LabelPrefix,
    secret: &Secret,
    label: &[u8],
    transcript_hash: &Digest,
) -> Result<Secret, Error> {
    scrubbed(|| {
        let mut derived = Secret::zero(secret.hash);
        let len = secret.hash.output_len();
        let out = &mut derived.bytes[..len];
        expand_label(prefix, secret, label, transcript_hash.as_bytes(), out)?;
        Ok(derived)
    })
}

/// A secret made ready to expand several labels at two compressions less each, under [`scrubbed`].
pub(super) struct Expander {
    prefix: LabelPrefix,
    key: HmacKey,
}

impl Expander {
    #[inline]
    pub(super) fn new(prefix: LabelPrefix, secret: &Secret) -> Self {
        let key = HmacKey::new(secret.hash, secret.as_bytes());
        Self { prefix, key }
    }

    /// Of a secret that is the key of an HMAC already.
    #[inline]
    pub(super) fn of_key(prefix: LabelPrefix, key: HmacKey) -> Self {
        Self { prefix, key }
    }

    /// HKDF-Expand-Label for what the key schedule itself derives, whose lengths all fit: a label
    /// of at most 249 bytes, a context of at most 255, an output of at most 255 blocks.
    #[inline]
    pub(super) fn expand_label(&self, label: &[u8], context: &[u8], out: &mut [u8]) {
        let prefix = self.prefix.bytes();
        debug_assert!(label.len() <= 249 && context.len() <= 255);
        let [high, low] = (out.len() as u16).to_be_bytes();
        let head = [high, low, (prefix.len() + label.len()) as u8];
        let info = [
            head.as_slice(),
            prefix,
            label,
            &[context.len() as u8],
            context,
        ];
        expand_parts(&self.key, &info, out);
    }

    /// HKDF-Expand-Label to another secret of the schedule; lengths as above.
    #[inline]
    pub(super) fn secret(&self, label: &[u8], context: &[u8]) -> Secret {
        let mut secret = Secret::zero(self.key.hash());
        let len = secret.hash.output_len();
        self.expand_label(label, context, &mut secret.bytes[..len]);
        secret
    }
}

/// HKDF-Expand over the concatenation of `info`, for an `out` of at most 255 blocks.
#[inline]
fn expand_parts<const N: usize>(key: &HmacKey, info: &[&[u8]; N], out: &mut [u8]) {
    let mut previous: Option<Digest> = None;
    for (chunk, counter) in out.chunks_mut(key.hash().output_len()).zip(1..=u8::MAX) {
        let mut parts: [&[u8]; 7] = [&[]; 7];
        const { assert!(N + 2 <= 7) };
        if let Some(previous) = &previous {
            parts[0] = previous.as_bytes();
        }
        parts[1..=N].copy_from_slice(info);
        let counter = [counter];
        parts[N + 1] = &counter;
        let block = key.sign(&parts[..N + 2]);
        chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
        previous = Some(block);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::hkdf;

    struct Len(usize);

    impl hkdf::KeyType for Len {
        fn len(&self) -> usize {
            self.0
        }
    }

    proptest! {
        #[test]
        fn extract_and_expand_do_as_ring_does(
            salt in prop::collection::vec(any::<u8>(), 0..200),
            ikm in prop::collection::vec(any::<u8>(), 0..200),
            info in prop::collection::vec(any::<u8>(), 0..200),
            len in 0usize..400,
        ) {
            for (hash, algorithm) in [
                (HashAlgorithm::Sha256, hkdf::HKDF_SHA256),
                (HashAlgorithm::Sha384, hkdf::HKDF_SHA384),
            ] {
                let mut theirs = vec![0; len];
                let prk = hkdf::Salt::new(algorithm, &salt).extract(&ikm);
                prk.expand(&[&info], Len(len)).unwrap().fill(&mut theirs).unwrap();

                let prk = extract(hash, &salt, &ikm);
                let mut ours = vec![0; len];
                expand(hash, prk.as_bytes(), &info, &mut ours).unwrap();
                assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn trap_25_the_prefix_of_dtls_has_no_space() {
        // Given the HkdfLabel structure of RFC 8446, 7.1, written out by hand,
        let info = b"\x00\x10\x09dtls13key\x00";
        let secret = extract(HashAlgorithm::Sha256, b"salt", b"ikm");
        let mut by_hand = [0; 16];
        expand(secret.hash(), secret.as_bytes(), info, &mut by_hand).unwrap();
        // when the label is expanded, then the prefixes are what the RFCs say, and differ.
        let mut dtls = [0; 16];
        expand_label(LabelPrefix::Dtls13, &secret, b"key", b"", &mut dtls).unwrap();
        let mut tls = [0; 16];
        expand_label(LabelPrefix::Tls13, &secret, b"key", b"", &mut tls).unwrap();
        assert_eq!(dtls, by_hand);
        assert_ne!(dtls, tls);
    }

    #[test]
    fn lengths_that_a_label_cannot_say_are_refused() {
        let secret = Secret::zero(HashAlgorithm::Sha256);
        let label = |label: &[u8], context: &[u8], len: usize| {
            let mut out = vec![0; len];
            expand_label(LabelPrefix::Dtls13, &secret, label, context, &mut out)
        };
        assert_eq!(label(&[0; 249], &[0; 255], 255 * 32), Ok(()));
        assert!(label(&[0; 250], &[], 32).is_err());
        assert!(label(&[], &[0; 256], 32).is_err());
        assert!(label(&[], &[], 255 * 32 + 1).is_err());
        assert!(expand(secret.hash(), &[], &[], &mut [0; 255 * 32 + 1]).is_err());
    }

    #[test]
    fn a_secret_prints_its_hash_and_nothing_else() {
        let secret = Secret::from_bytes(HashAlgorithm::Sha256, &[7; 32]).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(Sha256)");
        assert!(Secret::from_bytes(HashAlgorithm::Sha384, &[7; 32]).is_none());
    }
}

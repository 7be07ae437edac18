//! The early secret and what is derived from it (RFC 8446, 7.1).

use std::fmt;

use super::HashAlgorithm;
use super::hash::{Digest, Hash};
use super::hkdf::{self, Expander, LabelPrefix, Secret};
use super::hmac::{HmacKey, MAX_MIDSTATES_LEN, midstates_len};
use crate::Error;
use crate::wipe::scrubbed;

/// The early secret of a PSK. All that a PSK is good for follows from it. Wiped when dropped.
///
/// All that follows is an HMAC under it. So of one of SHA-256 the chaining values of that key are
/// kept, which saves two compressions each time. Those of SHA-384 would take 128 bytes of a ticket
/// instead of 48, so that the secret itself is kept.
#[derive(Clone)]
pub struct EarlySecret(Kept);

#[derive(Clone)]
enum Kept {
    Key(HmacKey),
    Secret {
        secret: Secret,
        /// Up to the length of the other: whatever lies there is moved along, and can be a PSK.
        _zeros: [u8; MAX_MIDSTATES_LEN - size_of::<Secret>()],
    },
}

impl Kept {
    #[inline]
    const fn secret(secret: Secret) -> Self {
        Self::Secret {
            secret,
            _zeros: [0; MAX_MIDSTATES_LEN - size_of::<Secret>()],
        }
    }
}

impl EarlySecret {
    /// The early secret of `psk`.
    #[must_use]
    pub fn from_psk(hash: HashAlgorithm, psk: &[u8]) -> Self {
        scrubbed(|| Self::of(hkdf::extract(hash, Secret::zero(hash).as_bytes(), psk)))
    }

    /// The early secret of a handshake without a PSK, from which its handshake secret follows.
    #[must_use]
    pub fn without_psk(hash: HashAlgorithm) -> Self {
        Self::from_psk(hash, Secret::zero(hash).as_bytes())
    }

    /// The early secret that consists of `bytes`, if they are as many as `hash` puts out: 32 for
    /// SHA-256, 48 for SHA-384.
    #[must_use]
    pub fn from_bytes(hash: HashAlgorithm, bytes: &[u8]) -> Option<Self> {
        scrubbed(|| Secret::from_bytes(hash, bytes).map(Self::of))
    }

    fn of(secret: Secret) -> Self {
        Self(match secret.hash() {
            hash @ HashAlgorithm::Sha256 => Kept::Key(HmacKey::new(hash, secret.as_bytes())),
            HashAlgorithm::Sha384 => Kept::secret(secret),
        })
    }

    /// Bytes in which an early secret is kept: 64 for SHA-256, 48 for SHA-384.
    #[must_use]
    pub const fn kept_len(hash: HashAlgorithm) -> usize {
        match hash {
            HashAlgorithm::Sha256 => midstates_len(hash),
            HashAlgorithm::Sha384 => hash.output_len(),
        }
    }

    /// Writes what is kept of it, from which [`from_kept`](Self::from_kept) makes it again, and
    /// returns how many bytes that were; `None`, and nothing written, if `out` is shorter than
    /// [`kept_len`](Self::kept_len). Whoever has them has the early secret.
    pub fn to_kept(&self, out: &mut [u8]) -> Option<usize> {
        match &self.0 {
            Kept::Key(key) => key.to_midstates(out),
            Kept::Secret { secret, .. } => {
                let bytes = secret.as_bytes();
                out.get_mut(..bytes.len())?.copy_from_slice(bytes);
                Some(bytes.len())
            }
        }
    }

    /// The early secret of which `bytes` were kept, if they are as many as
    /// [`kept_len`](Self::kept_len) says.
    #[must_use]
    #[inline]
    pub fn from_kept(hash: HashAlgorithm, bytes: &[u8]) -> Option<Self> {
        Some(Self(match hash {
            HashAlgorithm::Sha256 => Kept::Key(HmacKey::from_midstates(hash, bytes)?),
            HashAlgorithm::Sha384 => Kept::secret(Secret::from_bytes(hash, bytes)?),
        }))
    }

    /// The hash of the PSK.
    #[must_use]
    #[inline]
    pub const fn hash(&self) -> HashAlgorithm {
        match &self.0 {
            Kept::Key(key) => key.hash(),
            Kept::Secret { secret, .. } => secret.hash(),
        }
    }

    /// The secret `binder_key` of a resumption PSK ("res binder").
    #[must_use]
    pub fn resumption_binder_secret(&self, prefix: LabelPrefix) -> Secret {
        self.derive_from_nothing(prefix, b"res binder")
    }

    /// The HMAC key that signs the binders of a resumption PSK: the finished key of
    /// [`resumption_binder_secret`](Self::resumption_binder_secret) (RFC 8446, 4.2.11.2).
    #[must_use]
    pub fn binder_key(&self, prefix: LabelPrefix) -> HmacKey {
        scrubbed(|| {
            let binder = self.derive_from_nothing(prefix, b"res binder");
            let finished = Expander::new(prefix, &binder).secret(b"finished", &[]);
            HmacKey::new(self.hash(), finished.as_bytes())
        })
    }

    /// `client_early_traffic_secret`, from the hash of the whole ClientHello.
    #[must_use]
    #[inline]
    pub fn client_early_traffic_secret(
        &self,
        prefix: LabelPrefix,
        transcript_hash: &Digest,
    ) -> Secret {
        self.derive(prefix, b"c e traffic", transcript_hash)
    }

    /// `early_exporter_master_secret`, from the hash of the whole ClientHello.
    #[must_use]
    pub fn early_exporter_master_secret(
        &self,
        prefix: LabelPrefix,
        transcript_hash: &Digest,
    ) -> Secret {
        self.derive(prefix, b"e exp master", transcript_hash)
    }

    /// The salt from which the handshake secret is extracted ("derived").
    #[must_use]
    pub fn derived(&self, prefix: LabelPrefix) -> Secret {
        self.derive_from_nothing(prefix, b"derived")
    }

    /// Derive-Secret over no messages.
    fn derive_from_nothing(&self, prefix: LabelPrefix, label: &[u8]) -> Secret {
        self.derive(prefix, label, &Hash::digest(self.hash(), &[]))
    }

    /// Derive-Secret (RFC 8446, 7.1).
    #[inline]
    fn derive(&self, prefix: LabelPrefix, label: &[u8], transcript_hash: &Digest) -> Secret {
        scrubbed(|| {
            let expander = match &self.0 {
                Kept::Key(key) => Expander::of_key(prefix, key.clone()),
                Kept::Secret { secret, .. } => Expander::new(prefix, secret),
            };
            expander.secret(label, transcript_hash.as_bytes())
        })
    }
}

impl fmt::Debug for EarlySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EarlySecret({:?})", self.hash())
    }
}

/// The finished key of a binder key or a traffic secret (RFC 8446, 4.4.4).
#[must_use]
pub fn finished_key(prefix: LabelPrefix, base_key: &Secret) -> Secret {
    scrubbed(|| Expander::new(prefix, base_key).secret(b"finished", &[]))
}

/// The PSK of the ticket with `ticket_nonce` (RFC 8446, 4.6.1). An error if the nonce is longer
/// than 255 bytes.
pub fn resumption_psk(
    prefix: LabelPrefix,
    resumption_master_secret: &Secret,
    ticket_nonce: &[u8],
) -> Result<Secret, Error> {
    if ticket_nonce.len() > 255 {
        return Err(Error::Length("ticket nonce"));
    }
    scrubbed(|| {
        let expander = Expander::new(prefix, resumption_master_secret);
        Ok(expander.secret(b"resumption", ticket_nonce))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// But for the words in which it says which it is.
    const _: () = assert!(size_of::<Kept>() <= MAX_MIDSTATES_LEN + 8);

    #[test]
    fn an_early_secret_comes_back_from_its_bytes_and_from_what_is_kept() {
        for hash in [HashAlgorithm::Sha256, HashAlgorithm::Sha384] {
            let bytes = hkdf::extract(hash, Secret::zero(hash).as_bytes(), b"psk");
            let early = EarlySecret::from_psk(hash, b"psk");
            let sign = |early: &EarlySecret| early.binder_key(LabelPrefix::Dtls13).sign(&[b"x"]);
            let same = |other: &EarlySecret| sign(other) == sign(&early);
            let (bytes, few) = (bytes.as_bytes(), &bytes.as_bytes()[1..]);
            assert!(same(&EarlySecret::from_bytes(hash, bytes).unwrap()));
            assert!(EarlySecret::from_bytes(hash, few).is_none());
            let (mut kept, len) = ([0; 65], EarlySecret::kept_len(hash));
            assert_eq!(early.to_kept(&mut kept[..len - 1]), None);
            assert_eq!(early.to_kept(&mut kept), Some(len));
            assert!(same(&EarlySecret::from_kept(hash, &kept[..len]).unwrap()));
            for other in [len - 1, len + 1] {
                assert!(EarlySecret::from_kept(hash, &kept[..other]).is_none());
            }
            assert!(!same(&EarlySecret::from_psk(hash, b"another")));
            assert_eq!(format!("{early:?}"), format!("EarlySecret({hash:?})"));
        }
    }

    #[test]
    fn a_ticket_nonce_that_no_message_can_carry_is_refused() {
        let master = Secret::zero(HashAlgorithm::Sha256);
        assert!(resumption_psk(LabelPrefix::Dtls13, &master, &[0; 255]).is_ok());
        assert!(resumption_psk(LabelPrefix::Dtls13, &master, &[0; 256]).is_err());
    }
}

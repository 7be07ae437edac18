//! The early secret and what is derived from it (RFC 8446, 7.1).

use std::fmt;

use super::HashAlgorithm;
use super::hash::{Digest, Hash};
use super::hkdf::{self, Expander, LabelPrefix, Secret};
use super::hmac::HmacKey;
use crate::Error;
use crate::wipe::scrubbed;

/// The early secret of a PSK. All that a PSK is good for follows from it. Wiped when dropped.
#[derive(Clone)]
pub struct EarlySecret(Secret);

impl EarlySecret {
    /// The early secret of `psk`.
    #[must_use]
    pub fn from_psk(hash: HashAlgorithm, psk: &[u8]) -> Self {
        scrubbed(|| Self(hkdf::extract(hash, Secret::zero(hash).as_bytes(), psk)))
    }

    /// The early secret of a handshake without a PSK, from which its handshake secret follows.
    #[must_use]
    pub fn without_psk(hash: HashAlgorithm) -> Self {
        Self::from_psk(hash, Secret::zero(hash).as_bytes())
    }

    /// The early secret that consists of `bytes`, if they are as many as `hash` puts out.
    #[must_use]
    #[inline]
    pub fn from_bytes(hash: HashAlgorithm, bytes: &[u8]) -> Option<Self> {
        Secret::from_bytes(hash, bytes).map(Self)
    }

    /// Its bytes: 32 for SHA-256, 48 for SHA-384.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The hash of the PSK.
    #[must_use]
    #[inline]
    pub const fn hash(&self) -> HashAlgorithm {
        self.0.hash()
    }

    /// The secret `binder_key` of a resumption PSK ("res binder").
    #[must_use]
    pub fn resumption_binder_secret(&self, prefix: LabelPrefix) -> Secret {
        scrubbed(|| self.derive_from_nothing(prefix, b"res binder"))
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
        let transcript_hash = transcript_hash.as_bytes();
        scrubbed(|| Expander::new(prefix, &self.0).secret(b"c e traffic", transcript_hash))
    }

    /// The salt from which the handshake secret is extracted ("derived").
    #[must_use]
    pub fn derived(&self, prefix: LabelPrefix) -> Secret {
        scrubbed(|| self.derive_from_nothing(prefix, b"derived"))
    }

    /// Derive-Secret over no messages.
    fn derive_from_nothing(&self, prefix: LabelPrefix, label: &[u8]) -> Secret {
        let nothing = Hash::digest(self.hash(), &[]);
        Expander::new(prefix, &self.0).secret(label, nothing.as_bytes())
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

    #[test]
    fn an_early_secret_comes_back_from_its_bytes() {
        for hash in [HashAlgorithm::Sha256, HashAlgorithm::Sha384] {
            let early = EarlySecret::from_psk(hash, b"psk");
            let back = EarlySecret::from_bytes(hash, early.as_bytes()).unwrap();
            let sign = |early: &EarlySecret| early.binder_key(LabelPrefix::Dtls13).sign(&[b"x"]);
            assert!(sign(&back) == sign(&early));
            assert!(EarlySecret::from_bytes(hash, &early.as_bytes()[1..]).is_none());
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

//! The keys of one direction of one epoch (RFC 8446, 7.3; RFC 9147, 4.2.3), and the protection of
//! records with them.

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey, quic};
use std::fmt;
use zeroize::Zeroizing;

use super::hkdf::Expander;
use super::{CipherSuite, LabelPrefix, Secret};
use crate::Error;
use crate::wipe::{Wiped, overwrite, scrubbed};

/// Bytes of the tag of every suite.
pub(super) const TAG_LEN: usize = 16;
const IV_LEN: usize = 12;
const MAX_KEY_LEN: usize = 32;

/// What record number encryption samples of the `encrypted_record` (RFC 9147, 4.2.3).
pub(super) const SAMPLE_LEN: usize = 16;

/// Key, IV and record number key that follow from a traffic secret. Wiped when dropped.
#[derive(Clone)]
pub struct TrafficKeys {
    suite: CipherSuite,
    key: [u8; MAX_KEY_LEN],
    iv: [u8; IV_LEN],
    sn_key: [u8; MAX_KEY_LEN],
}

impl TrafficKeys {
    /// The keys of `suite` that follow from `traffic_secret`. An error if the secret belongs to
    /// another hash than the suite's.
    pub fn derive(
        prefix: LabelPrefix,
        suite: CipherSuite,
        traffic_secret: &Secret,
    ) -> Result<Self, Error> {
        if traffic_secret.hash() != suite.hash() {
            return Err(Error::Config(
                "traffic secret of another hash than the suite's",
            ));
        }
        scrubbed(|| {
            let expander = Expander::new(prefix, traffic_secret);
            let mut keys = Self {
                suite,
                key: [0; MAX_KEY_LEN],
                iv: [0; IV_LEN],
                sn_key: [0; MAX_KEY_LEN],
            };
            let key_len = suite.key_len();
            expander.expand_label(b"key", &[], &mut keys.key[..key_len]);
            expander.expand_label(b"iv", &[], &mut keys.iv);
            expander.expand_label(b"sn", &[], &mut keys.sn_key[..key_len]);
            Ok(keys)
        })
    }

    /// The suite that they are keys of.
    #[must_use]
    pub const fn suite(&self) -> CipherSuite {
        self.suite
    }

    /// The AEAD key: 16 or 32 bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key[..self.suite.key_len()]
    }

    /// What a nonce is made of, together with the record number.
    #[must_use]
    pub const fn iv(&self) -> &[u8; 12] {
        &self.iv
    }

    /// The key of record number encryption: 16 or 32 bytes.
    #[must_use]
    pub fn sn_key(&self) -> &[u8] {
        &self.sn_key[..self.suite.key_len()]
    }
}

impl Drop for TrafficKeys {
    fn drop(&mut self) {
        overwrite(&mut self.key);
        overwrite(&mut self.iv);
        overwrite(&mut self.sn_key);
    }
}

impl fmt::Debug for TrafficKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrafficKeys({:?})", self.suite)
    }
}

/// A record that authenticated, and may have come before.
#[must_use]
pub(super) struct Authentic<'r> {
    pub(super) number: u64,
    pub(super) plaintext: &'r mut [u8],
}

/// [`TrafficKeys`] made ready to use. On the heap, where it is wiped when dropped.
pub(super) struct Protection {
    suite: CipherSuite,
    key: Wiped<LessSafeKey>,
    iv: Zeroizing<[u8; IV_LEN]>,
    // The masks of DTLS 1.3 (RFC 9147, 4.2.3) are those of QUIC (RFC 9001, 5.4.3 and 5.4.4).
    sn_key: Wiped<quic::HeaderProtectionKey>,
}

impl Protection {
    pub(super) fn new(keys: &TrafficKeys) -> Result<Box<Self>, Error> {
        scrubbed(|| Self::build(keys).map(Box::new))
    }

    fn build(keys: &TrafficKeys) -> Result<Self, Error> {
        let (aead, mask): (&'static aead::Algorithm, &'static quic::Algorithm) = match keys.suite {
            CipherSuite::Aes128GcmSha256 => (&aead::AES_128_GCM, &quic::AES_128),
            CipherSuite::Aes256GcmSha384 => (&aead::AES_256_GCM, &quic::AES_256),
            CipherSuite::Chacha20Poly1305Sha256 => (&aead::CHACHA20_POLY1305, &quic::CHACHA20),
        };
        let wrong_len = |_| Error::Length("traffic keys");
        let key = UnboundKey::new(aead, keys.key()).map_err(wrong_len)?;
        let sn_key = quic::HeaderProtectionKey::new(mask, keys.sn_key()).map_err(wrong_len)?;
        Ok(Self {
            suite: keys.suite,
            key: Wiped::new(LessSafeKey::new(key)),
            iv: Zeroizing::new(keys.iv),
            sn_key: Wiped::new(sn_key),
        })
    }

    pub(super) const fn suite(&self) -> CipherSuite {
        self.suite
    }

    /// The mask over a sequence number, from the start of its `encrypted_record`; `None` if that
    /// is shorter than [`SAMPLE_LEN`].
    #[inline]
    pub(super) fn mask(&self, encrypted_record: &[u8]) -> Option<[u8; 5]> {
        self.sn_key
            .new_mask(encrypted_record.get(..SAMPLE_LEN)?)
            .ok()
    }

    /// Decrypts `encrypted_record` in its place; `None` if it does not authenticate.
    #[inline]
    pub(super) fn open<'r>(
        &self,
        sequence_number: u64,
        header: &[u8],
        encrypted_record: &'r mut [u8],
    ) -> Option<Authentic<'r>> {
        let nonce = self.nonce(sequence_number);
        let open = || {
            self.key
                .open_in_place(nonce, Aad::from(header), encrypted_record)
        };
        Some(Authentic {
            number: sequence_number,
            plaintext: self.scrubbed(open).ok()?,
        })
    }

    /// Encrypts `text` in its place and returns the tag; `None` only for a text that is longer
    /// than an AEAD takes, which no record is.
    #[inline]
    pub(super) fn seal(
        &self,
        sequence_number: u64,
        header: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG_LEN]> {
        let nonce = self.nonce(sequence_number);
        let seal = || {
            self.key
                .seal_in_place_separate_tag(nonce, Aad::from(header), text)
        };
        self.scrubbed(seal).ok()?.as_ref().try_into().ok()
    }

    /// `ring` copies the key of ChaCha20 to the stack for every record, and leaves it there.
    #[inline]
    fn scrubbed<R>(&self, work: impl FnOnce() -> R) -> R {
        match self.suite {
            CipherSuite::Chacha20Poly1305Sha256 => scrubbed(work),
            CipherSuite::Aes128GcmSha256 | CipherSuite::Aes256GcmSha384 => work(),
        }
    }

    /// RFC 8446, 5.3: the IV with the sequence number over its end. The epoch is not part of it
    /// (RFC 9147, 4).
    #[inline]
    fn nonce(&self, sequence_number: u64) -> Nonce {
        let mut nonce = *self.iv;
        for (byte, number) in nonce[IV_LEN - 8..]
            .iter_mut()
            .zip(sequence_number.to_be_bytes())
        {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

//! Sealing the records of one epoch (RFC 9147, 4).

use std::fmt;

use super::CipherSuite;
use super::record_keys::{Protection, TAG_LEN, TrafficKeys};
use crate::Error;
use crate::wire::{ContentType, MAX_PLAINTEXT_LEN, UnifiedHeader};

/// The most bytes by which a record is longer than its plaintext, without a connection ID: unified
/// header, content type, tag.
pub const RECORD_OVERHEAD_LEN: usize = HEADER_LEN + 1 + TAG_LEN;

/// First byte, 16-bit sequence number, length.
const HEADER_LEN: usize = 1 + 2 + 2;

/// Seals records in one epoch, each under the next record number.
pub struct RecordSealer {
    protection: Box<Protection>,
    epoch: u64,
    next: u64,
}

impl RecordSealer {
    /// Seals with `keys` in `epoch`: 1 for early data, 2 for the handshake, 3 and on for application
    /// data. An error for epoch 0, which has no protection.
    ///
    /// Record numbers, and so nonces, begin at 0: build one sealer for a traffic secret, ever.
    pub fn new(keys: &TrafficKeys, epoch: u64) -> Result<Self, Error> {
        if epoch == 0 {
            return Err(Error::Config("epoch 0 is not protected"));
        }
        Ok(Self {
            protection: Protection::new(keys)?,
            epoch,
            next: 0,
        })
    }

    /// The epoch whose records it seals.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The record number that the next record gets.
    #[must_use]
    pub const fn next_sequence_number(&self) -> u64 {
        self.next
    }

    /// How many more records the key may seal (RFC 8446, 5.5). Update it before none is left.
    #[must_use]
    pub const fn records_left(&self) -> u64 {
        seal_limit(self.protection.suite()).saturating_sub(self.next)
    }

    /// Writes a record with `plaintext`, at most 2^14 bytes, to the start of `out` and returns its
    /// length in bytes: [`RECORD_OVERHEAD_LEN`] and the connection ID more than the plaintext.
    /// `connection_id` is what the peer asked to find in records, empty if nothing.
    ///
    /// An error if the plaintext is too long, `out` too short, or the key exhausted; then no
    /// record number is used.
    pub fn seal(
        &mut self,
        connection_id: &[u8],
        content_type: ContentType,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        if plaintext.len() > MAX_PLAINTEXT_LEN {
            return Err(Error::Length("plaintext of a record"));
        }
        if connection_id.len() > 255 {
            return Err(Error::Length("connection ID"));
        }
        if self.records_left() == 0 {
            return Err(Error::KeyExhausted);
        }
        let needed = RECORD_OVERHEAD_LEN + connection_id.len() + plaintext.len();
        let out = out
            .get_mut(..needed)
            .ok_or(Error::BufferTooSmall { needed })?;

        let header_len = UnifiedHeader {
            epoch: self.epoch,
            connection_id,
            sequence_number: self.next as u16,
            length: Some((plaintext.len() + 1 + TAG_LEN) as u16),
        }
        .write(out)?;
        let (header, encrypted) = out.split_at_mut(header_len);
        let (text, tag) = encrypted.split_at_mut(plaintext.len() + 1);
        text[..plaintext.len()].copy_from_slice(plaintext);
        text[plaintext.len()] = content_type.0;
        let sealed = self.protection.seal(self.next, header, text);
        tag.copy_from_slice(&sealed.ok_or(Error::Length("plaintext of a record"))?);
        self.next += 1;

        let mask = self.protection.mask(encrypted);
        let sequence = &mut header[1 + connection_id.len()..][..2];
        for (byte, mask) in sequence.iter_mut().zip(mask.into_iter().flatten()) {
            *byte ^= mask;
        }
        Ok(needed)
    }
}

impl fmt::Debug for RecordSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RecordSealer({:?}, epoch {})",
            self.protection.suite(),
            self.epoch
        )
    }
}

/// How many records a key of `suite` may protect: 2^24.5 with AES-GCM (RFC 8446, 5.5), and with
/// ChaCha20-Poly1305, which has no such limit, as many as there are record numbers in an epoch.
const fn seal_limit(suite: CipherSuite) -> u64 {
    match suite {
        CipherSuite::Aes128GcmSha256 | CipherSuite::Aes256GcmSha384 => 23_726_566,
        CipherSuite::Chacha20Poly1305Sha256 => 1 << 48,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schedule::{LabelPrefix, Secret};

    fn sealer(suite: CipherSuite) -> RecordSealer {
        let secret = Secret::zero(suite.hash());
        let keys = TrafficKeys::derive(LabelPrefix::Dtls13, suite, &secret).unwrap();
        RecordSealer::new(&keys, 1).unwrap()
    }

    #[test]
    fn misuse_is_an_error_and_uses_no_record_number() {
        let mut sealer = sealer(CipherSuite::Aes128GcmSha256);
        let mut out = vec![0; MAX_PLAINTEXT_LEN + 300];
        let data = ContentType::APPLICATION_DATA;
        let short = sealer.seal(&[], data, b"four", &mut out[..25]);
        assert_eq!(short, Err(Error::BufferTooSmall { needed: 26 }));
        assert!(
            sealer
                .seal(&[], data, &[0; MAX_PLAINTEXT_LEN + 1], &mut out)
                .is_err()
        );
        assert!(sealer.seal(&[0; 256], data, &[], &mut out).is_err());
        assert_eq!(sealer.next_sequence_number(), 0);
        assert_eq!(sealer.seal(&[], data, b"four", &mut out), Ok(26));
        assert_eq!(sealer.next_sequence_number(), 1);
    }

    #[test]
    fn a_key_seals_no_more_records_than_it_may() {
        for suite in [
            CipherSuite::Aes128GcmSha256,
            CipherSuite::Chacha20Poly1305Sha256,
        ] {
            let mut sealer = sealer(suite);
            sealer.next = seal_limit(suite) - 1;
            assert_eq!(sealer.records_left(), 1);
            let mut out = [0; 64];
            assert!(
                sealer
                    .seal(&[], ContentType::ALERT, &[1, 0], &mut out)
                    .is_ok()
            );
            let refused = sealer.seal(&[], ContentType::ALERT, &[1, 0], &mut out);
            assert_eq!(refused, Err(Error::KeyExhausted));
            assert_eq!(sealer.records_left(), 0);
        }
    }

    #[test]
    fn the_secret_of_another_hash_and_epoch_0_are_refused() {
        let sha256 = Secret::zero(CipherSuite::Aes128GcmSha256.hash());
        let derived =
            TrafficKeys::derive(LabelPrefix::Dtls13, CipherSuite::Aes256GcmSha384, &sha256);
        assert!(derived.is_err());
        let suite = CipherSuite::Aes128GcmSha256;
        let keys = TrafficKeys::derive(LabelPrefix::Dtls13, suite, &sha256).unwrap();
        assert!(RecordSealer::new(&keys, 0).is_err());
    }
}

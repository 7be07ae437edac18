//! Opening the records of one epoch (RFC 9147, 4.2 and 4.5).

use std::fmt;

use super::record_keys::{Protection, TrafficKeys};
use super::window::{ReplayWindow, nearest};
use crate::Error;
use crate::wire::{ContentType, MAX_PLAINTEXT_LEN, Malformed, Record, records};

/// How many forgeries a key may be tried with (RFC 9147, 4.5.3).
const MAX_FORGERIES: u64 = 1 << 36;

/// Opens the records that the peer protects in one epoch, each of them once.
///
/// A record that is rejected is to be dropped in silence, whatever the reason (RFC 9147, 4.5.2):
/// anybody can send it. One that is not authentic changes nothing but the count of forgeries; an
/// authentic one that cannot be read has used its number up.
pub struct RecordOpener {
    protection: Box<Protection>,
    epoch: u64,
    window: ReplayWindow,
    forgeries: u64,
}

/// An authentic record that was not seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'r> {
    /// What the plaintext is.
    pub content_type: ContentType,
    /// Without padding: at most 2^14 bytes, possibly none.
    pub plaintext: &'r [u8],
    /// The full record number, as an ACK names it.
    pub sequence_number: u64,
}

/// Why a record was not opened. The reasons are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordRejected {
    /// It does not parse.
    Malformed(Malformed),
    /// It is no encrypted record.
    Unencrypted,
    /// There are bytes behind it: records are opened one by one.
    TrailingBytes,
    /// Its epoch bits are not those of the epoch.
    OtherEpoch,
    /// It is too short for its record number to be read (RFC 9147, 4.2.3).
    TooShort,
    /// It is authentic, but was opened before, or is too old to tell.
    Replayed,
    /// It does not authenticate: forged, damaged, or of another epoch with the same low bits.
    NotAuthentic,
    /// It is authentic, but holds nothing: padding without a content type.
    NoContentType,
    /// It is authentic, but its plaintext is longer than 2^14 bytes.
    TooLong,
    /// The key was tried with as many forgeries as it may be. It opens nothing any more.
    KeyExhausted,
}

impl fmt::Display for RecordRejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(why) => return write!(f, "malformed record: {why}"),
            Self::Unencrypted => "a record that is not encrypted",
            Self::TrailingBytes => "bytes behind the record",
            Self::OtherEpoch => "a record of another epoch",
            Self::TooShort => "a record too short to have its number read",
            Self::Replayed => "a record that was opened before, or is too old to tell",
            Self::NotAuthentic => "a record that does not authenticate",
            Self::NoContentType => "a record without a content type",
            Self::TooLong => "a plaintext over 2^14 bytes",
            Self::KeyExhausted => "the key was tried with as many forgeries as it may be",
        })
    }
}

impl std::error::Error for RecordRejected {}

impl RecordOpener {
    /// Opens what is protected with `keys` in `epoch`: 1 for early data, 2 for the handshake, 3 and
    /// on for application data. An error for epoch 0, which has no protection.
    pub fn new(keys: &TrafficKeys, epoch: u64) -> Result<Self, Error> {
        if epoch == 0 {
            return Err(Error::Config("epoch 0 is not protected"));
        }
        Ok(Self {
            protection: Protection::new(keys)?,
            epoch,
            window: ReplayWindow::default(),
            forgeries: 0,
        })
    }

    /// The epoch whose records it opens.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many records did not authenticate.
    #[must_use]
    pub const fn forgeries(&self) -> u64 {
        self.forgeries
    }

    /// Opens `record`, which is one whole record with its unified header, in its place.
    /// `connection_id_len` is the length of the connection IDs that this side chose to receive.
    ///
    /// Only two bits of the epoch are in a record: 1 may be 5. The caller says by its choice of an
    /// opener which epoch it takes the record for, and the AEAD decides. A record that was
    /// rejected may have been overwritten: it cannot be tried with another opener.
    pub fn open<'r>(
        &mut self,
        record: &'r mut [u8],
        connection_id_len: usize,
    ) -> Result<Opened<'r>, RecordRejected> {
        if self.forgeries >= MAX_FORGERIES {
            return Err(RecordRejected::KeyExhausted);
        }
        let layout = Layout::of(record, connection_id_len)?;
        if u64::from(layout.epoch_bits) != self.epoch & 3 {
            return Err(RecordRejected::OtherEpoch);
        }
        let (header, encrypted) = record.split_at_mut(layout.header_len);
        let mask = self
            .protection
            .mask(encrypted)
            .ok_or(RecordRejected::TooShort)?;

        // The header is authenticated with its sequence number in the clear.
        let sequence = &mut header[layout.sequence_offset..][..layout.sequence_len];
        let mut low = 0;
        for (byte, mask) in sequence.iter_mut().zip(mask) {
            *byte ^= mask;
            low = low << 8 | u64::from(*byte);
        }
        let number = nearest(self.window.expected(), low, 8 * layout.sequence_len as u32);

        let Some(authentic) = self.protection.open(number, header, encrypted) else {
            self.forgeries += 1;
            return Err(RecordRejected::NotAuthentic);
        };
        let accepted = self.window.accept(authentic);
        let inner = accepted.ok_or(RecordRejected::Replayed)?;

        // DTLSInnerPlaintext: content, content type, zeros (RFC 9147, 4).
        let type_at = inner.iter().rposition(|&byte| byte != 0);
        let (plaintext, content_type) = type_at
            .and_then(|at| inner[..=at].split_last())
            .map(|(&content_type, plaintext)| (plaintext, ContentType(content_type)))
            .ok_or(RecordRejected::NoContentType)?;
        if plaintext.len() > MAX_PLAINTEXT_LEN {
            return Err(RecordRejected::TooLong);
        }
        Ok(Opened {
            content_type,
            plaintext,
            sequence_number: number,
        })
    }
}

impl fmt::Debug for RecordOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RecordOpener({:?}, epoch {})",
            self.protection.suite(),
            self.epoch
        )
    }
}

/// Where the parts of an encrypted record lie in it.
struct Layout {
    epoch_bits: u8,
    header_len: usize,
    sequence_offset: usize,
    sequence_len: usize,
}

impl Layout {
    fn of(record: &[u8], connection_id_len: usize) -> Result<Self, RecordRejected> {
        let view = match records(record, connection_id_len).next() {
            Some(Ok(Record::Ciphertext(view))) => view,
            Some(Ok(Record::Plaintext(_))) => return Err(RecordRejected::Unencrypted),
            Some(Err(why)) => return Err(RecordRejected::Malformed(why)),
            None => return Err(RecordRejected::TooShort),
        };
        if view.bytes.len() != record.len() {
            return Err(RecordRejected::TrailingBytes);
        }
        Ok(Self {
            epoch_bits: view.epoch_bits,
            header_len: view.header.len(),
            sequence_offset: view.sequence_offset(),
            sequence_len: view.sequence.len(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schedule::{CipherSuite, LabelPrefix, RecordSealer, Secret};
    use crate::wire::UnifiedHeader;
    use proptest::prelude::*;

    const SUITES: [CipherSuite; 3] = [
        CipherSuite::Aes128GcmSha256,
        CipherSuite::Aes256GcmSha384,
        CipherSuite::Chacha20Poly1305Sha256,
    ];

    fn keys(suite: CipherSuite) -> TrafficKeys {
        let secret = Secret::from_bytes(suite.hash(), &[7; 48][..suite.hash().output_len()]);
        TrafficKeys::derive(LabelPrefix::Dtls13, suite, &secret.unwrap()).unwrap()
    }

    fn pair(epoch: u64) -> (RecordSealer, RecordOpener) {
        let keys = keys(CipherSuite::Aes128GcmSha256);
        (
            RecordSealer::new(&keys, epoch).unwrap(),
            RecordOpener::new(&keys, epoch).unwrap(),
        )
    }

    fn seal(sealer: &mut RecordSealer, plaintext: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plaintext.len() + 64];
        let len = sealer.seal(&[], ContentType::APPLICATION_DATA, plaintext, &mut out);
        out.truncate(len.unwrap());
        out
    }

    fn refusal(opener: &mut RecordOpener, record: &[u8]) -> Option<RecordRejected> {
        opener.open(&mut record.to_vec(), 0).err()
    }

    /// A record as a peer may write it and the sealer does not: `inner` as it is, under `header`
    /// with an 8-bit or 16-bit sequence number in the clear at `at`.
    fn raw(number: u64, header: &[u8], at: std::ops::Range<usize>, inner: &[u8]) -> Vec<u8> {
        let protection = Protection::new(&keys(CipherSuite::Aes128GcmSha256)).unwrap();
        let mut text = inner.to_vec();
        let tag = protection.seal(number, header, &mut text).unwrap();
        text.extend(tag);
        let mut header = header.to_vec();
        for (byte, mask) in header[at].iter_mut().zip(protection.mask(&text).unwrap()) {
            *byte ^= mask;
        }
        [header, text].concat()
    }

    #[test]
    fn what_is_sealed_opens_in_every_suite_and_epoch_with_and_without_connection_id() {
        for suite in SUITES {
            for (epoch, connection_id) in [(1, b"".as_slice()), (2, b""), (3, b"peer's"), (4, b"x")]
            {
                let mut sealer = RecordSealer::new(&keys(suite), epoch).unwrap();
                let mut opener = RecordOpener::new(&keys(suite), epoch).unwrap();
                for number in 0..300 {
                    let plaintext = vec![0x61; number as usize];
                    let mut out = [0; 400];
                    let len = sealer
                        .seal(
                            connection_id,
                            ContentType::APPLICATION_DATA,
                            &plaintext,
                            &mut out,
                        )
                        .unwrap();
                    let opened = opener.open(&mut out[..len], connection_id.len()).unwrap();
                    assert_eq!(opened.plaintext, plaintext);
                    assert_eq!(opened.content_type, ContentType::APPLICATION_DATA);
                    assert_eq!(opened.sequence_number, number);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn trap_31_a_changed_bit_is_rejected_and_changes_nothing(
            bit in any::<prop::sample::Index>(),
        ) {
            let (mut sealer, mut opener) = pair(1);
            let first = seal(&mut sealer, b"first");
            let record = seal(&mut sealer, b"second");
            assert!(opener.open(&mut first.clone(), 0).is_ok());
            // When any one bit is changed, then the record is refused,
            let bit = bit.index(record.len() * 8);
            let mut forged = record.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(opener.open(&mut forged, 0).is_err());
            // and the genuine ones find everything as it was.
            assert_eq!(opener.open(&mut record.clone(), 0).unwrap().plaintext, b"second");
            assert_eq!(opener.open(&mut first.clone(), 0), Err(RecordRejected::Replayed));
        }

        #[test]
        fn any_bytes_are_rejected(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let (_, mut opener) = pair(1);
            if let Some(first) = bytes.first_mut() {
                *first = *first & 0x1f | 0x20;
            }
            for connection_id_len in [0, 4, 200] {
                assert!(opener.open(&mut bytes, connection_id_len).is_err());
            }
        }

        #[test]
        fn trap_32_each_record_is_accepted_once_however_it_is_reordered_and_doubled(
            order in prop::collection::vec(0usize..40, 0..120),
        ) {
            let (mut sealer, mut opener) = pair(1);
            let records: Vec<_> = (0..40u8).map(|i| seal(&mut sealer, &[i])).collect();
            let mut seen = [false; 40];
            for i in order {
                let mut record = records[i].clone();
                let opened = opener.open(&mut record, 0);
                assert_eq!(opened.is_ok(), !seen[i]);
                assert!(opened.is_ok() || opened == Err(RecordRejected::Replayed));
                seen[i] = true;
            }
        }
    }

    #[test]
    fn trap_31_forgeries_are_counted_and_a_key_tried_too_often_opens_nothing() {
        let (mut sealer, mut opener) = pair(1);
        let record = seal(&mut sealer, b"data");
        let mut forged = record.clone();
        *forged.last_mut().unwrap() ^= 1;
        opener.forgeries = MAX_FORGERIES - 1;
        let refused = opener.open(&mut forged, 0);
        assert_eq!(refused, Err(RecordRejected::NotAuthentic));
        assert_eq!(opener.forgeries(), MAX_FORGERIES);
        let refused = refusal(&mut opener, &record);
        assert_eq!(refused, Some(RecordRejected::KeyExhausted));
    }

    #[test]
    fn whether_a_number_was_seen_is_told_to_nobody_who_cannot_authenticate() {
        // Given a record that was opened,
        let (mut sealer, mut opener) = pair(1);
        let record = seal(&mut sealer, b"data");
        assert!(opener.open(&mut record.clone(), 0).is_ok());
        // when another comes with its number, then it is one more forgery;
        let mut forged = record.clone();
        *forged.last_mut().unwrap() ^= 1;
        let refused = opener.open(&mut forged, 0);
        assert_eq!(refused, Err(RecordRejected::NotAuthentic));
        assert_eq!(opener.forgeries(), 1);
        // when it comes itself, then it is a replay, and no forgery.
        let refused = refusal(&mut opener, &record);
        assert_eq!(refused, Some(RecordRejected::Replayed));
        assert_eq!(opener.forgeries(), 1);
    }

    #[test]
    fn trap_32_a_record_of_epoch_5_looks_like_epoch_1_and_does_not_authenticate() {
        // Given a record of epoch 5, whose two epoch bits are those of 1, under keys of its own,
        let (_, mut opener) = pair(1);
        let secret = Secret::from_bytes(CipherSuite::Aes128GcmSha256.hash(), &[8; 32]).unwrap();
        let suite = CipherSuite::Aes128GcmSha256;
        let keys = TrafficKeys::derive(LabelPrefix::Dtls13, suite, &secret).unwrap();
        let mut epoch5 = RecordSealer::new(&keys, 5).unwrap();
        let record = seal(&mut epoch5, b"later");
        // when epoch 1 is asked, then the AEAD refuses and nothing changes;
        let refused = refusal(&mut opener, &record);
        assert_eq!(refused, Some(RecordRejected::NotAuthentic));
        assert_eq!(opener.window.expected(), 0);
        // when epoch 5 is asked, then it opens; other epochs are not even tried.
        let mut opener = RecordOpener::new(&keys, 5).unwrap();
        assert!(opener.open(&mut record.clone(), 0).is_ok());
        for epoch in [2, 3, 4] {
            let mut opener = RecordOpener::new(&keys, epoch).unwrap();
            let refused = refusal(&mut opener, &record);
            assert_eq!(refused, Some(RecordRejected::OtherEpoch));
        }
    }

    #[test]
    fn trap_32_record_numbers_are_reconstructed_past_16_bits_and_after_loss() {
        let (mut sealer, mut opener) = pair(1);
        let mut last = Vec::new();
        for number in 0..140_000u64 {
            let record = seal(&mut sealer, b"");
            // Most are lost, up to 30000 in a row.
            if number % 30_000 < 3 {
                last = record;
                let mut record = last.clone();
                let opened = opener.open(&mut record, 0).unwrap();
                assert_eq!(opened.sequence_number, number);
            }
        }
        assert_eq!(opener.open(&mut last, 0), Err(RecordRejected::Replayed));
    }

    #[test]
    fn headers_that_others_write_are_understood() {
        let (_, mut opener) = pair(1);
        // The minimal header: 8-bit sequence number, no length.
        let mut minimal = raw(0, &[0x21, 0], 1..2, b"a\x17");
        assert_eq!(opener.open(&mut minimal, 0).unwrap().plaintext, b"a");
        // Padding of zeros, and a plaintext that ends with zeros.
        let mut padded = raw(1, &[0x29, 0, 1], 1..3, b"b\0\0\x17\0\0\0\0");
        assert_eq!(opener.open(&mut padded, 0).unwrap().plaintext, b"b\0\0");
        // A connection ID.
        let mut header = [0; 8];
        let unified = UnifiedHeader {
            epoch: 1,
            connection_id: b"CID",
            sequence_number: 2,
            length: Some(18),
        };
        let len = unified.write(&mut header).unwrap();
        let mut with_id = raw(2, &header[..len], 4..6, b"c\x17");
        assert_eq!(opener.open(&mut with_id, 3).unwrap().plaintext, b"c");
    }

    #[test]
    fn authentic_records_without_content_or_with_too_much_are_rejected() {
        let (_, mut opener) = pair(1);
        let mut nothing = raw(0, &[0x29, 0, 0], 1..3, b"");
        assert_eq!(
            opener.open(&mut nothing, 0),
            Err(RecordRejected::NoContentType)
        );
        let mut zeros = raw(1, &[0x29, 0, 1], 1..3, &[0; 20]);
        assert_eq!(
            opener.open(&mut zeros, 0),
            Err(RecordRejected::NoContentType)
        );
        let mut fits = raw(2, &[0x29, 0, 2], 1..3, &[0x17; MAX_PLAINTEXT_LEN + 1]);
        assert!(opener.open(&mut fits, 0).is_ok());
        let mut long = raw(3, &[0x29, 0, 3], 1..3, &[0x17; MAX_PLAINTEXT_LEN + 2]);
        assert_eq!(opener.open(&mut long, 0), Err(RecordRejected::TooLong));
    }

    #[test]
    fn what_is_no_single_encrypted_record_is_rejected() {
        let (mut sealer, mut opener) = pair(1);
        let record = seal(&mut sealer, b"data");
        let mut two = [record.clone(), record.clone()].concat();
        assert_eq!(opener.open(&mut two, 0), Err(RecordRejected::TrailingBytes));
        assert_eq!(opener.open(&mut [], 0), Err(RecordRejected::TooShort));
        let mut short = [&[0x29, 0, 0], [1; 15].as_slice()].concat();
        assert_eq!(opener.open(&mut short, 0), Err(RecordRejected::TooShort));
        let mut plaintext = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            opener.open(&mut plaintext, 0),
            Err(RecordRejected::Unencrypted)
        );
        assert!(RecordOpener::new(&keys(CipherSuite::Aes128GcmSha256), 0).is_err());
    }
}

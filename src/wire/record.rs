//! The records of a datagram (RFC 9147, 4): plaintext, and encrypted ones under a unified header.

use super::malformed::Malformed;
use super::reader::{Reader, Writer};
use crate::error::Error;

/// Bytes of a plaintext record's header.
pub const PLAINTEXT_HEADER_LEN: usize = 13;

/// The longest fragment of a plaintext record, in bytes (RFC 8446, 5.1).
pub const MAX_PLAINTEXT_LEN: usize = 1 << 14;

/// The longest `encrypted_record`, in bytes (RFC 8446, 5.2).
pub const MAX_CIPHERTEXT_LEN: usize = MAX_PLAINTEXT_LEN + 256;

/// `legacy_record_version` as it is written: DTLS 1.2. Readers ignore the field (RFC 9147, 4).
pub const LEGACY_RECORD_VERSION: u16 = 0xfefd;

/// What a record carries (RFC 9147, 4). Every code can be held, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentType(pub u8);

impl ContentType {
    /// An alert.
    pub const ALERT: Self = Self(21);
    /// Handshake messages or fragments of them.
    pub const HANDSHAKE: Self = Self(22);
    /// Application data.
    pub const APPLICATION_DATA: Self = Self(23);
    /// Record numbers that the peer has received (RFC 9147, 7).
    pub const ACK: Self = Self(26);
}

/// One record, borrowed from its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// `DTLSPlaintext`.
    Plaintext(PlaintextRecord<'a>),
    /// `DTLSCiphertext`.
    Ciphertext(CiphertextRecord<'a>),
}

/// `DTLSPlaintext` (RFC 9147, 4): alert, handshake or ack of epoch 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaintextRecord<'a> {
    /// What the fragment is.
    pub content_type: ContentType,
    /// Means nothing: `fefd` or `feff`.
    pub legacy_version: u16,
    /// 48 bits.
    pub sequence_number: u64,
    /// At most [`MAX_PLAINTEXT_LEN`] bytes.
    pub fragment: &'a [u8],
}

/// `DTLSCiphertext` (RFC 9147, 4), its sequence number and record still protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CiphertextRecord<'a> {
    /// The whole record: header and `encrypted_record`.
    pub bytes: &'a [u8],
    /// The unified header: first byte, connection ID, sequence number, length.
    pub header: &'a [u8],
    /// The two low bits of the epoch: 1 is epoch 1, but also 5 and 9.
    pub epoch_bits: u8,
    /// Absent unless the C bit is set.
    pub connection_id: Option<&'a [u8]>,
    /// The encrypted low bits of the record number, 1 or 2 bytes. They begin in the header (and in
    /// the record) at [`sequence_offset`](Self::sequence_offset).
    pub sequence: &'a [u8],
    /// At most [`MAX_CIPHERTEXT_LEN`] bytes. Shorter than 16 cannot be unprotected.
    pub encrypted_record: &'a [u8],
}

impl CiphertextRecord<'_> {
    /// Where in the header the sequence number begins, in bytes.
    #[must_use]
    pub const fn sequence_offset(&self) -> usize {
        match self.connection_id {
            Some(id) => 1 + id.len(),
            None => 1,
        }
    }
}

/// The records of `datagram`, in order. `connection_id_len` is the length of the connection IDs
/// that this side chose to receive, 0 if none: it is not on the wire.
#[must_use]
pub const fn records(datagram: &[u8], connection_id_len: usize) -> Records<'_> {
    Records {
        datagram_len: datagram.len(),
        rest: datagram,
        connection_id_len,
    }
}

/// Iterates over the records of a datagram. What follows a malformed record has no known start,
/// so the first error is the last item.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    datagram_len: usize,
    rest: &'a [u8],
    connection_id_len: usize,
}

impl<'a> Records<'a> {
    /// Where in the datagram the next record begins, in bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.datagram_len - self.rest.len()
    }

    /// What has not been read of the datagram.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    // With its caller, which mostly takes a record apart again.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let &first = self.rest.first()?;
        let mut reader = Reader::new(self.rest);
        let record = match first {
            21 | 22 | 26 => plaintext(&mut reader).map(Record::Plaintext),
            0x20..=0x3f => ciphertext(&mut reader, self.connection_id_len).map(Record::Ciphertext),
            _ => Err(Malformed::NotDtls13),
        };
        self.rest = if record.is_ok() { reader.rest() } else { &[] };
        Some(record)
    }
}

#[inline]
fn plaintext<'a>(reader: &mut Reader<'a>) -> Result<PlaintextRecord<'a>, Malformed> {
    let &[content_type, v0, v1, e0, e1, a, b, c, d, e, f, l0, l1] = reader.array()?;
    let fragment = reader.take(u16::from_be_bytes([l0, l1]).into())?;
    if [e0, e1] != [0, 0] {
        return Err(Malformed::PlaintextEpoch);
    }
    if fragment.len() > MAX_PLAINTEXT_LEN {
        return Err(Malformed::RecordOverflow);
    }
    Ok(PlaintextRecord {
        content_type: ContentType(content_type),
        legacy_version: u16::from_be_bytes([v0, v1]),
        sequence_number: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
        fragment,
    })
}

const FIXED_BITS: u8 = 0b0010_0000;
const C_BIT: u8 = 0b0001_0000;
const S_BIT: u8 = 0b0000_1000;
const L_BIT: u8 = 0b0000_0100;
const EPOCH_BITS: u8 = 0b0000_0011;

fn ciphertext<'a>(
    reader: &mut Reader<'a>,
    connection_id_len: usize,
) -> Result<CiphertextRecord<'a>, Malformed> {
    let start = reader.rest();
    let first = reader.u8()?;
    let connection_id = match (first & C_BIT != 0, connection_id_len) {
        (false, _) => None,
        (true, 0) => return Err(Malformed::UnexpectedConnectionId),
        (true, len) => Some(reader.take(len)?),
    };
    let sequence = reader.take(if first & S_BIT != 0 { 2 } else { 1 })?;
    let length = if first & L_BIT != 0 {
        Some(usize::from(reader.u16()?))
    } else {
        None
    };
    let header = &start[..start.len() - reader.rest().len()];
    let encrypted_record = reader.take(length.unwrap_or(reader.rest().len()))?;
    if encrypted_record.len() > MAX_CIPHERTEXT_LEN {
        return Err(Malformed::RecordOverflow);
    }
    Ok(CiphertextRecord {
        bytes: &start[..header.len() + encrypted_record.len()],
        header,
        epoch_bits: first & EPOCH_BITS,
        connection_id,
        sequence,
        encrypted_record,
    })
}

/// The header of a plaintext record whose fragment is `fragment_len` bytes long, with the low 48
/// bits of `sequence_number`.
#[must_use]
pub fn plaintext_header(
    content_type: ContentType,
    sequence_number: u64,
    fragment_len: u16,
) -> [u8; PLAINTEXT_HEADER_LEN] {
    let [version_high, version_low] = LEGACY_RECORD_VERSION.to_be_bytes();
    let [_, _, a, b, c, d, e, f] = sequence_number.to_be_bytes();
    let [length_high, length_low] = fragment_len.to_be_bytes();
    [
        content_type.0,
        version_high,
        version_low,
        0,
        0,
        a,
        b,
        c,
        d,
        e,
        f,
        length_high,
        length_low,
    ]
}

/// A unified header to be written, always with a 16-bit sequence number.
#[derive(Clone, Copy, Debug)]
pub struct UnifiedHeader<'a> {
    /// The two low bits are written.
    pub epoch: u64,
    /// The peer's connection ID; none is written if it is empty.
    pub connection_id: &'a [u8],
    /// The low 16 bits of the record number, not yet protected.
    pub sequence_number: u16,
    /// Bytes of `encrypted_record`; without it the record runs to the end of the datagram.
    pub length: Option<u16>,
}

impl UnifiedHeader<'_> {
    /// Writes the header to the start of `out` and returns its length in bytes.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`] if `out` is too short.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut first = FIXED_BITS | S_BIT | (self.epoch as u8 & EPOCH_BITS);
        if !self.connection_id.is_empty() {
            first |= C_BIT;
        }
        if self.length.is_some() {
            first |= L_BIT;
        }
        let mut writer = Writer::new(out);
        writer.u8(first);
        writer.bytes(self.connection_id);
        writer.u16(self.sequence_number);
        if let Some(length) = self.length {
            writer.u16(length);
        }
        writer.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_of_both_kinds_share_a_datagram() {
        // Given a plaintext record, an encrypted one with a length, and one without
        let mut datagram = plaintext_header(ContentType::HANDSHAKE, 0x0102_0304_0506, 3).to_vec();
        datagram.extend(b"abc");
        let mut header = [0; 16];
        let with_length = UnifiedHeader {
            epoch: 1,
            connection_id: b"",
            sequence_number: 0xaabb,
            length: Some(20),
        };
        let len = with_length.write(&mut header).unwrap();
        datagram.extend(&header[..len]);
        datagram.extend([1; 20]);
        let to_the_end = UnifiedHeader {
            epoch: 3,
            connection_id: b"CID",
            sequence_number: 7,
            length: None,
        };
        let len = to_the_end.write(&mut header).unwrap();
        datagram.extend(&header[..len]);
        datagram.extend([2; 17]);

        // When it is read
        let mut records = records(&datagram, 3);

        // Then all three are there, and nothing else
        assert_eq!(
            records.next(),
            Some(Ok(Record::Plaintext(PlaintextRecord {
                content_type: ContentType::HANDSHAKE,
                legacy_version: 0xfefd,
                sequence_number: 0x0102_0304_0506,
                fragment: b"abc",
            })))
        );
        assert_eq!(records.offset(), 16);
        let Some(Ok(Record::Ciphertext(second))) = records.next() else {
            panic!("no second record")
        };
        assert_eq!(second.header, [0x2d, 0xaa, 0xbb, 0, 20]);
        assert_eq!((second.epoch_bits, second.connection_id), (1, None));
        assert_eq!(second.sequence, [0xaa, 0xbb]);
        assert_eq!(second.encrypted_record, [1; 20]);
        assert_eq!(records.offset(), 41);
        let Some(Ok(Record::Ciphertext(third))) = records.next() else {
            panic!("no third record")
        };
        assert_eq!(
            (third.epoch_bits, third.connection_id),
            (3, Some(&b"CID"[..]))
        );
        assert_eq!(third.sequence_offset(), 4);
        assert_eq!(third.encrypted_record, [2; 17]);
        assert_eq!(third.bytes.len(), 6 + 17);
        assert_eq!(records.next(), None);
    }

    #[test]
    fn an_eight_bit_sequence_number_is_one_byte() {
        let Some(Ok(Record::Ciphertext(record))) = records(&[0x21, 9, 1, 2, 3], 0).next() else {
            panic!("no record")
        };
        assert_eq!(record.sequence, [9]);
        assert_eq!(record.encrypted_record, [1, 2, 3]);
    }

    #[test]
    fn what_is_no_record_of_dtls_13_ends_the_datagram() {
        let refused = |datagram: &[u8], why| {
            let mut records = records(datagram, 0);
            assert_eq!(records.next(), Some(Err(why)));
            assert_eq!(records.next(), None);
        };
        refused(&[20, 0xfe, 0xfd], Malformed::NotDtls13);
        refused(&[0x80], Malformed::NotDtls13);
        refused(&[22, 0xfe], Malformed::Truncated);
        refused(&[0x2d, 0, 0, 0, 5, 1], Malformed::Truncated);
        refused(&[0x31, 0, 0, 0, 5, 1], Malformed::UnexpectedConnectionId);
        let mut other_epoch = plaintext_header(ContentType::HANDSHAKE, 0, 0);
        other_epoch[4] = 1;
        refused(&other_epoch, Malformed::PlaintextEpoch);
        let mut too_long = plaintext_header(ContentType::HANDSHAKE, 0, 0x4001).to_vec();
        too_long.extend([0; 0x4001]);
        refused(&too_long, Malformed::RecordOverflow);
    }

    proptest! {
        #[test]
        fn any_bytes_are_records_or_an_error(
            datagram in proptest::collection::vec(any::<u8>(), 0..200),
            connection_id_len in 0_usize..8,
        ) {
            let mut records = records(&datagram, connection_id_len);
            let mut offset = 0;
            while let Some(record) = records.next() {
                match record {
                    Ok(Record::Ciphertext(record)) => prop_assert_eq!(
                        record.bytes, &datagram[offset..records.offset()]),
                    Ok(Record::Plaintext(record)) => prop_assert_eq!(
                        offset + PLAINTEXT_HEADER_LEN + record.fragment.len(), records.offset()),
                    Err(_) => prop_assert!(records.rest().is_empty()),
                }
                prop_assert!(records.offset() > offset);
                offset = records.offset();
            }
        }
    }
}

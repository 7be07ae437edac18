//! Handshake messages in fragments (RFC 9147, 5.2).

use super::malformed::Malformed;
use super::reader::Reader;

/// Bytes of the header that each fragment has in DTLS.
pub const HANDSHAKE_HEADER_LEN: usize = 12;

/// The kind of a handshake message (RFC 8446, 4). Every code can be held, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandshakeType(pub u8);

impl HandshakeType {
    /// ClientHello.
    pub const CLIENT_HELLO: Self = Self(1);
    /// ServerHello, and HelloRetryRequest.
    pub const SERVER_HELLO: Self = Self(2);
    /// NewSessionTicket.
    pub const NEW_SESSION_TICKET: Self = Self(4);
    /// EndOfEarlyData, which DTLS 1.3 omits.
    pub const END_OF_EARLY_DATA: Self = Self(5);
    /// EncryptedExtensions.
    pub const ENCRYPTED_EXTENSIONS: Self = Self(8);
    /// Finished.
    pub const FINISHED: Self = Self(20);
    /// Stands in transcripts for the first ClientHello after a HelloRetryRequest.
    pub const MESSAGE_HASH: Self = Self(254);
}

/// One fragment of a handshake message, borrowed from its record. It ends within its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The kind of the message.
    pub msg_type: HandshakeType,
    /// Bytes of the whole message's body: 24 bits.
    pub length: u32,
    /// Counts the messages of one side's handshake.
    pub message_seq: u16,
    /// Where in the message's body this fragment begins, in bytes.
    pub fragment_offset: u32,
    /// This fragment's part of the message's body.
    pub body: &'a [u8],
}

impl Fragment<'_> {
    /// The fragment is the whole message: its body needs no reassembly.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.body.len() == self.length as usize
    }
}

/// The fragments in a handshake record, in order.
#[must_use]
pub const fn fragments(record: &[u8]) -> Fragments<'_> {
    Fragments(Reader::new(record))
}

/// Iterates over the fragments of a handshake record; the first error is the last item.
#[derive(Clone, Debug)]
pub struct Fragments<'a>(Reader<'a>);

impl<'a> Iterator for Fragments<'a> {
    type Item = Result<Fragment<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let fragment = fragment(&mut self.0);
        if fragment.is_err() {
            self.0 = Reader::new(&[]);
        }
        Some(fragment)
    }
}

fn fragment<'a>(reader: &mut Reader<'a>) -> Result<Fragment<'a>, Malformed> {
    let &[msg_type, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2] = reader.array()?;
    let length = u32::from_be_bytes([0, l0, l1, l2]);
    let fragment_offset = u32::from_be_bytes([0, o0, o1, o2]);
    let fragment_length = u32::from_be_bytes([0, f0, f1, f2]);
    // Sums of 24-bit numbers fit.
    if fragment_offset + fragment_length > length {
        return Err(Malformed::FragmentOutOfRange);
    }
    Ok(Fragment {
        msg_type: HandshakeType(msg_type),
        length,
        message_seq: u16::from_be_bytes([s0, s1]),
        fragment_offset,
        body: reader.take(fragment_length as usize)?,
    })
}

/// The header of a fragment in DTLS. Lengths and offsets are 24 bits: the low ones are written.
#[must_use]
pub const fn dtls_header(
    msg_type: HandshakeType,
    length: u32,
    message_seq: u16,
    fragment_offset: u32,
    fragment_length: u32,
) -> [u8; HANDSHAKE_HEADER_LEN] {
    let [_, l0, l1, l2] = length.to_be_bytes();
    let [s0, s1] = message_seq.to_be_bytes();
    let [_, o0, o1, o2] = fragment_offset.to_be_bytes();
    let [_, f0, f1, f2] = fragment_length.to_be_bytes();
    [msg_type.0, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2]
}

/// The header of a message as TLS has it, which is what transcripts hash: no `message_seq`,
/// `fragment_offset` and `fragment_length` (RFC 9147, 5.2). The low 24 bits of `length` are written.
#[must_use]
pub const fn tls_header(msg_type: HandshakeType, length: u32) -> [u8; 4] {
    let [_, l0, l1, l2] = length.to_be_bytes();
    [msg_type.0, l0, l1, l2]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_holds_several_fragments() {
        // Given the end of one message and the whole of the next in one record
        let mut record = dtls_header(HandshakeType::CLIENT_HELLO, 10, 0, 7, 3).to_vec();
        record.extend(b"end");
        record.extend(dtls_header(HandshakeType::FINISHED, 4, 1, 0, 4));
        record.extend(b"next");

        let mut fragments = fragments(&record);

        let first = fragments.next().unwrap().unwrap();
        assert_eq!((first.length, first.fragment_offset), (10, 7));
        assert_eq!(first.body, b"end");
        assert!(!first.is_whole());
        let second = fragments.next().unwrap().unwrap();
        assert_eq!(
            (second.msg_type, second.message_seq),
            (HandshakeType::FINISHED, 1)
        );
        assert_eq!(second.body, b"next");
        assert!(second.is_whole());
        assert!(fragments.next().is_none());
    }

    #[test]
    fn trap_26_the_transcript_header_has_four_bytes() {
        let on_the_wire = dtls_header(HandshakeType::CLIENT_HELLO, 0x0001_0203, 5, 0, 0x0001_0203);
        let hashed = tls_header(HandshakeType::CLIENT_HELLO, 0x0001_0203);
        assert_eq!(on_the_wire, [1, 1, 2, 3, 0, 5, 0, 0, 0, 1, 2, 3]);
        assert_eq!(hashed, [1, 1, 2, 3]);
    }

    #[test]
    fn a_fragment_past_its_message_is_refused() {
        let mut record = dtls_header(HandshakeType::CLIENT_HELLO, 10, 0, 8, 3).to_vec();
        record.extend(b"end");
        let mut fragments = fragments(&record);
        assert_eq!(fragments.next(), Some(Err(Malformed::FragmentOutOfRange)));
        assert_eq!(fragments.next(), None);

        let record = dtls_header(HandshakeType::CLIENT_HELLO, 10, 0, 0, 3);
        assert_eq!(
            super::fragments(&record).next(),
            Some(Err(Malformed::Truncated))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_fragments_or_an_error(
            record in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            for fragment in fragments(&record).flatten() {
                prop_assert!(fragment.fragment_offset as usize + fragment.body.len()
                    <= fragment.length as usize);
            }
        }
    }
}

//! The extensions by which a ClientHello offers PSKs (RFC 8446, 4.2.9 and 4.2.11).

use super::malformed::Malformed;
use super::reader::Reader;
use super::vectors::{each, in_range, items, only_vec16};

/// The offered PSKs (RFC 8446, 4.2.11): at least one identity, and a binder for each.
#[derive(Clone, Copy, Debug)]
pub struct PreSharedKeys<'a> {
    /// How many bytes of the ClientHello's body are under the binders: up to the list of binders,
    /// without its length. A transcript has the 4 bytes of
    /// [`tls_header`](super::tls_header) before them.
    pub truncated_len: usize,
    pub(super) identities: &'a [u8],
    pub(super) binders: &'a [u8],
}

/// The ways to use a PSK that a client supports (RFC 8446, 4.2.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PskModes {
    /// PSK alone.
    pub psk_ke: bool,
    /// PSK with (EC)DHE.
    pub psk_dhe_ke: bool,
}

/// A ticket, as a client offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PskIdentity<'a> {
    /// The ticket: 1 byte or more.
    pub identity: &'a [u8],
    /// Milliseconds since the client received the ticket, plus `ticket_age_add`, modulo 2^32.
    pub obfuscated_ticket_age: u32,
}

impl<'a> PreSharedKeys<'a> {
    /// The extension is the last of the body, so the binders' list ends where the body ends.
    #[inline]
    pub(crate) fn read(data: &'a [u8], body_len: usize) -> Result<Self, Malformed> {
        let mut reader = Reader::new(data);
        let identities = in_range(reader.vec16()?, 7, usize::MAX)?;
        let truncated_len = body_len - reader.rest().len();
        let binders = in_range(only_vec16(reader.rest())?, 33, usize::MAX)?;
        let binder = |item: &mut Reader<'a>| in_range(item.vec8()?, 32, 255);
        if each(identities, psk_identity)? != each(binders, binder)? {
            return Err(Malformed::BinderCount);
        }
        Ok(Self {
            truncated_len,
            identities,
            binders,
        })
    }

    /// The identities, by preference. There may be thousands: look at no more than are worth it.
    pub fn identities(&self) -> impl Iterator<Item = PskIdentity<'a>> + Clone + use<'a> {
        items(self.identities, psk_identity)
    }

    /// The binders, of 32 to 255 bytes: one for each identity, in the same order.
    pub fn binders(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        items(self.binders, Reader::vec8)
    }
}

#[inline]
fn psk_identity<'a>(reader: &mut Reader<'a>) -> Result<PskIdentity<'a>, Malformed> {
    Ok(PskIdentity {
        identity: in_range(reader.vec16()?, 1, usize::MAX)?,
        obfuscated_ticket_age: reader.u32()?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::AlertDescription;

    /// The data of the extension: identities of one byte, and binders of these lengths.
    fn extension(identities: &[u8], binder_lens: &[u8]) -> Vec<u8> {
        let identities: Vec<u8> = identities
            .iter()
            .flat_map(|&id| [0, 1, id, 1, 2, 3, 4])
            .collect();
        let binders: Vec<u8> = binder_lens
            .iter()
            .flat_map(|&len| [vec![len], vec![0xbb; len.into()]].concat())
            .collect();
        let len = |list: &[u8]| (list.len() as u16).to_be_bytes();
        [&len(&identities)[..], &identities, &len(&binders), &binders].concat()
    }

    fn refusal(identities: &[u8], binder_lens: &[u8]) -> Option<Malformed> {
        let data = extension(identities, binder_lens);
        PreSharedKeys::read(&data, data.len()).err()
    }

    #[test]
    fn identities_and_binders_come_in_order() {
        let data = extension(b"ab", &[32, 48]);
        // Given 100 bytes of ClientHello before it
        let offered = PreSharedKeys::read(&data, 100 + data.len()).unwrap();
        let identities = offered
            .identities()
            .map(|i| (i.identity, i.obfuscated_ticket_age));
        assert!(identities.eq([(&b"a"[..], 0x0102_0304), (b"b", 0x0102_0304)]));
        assert!(offered.binders().map(<[u8]>::len).eq([32, 48]));
        assert_eq!(offered.truncated_len, 100 + 2 + 2 * 7);
    }

    #[test]
    fn trap_28_each_identity_has_a_binder() {
        assert_eq!(refusal(b"ab", &[32, 48]), None);
        assert_eq!(refusal(b"ab", &[32]), Some(Malformed::BinderCount));
        assert_eq!(refusal(b"a", &[32, 32]), Some(Malformed::BinderCount));
        assert_eq!(refusal(b"", &[32]), Some(Malformed::OutOfRange));
        assert_eq!(refusal(b"a", &[]), Some(Malformed::OutOfRange));
        assert_eq!(
            Malformed::BinderCount.alert(),
            AlertDescription::ILLEGAL_PARAMETER
        );
    }

    #[test]
    fn trap_28_binders_are_32_to_255_bytes_long() {
        assert_eq!(refusal(b"ab", &[31, 32]), Some(Malformed::OutOfRange));
        assert_eq!(refusal(b"ab", &[32, 31]), Some(Malformed::OutOfRange));
        assert_eq!(refusal(b"ab", &[32, 255]), None);
        assert_eq!(
            Malformed::OutOfRange.alert(),
            AlertDescription::DECODE_ERROR
        );
    }

    #[test]
    fn an_empty_identity_is_refused() {
        let mut data = vec![0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 33, 32];
        data.extend([0xbb; 32]);
        let read = PreSharedKeys::read(&data, data.len());
        assert_eq!(read.err(), Some(Malformed::OutOfRange));
    }
}

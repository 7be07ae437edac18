//! The entries of key_share (RFC 8446, 4.2.8).

use super::malformed::Malformed;
use super::reader::Reader;
use super::vectors::in_range;

/// A key share (RFC 8446, 4.2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyShareEntry<'a> {
    /// The named group.
    pub group: u16,
    /// The public value: 1 byte or more.
    pub key_exchange: &'a [u8],
}

impl<'a> KeyShareEntry<'a> {
    #[inline]
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            group: reader.u16()?,
            key_exchange: in_range(reader.vec16()?, 1, usize::MAX)?,
        })
    }
}

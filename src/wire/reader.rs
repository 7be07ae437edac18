//! Bounds-checked reading and writing of byte strings: every length is checked before it is used.

use super::malformed::Malformed;
use crate::error::Error;

/// A cursor over bytes that nobody vouches for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (head, tail) = self.0.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|&[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// A vector behind an 8-bit length.
    #[inline]
    pub(crate) fn vec8(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    /// A vector behind a 16-bit length.
    #[inline]
    pub(crate) fn vec16(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// Everything must have been read.
    #[inline]
    pub(crate) const fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::TrailingBytes)
        }
    }
}

/// Writes into an embedder's buffer. It goes on counting past the end, so that the error can name
/// the size that would have been enough.
pub(crate) struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
    too_long: bool,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(out: &'a mut [u8]) -> Self {
        Self {
            out,
            len: 0,
            too_long: false,
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if let Some(room) = self.out.get_mut(self.len..end) {
            room.copy_from_slice(bytes);
        }
        self.len = end;
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// A vector behind an 8-bit length: what `content` writes.
    pub(crate) fn vec8(&mut self, content: impl FnOnce(&mut Self)) {
        self.vector::<1>(content);
    }

    /// A vector behind a 16-bit length: what `content` writes.
    pub(crate) fn vec16(&mut self, content: impl FnOnce(&mut Self)) {
        self.vector::<2>(content);
    }

    fn vector<const PREFIX: usize>(&mut self, content: impl FnOnce(&mut Self)) {
        let start = self.len;
        self.bytes(&[0; PREFIX]);
        let content_start = self.len;
        content(self);
        let prefix = (self.len - content_start).to_be_bytes();
        let (unused, prefix) = prefix.split_at(prefix.len() - PREFIX);
        self.too_long |= unused.iter().any(|&byte| byte != 0);
        if let Some(room) = self.out.get_mut(start..content_start) {
            room.copy_from_slice(prefix);
        }
    }

    /// How many bytes were written.
    ///
    /// # Errors
    /// [`Error::Length`] if a vector does not fit behind its length,
    /// [`Error::BufferTooSmall`] if the buffer was too short.
    pub(crate) const fn finish(self) -> Result<usize, Error> {
        if self.too_long {
            Err(Error::Length("a vector is longer than its length field"))
        } else if self.len > self.out.len() {
            Err(Error::BufferTooSmall { needed: self.len })
        } else {
            Ok(self.len)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_length_past_the_end_reads_nothing() {
        let mut reader = Reader::new(&[0, 3, 1, 2]);
        assert_eq!(reader.vec16(), Err(Malformed::Truncated));

        let mut reader = Reader::new(&[0, 2, 1, 2]);
        assert_eq!(reader.vec16(), Ok(&[1, 2][..]));
        assert!(reader.finish().is_ok());
    }

    #[test]
    fn integers_are_big_endian() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.u32(), Ok(0x0304_0506));
        assert_eq!(reader.u8(), Err(Malformed::Truncated));
    }

    #[test]
    fn a_short_buffer_is_told_what_is_needed() {
        let message = |out: &mut [u8]| {
            let mut writer = Writer::new(out);
            writer.u8(7);
            writer.vec16(|w| w.vec8(|w| w.bytes(b"abc")));
            writer.finish()
        };

        assert_eq!(
            message(&mut [0; 6]),
            Err(Error::BufferTooSmall { needed: 7 })
        );

        let mut out = [0; 8];
        assert_eq!(message(&mut out), Ok(7));
        assert_eq!(out, [7, 0, 4, 3, b'a', b'b', b'c', 0]);
    }

    #[test]
    fn a_vector_longer_than_its_length_field_is_an_error() {
        let mut out = [0; 300];
        let mut writer = Writer::new(&mut out);
        writer.vec8(|w| w.bytes(&[0; 256]));
        assert!(matches!(writer.finish(), Err(Error::Length(_))));
    }
}

//! Vectors: checked to their end once, then iterated without errors (RFC 8446, 3.4).

use super::malformed::Malformed;
use super::reader::Reader;

/// A vector behind an 8-bit length, with nothing behind it.
#[inline]
pub(crate) fn only_vec8(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let (len, vector) = bytes.split_first().ok_or(Malformed::Truncated)?;
    only(vector, usize::from(*len))
}

/// A vector behind a 16-bit length, with nothing behind it.
#[inline]
pub(crate) fn only_vec16(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let (len, vector) = bytes.split_first_chunk().ok_or(Malformed::Truncated)?;
    only(vector, usize::from(u16::from_be_bytes(*len)))
}

#[inline]
fn only(vector: &[u8], len: usize) -> Result<&[u8], Malformed> {
    match vector.len() {
        same if same == len => Ok(vector),
        shorter if shorter < len => Err(Malformed::Truncated),
        _ => Err(Malformed::TrailingBytes),
    }
}

/// Codes of 2 bytes, at least one.
#[inline]
pub(crate) const fn codes(bytes: &[u8]) -> Result<&[u8], Malformed> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(2) {
        Err(Malformed::OutOfRange)
    } else {
        Ok(bytes)
    }
}

#[inline]
pub(crate) const fn in_range(bytes: &[u8], min: usize, max: usize) -> Result<&[u8], Malformed> {
    if bytes.len() < min || bytes.len() > max {
        Err(Malformed::OutOfRange)
    } else {
        Ok(bytes)
    }
}

/// Reads items to the end of `bytes`, and counts them.
#[inline]
pub(crate) fn each<'a, T>(
    bytes: &'a [u8],
    mut item: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<usize, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut count = 0;
    while !reader.is_empty() {
        item(&mut reader)?;
        count += 1;
    }
    Ok(count)
}

/// The items of bytes that [`each`] has found right.
#[inline]
pub(crate) fn items<'a, T, F>(
    bytes: &'a [u8],
    item: F,
) -> impl Iterator<Item = T> + Clone + use<'a, T, F>
where
    F: Fn(&mut Reader<'a>) -> Result<T, Malformed> + Clone,
{
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || item(&mut reader).ok())
}

pub(crate) fn u16s(bytes: &[u8]) -> impl Iterator<Item = u16> + Clone + use<'_> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_be_bytes(*pair))
}

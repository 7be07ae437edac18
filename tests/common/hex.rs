//! Bytes as they are written down.
#![allow(clippy::unwrap_used)]

/// The bytes of `text`, which may have spaces.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits = text.chars().filter(|c| *c != ' ');
    let digits: Vec<u32> = digits.map(|c| c.to_digit(16).unwrap()).collect();
    let (pairs, rest) = digits.as_chunks();
    assert!(rest.is_empty());
    let byte = |[high, low]: &[u32; 2]| (high << 4 | low) as u8;
    pairs.iter().map(byte).collect()
}

//! What every ticket holds: what kind it is, where it was born, how long it is good; then what it is
//! for, padded to whole blocks.

use std::ops::Range;

use crate::keys::BIRTH_LEN;
use crate::time::UnixMillis;

/// A block of AES: `ring` opens whole ones fastest.
pub(super) const BLOCK: usize = 16;

/// Kind, birth place, bytes of padding, lifetime, issued.
pub(super) const HEAD: usize = 16;

/// Where the birth place lies, which [`Head`] leaves to the key that seals.
pub(super) const BIRTH: Range<usize> = 1..1 + BIRTH_LEN;

/// The start of what a ticket holds.
pub(super) struct Head {
    /// The low byte of the suite of a session, or what nothing else begins with.
    pub(super) kind: u8,
    pub(super) issued: UnixMillis,
    /// Seconds, at most 2^24 - 1.
    pub(super) lifetime: u32,
}

/// The length of a head and so many bytes of parts, padded.
pub(super) const fn padded_len(parts: usize) -> usize {
    (HEAD + parts).next_multiple_of(BLOCK)
}

impl Head {
    /// Writes head, `parts` and padding, all but the birth place, and returns the length. `None` if
    /// `out` does not take it, or the lifetime is too long.
    #[inline]
    pub(super) fn write(&self, parts: &[&[u8]], out: &mut [u8]) -> Option<usize> {
        let parts_len = parts.iter().map(|part| part.len()).sum();
        let len = padded_len(parts_len);
        let (head, mut rest) = out.get_mut(..len)?.split_first_chunk_mut::<HEAD>()?;
        let [0, lifetime @ ..] = self.lifetime.to_be_bytes() else {
            return None;
        };
        head[0] = self.kind;
        head[6] = (len - HEAD - parts_len) as u8;
        head[7..10].copy_from_slice(&lifetime);
        head[10..].copy_from_slice(&millis48(self.issued));
        for part in parts {
            let to;
            (to, rest) = rest.split_at_mut(part.len());
            to.copy_from_slice(part);
        }
        rest.fill(0);
        Some(len)
    }

    /// The head, and the parts. `None` can only mean a ticket of another version of this format, since
    /// the bytes have been authenticated.
    #[inline]
    pub(super) fn read(plaintext: &[u8]) -> Option<(Self, &[u8])> {
        let (head, parts) = plaintext.split_first_chunk::<HEAD>()?;
        let [kind, _, _, _, _, _, padding, x, y, z, a, b, c, d, e, f] = *head;
        let head = Self {
            kind,
            issued: UnixMillis(u64::from_be_bytes([0, 0, a, b, c, d, e, f])),
            lifetime: u32::from_be_bytes([0, x, y, z]),
        };
        let len = parts.len().checked_sub(padding.into())?;
        Some((head, parts.get(..len)?))
    }
}

/// A time in 6 bytes, which are enough until the year 10889. A later one is taken for that: a ticket
/// then has expired when it is issued.
fn millis48(time: UnixMillis) -> [u8; 6] {
    let [_, _, millis @ ..] = time.0.min((1 << 48) - 1).to_be_bytes();
    millis
}

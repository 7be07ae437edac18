//! What every ticket begins with inside: what kind it is, where it was born, how long it is good.

use std::ops::Range;

use crate::keys::BIRTH_LEN;
use crate::time::UnixMillis;

/// Kind, birth place, bytes of padding, lifetime, issued.
pub(super) const HEAD: usize = 16;

/// Where the birth place lies, which [`Head`] leaves to the key that seals.
pub(super) const BIRTH: Range<usize> = 1..1 + BIRTH_LEN;

/// The start of what a ticket holds.
pub(super) struct Head {
    /// The low byte of the suite of a session, or what nothing else begins with.
    pub(super) kind: u8,
    /// Bytes behind the last field, up to whole blocks.
    pub(super) padding: u8,
    pub(super) issued: UnixMillis,
    /// Seconds, at most 2^24 - 1.
    pub(super) lifetime: u32,
}

impl Head {
    /// Writes all but the birth place. `None` if the lifetime is too long.
    pub(super) fn encode(&self, out: &mut [u8; HEAD]) -> Option<()> {
        let [0, lifetime @ ..] = self.lifetime.to_be_bytes() else {
            return None;
        };
        out[0] = self.kind;
        out[6] = self.padding;
        out[7..10].copy_from_slice(&lifetime);
        out[10..].copy_from_slice(&millis48(self.issued));
        Some(())
    }

    #[inline]
    pub(super) fn decode(bytes: &[u8; HEAD]) -> Self {
        let [kind, _, _, _, _, _, padding, x, y, z, a, b, c, d, e, f] = *bytes;
        Self {
            kind,
            padding,
            issued: UnixMillis(u64::from_be_bytes([0, 0, a, b, c, d, e, f])),
            lifetime: u32::from_be_bytes([0, x, y, z]),
        }
    }
}

/// A time in 6 bytes, which are enough until the year 10889. A later one is taken for that: a ticket
/// then has expired when it is issued.
fn millis48(time: UnixMillis) -> [u8; 6] {
    let [_, _, millis @ ..] = time.0.min((1 << 48) - 1).to_be_bytes();
    millis
}

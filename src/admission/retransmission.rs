//! ClientHellos whose early data was accepted a moment ago: DTLS clients send them again when the
//! answer is lost, and that is no attack. Any other is judged again, as it was before.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::sync::prefetch;
use crate::ticket::mapped;
use crate::time::{UnixMillis, millis};

/// A fixed table, one per worker: a retransmission has the same addresses, so it reaches the same
/// worker. A newer entry replaces an older one; what is forgotten that way is judged again, and
/// is then a replay.
///
/// They are remembered by their binder and the peer's address. Nobody writes here without a ticket
/// of his own that was never used: who replays what others sent makes none of it forgotten.
pub(crate) struct Retransmissions {
    recent: Box<[Recent]>,
    window_ms: u64,
    /// A client can choose among binders, but not whose place its own takes.
    key: Zeroizing<[u64; 2]>,
}

/// Half a cache line: one is fetched for each ClientHello.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Recent {
    sent: Sent,
    accepted: UnixMillis,
}

/// Who sent which ClientHello.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// A binder is as good as random to all but its client, so that a part of it, with the port,
    /// tells it from all others of an address.
    binder_and_port: u64,
    /// Nobody's, where there is no entry yet.
    pub(super) address: Ipv6Addr,
}

impl Sent {
    #[inline]
    pub(super) fn new(peer: SocketAddr, binder: &[u8]) -> Self {
        // Binders have 32 bytes or more.
        let start = binder
            .first_chunk()
            .map_or(0, |start| u64::from_ne_bytes(*start));
        Self {
            binder_and_port: start ^ u64::from(peer.port()),
            address: mapped(peer.ip()),
        }
    }
}

/// Each has one place, which the next one there takes over: so many flights later a third is still
/// known.
const ENTRIES: usize = 1 << 12;

impl Retransmissions {
    pub(crate) fn new(window: Duration, key: &[u8; 16]) -> Self {
        let (words, _) = key.as_chunks();
        let none = Recent {
            sent: Sent {
                binder_and_port: 0,
                address: Ipv6Addr::UNSPECIFIED,
            },
            accepted: UnixMillis(0),
        };
        Self {
            recent: vec![none; ENTRIES].into(),
            window_ms: millis(window),
            key: Zeroizing::new([0, 1].map(|word| u64::from_ne_bytes(words[word]))),
        }
    }

    /// Fetches the place of a ClientHello that is to be judged soon.
    #[inline]
    pub(super) fn prefetch(&self, sent: &Sent) {
        prefetch(&self.recent[self.place(sent)]);
    }

    /// Whether this ClientHello was accepted within the window.
    #[inline]
    pub(super) fn contains(&self, sent: &Sent, now: UnixMillis) -> bool {
        let old = &self.recent[self.place(sent)];
        // In either direction: the clock may have stepped back.
        old.sent == *sent && now.0.abs_diff(old.accepted.0) < self.window_ms
    }

    /// This ClientHello is accepted now.
    #[inline]
    pub(super) fn remember(&mut self, sent: &Sent, now: UnixMillis) {
        self.recent[self.place(sent)] = Recent {
            sent: *sent,
            accepted: now,
        };
    }

    #[inline]
    fn place(&self, sent: &Sent) -> usize {
        let address = sent.address.to_bits();
        let address = (address >> 64) as u64 ^ address as u64;
        let mixed = (sent.binder_and_port ^ address ^ self.key[0]).wrapping_mul(self.key[1] | 1);
        (mixed >> (u64::BITS - ENTRIES.ilog2())) as usize
    }
}

#[cfg(all(test, not(dtls_session_loom)))]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn sent(port: u16, binder: &[u8]) -> Sent {
        Sent::new(SocketAddr::from(([192, 0, 2, 1], port)), binder)
    }

    fn table() -> Retransmissions {
        Retransmissions::new(Duration::from_secs(10), &[3; 16])
    }

    #[test]
    fn trap_04_the_same_hello_from_the_same_address_is_a_retransmission() {
        let mut table = table();
        let hello = sent(1, b"a binder");
        assert!(!table.contains(&hello, NOW));
        table.remember(&hello, NOW);
        for ms in [0, 9_999] {
            assert!(table.contains(&hello, UnixMillis(NOW.0 + ms)));
            assert!(table.contains(&hello, UnixMillis(NOW.0 - ms)));
        }
    }

    #[test]
    fn another_port_another_binder_or_another_time_is_not() {
        let mut table = table();
        let hello = sent(1, b"a binder");
        table.remember(&hello, NOW);
        assert!(!table.contains(&sent(2, b"a binder"), NOW));
        assert!(!table.contains(&sent(1, b"another."), NOW));
        assert!(!table.contains(&hello, UnixMillis(NOW.0 + 10_000)));
    }
}

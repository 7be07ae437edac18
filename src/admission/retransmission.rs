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
    /// A binder is as good as random to all but its client, so that a part of it, with the port,
    /// tells it from all others of an address.
    binder_and_port: u64,
    /// Nobody's, where there is no entry yet.
    address: Ipv6Addr,
    accepted: UnixMillis,
}

impl Recent {
    const NONE: Self = Self {
        binder_and_port: 0,
        address: Ipv6Addr::UNSPECIFIED,
        accepted: UnixMillis(0),
    };

    #[inline]
    fn new(peer: SocketAddr, binder: &[u8], now: UnixMillis) -> Self {
        // Binders have 32 bytes or more.
        let start = binder
            .first_chunk()
            .map_or(0, |start| u64::from_ne_bytes(*start));
        Self {
            binder_and_port: start ^ u64::from(peer.port()),
            address: mapped(peer.ip()),
            accepted: now,
        }
    }
}

/// Enough for the ClientHellos of a second at 4096 a second.
const ENTRIES: usize = 1 << 12;

impl Retransmissions {
    pub(crate) fn new(window: Duration, key: &[u8; 16]) -> Self {
        let (words, _) = key.as_chunks();
        Self {
            recent: vec![Recent::NONE; ENTRIES].into(),
            window_ms: millis(window),
            key: Zeroizing::new([0, 1].map(|word| u64::from_ne_bytes(words[word]))),
        }
    }

    /// Fetches the place of a ClientHello of `peer` with this binder, which is to be judged soon.
    #[inline]
    pub(crate) fn prefetch(&self, peer: SocketAddr, binder: &[u8]) {
        prefetch(&self.recent[self.place(&Recent::new(peer, binder, UnixMillis(0)))]);
    }

    /// Whether this ClientHello was accepted within the window.
    #[inline]
    pub(crate) fn contains(&self, peer: SocketAddr, binder: &[u8], now: UnixMillis) -> bool {
        let new = Recent::new(peer, binder, now);
        let old = &self.recent[self.place(&new)];
        let same = old.binder_and_port == new.binder_and_port && old.address == new.address;
        // In either direction: the clock may have stepped back.
        same && now.0.abs_diff(old.accepted.0) < self.window_ms
    }

    /// This ClientHello is accepted now.
    #[inline]
    pub(crate) fn remember(&mut self, peer: SocketAddr, binder: &[u8], now: UnixMillis) {
        let new = Recent::new(peer, binder, now);
        let place = self.place(&new);
        self.recent[place] = new;
    }

    #[inline]
    fn place(&self, recent: &Recent) -> usize {
        let address = recent.address.to_bits();
        let address = (address >> 64) as u64 ^ address as u64;
        let mixed = (recent.binder_and_port ^ address ^ self.key[0]).wrapping_mul(self.key[1] | 1);
        (mixed >> (u64::BITS - ENTRIES.ilog2())) as usize
    }
}

#[cfg(all(test, not(dtls_session_loom)))]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn table() -> Retransmissions {
        Retransmissions::new(Duration::from_secs(10), &[3; 16])
    }

    #[test]
    fn trap_04_the_same_hello_from_the_same_address_is_a_retransmission() {
        let mut table = table();
        assert!(!table.contains(peer(1), b"a binder", NOW));
        table.remember(peer(1), b"a binder", NOW);
        for ms in [0, 9_999] {
            assert!(table.contains(peer(1), b"a binder", UnixMillis(NOW.0 + ms)));
            assert!(table.contains(peer(1), b"a binder", UnixMillis(NOW.0 - ms)));
        }
    }

    #[test]
    fn another_port_another_binder_or_another_time_is_not() {
        let mut table = table();
        table.remember(peer(1), b"a binder", NOW);
        assert!(!table.contains(peer(2), b"a binder", NOW));
        assert!(!table.contains(peer(1), b"another.", NOW));
        assert!(!table.contains(peer(1), b"a binder", UnixMillis(NOW.0 + 10_000)));
    }
}

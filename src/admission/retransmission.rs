//! ClientHellos that were judged a moment ago: DTLS clients send them again when the answer is
//! lost, and that is no attack.

use std::net::SocketAddr;
use std::time::Duration;

use siphasher::sip::SipHasher24;
use std::hash::{Hash, Hasher};
use zeroize::Zeroizing;

use crate::time::{UnixMillis, millis};

/// A fixed table, one per worker: a retransmission has the same addresses, so it reaches the same
/// worker. A newer entry replaces an older one; what is forgotten that way is judged again, and
/// is then a replay.
///
/// Only ClientHellos with a valid binder are remembered, by that binder and the peer's address.
pub(crate) struct Retransmissions {
    recent: Box<[Recent]>,
    window_ms: u64,
    key: Zeroizing<[u8; 16]>,
}

#[derive(Clone, Copy)]
struct Recent {
    fingerprint: u64,
    judged: UnixMillis,
}

/// One per cache line pair of a small core's share: enough for the flights of some seconds.
const ENTRIES: usize = 4096;

impl Retransmissions {
    pub(crate) fn new(window: Duration, key: Zeroizing<[u8; 16]>) -> Self {
        // A fingerprint of 0 stands for no entry.
        let empty = Recent {
            fingerprint: 0,
            judged: UnixMillis(0),
        };
        Self {
            recent: vec![empty; ENTRIES].into(),
            window_ms: millis(window),
            key,
        }
    }

    /// Whether this ClientHello was judged within the window. If not, it is remembered now.
    pub(crate) fn is_repeated(&mut self, peer: SocketAddr, binder: &[u8], now: UnixMillis) -> bool {
        let fingerprint = self.fingerprint(peer, binder);
        let recent = &mut self.recent[fingerprint as usize % ENTRIES];
        // In either direction: the clock may have stepped back.
        let age = now.0.abs_diff(recent.judged.0);
        if recent.fingerprint == fingerprint && age < self.window_ms {
            return true;
        }
        *recent = Recent {
            fingerprint,
            judged: now,
        };
        false
    }

    fn fingerprint(&self, peer: SocketAddr, binder: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        peer.hash(&mut hasher);
        hasher.write(binder);
        hasher.finish().max(1)
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
        Retransmissions::new(Duration::from_secs(10), Zeroizing::new([3; 16]))
    }

    #[test]
    fn trap_04_the_same_hello_from_the_same_address_is_a_retransmission() {
        let mut table = table();
        assert!(!table.is_repeated(peer(1), b"binder", NOW));
        assert!(table.is_repeated(peer(1), b"binder", UnixMillis(NOW.0 + 9_999)));
    }

    #[test]
    fn another_port_another_binder_or_another_time_is_not() {
        let mut table = table();
        assert!(!table.is_repeated(peer(1), b"binder", NOW));
        assert!(!table.is_repeated(peer(2), b"binder", NOW));
        assert!(!table.is_repeated(peer(1), b"other", NOW));
        assert!(!table.is_repeated(peer(1), b"binder", UnixMillis(NOW.0 + 10_000)));
    }
}

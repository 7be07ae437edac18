//! Is a flight as old as its client says? (RFC 8446, 8.3)

use std::time::Duration;

use crate::time::{UnixMillis, millis};

/// How far the client's view of its ticket's age may be from ours.
///
/// A flight outside is refused its 0-RTT only. Clients that count in whole seconds need at least
/// 1 s of `late`, and the time between issue and arrival of the ticket adds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshnessWindow {
    /// How much later than expected a flight may arrive. Default 10 s.
    pub late: Duration,
    /// How much earlier than expected a flight may arrive. Default 10 s.
    pub early: Duration,
}

impl Default for FreshnessWindow {
    fn default() -> Self {
        Self {
            late: Duration::from_secs(10),
            early: Duration::from_secs(10),
        }
    }
}

/// What the window says of a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// In time.
    Fresh,
    /// It arrives later than the client's clock explains: delayed, or replayed.
    Late,
    /// It arrives earlier than the client's clock explains.
    Early,
}

impl FreshnessWindow {
    /// Compares the time at which a flight should have arrived with the time at which it did.
    #[must_use]
    pub fn check(&self, expected_arrival: UnixMillis, now: UnixMillis) -> Freshness {
        if now.saturating_since(expected_arrival) > self.late {
            Freshness::Late
        } else if expected_arrival.saturating_since(now) > self.early {
            Freshness::Early
        } else {
            Freshness::Fresh
        }
    }

    /// The width of the window in milliseconds.
    pub(super) fn span(&self) -> u64 {
        millis(self.late).saturating_add(millis(self.early))
    }
}

/// When a flight should arrive: the ticket's issue plus the age that the client states, which is
/// obfuscated by adding `age_add` modulo 2^32 (RFC 8446, 4.2.11.1). Milliseconds all.
///
/// The binder covers the age, so that a replay always expects the same arrival.
#[must_use]
pub fn expected_arrival(issued: UnixMillis, age_add: u32, obfuscated_age: u32) -> UnixMillis {
    let age = obfuscated_age.wrapping_sub(age_add);
    UnixMillis(issued.0.saturating_add(age.into()))
}

#[cfg(all(test, not(dtls_session_loom)))]
mod tests {
    use super::*;

    const ISSUED: UnixMillis = UnixMillis(1_700_000_000_000);

    fn window(late: u64, early: u64) -> FreshnessWindow {
        FreshnessWindow {
            late: Duration::from_millis(late),
            early: Duration::from_millis(early),
        }
    }

    fn at(offset: i64) -> UnixMillis {
        UnixMillis(ISSUED.0.saturating_add_signed(offset))
    }

    #[test]
    fn trap_15_the_obfuscated_age_wraps_around() {
        let age_add = u32::MAX - 5;
        assert_eq!(
            expected_arrival(ISSUED, age_add, age_add.wrapping_add(1500)),
            at(1500)
        );
    }

    #[test]
    fn trap_15_ages_are_milliseconds() {
        assert_eq!(expected_arrival(ISSUED, 7, 7 + 2_000), at(2_000));
        assert_eq!(
            window(10_000, 0).check(at(2_000), at(12_000)),
            Freshness::Fresh
        );
        assert_eq!(
            window(10_000, 0).check(at(2_000), at(12_001)),
            Freshness::Late
        );
    }

    #[test]
    fn trap_15_a_client_that_counts_whole_seconds_is_fresh() {
        // Its 1.999 s are 1 s to it: BoringSSL.
        let expected = expected_arrival(ISSUED, 0, 1000);
        assert_eq!(
            FreshnessWindow::default().check(expected, at(1999)),
            Freshness::Fresh
        );
    }

    #[test]
    fn the_window_is_asymmetric_and_its_ends_belong_to_it() {
        let window = window(5_000, 300);
        assert_eq!(window.check(ISSUED, at(5_000)), Freshness::Fresh);
        assert_eq!(window.check(ISSUED, at(5_001)), Freshness::Late);
        assert_eq!(window.check(ISSUED, at(-300)), Freshness::Fresh);
        assert_eq!(window.check(ISSUED, at(-301)), Freshness::Early);
    }

    #[test]
    fn trap_14_extreme_times_neither_panic_nor_wrap() {
        let end = UnixMillis(u64::MAX);
        assert_eq!(expected_arrival(end, 0, 9), end);
        assert_eq!(window(1, 1).check(UnixMillis(0), end), Freshness::Late);
        assert_eq!(window(1, 1).check(end, UnixMillis(0)), Freshness::Early);
    }
}

//! The window that lets each record of an epoch in once (RFC 9147, 4.5.1).

use super::record_keys::Authentic;

/// How many record numbers back from the highest one are remembered.
const WINDOW_LEN: u64 = u64::BITS as u64;

/// Which record numbers of one epoch have been accepted.
///
/// It is asked behind the AEAD: what is forged cannot change it, nor find out by the time that a
/// refusal takes what it remembers. There is no other order, since it takes what authenticated, and
/// the plaintext comes out of it.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplayWindow {
    /// One more than the highest number accepted; 0 before any was.
    next: u64,
    /// Bit `i` stands for the number `next - 1 - i`.
    accepted: u64,
}

impl ReplayWindow {
    /// The number that a record without loss and reordering has next.
    pub(super) const fn expected(&self) -> u64 {
        self.next
    }

    /// The plaintext of a record, unless its number was accepted before or is too old to tell.
    #[inline]
    pub(super) fn accept<'r>(&mut self, record: Authentic<'r>) -> Option<&'r [u8]> {
        // The last number has no next one; nobody lives to send it.
        let after = record.number.checked_add(1)?;
        if after > self.next {
            // Shifted by as many bits as there are, nothing is left.
            let forward = u32::try_from(after - self.next).unwrap_or(u32::MAX);
            self.accepted = self.accepted.checked_shl(forward).unwrap_or(0);
            self.next = after;
        }
        let back = self.next - after;
        if back >= WINDOW_LEN || self.accepted >> back & 1 == 1 {
            return None;
        }
        self.accepted |= 1 << back;
        Some(record.plaintext)
    }
}

/// The number closest to `expected` whose low `bits` bits (8 or 16) are `low` (RFC 9147, 4.2.2).
/// Of two equally close ones the higher: numbers are skipped by loss, and far behind is too old.
#[inline]
pub(super) const fn nearest(expected: u64, low: u64, bits: u32) -> u64 {
    let span = 1 << bits;
    let half = span / 2;
    let candidate = expected & !(span - 1) | low;
    if expected >= half && candidate <= expected - half {
        // Only at the end of all numbers does this not fit; then the lower one is the answer.
        match candidate.checked_add(span) {
            Some(higher) => higher,
            None => candidate,
        }
    } else if candidate > expected.saturating_add(half) && candidate >= span {
        candidate - span
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn accept(window: &mut ReplayWindow, number: u64) -> bool {
        let plaintext = &mut [];
        window.accept(Authentic { number, plaintext }).is_some()
    }

    #[test]
    fn trap_32_each_number_is_accepted_once_in_whatever_order() {
        let mut window = ReplayWindow::default();
        for number in [0, 2, 1, 70, 7, 69, 200, 137] {
            assert!(accept(&mut window, number), "{number}");
            assert!(!accept(&mut window, number), "{number} again");
        }
        // 200 - 63 = 137 is the oldest that can be told from a replay.
        assert!(!accept(&mut window, 136));
        assert!(!accept(&mut window, u64::MAX));
    }

    #[test]
    fn of_two_equally_near_numbers_the_higher_is_taken() {
        assert_eq!(nearest(0x1000, 0x80, 8), 0x1080);
        assert_eq!(nearest(0x1080, 0x00, 8), 0x1100);
        assert_eq!(nearest(0x1_8000, 0x0000, 16), 0x2_0000);
        // There is nothing below 0 and nothing above the last number.
        assert_eq!(nearest(0, 0xffff, 16), 0xffff);
        assert_eq!(nearest(u64::MAX, 0, 8), u64::MAX - 0xff);
    }

    proptest! {
        #[test]
        fn a_window_agrees_with_a_set(numbers in prop::collection::vec(0u64..300, 0..200)) {
            let mut window = ReplayWindow::default();
            let mut seen = HashSet::new();
            let mut highest = 0;
            for number in numbers {
                let fits = number + WINDOW_LEN > highest;
                let fresh = fits && !seen.contains(&number);
                assert_eq!(accept(&mut window, number), fresh);
                if fresh {
                    seen.insert(number);
                    highest = highest.max(number);
                }
            }
        }

        #[test]
        fn trap_32_the_nearest_number_is_found_as_by_trying_all(
            expected in prop_oneof![0u64..1000, any::<u64>(), u64::MAX - 1000..=u64::MAX],
            low: u16,
            long: bool,
        ) {
            let bits = if long { 16 } else { 8 };
            let span = 1i128 << bits;
            let low = i128::from(low) % span;
            let base = i128::from(expected) / span * span + low;
            let brute = [base - span, base, base + span]
                .into_iter()
                .filter(|&n| n >= 0 && n <= i128::from(u64::MAX))
                .min_by_key(|&n| ((n - i128::from(expected)).abs(), -n));
            let found = nearest(expected, low as u64, bits);
            assert_eq!(Some(i128::from(found)), brute);
        }
    }
}

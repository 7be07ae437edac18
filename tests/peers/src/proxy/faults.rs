//! A network that loses, doubles, reorders and delays, as a seed has drawn it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::draw::Draw;

/// How long a datagram that is reordered waits for those behind it.
const REORDER_BY: Duration = Duration::from_millis(15);

const DELAY_MAX_MILLIS: u64 = 80;

/// What happens to how many of 100 datagrams, in each direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Lost.
    pub loss: u8,
    /// Passed on twice.
    pub duplication: u8,
    /// Passed on behind those that come up to 15 ms after it.
    pub reordering: u8,
    /// Passed on up to 80 ms later.
    pub delay: u8,
    /// Which of them: the same seed draws the same.
    pub seed: u64,
}

impl Faults {
    /// All of them to `percent` of 100 datagrams.
    #[must_use]
    pub const fn all(percent: u8, seed: u64) -> Self {
        Self {
            loss: percent,
            duplication: percent,
            reordering: percent,
            delay: percent,
            seed,
        }
    }
}

/// One direction, with what is under way in it.
pub(super) struct Line<T> {
    faults: Faults,
    draw: Draw,
    under_way: BinaryHeap<Reverse<(Instant, u64, T)>>,
    entered: u64,
}

impl<T: Clone + Ord> Line<T> {
    pub(super) fn new(faults: Faults, salt: u64) -> Self {
        Self {
            faults,
            draw: Draw::new(faults.seed ^ salt),
            under_way: BinaryHeap::new(),
            entered: 0,
        }
    }

    pub(super) fn enter(&mut self, item: T, now: Instant) {
        let Faults {
            loss,
            duplication,
            reordering,
            delay,
            ..
        } = self.faults;
        if self.draw.percent(loss) {
            return;
        }
        let copies = 1 + u32::from(self.draw.percent(duplication));
        for _ in 0..copies {
            let mut due = now;
            if self.draw.percent(reordering) {
                due += REORDER_BY;
            }
            if self.draw.percent(delay) {
                due += Duration::from_millis(1 + self.draw.below(DELAY_MAX_MILLIS));
            }
            self.under_way
                .push(Reverse((due, self.entered, item.clone())));
            self.entered += 1;
        }
    }

    /// What leaves next, if its time has come.
    pub(super) fn leave(&mut self, now: Instant) -> Option<T> {
        let is_due = self.next_due().is_some_and(|due| due <= now);
        let left = is_due.then(|| self.under_way.pop()).flatten();
        left.map(|Reverse((_, _, item))| item)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse((due, _, _))| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(faults: Faults) -> Vec<u32> {
        let mut line = Line::new(faults, 0);
        let begin = Instant::now();
        (0..1000).for_each(|n| line.enter(n, begin + Duration::from_millis(n.into())));
        std::iter::from_fn(|| line.leave(begin + Duration::from_secs(10))).collect()
    }

    #[test]
    fn without_faults_all_pass_in_order() {
        assert!(passed(Faults::default()).into_iter().eq(0..1000));
    }

    #[test]
    fn each_fault_happens_as_often_as_it_should_and_the_same_seed_draws_the_same() {
        let none = Faults::default();
        let lost = 1000 - passed(Faults { loss: 20, ..none }).len();
        assert!((150..250).contains(&lost), "{lost}");
        let duplication = 20;
        let doubled = passed(Faults {
            duplication,
            ..none
        })
        .len()
            - 1000;
        assert!((150..250).contains(&doubled), "{doubled}");
        for late in [
            Faults {
                reordering: 20,
                ..none
            },
            Faults { delay: 20, ..none },
        ] {
            let order = passed(late);
            assert_eq!(order.len(), 1000);
            assert!(!order.is_sorted());
        }
        assert_eq!(passed(Faults::all(20, 7)), passed(Faults::all(20, 7)));
        assert_ne!(passed(Faults::all(20, 7)), passed(Faults::all(20, 8)));
    }
}

//! Peers of the register that remember used tickets in other ways than a map.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::{Cache, GuardResult};

use crate::common::contest::{Contestant, Shuffler};
use crate::common::replay::{EXPIRES, Name, ROUND, strike_all};

/// A cache with room for all tickets. It would forget what is still live if it had less.
pub(crate) fn quick_cache(outstanding: usize) -> Contestant {
    // Its shards do not fill evenly.
    let used = Cache::new(outstanding + outstanding / 4 + ROUND);
    let mut random = Shuffler(11);
    (0..outstanding).for_each(|_| used.insert(random.bytes(), EXPIRES));
    let mut names = Shuffler(12);
    Contestant::new("quick_cache", ROUND, move || {
        let strike = |name: Name| match used.get_value_or_guard(&name, None) {
            GuardResult::Guard(place) => place.insert(EXPIRES).is_ok(),
            GuardResult::Value(_) | GuardResult::Timeout => false,
        };
        strike_all(&mut names, strike, |name| {
            used.remove(&name);
        })
    })
}

/// A sliding Bloom filter in fizz's manner. It calls one in a hundred unused tickets used, and at
/// the end of each slice of time, which is not timed here, it goes over all of its memory.
pub(crate) fn sliding_bloom(outstanding: usize) -> Contestant {
    let filter = SlidingBloom::new(outstanding + 2 * ROUND);
    let mut random = Shuffler(13);
    (0..outstanding).for_each(|_| {
        filter.strike(&random.bytes());
    });
    let mut names = Shuffler(14);
    Contestant::new("sliding Bloom filter", ROUND, move || {
        let strike = |name: Name| {
            // Whether it is the first time is not sure.
            filter.strike(&name);
            true
        };
        strike_all(&mut names, strike, |_| ())
    })
}

/// Cells that a ticket has: the best number at this size.
const HASHES: u64 = 7;

/// Each cell has a bit for each slice of time in which one of its tickets was struck.
struct SlidingBloom {
    cells: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl SlidingBloom {
    /// For so many tickets, of which one in a hundred is taken for another.
    fn new(tickets: usize) -> Self {
        Self {
            cells: (0..tickets * 96 / 10).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Whether it may have been struck before. It is, from now on.
    fn strike(&self, name: &Name) -> bool {
        let first = self.hasher.hash_one(name);
        let step = first.rotate_left(32) | 1;
        let places = (0..HASHES).map(|n| first.wrapping_add(n.wrapping_mul(step)));
        let common = places.fold(u64::MAX, |common, place| {
            let place = (u128::from(place) * self.cells.len() as u128) >> 64;
            common & self.cells[place as usize].fetch_or(1, Ordering::Relaxed)
        });
        common != 0
    }
}

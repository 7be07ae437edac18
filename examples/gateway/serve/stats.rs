//! What a worker counts. It alone writes, whoever asks reads: no lock, and no other's cache line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::server::{Closed, Event};

/// The counters of one worker.
#[derive(Default)]
pub(crate) struct Stats(CachePadded<Counters>);

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    pub(crate) unsent: Counter,
    pub(crate) full_handshakes: Counter,
    pub(crate) resumptions: Counter,
    pub(crate) early_records: Counter,
    pub(crate) early_bytes: Counter,
    pub(crate) data_bytes: Counter,
    pub(crate) closed: [Counter; CLOSED.len()],
    pub(crate) associations: Counter,
    pub(crate) refused_full: Counter,
    pub(crate) flight_ns: Histogram,
}

/// Why connections end, by the names that metrics have for it.
pub(crate) const CLOSED: [&str; 6] = [
    "close_notify",
    "alert_received",
    "alert_sent",
    "timed_out",
    "shutdown",
    "replaced",
];

impl std::ops::Deref for Stats {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0
    }
}

impl Counters {
    pub(crate) fn event(&self, event: &Event<'_>) {
        match event {
            Event::EarlyData(data) => {
                self.early_records.add(1);
                self.early_bytes.add(data.len() as u64);
            }
            Event::Data(data) => self.data_bytes.add(data.len() as u64),
            Event::Established {
                is_resumption: true,
            } => self.resumptions.add(1),
            Event::Established { .. } => self.full_handshakes.add(1),
            Event::Closed(why) => {
                let index = match why {
                    Closed::CloseNotify => 0,
                    Closed::Alert(_) => 1,
                    Closed::Failed(_) => 2,
                    Closed::TimedOut => 3,
                    Closed::Shutdown => 4,
                    Closed::Replaced => 5,
                };
                self.closed[index].add(1);
            }
        }
    }
}

/// A number that one thread writes.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        // Not a read-modify-write: nobody else writes.
        self.set(self.get().wrapping_add(n));
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Nanoseconds, counted in buckets.
#[derive(Default)]
pub(crate) struct Histogram {
    buckets: [Counter; BUCKETS + 1],
    sum: Counter,
}

/// Buckets with a bound; one more has all the rest.
const BUCKETS: usize = 12;

/// The upper bound of the first bucket in nanoseconds. Each further one is twice as high.
const FIRST_NS: u64 = 128;

impl Histogram {
    /// `count` times the same.
    pub(crate) fn add(&self, time: Duration, count: u64) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = Self::bounds().position(|bound| ns <= bound);
        self.buckets[bucket.unwrap_or(BUCKETS)].add(count);
        self.sum.add(ns.saturating_mul(count));
    }

    /// The upper bounds in nanoseconds, but for the last bucket, which has none.
    pub(crate) fn bounds() -> impl Iterator<Item = u64> {
        (0..BUCKETS as u32).map(|n| FIRST_NS << n)
    }

    /// How many are in each bucket, and the sum of all.
    pub(crate) fn read(&self) -> ([u64; BUCKETS + 1], u64) {
        let counts = std::array::from_fn(|index| self.buckets[index].get());
        (counts, self.sum.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_has_room_for_it() {
        let histogram = Histogram::default();
        for (ns, count) in [(0, 1), (128, 2), (129, 4), (262_144, 8), (1 << 40, 16)] {
            histogram.add(Duration::from_nanos(ns), count);
        }
        let (counts, sum) = histogram.read();
        assert_eq!((counts[0], counts[1]), (3, 4));
        assert_eq!((counts[11], counts[12]), (8, 16));
        assert_eq!(sum, 256 + 4 * 129 + 8 * 262_144 + 16 * (1 << 40));
    }
}

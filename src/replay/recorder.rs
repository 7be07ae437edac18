//! Which flights were seen, in slices of time that are forgotten whole.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};
use zeroize::Zeroizing;

use crate::sync::{AtomicU64, Ordering, Words, seeded, zeroed_words};
use crate::time::UnixMillis;

/// Slots that are searched for one flight: two cache lines.
#[cfg(not(dtls_session_loom))]
const BUCKET: usize = 16;
#[cfg(dtls_session_loom)]
const BUCKET: usize = 2;

/// Bits of a slot that hold the fingerprint; the generation has the others.
const FINGERPRINT_BITS: u32 = 36;
const FINGERPRINT_MASK: u64 = (1 << FINGERPRINT_BITS) - 1;
const GENERATION_MAX: u64 = u64::MAX >> FINGERPRINT_BITS;

/// Slices begin this long before the recorder, or for short ones a quarter of the time that there
/// are generations for: a clock that was ahead at the start may step back by as much and flights
/// can still be recorded.
const BACK_TO_MS: u64 = 10 * 365 * 86_400_000;

/// The shortest slice: even with the fewest in a ring there are generations for 25 years.
pub(crate) const SLICE_MIN_MS: u64 = 1_000;

/// What recording a flight found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    First,
    Replayed,
    Full,
    OutOfTime,
}

/// A fixed table of fingerprints: lane, then slice, then bucket.
///
/// A flight belongs to the slice of its expected arrival, which its binder fixes: one lookup
/// decides. Slices take turns in a ring, and each slot says which turn wrote it: an older turn's
/// slot counts as empty, so a slice expires as a whole, at once, and nobody sweeps. A slot of a
/// newer turn means that the flight's own slice is gone: it is refused.
///
/// Slots of one turn are never emptied and always filled in the same order, so that of any number
/// of threads that record one flight, exactly one is the first.
pub(crate) struct Recorder {
    slots: Words,
    lanes: usize,
    ring: u64,
    slice_ms: u64,
    buckets: usize,
    origin: u64,
    /// Keyed, so that no client can choose flights that fall into one bucket.
    key: Zeroizing<[u8; 16]>,
}

impl Recorder {
    /// A recorder of at most `bytes`, for flights that arrive within a window of `span_ms`.
    /// `None` if that is too little for one bucket per lane and slice, or more than there is.
    pub(crate) fn new(
        bytes: usize,
        lanes: usize,
        slice_ms: u64,
        span_ms: u64,
        key: Zeroizing<[u8; 16]>,
        now: UnixMillis,
    ) -> Option<Self> {
        // The window can touch one slice more than it spans, and one more is being forgotten.
        let ring = span_ms.checked_div(slice_ms)?.checked_add(3)?;
        let tables = usize::try_from(ring).ok()?.checked_mul(lanes)?;
        let buckets = bytes.checked_div(tables.checked_mul(BUCKET * 8)?)?;
        let range = slice_ms.saturating_mul(ring).saturating_mul(GENERATION_MAX);
        if buckets == 0 {
            return None;
        }
        Some(Self {
            slots: zeroed_words(tables * buckets * BUCKET)?,
            lanes,
            ring,
            slice_ms,
            buckets,
            origin: now.0.saturating_sub(BACK_TO_MS.min(range / 4)),
            key,
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.len() * 8
    }

    /// Records the flight that `identity` stands for.
    pub(crate) fn record(
        &self,
        lane: u8,
        expected_arrival: UnixMillis,
        identity: &[u8],
    ) -> Recorded {
        let Some(slice) = expected_arrival
            .0
            .checked_sub(self.origin)
            .map(|ms| ms / self.slice_ms)
        else {
            return Recorded::OutOfTime;
        };
        // Never 0, which is an empty slot.
        let generation = slice / self.ring + 1;
        if generation > GENERATION_MAX {
            return Recorded::OutOfTime;
        }
        let (bucket, fingerprint) = self.place(identity);
        let table = (slice % self.ring) as usize * self.lanes + usize::from(lane) % self.lanes;
        let first = (table * self.buckets + bucket) * BUCKET;
        insert(
            &self.slots[first..first + BUCKET],
            generation << FINGERPRINT_BITS | fingerprint,
        )
    }

    /// Bucket and fingerprint, from two independent hashes.
    fn place(&self, identity: &[u8]) -> (usize, u64) {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(identity);
        let hash = hasher.finish128();
        // Multiply and shift: an even spread over any number of buckets.
        let bucket = (u128::from(hash.h1) * self.buckets as u128) >> 64;
        (bucket as usize, hash.h2 & FINGERPRINT_MASK)
    }
}

fn insert(bucket: &[AtomicU64], record: u64) -> Recorded {
    let generation = record >> FINGERPRINT_BITS;
    for slot in bucket {
        // Relaxed, here and below: a slot says all by itself, nothing else is published by it. A
        // stale reading is found out by the exchange.
        let mut seen = slot.load(Ordering::Relaxed);
        while seen >> FINGERPRINT_BITS < generation {
            match slot.compare_exchange(seen, record, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Recorded::First,
                Err(newer) => seen = newer,
            }
        }
        if seen == record {
            return Recorded::Replayed;
        }
        if seeded!(seen >> FINGERPRINT_BITS > generation, "newer turn ignored" => false) {
            return Recorded::OutOfTime;
        }
    }
    Recorded::Full
}

#[cfg(all(test, not(dtls_session_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::{HashMap, HashSet};

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn recorder(bytes: usize, lanes: usize) -> Recorder {
        Recorder::new(bytes, lanes, 2_500, 20_000, Zeroizing::new([7; 16]), NOW).unwrap()
    }

    fn after(ms: u64) -> UnixMillis {
        UnixMillis(NOW.0 + ms)
    }

    #[test]
    fn recording_agrees_with_a_set() {
        let recorder = recorder(1 << 20, 2);
        let mut oracle = HashSet::new();
        let mut state = 1_u64;
        for _ in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let flight = (state >> 33) % 8_000;
            let expected = if oracle.insert(flight) {
                Recorded::First
            } else {
                Recorded::Replayed
            };
            let arrival = after(flight % 20_000);
            assert_eq!(
                recorder.record((flight % 2) as u8, arrival, &flight.to_le_bytes()),
                expected
            );
        }
    }

    #[test]
    fn trap_07_a_flight_is_remembered_for_the_whole_window() {
        // Room for every flight: what is refused for want of room is another test.
        let recorder = recorder(1 << 20, 1);
        let record =
            |arrival: u64, flight: u64| recorder.record(0, after(arrival), &flight.to_le_bytes());
        for offset in 0..2_500 {
            assert_eq!(record(100_000 + offset, offset), Recorded::First);
        }
        // While one may still arrive, others do that are expected up to a whole window earlier or
        // later: each is recorded, and makes none of them forgotten.
        for other in (80_000..=122_499).step_by(100) {
            assert_eq!(record(other, 1 << 40 | other), Recorded::First);
        }
        for offset in 0..2_500 {
            assert_eq!(record(100_000 + offset, offset), Recorded::Replayed);
        }
    }

    #[test]
    fn the_shortest_slices_last_for_decades() {
        let key = Zeroizing::new([7; 16]);
        let recorder = Recorder::new(1 << 16, 1, SLICE_MIN_MS, 1, key, NOW).unwrap();
        let years = |n: u64| n * 365 * 86_400_000;
        for (n, arrival) in (0_u64..).zip([NOW.0 - years(6), NOW.0, NOW.0 + years(18)]) {
            let recorded = recorder.record(0, UnixMillis(arrival), &n.to_le_bytes());
            assert_eq!(recorded, Recorded::First);
        }
    }

    #[test]
    fn trap_08_a_full_bucket_refuses_and_evicts_nothing() {
        let recorder = recorder(11 * BUCKET * 8, 1);
        assert_eq!(recorder.buckets, 1);
        let answers: Vec<_> = (0..40_u64)
            .map(|n| recorder.record(0, NOW, &n.to_le_bytes()))
            .collect();
        assert_eq!(answers[..BUCKET], [Recorded::First; BUCKET]);
        assert_eq!(answers[BUCKET..], [Recorded::Full; 40 - BUCKET]);
        for n in 0..BUCKET as u64 {
            assert_eq!(
                recorder.record(0, NOW, &n.to_le_bytes()),
                Recorded::Replayed
            );
        }
    }

    #[test]
    fn an_expired_slice_makes_room_at_once_and_cannot_come_back() {
        let recorder = recorder(11 * BUCKET * 8, 1);
        for n in 0..BUCKET as u64 {
            assert_eq!(recorder.record(0, NOW, &n.to_le_bytes()), Recorded::First);
        }
        let next_turn = after(2_500 * recorder.ring);
        assert_eq!(recorder.record(0, next_turn, b"next turn"), Recorded::First);
        // The clock steps back: what the next turn has overwritten may not be accepted again.
        assert_eq!(
            recorder.record(0, NOW, &0_u64.to_le_bytes()),
            Recorded::OutOfTime
        );
    }

    #[test]
    fn a_clock_before_the_origin_is_refused() {
        let recorder = recorder(1 << 16, 1);
        assert_eq!(
            recorder.record(0, UnixMillis(5), b"flight"),
            Recorded::OutOfTime
        );
        assert_eq!(
            recorder.record(0, UnixMillis(u64::MAX), b"flight"),
            Recorded::OutOfTime
        );
    }

    #[test]
    fn trap_06_buckets_depend_on_the_key() {
        let other = Recorder {
            key: Zeroizing::new([8; 16]),
            ..recorder(1 << 20, 1)
        };
        let recorder = recorder(1 << 20, 1);
        // A client that has found flights in one bucket under one key finds nothing by them under
        // another.
        let mut in_bucket: HashMap<usize, Vec<u64>> = HashMap::new();
        for n in 0..100_000_u64 {
            in_bucket
                .entry(recorder.place(&n.to_le_bytes()).0)
                .or_default()
                .push(n);
        }
        let ground = in_bucket
            .values()
            .max_by_key(|flights| flights.len())
            .unwrap();
        let elsewhere: HashSet<_> = ground
            .iter()
            .map(|n| other.place(&n.to_le_bytes()).0)
            .collect();
        assert!(ground.len() > 60 && elsewhere.len() > ground.len() * 2 / 3);
    }

    #[test]
    fn racing_threads_agree_on_one_first() {
        let recorder = recorder(1 << 20, 1);
        for flight in 0..2_000_u64 {
            let firsts = std::thread::scope(|scope| {
                let race = || recorder.record(0, NOW, &flight.to_le_bytes()) == Recorded::First;
                let threads = [scope.spawn(race), scope.spawn(race)];
                threads
                    .map(|thread| usize::from(thread.join().unwrap()))
                    .iter()
                    .sum::<usize>()
            });
            assert_eq!(firsts, 1, "flight {flight}");
        }
    }
}

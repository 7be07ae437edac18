//! The serials of one lane under one key: which were given out, and which were used.

use crate::sync::{
    Arc, AtomicU64, AtomicUsize, OnceBox, Ordering, Words, prefetch, seeded, zeroed_words,
};

/// Serials in the first chunk of bits; each further chunk is as large as all before it.
#[cfg(not(dtls_session_loom))]
const FIRST_CHUNK: u64 = 1 << 15;
#[cfg(dtls_session_loom)]
const FIRST_CHUNK: u64 = 1;

/// Enough chunks for `SERIALS_MAX`.
const CHUNKS: usize = (SERIALS_MAX / FIRST_CHUNK).ilog2() as usize + 1;

/// A serial has 32 bits in the nonce and on the wire.
#[cfg(not(dtls_session_loom))]
pub(crate) const SERIALS_MAX: u64 = 1 << 32;
#[cfg(dtls_session_loom)]
pub(crate) const SERIALS_MAX: u64 = 4;

/// How many bytes of bits may exist at once, over all lanes and keys.
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
        })
    }

    pub(crate) fn used(&self) -> usize {
        // Relaxed: a figure for people.
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    fn reserve(&self, bytes: usize) -> bool {
        // Relaxed: the sum alone counts, no other memory hangs on it. By exchange, since a sum
        // that did not fit, if only for a moment, would be in the way of one that does.
        let fitting = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fitting)
            .is_ok()
    }

    fn release(&self, bytes: usize) {
        // Relaxed: as in `reserve`.
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// One bit per serial, in chunks that double, so that a lane costs nothing before it issues, and
/// after the first chunk at most twice its tickets.
pub(crate) struct Lane {
    next: AtomicU64,
    limit: u64,
    last_expiry: AtomicU64,
    chunks: [OnceBox<Words>; CHUNKS],
    budget: Arc<Budget>,
}

impl Lane {
    pub(crate) fn new(limit: u64, budget: &Arc<Budget>) -> Self {
        Self {
            next: AtomicU64::new(0),
            limit: limit.min(SERIALS_MAX),
            last_expiry: AtomicU64::new(0),
            chunks: std::array::from_fn(|_| OnceBox::new()),
            budget: Arc::clone(budget),
        }
    }

    /// The bytes of a lane, but for its bits.
    pub(crate) const fn bytes() -> usize {
        size_of::<Self>() + CHUNKS * size_of::<Words>()
    }

    /// The next serial, which nobody gets again, for a ticket that expires at `expiry` (ms).
    /// `None` when the lane has none left under this key.
    pub(crate) fn take_serial(&self, expiry: u64) -> Option<u32> {
        // Relaxed: the read-modify-write alone makes serials unique. 2^64 cannot be reached, so
        // counting on beyond the limit does no harm.
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        if serial >= self.limit {
            return None;
        }
        self.needed_until(expiry);
        u32::try_from(serial).ok()
    }

    /// What was made with the key on this lane expires at `expiry` (ms).
    pub(crate) fn needed_until(&self, expiry: u64) {
        // Relaxed: read only after the epoch in which this key could seal has ended, which orders
        // the two. Compared first, since the exchange costs more than the load.
        if self.last_expiry.load(Ordering::Relaxed) < expiry {
            self.last_expiry.fetch_max(expiry, Ordering::Relaxed);
        }
    }

    /// How many serials were given out.
    pub(crate) fn issued(&self) -> u64 {
        // Relaxed: a figure for people and for the decision to rotate early.
        self.next.load(Ordering::Relaxed).min(self.limit)
    }

    /// How many serials are left.
    pub(crate) fn left(&self) -> u64 {
        self.limit - self.issued()
    }

    /// When the last of the lane's tickets and cookies expires (ms). Final once the key no longer
    /// seals.
    pub(crate) fn last_expiry(&self) -> u64 {
        // Relaxed: see `needed_until`.
        self.last_expiry.load(Ordering::Relaxed)
    }

    /// Makes room for the bit of `serial`. `false` when the budget is spent, or the system's memory: a
    /// ticket with this serial can never be struck.
    pub(crate) fn remember(&self, serial: u32) -> bool {
        let (chunk, _) = locate(serial);
        let Some(cell) = self.chunks.get(chunk) else {
            return false;
        };
        if cell.get().is_some() {
            return true;
        }
        let words = chunk_words(chunk);
        if !self.budget.reserve(words * 8) {
            return false;
        }
        let Some(zeroed) = zeroed_words(words) else {
            self.budget.release(words * 8);
            return false;
        };
        let (_, ours) = cell.set(Box::new(zeroed));
        if seeded!(!ours, "the loser's reservation is kept" => false) {
            self.budget.release(words * 8);
        }
        true
    }

    /// Where the bit of `serial` is, if it is remembered.
    #[inline]
    pub(crate) fn place(&self, serial: u32) -> Option<Place<'_>> {
        let (chunk, offset) = locate(serial);
        let words = self.chunks.get(chunk)?.get()?;
        let word = words.get(usize::try_from(offset / 64).ok()?)?;
        let mask = 1 << (offset % 64);
        Some(Place { word, mask })
    }
}

/// Where the bit of a serial is.
#[derive(Clone, Copy)]
pub(crate) struct Place<'k> {
    word: &'k AtomicU64,
    mask: u64,
}

impl Place<'_> {
    /// Fetches the bit, which is to be struck soon.
    #[inline]
    pub(crate) fn prefetch(self) {
        prefetch(self.word);
    }

    /// Strikes the bit, and says whether it was not struck before: to one of any number of callers.
    #[inline]
    pub(crate) fn strike(self) -> bool {
        // Relaxed: one word's modifications have one order, so exactly one caller finds the bit
        // clear; nothing else is published by it.
        self.word.fetch_or(self.mask, Ordering::Relaxed) & self.mask == 0
    }
}

/// The bits of a lane, taken away from the process that gave out its serials.
pub(crate) struct HandedOver {
    /// Serials from here on were not given out yet.
    pub(crate) issued: u64,
    /// The chunks that exist, by their number.
    pub(crate) chunks: Vec<(usize, Vec<u64>)>,
}

impl Lane {
    /// Takes the bits out: each is handed over as it was, and struck here for good. A strike at
    /// the same time comes before, and is handed over, or after, and finds the bit struck.
    pub(crate) fn hand_over(&self) -> HandedOver {
        let issued = self.issued();
        let chunks = self.chunks.iter().enumerate().filter_map(|(index, cell)| {
            // Relaxed: each word says all by itself.
            let taken = |word: &AtomicU64| word.fetch_or(u64::MAX, Ordering::Relaxed);
            Some((index, cell.get()?.iter().map(taken).collect()))
        });
        HandedOver {
            issued,
            chunks: chunks.collect(),
        }
    }
}

/// A lane of an earlier process, whose bits were handed over.
pub(crate) struct AdoptedLane {
    lane: Lane,
    issued: u64,
}

impl AdoptedLane {
    /// `None` if a chunk is not as long as it must be, or there twice, or the budget is spent or the
    /// system's memory.
    pub(crate) fn new(bits: &HandedOver, budget: &Arc<Budget>) -> Option<Self> {
        let lane = Lane::new(0, budget);
        for (index, words) in &bits.chunks {
            let cell = lane.chunks.get(*index)?;
            let misplaced = words.len() != chunk_words(*index) || cell.get().is_some();
            if misplaced || !budget.reserve(words.len() * 8) {
                return None;
            }
            let Some(adopted) = zeroed_words(words.len()) else {
                budget.release(words.len() * 8);
                return None;
            };
            // Relaxed: `set` publishes them.
            let copies = adopted.iter().zip(words);
            copies.for_each(|(word, bits)| word.store(*bits, Ordering::Relaxed));
            cell.set(Box::new(adopted));
        }
        Some(Self {
            lane,
            issued: bits.issued,
        })
    }

    /// As [`Lane::place`], for the serials that were given out when the bits were handed over.
    pub(crate) fn place(&self, serial: u32) -> Option<Place<'_>> {
        let remembered = u64::from(serial) < self.issued;
        remembered.then(|| self.lane.place(serial)).flatten()
    }

    /// To be handed on.
    pub(crate) fn hand_over(&self) -> HandedOver {
        HandedOver {
            issued: self.issued,
            ..self.lane.hand_over()
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        for (index, chunk) in self.chunks.iter_mut().enumerate() {
            if chunk.get_mut().is_some() {
                self.budget.release(chunk_words(index) * 8);
            }
        }
    }
}

/// The chunk of a serial and its place within: chunk `n > 0` begins at `FIRST_CHUNK << (n - 1)`.
/// Without a branch, since nobody can foretell which chunk it is.
#[inline]
fn locate(serial: u32) -> (usize, u64) {
    let serial = u64::from(serial);
    let chunk = u64::BITS - (serial / FIRST_CHUNK).leading_zeros();
    let begin = FIRST_CHUNK * (1 << chunk >> 1);
    (chunk as usize, serial - begin)
}

fn chunk_words(chunk: usize) -> usize {
    let serials = FIRST_CHUNK << chunk.saturating_sub(1);
    usize::try_from(serials.div_ceil(64)).unwrap_or(usize::MAX / 8)
}

#[cfg(all(test, not(dtls_session_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::HashSet;

    fn strike(lane: &Lane, serial: u32) -> Option<bool> {
        lane.place(serial).map(Place::strike)
    }

    #[test]
    fn chunks_cover_every_serial_once() {
        let mut expected = (0, 0);
        for serial in 0..(FIRST_CHUNK as u32 * 8) {
            let (chunk, offset) = locate(serial);
            if (chunk, offset) != expected {
                assert_eq!((chunk, offset), (expected.0 + 1, 0), "serial {serial}");
                assert_eq!(expected.1, chunk_words(expected.0) as u64 * 64);
            }
            expected = (chunk, offset + 1);
        }
        let (chunk, offset) = locate(u32::MAX);
        assert_eq!(chunk, CHUNKS - 1);
        assert_eq!(offset, chunk_words(chunk) as u64 * 64 - 1);
    }

    #[test]
    fn a_serial_is_struck_once() {
        let lane = Lane::new(SERIALS_MAX, &Budget::new(1 << 20));
        let mut oracle = HashSet::new();
        for serial in (0..200_000).step_by(7).chain((0..200_000).step_by(3)) {
            assert!(lane.remember(serial));
            let expected = Some(oracle.insert(serial));
            assert_eq!(strike(&lane, serial), expected, "serial {serial}");
        }
    }

    #[test]
    fn a_serial_without_memory_is_unknown_and_the_budget_comes_back() {
        let budget = Budget::new(4096);
        let lane = Lane::new(SERIALS_MAX, &budget);
        assert_eq!(strike(&lane, 0), None);
        assert!(lane.remember(0));
        assert!(
            !lane.remember(FIRST_CHUNK as u32),
            "4096 bytes hold one chunk"
        );
        assert_eq!(strike(&lane, FIRST_CHUNK as u32), None);
        assert_eq!(budget.used(), 4096);
        drop(lane);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn serials_end_at_the_limit() {
        let lane = Lane::new(3, &Budget::new(0));
        assert_eq!(
            (0..5).map(|n| lane.take_serial(n)).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(2), None, None]
        );
        assert_eq!((lane.issued(), lane.left(), lane.last_expiry()), (3, 0, 2));
    }
}

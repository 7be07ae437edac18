//! Counters: one per worker and reason, written by the worker alone and read by anybody.

use std::fmt;

use crossbeam_utils::CachePadded;

use crate::admission::{AbortReason, Decision, Discarded, NoEarlyData, NoResumption};
use crate::sync::{AtomicU64, Ordering, seeded};

const ACCEPTED: usize = 0;
const RETRANSMISSION: usize = 1;
const INCOMPLETE: usize = 2;
const ISSUED: usize = 3;
const RESUME: usize = 4;
const FULL: usize = RESUME + NoEarlyData::ALL.len();
const ABORT: usize = FULL + NoResumption::ALL.len();
const DISCARD: usize = ABORT + AbortReason::ALL.len();
const COUNTERS: usize = DISCARD + Discarded::ALL.len();

/// The counters of one worker.
///
/// Padded: a neighbour's writes must not take the line away from the worker.
pub(crate) struct Counters(CachePadded<[AtomicU64; COUNTERS]>);

impl Counters {
    pub(crate) fn new() -> Self {
        Self(CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }

    pub(crate) fn count(&self, decision: Decision) {
        self.add(match decision {
            Decision::AcceptEarlyData => ACCEPTED,
            Decision::Retransmission => RETRANSMISSION,
            Decision::Incomplete | Decision::Pending => INCOMPLETE,
            Decision::Resume(why) => RESUME + why as usize,
            Decision::FullHandshake(why) => FULL + why as usize,
            Decision::Abort(_, why) => ABORT + why as usize,
            Decision::Discard(why) => DISCARD + why as usize,
        });
    }

    pub(crate) fn count_issued(&self) {
        self.add(ISSUED);
    }

    fn add(&self, counter: usize) {
        // Relaxed load and store rather than a read-modify-write: the worker is the only writer.
        let counter = &self.0[counter];
        let before = counter.load(Ordering::Relaxed);
        seeded!("counter emptied between" => counter.store(0, Ordering::Relaxed));
        counter.store(before.wrapping_add(1), Ordering::Relaxed);
    }
}

/// How often each verdict was given, since the engine was built: a snapshot.
#[derive(Clone, PartialEq, Eq)]
pub struct Metrics([u64; COUNTERS]);

impl fmt::Debug for Metrics {
    /// What was counted at all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.verdicts().chain([("issued", "", self.issued())]);
        let counted = counted.filter(|(.., n)| *n > 0);
        let name = |(verdict, why, n)| ([verdict, why].join(" ").trim_end().to_owned(), n);
        f.debug_map().entries(counted.map(name)).finish()
    }
}

impl Metrics {
    pub(crate) fn sum<'c>(workers: impl Iterator<Item = &'c Counters>) -> Self {
        let mut sums = [0_u64; COUNTERS];
        for worker in workers {
            for (sum, counter) in sums.iter_mut().zip(worker.0.iter()) {
                // Relaxed: each counter by itself; a batch may be half counted.
                *sum = sum.wrapping_add(counter.load(Ordering::Relaxed));
            }
        }
        Self(sums)
    }

    /// Flights whose early data was accepted.
    #[must_use]
    pub fn accepted_early_data(&self) -> u64 {
        self.0[ACCEPTED]
    }

    /// Resumptions without early data.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.0[RESUME..FULL].iter().sum()
    }

    /// Resumptions without early data for this reason.
    #[must_use]
    pub fn resumed_because(&self, why: NoEarlyData) -> u64 {
        self.0[RESUME + why as usize]
    }

    /// ClientHellos that resume nothing.
    #[must_use]
    pub fn full_handshakes(&self) -> u64 {
        self.0[FULL..ABORT].iter().sum()
    }

    /// ClientHellos that resume nothing for this reason.
    #[must_use]
    pub fn full_handshakes_because(&self, why: NoResumption) -> u64 {
        self.0[FULL + why as usize]
    }

    /// Handshakes that were aborted.
    #[must_use]
    pub fn aborted(&self) -> u64 {
        self.0[ABORT..DISCARD].iter().sum()
    }

    /// Handshakes that were aborted for this reason.
    #[must_use]
    pub fn aborted_because(&self, why: AbortReason) -> u64 {
        self.0[ABORT + why as usize]
    }

    /// Datagrams that were discarded.
    #[must_use]
    pub fn discarded(&self) -> u64 {
        self.0[DISCARD..].iter().sum()
    }

    /// Datagrams that were discarded for this reason.
    #[must_use]
    pub fn discarded_because(&self, why: Discarded) -> u64 {
        self.0[DISCARD + why as usize]
    }

    /// ClientHellos that came again.
    #[must_use]
    pub fn retransmissions(&self) -> u64 {
        self.0[RETRANSMISSION]
    }

    /// Datagrams that were part of a ClientHello only.
    #[must_use]
    pub fn incomplete(&self) -> u64 {
        self.0[INCOMPLETE]
    }

    /// Tickets issued.
    #[must_use]
    pub fn issued(&self) -> u64 {
        self.0[ISSUED]
    }

    /// Every counter of a verdict: the verdict, the reason (empty if it has none), the count.
    /// The names stay the same.
    pub fn verdicts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        let plain = [
            ("accept_early_data", "", self.0[ACCEPTED]),
            ("retransmission", "", self.0[RETRANSMISSION]),
            ("incomplete", "", self.0[INCOMPLETE]),
        ];
        let resume = NoEarlyData::ALL.iter().map(|why| ("resume", why.name()));
        let full = NoResumption::ALL
            .iter()
            .map(|why| ("full_handshake", why.name()));
        let abort = AbortReason::ALL.iter().map(|why| ("abort", why.name()));
        let discard = Discarded::ALL.iter().map(|why| ("discard", why.name()));
        let reasons = resume.chain(full).chain(abort).chain(discard);
        let counted = reasons
            .zip(&self.0[RESUME..])
            .map(|((verdict, why), n)| (verdict, why, *n));
        plain.into_iter().chain(counted)
    }
}

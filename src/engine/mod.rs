//! The engine: what all workers share, and the worker of one core.

mod admitted;
mod builder;
mod profile;
mod worker;

use std::fmt;

use zeroize::Zeroizing;

pub use admitted::Admitted;
pub use builder::Builder;
pub use profile::Profile;
pub use worker::{BATCH_MAX, Worker};

use crate::admission::Rules;
use crate::error::Error;
use crate::keys::{Maintenance, TicketKeyManager};
use crate::metrics::{Counters, Metrics};
use crate::random::SecureRandom;
use crate::replay::ReplayCache;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, lock, seeded};
use crate::ticket::IssueRules;
use crate::time::UnixMillis;
use worker::WorkerRules;

/// What the workers of a process share. Cheap to clone; clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    keys: TicketKeyManager,
    replay: ReplayCache,
    rules: Rules,
    issue: IssueRules,
    worker: WorkerRules,
    flow_key: Zeroizing<[u8; 16]>,
    counters: Mutex<Vec<Arc<Counters>>>,
    /// It has taken over the registers of an earlier process.
    took_over: AtomicBool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("keys", &self.shared.keys)
            .field("replay", &self.shared.replay)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// The way to an engine.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The worker of `lane`, for the calling thread. Several workers of one lane are slower than
    /// each on its own, and no less right.
    ///
    /// # Errors
    /// [`Error::NoSuchLane`].
    pub fn worker(&self, lane: usize) -> Result<Worker, Error> {
        let lanes = self.shared.keys.config().lanes;
        match u8::try_from(lane) {
            Ok(number) if lane < lanes => Worker::new(self, number, self.counters()),
            _ => Err(Error::NoSuchLane { lane, lanes }),
        }
    }

    /// Whether registers may be taken over: once.
    pub(crate) fn begin_take_over(&self) -> bool {
        // Relaxed: the exchange alone says who is the first.
        !self.shared.took_over.swap(true, Ordering::Relaxed)
    }

    /// Counters for a new worker: those of one that is gone, if there are any, so that what it has
    /// counted stays in the sum.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        let mut all = lock(&self.shared.counters);
        for counters in all.iter_mut() {
            // Not by the count alone: this acquires what was counted there, from which the new
            // worker goes on.
            if seeded!(Arc::get_mut(counters).is_some(), "counters are shared" => true) {
                return Arc::clone(counters);
            }
        }
        let new = Arc::new(Counters::new());
        all.push(Arc::clone(&new));
        new
    }

    /// To be called about once a second, by any thread: see [`TicketKeyManager::maintain`].
    ///
    /// # Errors
    /// As there.
    pub fn maintain(
        &self,
        now: UnixMillis,
        random: &dyn SecureRandom,
    ) -> Result<Maintenance, Error> {
        self.shared.keys.maintain(now, random)
    }

    /// The ticket keys.
    #[must_use]
    pub fn keys(&self) -> &TicketKeyManager {
        &self.shared.keys
    }

    /// The memory of accepted flights.
    #[must_use]
    pub fn replay(&self) -> &ReplayCache {
        &self.shared.replay
    }

    /// What all workers have counted so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::sum(
            lock(&self.shared.counters)
                .iter()
                .map(|counters| &**counters),
        )
    }
}

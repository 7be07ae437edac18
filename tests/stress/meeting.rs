//! A place where threads wait for each other, and that nobody waits at for ever.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

/// Longer than any thread needs, on any machine and under any sanitizer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A barrier that opens for good when one of the threads panics.
pub(crate) struct Meeting {
    parties: usize,
    arrived: AtomicUsize,
    over: AtomicBool,
}

/// A thread's promise to come to every meeting: broken, it ends the meeting for the others.
pub(crate) struct Member<'m>(pub(crate) &'m Meeting);

impl Meeting {
    pub(crate) fn new(parties: usize) -> Self {
        Self {
            parties,
            arrived: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// Waits until all threads have come as often as this one.
    pub(crate) fn wait(&self) {
        let came = self.arrived.fetch_add(1, Ordering::AcqRel) + 1;
        let all = came.next_multiple_of(self.parties);
        let begun = Instant::now();
        while self.arrived.load(Ordering::Acquire) < all {
            assert!(!self.is_over(), "another thread has given up");
            assert!(begun.elapsed() < PATIENCE, "another thread does not come");
            std::thread::yield_now();
        }
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end();
        }
    }
}

/// Locks without sleeping: sanitizers do not see into the part of `std` that sleeps, and would
/// take what the lock orders for races.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
}

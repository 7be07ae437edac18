//! A value that is replaced while others read it: readers never wait, and what was replaced is
//! dropped once the last reader that could see it has left.
#![allow(unsafe_code)]

use std::ops::Deref;
use std::ptr::NonNull;

use crossbeam_epoch::{Atomic, Collector, Guard, LocalHandle, Owned};

use super::{Arc, Ordering};

/// Epochs the collector must pass before garbage is certainly free: one to seal the bag, two for
/// the readers of before.
const EPOCHS_TO_FREE: usize = 3;

/// The value, and a collector of its own: no other crate's readers can delay a drop.
pub(crate) struct EpochCell<T> {
    collector: Collector,
    current: Atomic<T>,
}

impl<T: Send + Sync + 'static> EpochCell<T> {
    pub(crate) fn new(value: T) -> Arc<Self> {
        Arc::new(Self {
            collector: Collector::new(),
            current: Atomic::new(value),
        })
    }

    /// A reader for the calling thread.
    pub(crate) fn reader(self: &Arc<Self>) -> EpochReader<T> {
        EpochReader {
            handle: self.collector.register(),
            cell: Arc::clone(self),
        }
    }

    /// Puts `next` in the place of the current value. When no reader can hold the old one any
    /// more, `unseen` is called and the old value is dropped.
    ///
    /// Writers take turns by a lock of their own.
    pub(crate) fn replace(&self, next: T, unseen: impl FnOnce() + Send + 'static) {
        let handle = self.collector.register();
        let guard = handle.pin();
        // AcqRel: Release publishes `next` whole; Acquire, since dropping the old value reads it.
        let old = self
            .current
            .swap(Owned::new(next), Ordering::AcqRel, &guard);
        guard.defer(unseen);
        // SAFETY: the swap unlinked `old`, so that only readers pinned before it can still hold
        // it, and it is unlinked once only.
        unsafe { guard.defer_destroy(old) };
        guard.flush();
    }

    /// Drops what no reader can see any more.
    pub(crate) fn collect(&self) {
        let handle = self.collector.register();
        for _ in 0..EPOCHS_TO_FREE {
            handle.pin().flush();
        }
    }
}

impl<T> Drop for EpochCell<T> {
    fn drop(&mut self) {
        let current = std::mem::replace(&mut self.current, Atomic::null());
        // SAFETY: a reader keeps the cell alive, so none is left, and `current` is never null.
        drop(unsafe { current.into_owned() });
    }
}

/// One thread's way to read. Not `Send`: the collector knows the thread by it.
pub(crate) struct EpochReader<T> {
    handle: LocalHandle,
    cell: Arc<EpochCell<T>>,
}

impl<T: Send + Sync + 'static> EpochReader<T> {
    /// The current value, which stays alive and the same while the pin is held.
    pub(crate) fn pin(&self) -> Pinned<'_, T> {
        let guard = self.handle.pin();
        // Acquire: pairs with the Release of the swap, so that the value is seen whole.
        let shared = self.cell.current.load(Ordering::Acquire, &guard);
        // SAFETY: never null; loaded under `guard`, which `Pinned` keeps.
        let value = unsafe { NonNull::new_unchecked(shared.as_raw().cast_mut()) };
        Pinned {
            value,
            _guard: guard,
            _reader: self,
        }
    }
}

/// A value that was current when it was pinned.
pub(crate) struct Pinned<'r, T> {
    value: NonNull<T>,
    _guard: Guard,
    _reader: &'r EpochReader<T>,
}

impl<T> Deref for Pinned<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: loaded under the guard that `self` holds: the collector keeps it until then.
        unsafe { self.value.as_ref() }
    }
}

#[cfg(all(test, not(dtls_session_loom)))]
mod tests {
    use super::EpochCell;
    use std::sync::Arc;

    #[test]
    fn the_old_value_is_dropped_when_its_last_reader_has_left() {
        let old = Arc::new(());
        let watch = Arc::downgrade(&old);
        let cell = EpochCell::new(old);
        let reader = cell.reader();

        let pinned = reader.pin();
        cell.replace(Arc::new(()), || {});
        cell.collect();
        assert!(watch.upgrade().is_some(), "a reader still sees it");

        drop(pinned);
        cell.collect();
        assert!(watch.upgrade().is_none());
    }
}

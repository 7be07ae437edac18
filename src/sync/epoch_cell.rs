//! A value that is replaced while others read it: readers never wait, and what was replaced is
//! dropped once the last reader that could see it has left.
#![allow(unsafe_code)]

use std::mem;
use std::ops::Deref;
use std::ptr::NonNull;

use crossbeam_epoch::{Atomic, Collector, Guard, LocalHandle, Owned};

use super::{Arc, AtomicBool, Mutex, Ordering, lock, seeded};

/// Epochs the collector must pass before garbage is certainly free: one to seal the bag, two for
/// the readers of before.
#[cfg(not(dtls_session_loom))]
const EPOCHS_TO_FREE: usize = 3;
#[cfg(dtls_session_loom)]
const EPOCHS_TO_FREE: usize = 1;

/// The value, and a collector of its own: no other crate's readers can delay a drop.
pub(crate) struct EpochCell<T> {
    collector: Collector,
    current: Link<T>,
    writer: Mutex<Writer<T>>,
}

/// What writers use, one at a time.
struct Writer<T> {
    /// One for all writers: each handle that goes leaves garbage, and with a reader that is stuck
    /// it would pile up.
    handle: LocalHandle,
    replaced: Vec<Replaced<T>>,
}

// SAFETY: a handle is not `Send` since two threads must not use it, or guards of it, at once. It
// has nothing of the thread that made it, and here the lock lets one use it at a time, whose
// guards end before the lock does. What was deferred through it is `Send`.
unsafe impl<T: Send> Send for Writer<T> {}

/// A value that readers may still see. It is dropped by [`EpochCell::collect`] and not by the
/// collector, which works on the readers' time too.
struct Replaced<T> {
    _value: Link<T>,
    unseen: Arc<AtomicBool>,
    then: Box<dyn FnOnce() + Send>,
}

impl<T: Send + Sync + 'static> EpochCell<T> {
    pub(crate) fn new(value: T) -> Arc<Self> {
        let collector = Collector::new();
        Arc::new(Self {
            writer: Mutex::new(Writer {
                handle: collector.register(),
                replaced: Vec::new(),
            }),
            collector,
            current: Link(Atomic::new(value)),
        })
    }

    /// Puts `next` in the place of the current value. When no reader can hold the old one any
    /// more, [`collect`](Self::collect) calls `then` and drops the old value.
    pub(crate) fn replace(&self, next: T, then: impl FnOnce() + Send + 'static) {
        let mut writer = lock(&self.writer);
        let Writer { handle, replaced } = &mut *writer;
        let unseen = Arc::new(AtomicBool::new(
            seeded!(false, "wiped before grace" => true),
        ));
        let flag = Arc::clone(&unseen);
        // Release: what readers did with the old value comes before its end.
        let have_left = move || flag.store(true, Ordering::Release);
        seeded!("retired before unlinked" => retire(handle, &unseen));
        let guard = handle.pin();
        // AcqRel: Release publishes `next` whole; Acquire, since dropping the old value reads it.
        let next = Owned::new(next);
        let old = self.current.0.swap(next, Ordering::AcqRel, &guard);
        replaced.push(Replaced {
            _value: Link(Atomic::from(old)),
            unseen,
            then: Box::new(then),
        });
        // Only readers that pinned before the swap can hold `old`: this runs when they have left.
        guard.defer(have_left);
        guard.flush();
    }

    /// Drops what no reader can see any more.
    pub(crate) fn collect(&self) {
        let gone = lock(&self.writer).take_unseen();
        // Without the lock: a drop can take long, and may come back here.
        for old in gone {
            (old.then)();
        }
    }
}

/// The bug of who does it before the swap.
#[cfg(dtls_session_loom)]
fn retire(handle: &LocalHandle, unseen: &Arc<AtomicBool>) {
    let (guard, flag) = (handle.pin(), Arc::clone(unseen));
    guard.defer(move || flag.store(true, Ordering::Release));
    guard.flush();
}

impl<T> Writer<T> {
    fn take_unseen(&mut self) -> Vec<Replaced<T>> {
        let mut gone = Vec::new();
        // The collector works off a part of its backlog at a time.
        while !self.replaced.is_empty() {
            for _ in 0..EPOCHS_TO_FREE {
                self.handle.pin().flush();
            }
            let before = gone.len();
            // Acquire: pairs with the Release in `replace`.
            let unseen = |old: &mut Replaced<T>| old.unseen.load(Ordering::Acquire);
            gone.extend(self.replaced.extract_if(.., unseen));
            if gone.len() == before {
                break;
            }
        }
        gone
    }
}

/// The owner of a value in its own allocation, which readers see without owning it.
struct Link<T>(Atomic<T>);

impl<T> Drop for Link<T> {
    fn drop(&mut self) {
        let value = mem::replace(&mut self.0, Atomic::null());
        // SAFETY: never null, and no other link has this value. No reader has it either: the
        // current one goes with its cell, which every reader keeps alive, and a replaced one when
        // it was seen that they have left, or with the cell.
        drop(unsafe { value.into_owned() });
    }
}

/// One thread's way to read. Not `Send`: the collector knows the thread by it.
pub(crate) struct EpochReader<T> {
    handle: LocalHandle,
    cell: Arc<EpochCell<T>>,
}

impl<T: Send + Sync + 'static> EpochReader<T> {
    /// A reader for the calling thread.
    pub(crate) fn new(cell: &Arc<EpochCell<T>>) -> Self {
        Self {
            handle: cell.collector.register(),
            cell: Arc::clone(cell),
        }
    }

    /// The current value, which stays alive and the same while the pin is held.
    pub(crate) fn pin(&self) -> Pinned<'_, T> {
        let guard = self.handle.pin();
        // Acquire: pairs with the Release of the swap, so that the value is seen whole.
        let order = seeded!(Ordering::Acquire, "array read relaxed" => Ordering::Relaxed);
        let shared = self.cell.current.0.load(order, &guard);
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
    use super::{EpochCell, EpochReader};
    use std::sync::Arc;

    #[test]
    fn the_old_value_is_dropped_when_its_last_reader_has_left() {
        let old = Arc::new(());
        let watch = Arc::downgrade(&old);
        let cell = EpochCell::new(old);
        let reader = EpochReader::new(&cell);

        let pinned = reader.pin();
        cell.replace(Arc::new(()), || {});
        cell.collect();
        assert!(watch.upgrade().is_some(), "a reader still sees it");

        drop(pinned);
        cell.collect();
        assert!(watch.upgrade().is_none());
    }

    #[test]
    fn a_reader_never_spends_its_time_on_dropping() {
        let old = Arc::new(());
        let watch = Arc::downgrade(&old);
        let cell = EpochCell::new(old);
        let reader = EpochReader::new(&cell);

        let pinned = reader.pin();
        cell.replace(Arc::new(()), || {});
        cell.collect();
        drop(pinned);
        // Often enough for the collector to make the reader work for it.
        for _ in 0..1000 {
            reader.pin();
        }
        assert!(watch.upgrade().is_some(), "left to the writer");
        cell.collect();
        assert!(watch.upgrade().is_none());
    }
}

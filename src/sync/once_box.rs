//! A pointer that is set at most once and then read by anybody.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr;

use super::{AtomicPtr, Ordering, owned_pointer};

/// A box that is empty until one thread fills it; it never changes after that.
///
/// `std::sync::OnceLock` would do, but `loom` has none to check.
pub(crate) struct OnceBox<T> {
    pointer: AtomicPtr<T>,
    owns: PhantomData<Box<T>>,
}

impl<T> OnceBox<T> {
    pub(crate) fn new() -> Self {
        Self {
            pointer: AtomicPtr::new(ptr::null_mut()),
            owns: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire: pairs with the Release in `set`, so that what the box holds is seen whole.
        let pointer = self.pointer.load(Ordering::Acquire);
        // SAFETY: not null means that `set` leaked a box into it; it is freed in `drop` only,
        // which needs `&mut self`, and nobody hands out `&mut T`.
        unsafe { pointer.as_ref() }
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        // SAFETY: as in `get`; `&mut self` says that no other thread is here any more.
        unsafe { owned_pointer(&mut self.pointer).as_mut() }
    }

    /// Fills the box if it is empty, otherwise drops `value`. Returns what is in it now, and
    /// whether that is `value`.
    pub(crate) fn set(&self, value: Box<T>) -> (&T, bool) {
        let ours = Box::into_raw(value);
        // AcqRel: Release publishes what `ours` points to; Acquire, here and on failure, lets us
        // read what another thread has published.
        let won = self.pointer.compare_exchange(
            ptr::null_mut(),
            ours,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match won {
            // SAFETY: `ours` is now owned by the cell and lives as long as `self`.
            Ok(_) => (unsafe { &*ours }, true),
            Err(theirs) => {
                // SAFETY: `ours` came from a box above and was not published.
                drop(unsafe { Box::from_raw(ours) });
                // SAFETY: as in `get`; the exchange fails only against a pointer that is set.
                (unsafe { &*theirs }, false)
            }
        }
    }
}

impl<T> Drop for OnceBox<T> {
    fn drop(&mut self) {
        let pointer = owned_pointer(&mut self.pointer);
        if !pointer.is_null() {
            // SAFETY: `set` leaked this box and nobody else frees it.
            drop(unsafe { Box::from_raw(pointer) });
        }
    }
}

// SAFETY: the cell owns a `T` that may be dropped on another thread.
unsafe impl<T: Send> Send for OnceBox<T> {}
// SAFETY: a shared cell gives out `&T` and takes in a `T` from any thread.
unsafe impl<T: Send + Sync> Sync for OnceBox<T> {}

#[cfg(all(test, not(dtls_session_loom)))]
mod tests {
    use super::OnceBox;

    #[test]
    fn the_first_value_stays() {
        let cell = OnceBox::new();
        assert!(cell.get().is_none());
        assert_eq!(cell.set(Box::new(1)), (&1, true));
        assert_eq!(cell.set(Box::new(2)), (&1, false));
        assert_eq!(cell.get(), Some(&1));
    }
}

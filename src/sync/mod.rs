//! Every atomic of the crate comes from here: `std`'s, or `loom`'s while it model-checks the code
//! that ships (`--cfg dtls_session_loom`).

#[cfg(dtls_session_loom)]
mod checked;
mod epoch_cell;
#[cfg(all(target_os = "linux", not(dtls_session_loom)))]
mod mapping;
pub(crate) mod mutant;
mod once_box;
mod prefetch;
mod words;

pub(crate) use epoch_cell::{EpochCell, EpochReader, Pinned};
pub(crate) use mutant::seeded;
pub(crate) use once_box::OnceBox;
pub(crate) use prefetch::{prefetch, prefetch_bytes};
pub(crate) use words::{Words, zeroed_words};

#[cfg(not(dtls_session_loom))]
pub(crate) use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(dtls_session_loom)]
pub(crate) use checked::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize};
#[cfg(dtls_session_loom)]
pub(crate) use loom::sync::{Arc, Mutex, atomic::Ordering};

/// Locks `mutex`; a panic of an earlier holder does not matter, since every holder leaves the
/// guarded value whole before anything that could panic.
#[cfg(not(dtls_session_tsan))]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> impl std::ops::DerefMut<Target = T> + use<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The pointer, of which no other thread can know any more.
pub(crate) fn owned_pointer<T>(pointer: &mut AtomicPtr<T>) -> *mut T {
    #[cfg(not(dtls_session_loom))]
    return *pointer.get_mut();
    #[cfg(dtls_session_loom)]
    return pointer.with_mut(|pointer| *pointer);
}

/// The same, without sleeping: ThreadSanitizer does not see into the part of `std` that sleeps,
/// and would take what the lock orders for races.
#[cfg(dtls_session_tsan)]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> impl std::ops::DerefMut<Target = T> + use<'_, T> {
    use std::sync::TryLockError;
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
}

//! Zeroed atomic words, as the system hands them out: untouched pages cost nothing.
#![allow(unsafe_code)]

use std::ops::Deref;

use super::AtomicU64;
#[cfg(all(target_os = "linux", not(dtls_session_loom)))]
use super::mapping::{HUGE_PAGE, Mapping};

/// A block of words. A large one comes straight from the system and is backed by memory only where
/// it is touched, so that growing a bitmap does not stall the worker that grows it.
pub(crate) enum Words {
    Allocated(Box<[AtomicU64]>),
    #[cfg(all(target_os = "linux", not(dtls_session_loom)))]
    Mapped(Mapping),
}

/// `count` words of zero.
pub(crate) fn zeroed_words(count: usize) -> Words {
    #[cfg(all(target_os = "linux", not(dtls_session_loom)))]
    if count * size_of::<AtomicU64>() >= HUGE_PAGE {
        return Words::Mapped(Mapping::new(count));
    }
    Words::Allocated(allocate(count))
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        match self {
            Self::Allocated(words) => words,
            #[cfg(all(target_os = "linux", not(dtls_session_loom)))]
            Self::Mapped(words) => words,
        }
    }
}

#[cfg(not(dtls_session_loom))]
fn allocate(count: usize) -> Box<[AtomicU64]> {
    let words: Box<[u64]> = vec![0; count].into_boxed_slice();
    // SAFETY: `AtomicU64` has the same in-memory representation as `u64` and, on every target
    // with 64-bit atomics of natural alignment, the same alignment (asserted below).
    unsafe { Box::from_raw(Box::into_raw(words) as *mut [AtomicU64]) }
}

#[cfg(not(dtls_session_loom))]
const _: () = assert!(align_of::<AtomicU64>() == align_of::<u64>());

#[cfg(dtls_session_loom)]
fn allocate(count: usize) -> Box<[AtomicU64]> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

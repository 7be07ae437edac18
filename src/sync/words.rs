//! Zeroed atomic words, as the system hands them out: untouched pages cost nothing.
#![allow(unsafe_code)]

#[cfg(not(dtls_session_loom))]
use std::alloc::{Layout, alloc_zeroed};
use std::ops::Deref;
use std::ptr::NonNull;

use super::AtomicU64;
#[cfg(all(target_os = "linux", not(dtls_session_loom)))]
use super::mapping::{HUGE_PAGE, Mapping};

/// A block of words. A large one comes straight from the system and is backed by memory only where
/// it is touched, so that growing a bitmap does not stall the worker that grows it.
pub(crate) struct Words {
    /// Where they lie, whoever owns them: who strikes one of many blocks could not foretell which
    /// kind it is.
    words: NonNull<[AtomicU64]>,
    owner: Owner,
}

enum Owner {
    /// They are a box.
    Allocator,
    #[cfg(all(target_os = "linux", not(dtls_session_loom)))]
    System(#[allow(dead_code)] Mapping),
}

// SAFETY: it owns its memory, and gives out shared references to atomics only.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

/// `count` words of zero. `None` if the system has no room for them.
pub(crate) fn zeroed_words(count: usize) -> Option<Words> {
    #[cfg(all(target_os = "linux", not(dtls_session_loom)))]
    if count >= HUGE_PAGE / size_of::<AtomicU64>() {
        let (words, mapping) = Mapping::new(count)?;
        return Some(Words {
            words,
            owner: Owner::System(mapping),
        });
    }
    let words = Box::leak(allocate(count)?);
    Some(Words {
        words: NonNull::from(words),
        owner: Owner::Allocator,
    })
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: allocated or mapped, aligned, zeroed, which is a valid atomic, and ours until
        // the drop.
        unsafe { self.words.as_ref() }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if matches!(self.owner, Owner::Allocator) {
            // SAFETY: the box of `zeroed_words`, and nobody has a reference to it any more.
            drop(unsafe { Box::from_raw(self.words.as_ptr()) });
        }
    }
}

#[cfg(not(dtls_session_loom))]
fn allocate(count: usize) -> Option<Box<[AtomicU64]>> {
    if count == 0 {
        return Some(Box::default());
    }
    let layout = Layout::array::<AtomicU64>(count).ok()?;
    // SAFETY: there is at least one word.
    let words = NonNull::new(unsafe { alloc_zeroed(layout) })?.cast();
    let words = NonNull::slice_from_raw_parts(words, count);
    // SAFETY: of the global allocator, with the layout of so many words, and zero is one.
    Some(unsafe { Box::from_raw(words.as_ptr()) })
}

#[cfg(dtls_session_loom)]
fn allocate(count: usize) -> Option<Box<[AtomicU64]>> {
    Some((0..count).map(|_| AtomicU64::new(0)).collect())
}

#[cfg(all(test, not(dtls_session_loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::sync::atomic::Ordering;

    #[test]
    fn all_words_are_zero_and_can_be_written_whoever_owns_them() {
        for count in [0, 1, 512, (2 << 20) / 8, (2 << 20) / 8 + 3] {
            let words = zeroed_words(count).unwrap();
            assert_eq!(words.len(), count);
            assert!(
                words
                    .iter()
                    .all(|word| word.swap(7, Ordering::Relaxed) == 0)
            );
            assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 7));
        }
    }

    #[test]
    fn more_than_there_is_is_none() {
        for count in [1 << (usize::BITS - 8), usize::MAX / 8, usize::MAX] {
            // Looked at, or optimized code would allocate nothing, and so everything.
            assert!(black_box(allocate(count)).is_none());
            assert!(zeroed_words(count).is_none());
        }
    }
}

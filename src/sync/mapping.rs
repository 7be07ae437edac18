//! Zeroed memory on huge pages, where the system gives them.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::ops::Deref;
use std::ptr::{self, NonNull};

use super::AtomicU64;

/// The usual size of a huge page, in bytes.
pub(super) const HUGE_PAGE: usize = 2 << 20;

/// Words that begin on a huge page. Bits are struck in random order, and with small pages nearly
/// every strike would miss the TLB.
pub(crate) struct Mapping {
    words: NonNull<[AtomicU64]>,
    /// What was mapped to have room for `words` to begin on a huge page.
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its memory, and gives out shared references to atomics only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `count` words of zero.
    pub(super) fn new(count: usize) -> Self {
        let used = count * size_of::<AtomicU64>();
        let len = used + HUGE_PAGE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at a place that the system chooses touches no other memory.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, access, kind, -1, 0) };
        let base = match NonNull::new(base.cast::<u8>()) {
            Some(base) if base.as_ptr().cast() != libc::MAP_FAILED => base,
            _ => handle_alloc_error(Layout::new::<[AtomicU64; HUGE_PAGE / 8]>()),
        };
        let offset = base.as_ptr().align_offset(HUGE_PAGE);
        // SAFETY: less than a huge page, by which the mapping is longer than what is used.
        let start = unsafe { base.add(offset) };
        // SAFETY: the range lies in the mapping, and the advice changes what the memory lies on,
        // not what it holds. If the system refuses, the pages are small.
        unsafe { libc::madvise(start.as_ptr().cast(), used, libc::MADV_HUGEPAGE) };
        Self {
            words: NonNull::slice_from_raw_parts(start.cast(), count),
            base,
            len,
        }
    }
}

impl Deref for Mapping {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: mapped, aligned, zeroed, which is a valid atomic, and ours until the drop.
        unsafe { self.words.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping of `new`, and nobody has a reference to it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn it_is_zero_on_huge_pages_and_all_of_it_can_be_written() {
        let count = HUGE_PAGE / 8 + 3;
        let words = Mapping::new(count);
        assert_eq!(words.len(), count);
        assert_eq!(words.as_ptr().addr() % HUGE_PAGE, 0);
        assert!(
            words
                .iter()
                .all(|word| word.swap(7, Ordering::Relaxed) == 0)
        );
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 7));
    }
}

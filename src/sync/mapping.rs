//! Zeroed memory on huge pages, where the system gives them.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};

use super::AtomicU64;

/// The usual size of a huge page, in bytes.
pub(super) const HUGE_PAGE: usize = 2 << 20;

/// What is mapped for words that begin on a huge page. Bits are struck in random order, and with
/// small pages nearly every strike would miss the TLB.
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// `count` words of zero, as long as the mapping lives. `None` if the system gives none.
    pub(super) fn new(count: usize) -> Option<(NonNull<[AtomicU64]>, Self)> {
        let used = count.checked_mul(size_of::<AtomicU64>())?;
        let len = used.checked_add(HUGE_PAGE)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at a place that the system chooses touches no other memory.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, access, kind, -1, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        let base = NonNull::new(base.cast::<u8>())?;
        let offset = base.as_ptr().align_offset(HUGE_PAGE);
        // SAFETY: less than a huge page, by which the mapping is longer than what is used.
        let start = unsafe { base.add(offset) };
        // SAFETY: the range lies in the mapping, and the advice changes what the memory lies on,
        // not what it holds. If the system refuses, the pages are small.
        unsafe { libc::madvise(start.as_ptr().cast(), used, libc::MADV_HUGEPAGE) };
        let words = NonNull::slice_from_raw_parts(start.cast(), count);
        Some((words, Self { base, len }))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping of `new`, whose words live no longer than it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_on_a_huge_page_and_lie_in_the_mapping() {
        let count = HUGE_PAGE / 8 + 3;
        let (words, mapping) = Mapping::new(count).unwrap();
        let start = words.cast::<u8>().addr().get();
        assert_eq!((words.len(), start % HUGE_PAGE), (count, 0));
        let base = mapping.base.addr().get();
        assert!(base <= start && start + count * 8 <= base + mapping.len);
    }

    #[test]
    fn more_than_the_system_has_is_none() {
        for count in [1 << (usize::BITS - 8), usize::MAX / 8, usize::MAX] {
            assert!(Mapping::new(count).is_none());
        }
    }
}

//! An allocator that counts for each thread, so that tests that run side by side do not disturb
//! each other.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { calls: 0, live: 0, peak: 0 }) };
}

#[derive(Clone, Copy)]
struct Counts {
    calls: u64,
    live: isize,
    peak: isize,
}

/// What a piece of work did to the heap.
#[derive(Debug)]
pub(crate) struct Usage {
    /// How often memory was asked for.
    pub(crate) calls: u64,
    /// Bytes that are still there, or fewer than before.
    pub(crate) kept: isize,
    /// The most bytes that were there at once.
    pub(crate) peak: usize,
}

/// Runs `work` and measures what it does to the heap on this thread.
pub(crate) fn measure<R>(work: impl FnOnce() -> R) -> (R, Usage) {
    let before = COUNTS.get();
    COUNTS.set(Counts {
        peak: before.live,
        ..before
    });
    let result = work();
    let after = COUNTS.get();
    COUNTS.set(Counts {
        peak: after.peak.max(before.peak),
        ..after
    });
    let usage = Usage {
        calls: after.calls - before.calls,
        kept: after.live - before.live,
        peak: (after.peak - before.live) as usize,
    };
    (result, usage)
}

fn count(calls: u64, bytes: isize) {
    // Not there any more at the very end of a thread, which nobody measures.
    let _ = COUNTS.try_with(|counts| {
        let Counts {
            calls: before,
            live,
            peak,
        } = counts.get();
        let live = live + bytes;
        counts.set(Counts {
            calls: before + calls,
            live,
            peak: peak.max(live),
        });
    });
}

// SAFETY: everything is left to the system's allocator; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new block may exist at once.
        count(1, size as isize);
        count(0, -(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[test]
fn what_is_asked_for_is_counted() {
    let (kept, usage) = measure(|| {
        drop(vec![0_u8; 5_000]);
        vec![0_u8; 1_000]
    });
    assert_eq!((usage.calls, usage.kept, usage.peak), (2, 1_000, 5_000));
    drop(kept);
}

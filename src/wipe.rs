//! Secrets that leave no copy behind: keys of `ring`, which leaves its round keys where they were,
//! and the stack over which secrets were moved.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Deref;

use zeroize::zeroize_flat_type;

/// A key that leaves no trace of itself at the place where it lived.
///
/// Build it where it stays (in a `Box` or an `Arc`) and within [`scrubbed`]: a move copies bytes
/// that nobody overwrites.
pub(crate) struct Wiped<T: FlatKey>(ManuallyDrop<T>);

/// A type whose secrets lie in its own bytes, not behind a pointer.
///
/// # Safety
/// Overwriting a dropped value with zeros must be sound: no other object may own its memory.
pub(crate) unsafe trait FlatKey {}

// SAFETY: an expanded AES key and a GHASH table inline, and a `&'static` to the algorithm.
unsafe impl FlatKey for ring::aead::LessSafeKey {}
// SAFETY: an expanded AES key inline, and a `&'static` to the algorithm.
unsafe impl FlatKey for ring::aead::quic::HeaderProtectionKey {}

impl<T: FlatKey> Wiped<T> {
    pub(crate) fn new(key: T) -> Self {
        Self(ManuallyDrop::new(key))
    }
}

impl<T: FlatKey> Deref for Wiped<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: FlatKey> Drop for Wiped<T> {
    fn drop(&mut self) {
        // SAFETY: dropped once, here, and not used afterwards except as raw memory.
        unsafe { ManuallyDrop::drop(&mut self.0) };
        let place = (&raw mut self.0).cast::<MaybeUninit<T>>();
        // SAFETY: the memory is ours and writable, and holds no live value any more: bytes, of which
        // none need be anything.
        unsafe { zeroize_flat_type(place) };
    }
}

/// More stack than what runs in [`scrubbed`] leaves secrets on. Optimized code moves less: there,
/// building a ticket key takes 9 KiB, and verifying the binders of a batch 10. Overwriting 12 KiB
/// takes some 100 ns.
const SCRUBBED_STACK: usize = if cfg!(dtls_session_loom) {
    16
} else if cfg!(debug_assertions) {
    64 * 1024
} else {
    12 * 1024
};

/// The same for what hashes a little with secrets of a ticket key, or seals, and is to cost little:
/// 1.3 KiB with the frames of `ring`.
const SCRUBBED_LITTLE: usize = SCRUBBED_STACK / 8;

thread_local! {
    /// Whether work further up the stack is scrubbed.
    static SCRUBBED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, then overwrites the stack that it has used, where moved secrets left copies. What
/// it returns goes straight to where the caller has it.
///
/// Within another `scrubbed` the overwriting is left to that one.
#[inline]
pub(crate) fn scrubbed<R>(work: impl FnOnce() -> R) -> R {
    let _outermost = Outermost::<SCRUBBED_STACK>::begin();
    out_of_line(work)
}

/// As [`scrubbed`], for work that leaves secrets on the first [`SCRUBBED_LITTLE`] bytes only: none
/// that is `scrubbed` itself.
#[inline]
pub(crate) fn scrubbed_a_little<R>(work: impl FnOnce() -> R) -> R {
    let _outermost = Outermost::<SCRUBBED_LITTLE>::begin();
    out_of_line(work)
}

struct Outermost<const BYTES: usize>;

impl<const BYTES: usize> Outermost<BYTES> {
    #[inline]
    fn begin() -> Option<Self> {
        // Not `then_some`, which would drop one where there is none to be.
        (!SCRUBBED.replace(true)).then(|| Self)
    }
}

impl<const BYTES: usize> Drop for Outermost<BYTES> {
    #[inline]
    fn drop(&mut self) {
        overwrite_stack::<BYTES>();
        SCRUBBED.set(false);
    }
}

#[inline(never)]
fn out_of_line<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[inline(never)]
fn overwrite_stack<const BYTES: usize>() {
    // A plain fill that somebody looks at, as in `overwrite`.
    let stack = [0_u8; BYTES];
    std::hint::black_box(&stack);
}

/// Overwrites `secret` with zeros, for good.
#[inline]
pub(crate) fn overwrite<T: Copy + Default>(secret: &mut [T]) {
    // A plain fill and a look at it: `zeroize` goes element by element, which costs as much as a
    // decryption.
    secret.fill(T::default());
    std::hint::black_box(secret);
}

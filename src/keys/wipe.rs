//! Keys of `ring`, overwritten when they are dropped: `ring` itself leaves its round keys behind.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ops::Deref;

use zeroize::{Zeroize, zeroize_flat_type};

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
        // SAFETY: the memory is ours and writable, and holds no live value any more.
        unsafe { zeroize_flat_type(&raw mut self.0) };
    }
}

/// More stack than building a key uses, copies of it included.
const SCRUBBED_STACK: usize = 16 * 1024;

/// Runs `build`, then overwrites the stack that it has used, where moved keys left copies.
pub(crate) fn scrubbed<R>(build: impl FnOnce() -> R) -> R {
    let built = out_of_line(build);
    overwrite_stack();
    built
}

#[inline(never)]
fn out_of_line<R>(build: impl FnOnce() -> R) -> R {
    build()
}

#[inline(never)]
fn overwrite_stack() {
    let mut stack = [0xaa_u8; SCRUBBED_STACK];
    stack.zeroize();
    std::hint::black_box(&stack);
}

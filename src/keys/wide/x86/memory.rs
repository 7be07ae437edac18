//! Registers, filled from memory and written to it.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn load_block(block: &[u8; 16]) -> __m128i {
    // SAFETY: a reference to 16 bytes, and no alignment is asked for.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn store_block(value: __m128i, to: &mut [u8; 16]) {
    // SAFETY: a unique reference to 16 bytes, and no alignment is asked for.
    unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), value) }
}

/// The block in each of the four places.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn broadcast(block: &[u8; 16]) -> __m512i {
    _mm512_broadcast_i32x4(load_block(block))
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_four(blocks: &[[u8; 16]; 4]) -> __m512i {
    // SAFETY: a reference to 64 bytes, and no alignment is asked for.
    unsafe { _mm512_loadu_si512(blocks.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: a reference to 64 bytes, and no alignment is asked for.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// As many of the bytes as fit, and zeros behind them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_some(bytes: &[u8]) -> __m512i {
    // SAFETY: only bytes whose bits are set are read, and they are in the slice.
    unsafe { _mm512_maskz_loadu_epi8(mask(bytes), bytes.as_ptr().cast()) }
}

/// A bit for each of the bytes, as many as fit.
#[inline]
pub(super) fn mask(bytes: &[u8]) -> __mmask64 {
    match u32::try_from(bytes.len())
        .ok()
        .and_then(|len| u64::MAX.checked_shl(len))
    {
        Some(behind) => !behind,
        None => u64::MAX,
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(value: __m512i, to: &mut [u8; 64]) {
    // SAFETY: a unique reference to 64 bytes, and no alignment is asked for.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), value) }
}

/// Writes as much as there is room for.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn store_some(value: __m512i, to: &mut [u8]) {
    // SAFETY: only bytes whose bits are set are written, and they are in the slice.
    unsafe { _mm512_mask_storeu_epi8(to.as_mut_ptr().cast(), mask(to), value) }
}

//! AES-256 (FIPS 197) over four blocks a register.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::hint::black_box;

use zeroize::Zeroize;

use super::detected;
use super::memory::{broadcast, load, load_block, load_some, store, store_block, store_some};

/// A value exists only where the instructions were detected.
#[repr(align(64))]
pub(in super::super) struct RoundKeys([[u8; 16]; 15]);

impl RoundKeys {
    pub(in super::super) fn new(key: &[u8; 32]) -> Option<Self> {
        // SAFETY: the features were detected.
        detected().then(|| unsafe { Self::expand(key) })
    }

    /// Encrypts each block by itself.
    #[inline]
    pub(in super::super) fn encrypt_each(&self, blocks: &mut [[u8; 16]]) {
        // SAFETY: a value of this type exists only where the features were detected.
        unsafe { self.encrypt_blocks(blocks.as_flattened_mut()) }
    }

    /// Each round key comes from the one two before it and a word of the last (FIPS 197, 5.2).
    #[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes")]
    pub(super) fn expand(key: &[u8; 32]) -> Self {
        let mut keys = Self([[0; 16]; 15]);
        let (first, rest) = keys.0.split_at_mut(2);
        first.as_flattened_mut().copy_from_slice(key);
        let [mut even, mut odd] = [load_block(&first[0]), load_block(&first[1])];
        let mut constant = 1;
        for pair in rest.chunks_mut(2) {
            // The last word, substituted and rotated.
            let word = _mm_shuffle_epi32::<0b11_11_11_11>(_mm_aeskeygenassist_si128::<0>(odd));
            let word = _mm_xor_si128(word, _mm_set1_epi32(constant));
            even = _mm_xor_si128(running_sums(even), word);
            store_block(even, &mut pair[0]);
            if let Some(place) = pair.get_mut(1) {
                // The last word, substituted.
                let word = _mm_shuffle_epi32::<0b10_10_10_10>(_mm_aeskeygenassist_si128::<0>(even));
                odd = _mm_xor_si128(running_sums(odd), word);
                store_block(odd, place);
            }
            constant <<= 1;
        }
        keys
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,vaes")]
    fn encrypt_blocks(&self, blocks: &mut [u8]) {
        let (groups, rest) = blocks.as_chunks_mut::<256>();
        for group in groups {
            let (places, _) = group.as_chunks_mut();
            let mut registers = [_mm512_setzero_si512(); 4];
            for (register, place) in registers.iter_mut().zip(&*places) {
                *register = load(place);
            }
            self.encrypt(&mut registers);
            for (register, place) in registers.into_iter().zip(places) {
                store(register, place);
            }
        }
        for some in rest.chunks_mut(64) {
            let mut register = [load_some(some)];
            self.encrypt(&mut register);
            store_some(register[0], some);
        }
    }

    /// Encrypts four blocks in each register.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,vaes")]
    pub(super) fn encrypt<const N: usize>(&self, registers: &mut [__m512i; N]) {
        let [first, middle @ .., last] = &self.0;
        let key = broadcast(first);
        for register in &mut *registers {
            *register = _mm512_xor_si512(*register, key);
        }
        // A loop that is not unrolled takes all registers through a round before the next, and
        // never holds more than one round key: they do not get from registers onto the stack.
        for key in black_box(middle.as_slice()) {
            let key = broadcast(key);
            for register in &mut *registers {
                *register = _mm512_aesenc_epi128(*register, key);
            }
        }
        let key = broadcast(last);
        for register in registers {
            *register = _mm512_aesenclast_epi128(*register, key);
        }
    }
}

impl Drop for RoundKeys {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Each word and those before it, added up.
#[inline]
#[target_feature(enable = "sse2")]
fn running_sums(words: __m128i) -> __m128i {
    let words = _mm_xor_si128(words, _mm_slli_si128::<4>(words));
    _mm_xor_si128(words, _mm_slli_si128::<8>(words))
}

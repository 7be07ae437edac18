//! AES-256-GCM (NIST SP 800-38D, 7.2): the tags of four tickets at once, and then the plaintext of
//! those whose tag is right.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::aes::RoundKeys;
use super::ghash::{Powers, Products, multiply, reverse};
use super::memory::{load, load_block, load_some, mask, store};
use super::{Job, SEALED_MAX, TAG, detected};

/// Registers of four blocks that are encrypted at once. More of them do not go faster.
const WIDTH: usize = 4;

// The counter of every block, and of those that are not needed any more, fits into one byte.
const _: () = assert!(2 + SEALED_MAX / 16 + 4 * WIDTH < 256);

/// A value exists only where the instructions were detected.
pub(in super::super) struct GcmKey {
    round_keys: RoundKeys,
    powers: Powers,
}

impl GcmKey {
    pub(in super::super) fn new(key: &[u8; 32]) -> Option<Self> {
        // SAFETY: the features were detected.
        detected().then(|| unsafe { Self::expand(key) })
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
    fn expand(key: &[u8; 32]) -> Self {
        let round_keys = RoundKeys::expand(key);
        let mut hash_key = [_mm512_setzero_si512()];
        round_keys.encrypt(&mut hash_key);
        let powers = Powers::new(hash_key[0]);
        Self { round_keys, powers }
    }

    /// Opens up to four tickets under this key.
    #[inline]
    pub(in super::super) fn open(&self, jobs: &mut [Option<Job<'_>>]) {
        // SAFETY: a value of this type exists only where the features were detected.
        unsafe { self.open_four(jobs) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
    fn open_four(&self, jobs: &mut [Option<Job<'_>>]) {
        let authentic = self.authentic(jobs);
        for (place, job) in jobs.iter_mut().flatten().enumerate() {
            *job.opened = authentic >> (2 * place) & 0b11 == 0b11;
            if *job.opened
                && let Some((ciphertext, _)) = parts(job.sealed)
            {
                self.decrypt(&job.nonce, ciphertext, job.out);
            }
        }
    }

    /// Two bits for each whose tag is right.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
    fn authentic(&self, jobs: &[Option<Job<'_>>]) -> __mmask8 {
        let [mut first_counters, mut tags, mut lengths] = [_mm512_setzero_si512(); 3];
        let mut products = Products::none();
        let mut there = 0;
        for (place, job) in jobs.iter().flatten().enumerate() {
            let Some((ciphertext, tag)) = parts(job.sealed) else {
                continue;
            };
            there |= 0b11 << (2 * place);
            let words: __mmask16 = 0b1111 << (4 * place);
            let [aad_bits, bits] = [job.aad, ciphertext].map(|bytes| 8 * bytes.len() as i64);
            let both = _mm_set_epi64x(aad_bits, bits);
            lengths = _mm512_mask_broadcast_i32x4(lengths, words, both);
            let first = counter(&job.nonce, 1);
            first_counters = _mm512_mask_broadcast_i32x4(first_counters, words, first);
            tags = _mm512_mask_broadcast_i32x4(tags, words, load_block(tag));
            products.set(words, self.hash(job.aad, ciphertext));
        }
        products.add(lengths, self.powers.first());
        let mut masks = [first_counters];
        self.round_keys.encrypt(&mut masks);
        let expected = _mm512_xor_si512(reverse(products.reduce()), masks[0]);
        there & _mm512_cmpeq_epi64_mask(expected, tags)
    }

    /// The blocks, each times its power.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,vpclmulqdq")]
    fn hash(&self, aad: &[u8], ciphertext: &[u8]) -> Products {
        // The lengths come last.
        let mut power = ciphertext.len().div_ceil(16) + 1;
        let mut products = Products::none();
        if !aad.is_empty() {
            products.add(self.hash_aad(aad), self.powers.from(power));
        }
        let (whole, rest) = ciphertext.as_chunks();
        for blocks in whole {
            products.add(reverse(load(blocks)), self.powers.from(power));
            power -= 4;
        }
        if !rest.is_empty() {
            products.add(reverse(load_some(rest)), self.powers.from(power));
        }
        products
    }

    /// In the first place, and nothing in the others.
    #[cold]
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,vpclmulqdq")]
    fn hash_aad(&self, bytes: &[u8]) -> __m512i {
        let mut hash = _mm512_setzero_si512();
        for block in bytes.chunks(16) {
            let sum = _mm512_xor_si512(hash, reverse(load_some(block)));
            hash = multiply(sum, self.powers.first());
        }
        hash
    }

    /// Decrypts what is authentic.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,vaes")]
    fn decrypt(&self, nonce: &[u8; 12], ciphertext: &[u8], out: &mut [u8; SEALED_MAX]) {
        let second = _mm512_broadcast_i32x4(counter(nonce, 2));
        let mut counters = _mm512_add_epi32(second, steps([0, 1, 2, 3]));
        let parts = ciphertext.chunks(64 * WIDTH);
        for (part, out) in parts.zip(out.chunks_mut(64 * WIDTH)) {
            match part.len().div_ceil(64) {
                1 => self.decrypt_part::<1>(counters, part, out),
                2 => self.decrypt_part::<2>(counters, part, out),
                3 => self.decrypt_part::<3>(counters, part, out),
                _ => self.decrypt_part::<WIDTH>(counters, part, out),
            }
            counters = _mm512_add_epi32(counters, steps([4 * WIDTH; 4]));
        }
    }

    /// Of more than `N - 1` registers, and no more than `N`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,vaes")]
    fn decrypt_part<const N: usize>(&self, counters: __m512i, part: &[u8], out: &mut [u8]) {
        let mut keystream = [counters; N];
        for (i, counters) in keystream.iter_mut().enumerate() {
            *counters = _mm512_add_epi32(*counters, steps([4 * i; 4]));
        }
        self.round_keys.encrypt(&mut keystream);
        let (whole, rest) = part.split_at(64 * (N - 1));
        let (whole, _) = whole.as_chunks();
        let (out, _) = out.as_chunks_mut();
        for i in 0..N - 1 {
            store(_mm512_xor_si512(load(&whole[i]), keystream[i]), &mut out[i]);
        }
        // The keystream behind the plaintext is not for anybody.
        let last = _mm512_xor_si512(load_some(rest), keystream[N - 1]);
        store(_mm512_maskz_mov_epi8(mask(rest), last), &mut out[N - 1]);
    }
}

/// Ciphertext and tag, if they are neither too short nor too long.
#[inline]
fn parts(sealed: &[u8]) -> Option<(&[u8], &[u8; TAG])> {
    match sealed.len() {
        TAG..=SEALED_MAX => sealed.split_last_chunk(),
        _ => None,
    }
}

/// The counter behind the nonce.
#[inline]
#[target_feature(enable = "sse2")]
fn counter(nonce: &[u8; 12], counter: u8) -> __m128i {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *nonce;
    let low = i64::from_le_bytes([a, b, c, d, e, f, g, h]);
    _mm_set_epi64x(i64::from_le_bytes([i, j, k, l, 0, 0, 0, counter]), low)
}

/// What takes four counters so many steps on, as long as they stay below 256.
#[inline]
#[target_feature(enable = "avx512f")]
fn steps(steps: [usize; 4]) -> __m512i {
    let [a, b, c, d] = steps.map(|steps| (steps as i32) << 24);
    _mm512_set_epi32(d, 0, 0, 0, c, 0, 0, 0, b, 0, 0, 0, a, 0, 0, 0)
}

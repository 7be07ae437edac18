//! GHASH (NIST SP 800-38D, 6.4) over four blocks a register, in the form of POLYVAL (RFC 8452,
//! appendix A): the bytes of each block reversed, and the hash key multiplied by x once.

use std::arch::x86_64::*;

use zeroize::Zeroize;

use super::SEALED_MAX;
use super::memory::{broadcast, load_four, store_block};

/// Blocks of the longest ciphertext, and the lengths.
const BLOCKS_MAX: usize = SEALED_MAX / 16;

/// The field's polynomial without x^128 and 1: x^127 + x^126 + x^121, from x^64 on.
const POLYNOMIAL: i64 = 0xc200_0000_0000_0000_u64.cast_signed();

/// The powers of the hash key, from the highest down to the first. What is behind them is only
/// multiplied by zero.
#[repr(align(64))]
pub(super) struct Powers([[u8; 16]; BLOCKS_MAX + 3]);

impl Powers {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,vpclmulqdq")]
    pub(super) fn new(hash_key: __m512i) -> Self {
        let first = double(reverse(hash_key));
        let mut powers = Self([[0; 16]; BLOCKS_MAX + 3]);
        let mut power = first;
        for place in powers.0[..BLOCKS_MAX].iter_mut().rev() {
            store_block(_mm512_castsi512_si128(power), place);
            power = multiply(power, first);
        }
        powers
    }

    /// In all four places.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn first(&self) -> __m512i {
        broadcast(&self.0[BLOCKS_MAX - 1])
    }

    /// The one so high, at most [`BLOCKS_MAX`], and the three below it.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn from(&self, highest: usize) -> __m512i {
        let from = &self.0[BLOCKS_MAX - highest..][..4];
        from.first_chunk()
            .map_or(_mm512_setzero_si512(), |four| load_four(four))
    }
}

impl Drop for Powers {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A sum of products in each of four places, twice as long as an element of the field.
pub(super) struct Products {
    low: __m512i,
    middle: __m512i,
    high: __m512i,
}

impl Products {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn none() -> Self {
        let zero = _mm512_setzero_si512();
        Self {
            low: zero,
            middle: zero,
            high: zero,
        }
    }

    /// Adds the product of what is in each place.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(super) fn add(&mut self, a: __m512i, b: __m512i) {
        let low = _mm512_clmulepi64_epi128::<0x00>(a, b);
        let middle = _mm512_clmulepi64_epi128::<0x01>(a, b);
        let other = _mm512_clmulepi64_epi128::<0x10>(a, b);
        let high = _mm512_clmulepi64_epi128::<0x11>(a, b);
        self.low = _mm512_xor_si512(self.low, low);
        self.middle = _mm512_ternarylogic_epi64::<0x96>(self.middle, middle, other);
        self.high = _mm512_xor_si512(self.high, high);
    }

    /// Sets these words to the sum of all four places of another.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn set(&mut self, words: __mmask16, other: Self) {
        self.low = _mm512_mask_broadcast_i32x4(self.low, words, sum(other.low));
        self.middle = _mm512_mask_broadcast_i32x4(self.middle, words, sum(other.middle));
        self.high = _mm512_mask_broadcast_i32x4(self.high, words, sum(other.high));
    }

    /// An element of the field in each place: divided by x^128, modulo the polynomial.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    pub(super) fn reduce(self) -> __m512i {
        let low = _mm512_xor_si512(self.low, _mm512_bslli_epi128::<8>(self.middle));
        let high = _mm512_xor_si512(self.high, _mm512_bsrli_epi128::<8>(self.middle));
        _mm512_xor_si512(fold(fold(low)), high)
    }
}

/// The product of what is in each place, as an element of the field.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
pub(super) fn multiply(a: __m512i, b: __m512i) -> __m512i {
    let mut products = Products::none();
    products.add(a, b);
    products.reduce()
}

/// Each block from its last byte to its first.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn reverse(blocks: __m512i) -> __m512i {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(order))
}

/// Divides by x^64, modulo the polynomial.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn fold(elements: __m512i) -> __m512i {
    let product = _mm512_clmulepi64_epi128::<0x00>(elements, _mm512_set1_epi64(POLYNOMIAL));
    _mm512_xor_si512(_mm512_shuffle_epi32::<0b01_00_11_10>(elements), product)
}

/// Multiplies by x, modulo the polynomial.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn double(elements: __m512i) -> __m512i {
    let carried = _mm512_bslli_epi128::<8>(_mm512_srli_epi64::<63>(elements));
    let doubled = _mm512_or_si512(_mm512_slli_epi64::<1>(elements), carried);
    // All ones where x^127 becomes x^128.
    let overflow = _mm512_shuffle_epi32::<0b11_11_11_11>(_mm512_srai_epi32::<31>(elements));
    let polynomial = _mm512_broadcast_i32x4(_mm_set_epi64x(POLYNOMIAL, 1));
    _mm512_xor_si512(doubled, _mm512_and_si512(overflow, polynomial))
}

/// What is in the four places, added up.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn sum(places: __m512i) -> __m128i {
    let upper = _mm512_extracti64x4_epi64::<1>(places);
    let two = _mm256_xor_si256(_mm512_castsi512_si256(places), upper);
    _mm_xor_si128(
        _mm256_castsi256_si128(two),
        _mm256_extracti128_si256::<1>(two),
    )
}

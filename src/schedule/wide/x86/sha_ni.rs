//! SHA-256 over two messages at once with SHA-NI: one instruction of a message waits for the
//! last, and meanwhile the other message goes on.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use sha2::block_api::compress256;

use super::K;

/// Says that this CPU has the instructions.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct ShaNi(());

impl ShaNi {
    pub(in super::super) fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
        there.then_some(Self(()))
    }

    /// Takes each of two chaining values over its blocks.
    #[inline]
    pub(in super::super) fn compress(self, states: [&mut [u32; 8]; 2], blocks: [&[[u8; 64]]; 2]) {
        let common = blocks[0].len().min(blocks[1].len());
        let [first, second] = blocks.map(|blocks| blocks.split_at(common));
        let [x, y] = states;
        // SAFETY: a value of this type exists only where the features were detected.
        unsafe { compress(x, y, first.0, second.0) };
        for (state, rest) in [(x, first.1), (y, second.1)] {
            if !rest.is_empty() {
                compress256(state, rest);
            }
        }
    }
}

#[target_feature(enable = "sha,sse4.1")]
fn compress(
    x_state: &mut [u32; 8],
    y_state: &mut [u32; 8],
    x_blocks: &[[u8; 64]],
    y_blocks: &[[u8; 64]],
) {
    let [mut x, mut y] = [load_state(x_state), load_state(y_state)];
    let (k, _) = K.as_chunks::<4>();
    for (x_block, y_block) in x_blocks.iter().zip(y_blocks) {
        let (x_before, y_before) = (x, y);
        let [mut x_words, mut y_words] = [load_block(x_block), load_block(y_block)];
        for (i, k) in k[..4].iter().enumerate() {
            four_rounds(&mut x, x_words[i], k);
            four_rounds(&mut y, y_words[i], k);
        }
        for k in k[4..].as_chunks::<4>().0 {
            for (i, k) in k.iter().enumerate() {
                next_words(&mut x_words, i);
                four_rounds(&mut x, x_words[i], k);
                next_words(&mut y_words, i);
                four_rounds(&mut y, y_words[i], k);
            }
        }
        x = x.add(x_before);
        y = y.add(y_before);
    }
    store_state(x, x_state);
    store_state(y, y_state);
}

/// The variables in the order of the instructions, from the high word down.
#[derive(Clone, Copy)]
struct State {
    abef: __m128i,
    cdgh: __m128i,
}

impl State {
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn add(self, other: Self) -> Self {
        Self {
            abef: _mm_add_epi32(self.abef, other.abef),
            cdgh: _mm_add_epi32(self.cdgh, other.cdgh),
        }
    }
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn four_rounds(state: &mut State, words: __m128i, k: &[u32; 4]) {
    let [k0, k1, k2, k3] = k.map(u32::cast_signed);
    let kw = _mm_add_epi32(words, _mm_set_epi32(k3, k2, k1, k0));
    state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, kw);
    let kw = _mm_shuffle_epi32::<0b11_10>(kw);
    state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, kw);
}

/// Replaces four words of the message schedule, those at `i`, by the four sixteen places behind.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn next_words(words: &mut [__m128i; 4], i: usize) {
    let [w0, w4, w8, w12] = [0, 1, 2, 3].map(|j| words[(i + j) % 4]);
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w4), _mm_alignr_epi8::<4>(w12, w8));
    words[i] = _mm_sha256msg2_epu32(sum, w12);
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn load_block(block: &[u8; 64]) -> [__m128i; 4] {
    let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let (quarters, _) = block.as_chunks::<16>();
    [0, 1, 2, 3].map(|i| {
        // SAFETY: a reference to 16 bytes, and no alignment is asked for.
        let words = unsafe { _mm_loadu_si128(quarters[i].as_ptr().cast()) };
        _mm_shuffle_epi8(words, big_endian)
    })
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn load_state(state: &[u32; 8]) -> State {
    let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
    State {
        abef: _mm_set_epi32(a, b, e, f),
        cdgh: _mm_set_epi32(c, d, g, h),
    }
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn store_state(state: State, to: &mut [u32; 8]) {
    let State { abef, cdgh } = state;
    let words = [
        _mm_extract_epi32::<3>(abef),
        _mm_extract_epi32::<2>(abef),
        _mm_extract_epi32::<3>(cdgh),
        _mm_extract_epi32::<2>(cdgh),
        _mm_extract_epi32::<1>(abef),
        _mm_extract_epi32::<0>(abef),
        _mm_extract_epi32::<1>(cdgh),
        _mm_extract_epi32::<0>(cdgh),
    ];
    *to = words.map(i32::cast_unsigned);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> impl Strategy<Value = ([u32; 8], Vec<[u8; 64]>)> {
        let block = prop::array::uniform32(any::<u16>())
            .prop_map(|pairs| std::array::from_fn(|byte| pairs[byte / 2].to_be_bytes()[byte % 2]));
        let blocks = prop::collection::vec(block, 0..6);
        (prop::array::uniform8(any::<u32>()), blocks)
    }

    proptest! {
        #[test]
        fn two_are_compressed_as_sha2_compresses_each((mut x, x_blocks) in message(), (mut y, y_blocks) in message()) {
            let Some(sha_ni) = ShaNi::detect() else {
                return Ok(());
            };
            let (mut ours_x, mut ours_y) = (x, y);
            sha_ni.compress([&mut ours_x, &mut ours_y], [&x_blocks, &y_blocks]);
            compress256(&mut x, &x_blocks);
            compress256(&mut y, &y_blocks);
            assert_eq!((ours_x, ours_y), (x, y));
        }
    }
}

//! The compression function of SHA-256 with SHA-NI, over one message or over several in turn: one
//! instruction of a message waits for the last, and meanwhile the other messages go on.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::array;

use super::{K, four};

/// Says that this CPU has the instructions.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct ShaNi {
    best_with_four: bool,
    beats_avx512: bool,
}

impl ShaNi {
    pub(in super::super) fn detect() -> Option<Self> {
        // AVX for its three operands: without, one instruction in six is a copy.
        let there = is_x86_feature_detected!("sha") && is_x86_feature_detected!("avx");
        let family = there.then(family_of_amd)?;
        Some(Self {
            // Zen 1 and 2, and Hygon's, begin an instruction of rounds every other cycle, which two
            // messages keep up with from registers: a compression takes 0.85 of what it takes with
            // four.
            best_with_four: !matches!(family, Some(0x17 | 0x18)),
            // Zen 4 begins one in every cycle, and takes two for each of AVX-512: a compression
            // takes 51 cycles with four in turn, and 58 with sixteen at once. Zen 3 has no AVX-512.
            beats_avx512: family == Some(0x19),
        })
    }

    /// Four messages in turn take less time than two and two.
    pub(in super::super) fn best_with_four(self) -> bool {
        self.best_with_four
    }

    /// However many messages there are, they take less time in turn than at once with AVX-512.
    pub(in super::super) fn beats_avx512(self) -> bool {
        self.beats_avx512
    }

    /// As for CPUs with which all of it is otherwise.
    pub(in super::super) fn otherwise(self) -> Self {
        Self {
            best_with_four: !self.best_with_four,
            beats_avx512: !self.beats_avx512,
        }
    }
}

/// The family of a CPU of AMD's or Hygon's.
fn family_of_amd() -> Option<u32> {
    // Asking was unsafe in earlier versions of Rust.
    #[allow(unused_unsafe)]
    // SAFETY: a CPU that has SHA-NI answers both.
    let (vendor, signature) = unsafe { (__cpuid(0).ebx, __cpuid(1).eax) };
    let family = (signature >> 8 & 0xf) + (signature >> 20 & 0xff);
    matches!(&vendor.to_le_bytes(), b"Auth" | b"Hygo").then_some(family)
}

/// A chaining value, in the order of the instructions, from the high word down.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct State {
    abef: __m128i,
    cdgh: __m128i,
}

/// A block, as sixteen words from the low one up.
pub(super) type Words = [__m128i; 4];

// SAFETY: sixteen bytes, of whatever value.
const ZERO_WORDS: __m128i = unsafe { std::mem::zeroed() };

pub(super) const ZERO: Words = [ZERO_WORDS; 4];

/// Takes each chaining value over its block, which may be overwritten.
#[inline(never)]
#[target_feature(enable = "sha,avx")]
pub(super) fn compress<const N: usize>(states: &mut [State; N], blocks: &mut [Words; N]) {
    compress_here(states, blocks);
}

/// The same, for blocks that lie in registers.
#[inline]
#[target_feature(enable = "sha,avx")]
fn compress_here<const N: usize>(states: &mut [State; N], blocks: &mut [Words; N]) {
    if N < 4 {
        return rounds(states, *blocks);
    }
    let fours = states.as_chunks_mut().0.iter_mut();
    for (states, blocks) in fours.zip(blocks.as_chunks_mut().0) {
        four::compress(states, blocks);
    }
}

/// Takes those of the chaining values over their blocks that are `active`. The blocks may be
/// overwritten.
#[inline]
#[target_feature(enable = "sha,avx")]
pub(super) fn compress_some<const N: usize>(
    states: &mut [State; N],
    blocks: &mut [Words; N],
    active: [bool; N],
) {
    if active == [true; N] {
        compress_here(states, blocks);
    } else if N > 4 {
        let fours = states.as_chunks_mut::<4>().0.iter_mut();
        let fours = fours
            .zip(blocks.as_chunks_mut().0)
            .zip(active.as_chunks().0);
        for ((states, blocks), active) in fours {
            compress_some(states, blocks, *active);
        }
    } else if active != [false; N] {
        compress_few(states, blocks, active);
    }
}

/// The same, if it is not all and not none.
#[inline(never)]
#[target_feature(enable = "sha,avx")]
fn compress_few<const N: usize>(
    states: &mut [State; N],
    blocks: &mut [Words; N],
    active: [bool; N],
) {
    let mut which = (0..N).filter(|i| active[*i]);
    match (which.next(), which.next(), which.next()) {
        (Some(i), Some(j), None) => {
            let mut two = [states[i], states[j]];
            compress(&mut two, &mut [blocks[i], blocks[j]]);
            [states[i], states[j]] = two;
        }
        (Some(i), None, _) => compress(
            array::from_mut(&mut states[i]),
            array::from_mut(&mut blocks[i]),
        ),
        _ => {
            let before = *states;
            compress(states, blocks);
            for i in (0..N).filter(|i| !active[*i]) {
                states[i] = before[i];
            }
        }
    }
}

/// Takes each chaining value over its blocks, of which there may be more for one than for
/// another.
#[inline(never)]
#[target_feature(enable = "sha,avx")]
pub(super) fn compress_blocks<const N: usize>(states: &mut [State; N], blocks: [&[[u8; 64]]; N]) {
    let rows = blocks.iter().map(|blocks| blocks.len()).max().unwrap_or(0);
    let mut words = [ZERO; N];
    for row in 0..rows {
        let mut active = [false; N];
        for i in 0..N {
            if let Some(block) = blocks[i].get(row) {
                words[i] = load_block(block);
                active[i] = true;
            }
        }
        compress_some(states, &mut words, active);
    }
}

#[inline]
#[target_feature(enable = "sha,avx")]
fn rounds<const N: usize>(states: &mut [State; N], mut words: [Words; N]) {
    let before = *states;
    let (k, _) = K.as_chunks::<4>();
    for (i, k) in k[..4].iter().enumerate() {
        for (state, words) in states.iter_mut().zip(&words) {
            four_rounds(state, words[i], k);
        }
    }
    for k in k[4..].as_chunks::<4>().0 {
        for (i, k) in k.iter().enumerate() {
            for (state, words) in states.iter_mut().zip(&mut words) {
                next_words(words, i);
                four_rounds(state, words[i], k);
            }
        }
    }
    for (state, before) in states.iter_mut().zip(before) {
        state.abef = _mm_add_epi32(state.abef, before.abef);
        state.cdgh = _mm_add_epi32(state.cdgh, before.cdgh);
    }
}

#[inline]
#[target_feature(enable = "sha,avx")]
fn four_rounds(state: &mut State, words: __m128i, k: &[u32; 4]) {
    // SAFETY: a reference to 16 bytes, and no alignment is asked for.
    let k = unsafe { _mm_loadu_si128(k.as_ptr().cast()) };
    let kw = _mm_add_epi32(words, k);
    state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, kw);
    let kw = _mm_shuffle_epi32::<0b11_10>(kw);
    state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, kw);
}

/// Replaces four words of the message schedule, those at `i`, by the four sixteen places behind.
#[inline]
#[target_feature(enable = "sha,avx")]
fn next_words(words: &mut Words, i: usize) {
    let [w0, w4, w8, w12] = [i, i + 1, i + 2, i + 3];
    let (w0, w4, w8, w12) = (words[w0 % 4], words[w4 % 4], words[w8 % 4], words[w12 % 4]);
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w4), _mm_alignr_epi8::<4>(w12, w8));
    words[i] = _mm_sha256msg2_epu32(sum, w12);
}

impl State {
    pub(super) const ZERO: Self = Self {
        abef: ZERO_WORDS,
        cdgh: ZERO_WORDS,
    };

    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn from_words([abcd, efgh]: [__m128i; 2]) -> Self {
        let cdab = _mm_shuffle_epi32::<0b10_11_00_01>(abcd);
        let hgfe = _mm_shuffle_epi32::<0b00_01_10_11>(efgh);
        Self {
            abef: _mm_alignr_epi8::<8>(cdab, hgfe),
            cdgh: _mm_blend_epi16::<0xf0>(hgfe, cdab),
        }
    }

    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn to_words(self) -> [__m128i; 2] {
        let feba = _mm_shuffle_epi32::<0b00_01_10_11>(self.abef);
        let dchg = _mm_shuffle_epi32::<0b10_11_00_01>(self.cdgh);
        [
            _mm_blend_epi16::<0xf0>(feba, dchg),
            _mm_alignr_epi8::<8>(dchg, feba),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn load(state: &[u32; 8]) -> Self {
        let (halves, _) = state.as_chunks::<4>();
        let mut words = [ZERO_WORDS; 2];
        for (words, half) in words.iter_mut().zip(halves) {
            // SAFETY: a reference to 16 bytes, and no alignment is asked for.
            *words = unsafe { _mm_loadu_si128(half.as_ptr().cast()) };
        }
        Self::from_words(words)
    }

    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn to_array(self) -> [u32; 8] {
        let mut array = [0; 8];
        let (halves, _) = array.as_chunks_mut::<4>();
        for (half, words) in halves.iter_mut().zip(self.to_words()) {
            // SAFETY: a reference to 16 bytes, and no alignment is asked for.
            unsafe { _mm_storeu_si128(half.as_mut_ptr().cast(), words) };
        }
        array
    }

    /// Writes the digest that this is.
    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn store_digest(self, to: &mut [u8; 32]) {
        for (words, part) in self.to_words().into_iter().zip(to.as_chunks_mut().0) {
            store(big_endian(words), part);
        }
    }

    /// The chaining value of which `digest` are the bytes.
    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn from_digest(digest: &[u8; 32]) -> Self {
        let [low, high] = load(digest);
        Self::from_words([big_endian(low), big_endian(high)])
    }
}

#[inline]
#[target_feature(enable = "avx")]
pub(super) fn load_block(block: &[u8; 64]) -> Words {
    let mut words = load(block);
    for words in &mut words {
        *words = big_endian(*words);
    }
    words
}

/// `LEN` bytes as `N` times sixteen.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn load<const LEN: usize, const N: usize>(bytes: &[u8; LEN]) -> [__m128i; N] {
    const { assert!(LEN == 16 * N) };
    let mut all = [ZERO_WORDS; N];
    for (words, part) in all.iter_mut().zip(bytes.as_chunks::<16>().0) {
        // SAFETY: a reference to 16 bytes, and no alignment is asked for.
        *words = unsafe { _mm_loadu_si128(part.as_ptr().cast()) };
    }
    all
}

/// The first sixteen bytes, of at least as many.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn load_part(bytes: &[u8]) -> __m128i {
    let part = bytes.first_chunk::<16>().unwrap_or(&[0; 16]);
    let [words] = load(part);
    words
}

#[inline]
#[target_feature(enable = "avx")]
pub(super) fn store_block(block: Words, to: &mut [u8; 64]) {
    for (words, part) in block.into_iter().zip(to.as_chunks_mut().0) {
        store(words, part);
    }
}

#[inline]
#[target_feature(enable = "avx")]
fn store(words: __m128i, to: &mut [u8; 16]) {
    // SAFETY: a reference to 16 bytes, and no alignment is asked for.
    unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), words) };
}

/// Turns the bytes of each word round.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn big_endian(words: __m128i) -> __m128i {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm_shuffle_epi8(words, order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::block_api::compress256;

    type Message = ([u32; 8], Vec<[u8; 64]>);

    fn block_of(pairs: [u16; 32]) -> [u8; 64] {
        array::from_fn(|byte| pairs[byte / 2].to_be_bytes()[byte % 2])
    }

    fn message() -> impl Strategy<Value = Message> {
        let block = prop::array::uniform32(any::<u16>()).prop_map(block_of);
        let blocks = prop::collection::vec(block, 0..6);
        (prop::array::uniform8(any::<u32>()), blocks)
    }

    fn agree<const N: usize>(messages: [&Message; N]) {
        let Some(_) = ShaNi::detect() else {
            return;
        };
        // SAFETY: the features were detected.
        let ours = unsafe {
            let mut states = messages.map(|(state, _)| State::load(state));
            compress_blocks(&mut states, messages.map(|(_, blocks)| blocks.as_slice()));
            states.map(|state| state.to_array())
        };
        let expected = messages.map(|(state, blocks)| {
            let mut state = *state;
            compress256(&mut state, blocks);
            state
        });
        assert_eq!(ours, expected);
    }

    proptest! {
        #[test]
        fn all_are_compressed_as_sha2_compresses_each(messages in prop::array::uniform8(message())) {
            let [a, b, c, d, ..] = &messages;
            agree([a]);
            agree([a, b]);
            agree([a, b, c, d]);
            agree(messages.each_ref());
        }

        #[test]
        fn only_the_active_are_compressed(
            messages in prop::array::uniform8(message()), block in prop::array::uniform32(any::<u16>()),
            active in prop::array::uniform8(any::<bool>()),
        ) {
            let Some(_) = ShaNi::detect() else {
                return Ok(());
            };
            let block = block_of(block);
            let values = messages.map(|(state, _)| state);
            // SAFETY: the features were detected.
            let ours = unsafe {
                let mut states = values.map(|state| State::load(&state));
                compress_some(&mut states, &mut [load_block(&block); 8], active);
                states.map(|state| state.to_array())
            };
            let expected: [_; 8] = array::from_fn(|i| {
                let mut state = values[i];
                if active[i] {
                    compress256(&mut state, &[block]);
                }
                state
            });
            prop_assert_eq!(ours, expected);
        }

        #[test]
        fn the_bytes_of_a_chaining_value_are_its_digest(words in prop::array::uniform8(any::<u32>())) {
            let Some(_) = ShaNi::detect() else {
                return Ok(());
            };
            let bytes: [u8; 32] = array::from_fn(|i| words[i / 4].to_be_bytes()[i % 4]);
            // SAFETY: the features were detected.
            let (read, loaded, written) = unsafe {
                let mut written = [0; 32];
                State::load(&words).store_digest(&mut written);
                (State::from_digest(&bytes).to_array(), State::load(&words).to_array(), written)
            };
            prop_assert_eq!((read, loaded, written), (words, words, bytes));
        }
    }
}

//! The compression function of SHA-256 over sixteen messages at once: word `j` of all of them in
//! one register, that of message `i` at place `i`.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::K;

/// Messages that are compressed at once.
pub(in super::super) const LANES: usize = 16;

/// Sixteen chaining values.
pub(super) type States = [__m512i; 8];

/// A block of each of sixteen messages.
pub(super) type Words = [__m512i; 16];

/// Says that this CPU has the instructions.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Avx512(());

impl Avx512 {
    pub(in super::super) fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        there.then_some(Self(()))
    }
}

/// Calls `$step!(i)` for sixteen rounds: only when unrolled do they stay in registers.
macro_rules! sixteen {
    ($step:ident) => {
        $step!(0);
        $step!(1);
        $step!(2);
        $step!(3);
        $step!(4);
        $step!(5);
        $step!(6);
        $step!(7);
        $step!(8);
        $step!(9);
        $step!(10);
        $step!(11);
        $step!(12);
        $step!(13);
        $step!(14);
        $step!(15);
    };
}

/// Takes the chaining values of the lanes in `active`, a bit each, over one block.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(states: &mut States, words: &Words, active: u16) {
    let mut s = *states;
    let mut w = *words;
    let (k, _) = K.as_chunks::<16>();
    for k in &k[..3] {
        macro_rules! step {
            ($i:literal) => {
                round::<$i>(&mut s, w[$i], k[$i]);
                let [w1, w9, w14] = [1, 9, 14].map(|ahead| w[($i + ahead) % 16]);
                w[$i] = next_word(w[$i], w1, w9, w14);
            };
        }
        sixteen!(step);
    }
    macro_rules! step {
        ($i:literal) => {
            round::<$i>(&mut s, w[$i], k[3][$i])
        };
    }
    sixteen!(step);
    for (state, s) in states.iter_mut().zip(s) {
        *state = _mm512_mask_add_epi32(*state, active, *state, s);
    }
}

/// Round `I` of sixteen (FIPS 180-4, 6.2.2). The eight variables stay where they are, and their
/// names move on with each round.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn round<const I: usize>(s: &mut [__m512i; 8], w: __m512i, k: u32) {
    let at = |name: usize| (name + 16 - I) % 8;
    let [a, b, c, e, f, g, h] = [0, 1, 2, 4, 5, 6, 7].map(|name| s[at(name)]);
    let sum1 = xor3(
        _mm512_ror_epi32::<6>(e),
        _mm512_ror_epi32::<11>(e),
        _mm512_ror_epi32::<25>(e),
    );
    let sum0 = xor3(
        _mm512_ror_epi32::<2>(a),
        _mm512_ror_epi32::<13>(a),
        _mm512_ror_epi32::<22>(a),
    );
    let choose = _mm512_ternarylogic_epi32::<0xca>(e, f, g);
    let majority = _mm512_ternarylogic_epi32::<0xe8>(a, b, c);
    let kw = _mm512_add_epi32(w, _mm512_set1_epi32(k as i32));
    let t1 = _mm512_add_epi32(_mm512_add_epi32(h, kw), _mm512_add_epi32(sum1, choose));
    s[at(3)] = _mm512_add_epi32(s[at(3)], t1);
    s[at(7)] = _mm512_add_epi32(t1, _mm512_add_epi32(sum0, majority));
}

/// The word of the message schedule sixteen places behind `w0`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn next_word(w0: __m512i, w1: __m512i, w9: __m512i, w14: __m512i) -> __m512i {
    let sigma0 = xor3(
        _mm512_ror_epi32::<7>(w1),
        _mm512_ror_epi32::<18>(w1),
        _mm512_srli_epi32::<3>(w1),
    );
    let sigma1 = xor3(
        _mm512_ror_epi32::<17>(w14),
        _mm512_ror_epi32::<19>(w14),
        _mm512_srli_epi32::<10>(w14),
    );
    _mm512_add_epi32(_mm512_add_epi32(w0, sigma0), _mm512_add_epi32(w9, sigma1))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

/// A block of each message.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_blocks(blocks: &[&[u8; 64]; LANES]) -> Words {
    let mut words = [_mm512_setzero_si512(); 16];
    let (fours, _) = words.as_chunks_mut();
    for (four, words) in fours.iter_mut().enumerate() {
        *words = load_four(blocks, four);
        for word in words {
            *word = big_endian(*word);
        }
    }
    words
}

/// A chaining value of each message.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_states(states: &[&[u32; 8]; LANES]) -> States {
    let ([a, b, c, d], [e, f, g, h]) = (load_four(states, 0), load_four(states, 1));
    [a, b, c, d, e, f, g, h]
}

/// A chaining value of each message, from big-endian bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_digests(digests: &[&[u8; 32]; LANES]) -> States {
    let ([a, b, c, d], [e, f, g, h]) = (load_four(digests, 0), load_four(digests, 1));
    let mut states = [a, b, c, d, e, f, g, h];
    for state in &mut states {
        *state = big_endian(*state);
    }
    states
}

/// The inverse of [`load_states`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn store_states(states: &States, to: &mut [[u32; 8]; LANES]) {
    store_eight(states, to);
}

/// The inverse of [`load_digests`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn store_digests(states: &States, to: &mut [[u8; 32]; LANES]) {
    let mut digests = *states;
    for words in &mut digests {
        *words = big_endian(*words);
    }
    store_eight(&digests, to);
}

/// The eight words of each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_eight<T: Copy, const N: usize>(words: &[__m512i; 8], to: &mut [[T; N]; LANES]) {
    let [a, b, c, d, e, f, g, h] = *words;
    let (abcd, efgh) = (transpose4([a, b, c, d]), transpose4([e, f, g, h]));
    let lower = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    let upper = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    for j in 0..4 {
        // Part p of both has half of the words of lane 4p + j.
        let low = _mm512_permutex2var_epi64(abcd[j], lower, efgh[j]);
        let high = _mm512_permutex2var_epi64(abcd[j], upper, efgh[j]);
        store_half(_mm512_castsi512_si256(low), &mut to[j]);
        store_half(_mm512_extracti64x4_epi64::<1>(low), &mut to[4 + j]);
        store_half(_mm512_castsi512_si256(high), &mut to[8 + j]);
        store_half(_mm512_extracti64x4_epi64::<1>(high), &mut to[12 + j]);
    }
}

/// Four words of each lane: those that begin at its sixteen bytes number `four`.
///
/// Lanes four apart share a register from the start: that leaves one transposition.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_four<T: Copy, const N: usize>(lanes: &[&[T; N]; LANES], four: usize) -> [__m512i; 4] {
    let mut rows = [_mm512_setzero_si512(); 4];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = _mm512_castsi128_si512(load_part(lanes[i], four));
        *row = _mm512_inserti32x4::<1>(*row, load_part(lanes[i + 4], four));
        *row = _mm512_inserti32x4::<2>(*row, load_part(lanes[i + 8], four));
        *row = _mm512_inserti32x4::<3>(*row, load_part(lanes[i + 12], four));
    }
    transpose4(rows)
}

/// Swaps the bytes of each word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn big_endian(words: __m512i) -> __m512i {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(order))
}

/// Transposes the four by four words in each of the four parts.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose4([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let ab = [_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)];
    let cd = [_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d)];
    [
        _mm512_unpacklo_epi64(ab[0], cd[0]),
        _mm512_unpackhi_epi64(ab[0], cd[0]),
        _mm512_unpacklo_epi64(ab[1], cd[1]),
        _mm512_unpackhi_epi64(ab[1], cd[1]),
    ]
}

/// Puts as many bytes of `data` as there is room for into the block, from its byte `at` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn insert(block: __m512i, at: usize, data: &[u8]) -> __m512i {
    let end = at.saturating_add(data.len()).min(64);
    // Ones from bit `at` on, below bit `end`.
    let [from, behind] = [at, end].map(|bit| u64::MAX.checked_shl(bit as u32).unwrap_or(0));
    let start = data.as_ptr().wrapping_sub(at);
    // SAFETY: only bytes whose bits are set are read: from `at` behind `start`, where `data`
    // begins, to no further than its length.
    unsafe { _mm512_mask_loadu_epi8(block, from & !behind, start.cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn store_block(value: __m512i, to: &mut [u8; 64]) {
    // SAFETY: a unique reference to 64 bytes, and no alignment is asked for.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), value) }
}

/// Sixteen bytes of a lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_part<T: Copy, const N: usize>(lane: &[T; N], part: usize) -> __m128i {
    let at = 16 * part;
    assert!(at + 16 <= size_of_val(lane));
    // SAFETY: they lie within the array, numbers without padding between them, and no alignment is
    // asked for.
    unsafe { _mm_loadu_si128(lane.as_ptr().byte_add(at).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_words(numbers: &[u32; LANES]) -> __m512i {
    // SAFETY: a reference to 64 bytes, and no alignment is asked for.
    unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_half<T: Copy, const N: usize>(words: __m256i, to: &mut [T; N]) {
    const { assert!(size_of::<[T; N]>() == size_of::<__m256i>()) };
    // SAFETY: a unique reference to 32 bytes, and no alignment is asked for.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), words) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::block_api::compress256;

    #[target_feature(enable = "avx512f,avx512bw")]
    fn compressed(
        states: &[[u32; 8]; LANES],
        blocks: &[[u8; 64]; LANES],
        active: u16,
    ) -> [[u32; 8]; LANES] {
        let mut lanes = load_states(&states.each_ref());
        compress(&mut lanes, &load_blocks(&blocks.each_ref()), active);
        let mut out = [[0; 8]; LANES];
        store_states(&lanes, &mut out);
        out
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn inserted(mut block: [u8; 64], at: usize, data: &[u8]) -> [u8; 64] {
        // SAFETY: a reference to 64 bytes, and no alignment is asked for.
        let loaded = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
        store_block(insert(loaded, at, data), &mut block);
        block
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn swapped(digests: &[[u8; 32]; LANES]) -> [[u32; 8]; LANES] {
        let mut out = [[0; 8]; LANES];
        store_states(&load_digests(&digests.each_ref()), &mut out);
        out
    }

    fn arrays<const N: usize>() -> impl Strategy<Value = [[u8; N]; LANES]> {
        let lane = prop::collection::vec(any::<u8>(), N);
        prop::collection::vec(lane, LANES).prop_map(|lanes| {
            std::array::from_fn(|lane| std::array::from_fn(|byte| lanes[lane][byte]))
        })
    }

    proptest! {
        #[test]
        fn active_lanes_are_compressed_as_sha2_does_and_the_others_left(
            digests in arrays::<32>(),
            blocks in arrays::<64>(),
            active: u16,
        ) {
            if Avx512::detect().is_none() {
                return Ok(());
            }
            let mut states = digests.map(|digest| {
                let (words, _) = digest.as_chunks();
                std::array::from_fn(|word| u32::from_be_bytes(words[word]))
            });
            // SAFETY: the features were detected.
            let (swapped, ours) =
                unsafe { (swapped(&digests), compressed(&states, &blocks, active)) };
            assert_eq!(swapped, states);
            for (lane, state) in states.iter_mut().enumerate() {
                if active & (1 << lane) != 0 {
                    compress256(state, &blocks[lane..=lane]);
                }
            }
            assert_eq!(ours, states);
        }

        #[test]
        fn data_is_inserted_where_it_belongs_and_as_far_as_there_is_room(
            block in prop::array::uniform32(any::<[u8; 2]>()),
            at in 0usize..64,
            data in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if Avx512::detect().is_none() {
                return Ok(());
            }
            let mut block = std::array::from_fn(|byte| block[byte / 2][byte % 2]);
            // SAFETY: the features were detected.
            let ours = unsafe { inserted(block, at, &data) };
            for (byte, data) in block[at..].iter_mut().zip(data) {
                *byte = data;
            }
            assert_eq!(ours, block);
        }
    }
}

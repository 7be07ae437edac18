//! The compression function of SHA-256 over sixteen messages at once: word `j` of all of them in
//! one register, that of message `i` at place `i`.
#![allow(unsafe_code)]

use std::arch::asm;
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

/// Round `$w` of sixteen (FIPS 180-4, 6.2.2), with the word and the constant of that number. The eight
/// variables stay where they are, and their names move on with each round.
#[rustfmt::skip]
macro_rules! round {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal,
     $w:literal) => {
        concat!(
            "vpaddd zmm31, zmm", $w, ", dword ptr [{k} + 4*", $w, "]{{1to16}}\n",
            "vprord zmm24, zmm", $e, ", 6\n",
            "vprord zmm25, zmm", $e, ", 11\n",
            "vprord zmm26, zmm", $e, ", 25\n",
            "vpternlogd zmm24, zmm25, zmm26, 0x96\n",
            "vmovdqa64 zmm27, zmm", $e, "\n",
            "vpternlogd zmm27, zmm", $f, ", zmm", $g, ", 0xca\n",
            "vpaddd zmm", $h, ", zmm", $h, ", zmm31\n",
            "vpaddd zmm24, zmm24, zmm27\n",
            "vpaddd zmm", $h, ", zmm", $h, ", zmm24\n",
            "vpaddd zmm", $d, ", zmm", $d, ", zmm", $h, "\n",
            "vprord zmm28, zmm", $a, ", 2\n",
            "vprord zmm29, zmm", $a, ", 13\n",
            "vprord zmm30, zmm", $a, ", 22\n",
            "vpternlogd zmm28, zmm29, zmm30, 0x96\n",
            "vmovdqa64 zmm27, zmm", $a, "\n",
            "vpternlogd zmm27, zmm", $b, ", zmm", $c, ", 0xe8\n",
            "vpaddd zmm28, zmm28, zmm27\n",
            "vpaddd zmm", $h, ", zmm", $h, ", zmm28\n",
        )
    };
}

/// Replaces the word `$w0` of the message schedule by the one sixteen places behind.
#[rustfmt::skip]
macro_rules! next_word {
    ($w0:literal, $w1:literal, $w9:literal, $w14:literal) => {
        concat!(
            "vprord zmm24, zmm", $w1, ", 7\n",
            "vprord zmm25, zmm", $w1, ", 18\n",
            "vpsrld zmm26, zmm", $w1, ", 3\n",
            "vpternlogd zmm24, zmm25, zmm26, 0x96\n",
            "vprord zmm28, zmm", $w14, ", 17\n",
            "vprord zmm29, zmm", $w14, ", 19\n",
            "vpsrld zmm30, zmm", $w14, ", 10\n",
            "vpternlogd zmm28, zmm29, zmm30, 0x96\n",
            "vpaddd zmm", $w0, ", zmm", $w0, ", zmm", $w9, "\n",
            "vpaddd zmm24, zmm24, zmm28\n",
            "vpaddd zmm", $w0, ", zmm", $w0, ", zmm24\n",
        )
    };
}

/// Sixteen rounds, each followed by `$then!` of its word and those 1, 9 and 14 places behind.
#[rustfmt::skip]
macro_rules! rounds {
    ($then:ident) => {
        concat!(
            round!(16 17 18 19 20 21 22 23, 0), $then!(0, 1, 9, 14),
            round!(23 16 17 18 19 20 21 22, 1), $then!(1, 2, 10, 15),
            round!(22 23 16 17 18 19 20 21, 2), $then!(2, 3, 11, 0),
            round!(21 22 23 16 17 18 19 20, 3), $then!(3, 4, 12, 1),
            round!(20 21 22 23 16 17 18 19, 4), $then!(4, 5, 13, 2),
            round!(19 20 21 22 23 16 17 18, 5), $then!(5, 6, 14, 3),
            round!(18 19 20 21 22 23 16 17, 6), $then!(6, 7, 15, 4),
            round!(17 18 19 20 21 22 23 16, 7), $then!(7, 8, 0, 5),
            round!(16 17 18 19 20 21 22 23, 8), $then!(8, 9, 1, 6),
            round!(23 16 17 18 19 20 21 22, 9), $then!(9, 10, 2, 7),
            round!(22 23 16 17 18 19 20 21, 10), $then!(10, 11, 3, 8),
            round!(21 22 23 16 17 18 19 20, 11), $then!(11, 12, 4, 9),
            round!(20 21 22 23 16 17 18 19, 12), $then!(12, 13, 5, 10),
            round!(19 20 21 22 23 16 17 18, 13), $then!(13, 14, 6, 11),
            round!(18 19 20 21 22 23 16 17, 14), $then!(14, 15, 7, 12),
            round!(17 18 19 20 21 22 23 16, 15), $then!(15, 0, 8, 13),
        )
    };
}

/// No word follows.
macro_rules! nothing {
    ($w0:literal, $w1:literal, $w9:literal, $w14:literal) => {
        ""
    };
}

macro_rules! load_words {
    ($($word:literal)*) => {
        concat!($("vmovdqa64 zmm", $word, ", [{words} + 64*", $word, "]\n",)*)
    };
}

macro_rules! load_variables {
    ($($variable:literal)*) => {
        concat!($("vmovdqa64 zmm", $variable, ", [{states} + 64*(", $variable, " - 16)]\n",)*)
    };
}

/// Adds what the variables were before.
#[rustfmt::skip]
macro_rules! add_variables {
    ($($variable:literal)*) => {
        concat!($(
            "vpaddd zmm", $variable, ", zmm", $variable, ", [{states} + 64*(", $variable, " - 16)]\n",
            "vmovdqa64 [{states} + 64*(", $variable, " - 16)], zmm", $variable, "\n",
        )*)
    };
}

/// Takes the chaining values over one block.
///
/// Eight variables, sixteen words and what is in between just fit into the registers. A compiler
/// sometimes keeps them there, and sometimes, with link-time optimization, takes a tenth longer.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(states: &mut States, words: &Words) {
    // SAFETY: it reads and writes the two arguments, which are aligned to 64 bytes and lie in memory
    // as they are written in Rust, and reads K, which is as long as its loop reads. The caller has
    // the instructions.
    unsafe {
        asm!(
            load_words!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
            load_variables!(16 17 18 19 20 21 22 23),
            "2:",
            rounds!(next_word),
            "add {k}, 64",
            "dec {times:e}",
            "jnz 2b",
            rounds!(nothing),
            add_variables!(16 17 18 19 20 21 22 23),
            // What follows need not have these instructions.
            "vzeroupper",
            states = in(reg) states,
            words = in(reg) words,
            k = inout(reg) K.as_ptr() => _,
            times = inout(reg) 3 => _,
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
            out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
            out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
            out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
            out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _,
            out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
            out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _,
            out("zmm28") _, out("zmm29") _, out("zmm30") _, out("zmm31") _,
            options(nostack),
        );
    }
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
    fn compressed(states: &[[u32; 8]; LANES], blocks: &[[u8; 64]; LANES]) -> [[u32; 8]; LANES] {
        let mut lanes = load_states(&states.each_ref());
        compress(&mut lanes, &load_blocks(&blocks.each_ref()));
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
        fn all_lanes_are_compressed_as_sha2_does(
            digests in arrays::<32>(),
            blocks in arrays::<64>(),
        ) {
            if Avx512::detect().is_none() {
                return Ok(());
            }
            let mut states = digests.map(|digest| {
                let (words, _) = digest.as_chunks();
                std::array::from_fn(|word| u32::from_be_bytes(words[word]))
            });
            // SAFETY: the features were detected.
            let (swapped, ours) = unsafe { (swapped(&digests), compressed(&states, &blocks)) };
            assert_eq!(swapped, states);
            for (lane, state) in states.iter_mut().enumerate() {
                compress256(state, &blocks[lane..=lane]);
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

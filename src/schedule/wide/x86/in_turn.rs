//! What follows from one, two, four or eight ClientHellos, hashed in turn with SHA-NI.
//!
//! A block that was written in pieces and is loaded as a whole waits until the pieces have reached
//! the cache, which takes a third of a compression. So blocks are put together in registers, and
//! never in memory. And `for` it says here, not `map`: what a closure does that has these
//! instructions cannot be inlined into a function that has not.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::sha_ni::{
    ShaNi, State, Words, ZERO, big_endian, compress, compress_blocks, compress_some, load,
    load_block, load_part, store_block,
};
use super::{DIGEST_AT, Hashed, INFO_BLOCK, Secret, Sha256EarlyTraffic, Sha256Hello};
use crate::schedule::HashAlgorithm;
use crate::schedule::hash::Stream;

impl ShaNi {
    /// As [`WideHasher::client_hellos`](crate::schedule::wide::WideHasher::client_hellos), for
    /// ClientHellos of which at least a block comes before the binders. Those that are there come
    /// first.
    #[inline]
    pub(in super::super) fn client_hellos<const N: usize>(
        self,
        hellos: &mut [Option<Sha256Hello<'_>>; N],
    ) {
        // SAFETY: a value of this type exists only where the features were detected.
        unsafe { client_hellos(hellos) };
    }

    /// As
    /// [`WideHasher::early_traffic_secrets`](crate::schedule::wide::WideHasher::early_traffic_secrets).
    /// Those that are there come first.
    #[inline]
    pub(in super::super) fn early_traffic_secrets<const N: usize>(
        self,
        jobs: &mut [Option<Sha256EarlyTraffic<'_>>; N],
    ) {
        // SAFETY: a value of this type exists only where the features were detected.
        unsafe { early_traffic_secrets(jobs) };
    }
}

#[inline(never)]
#[target_feature(enable = "sha,avx")]
fn client_hellos<const N: usize>(hellos: &mut [Option<Sha256Hello<'_>>; N]) {
    let [mut states, mut inner, mut outer] = [[State::ZERO; N]; 3];
    let mut first = [ZERO; N];
    let [mut signed, mut full] = [Ends::NONE; 2];
    let [mut to_binders, mut to_end] = [[&[] as &[_]; N]; 2];
    for (i, hello) in hellos.iter_mut().flatten().enumerate() {
        let (body, total) = (hello.body, hello.stream.total);
        states[i] = State::load(&hello.stream.state);
        first[i] = filled(hello.stream, body);
        let begin = 64 - hello.stream.buffered();
        (to_binders[i], _) = signed.end(i, body, begin..hello.truncated_len, total);
        let begin = begin + to_binders[i].as_flattened().len();
        let rest;
        (to_end[i], rest) = full.end(i, body, begin..body.len(), total);
        store_block(rest, &mut hello.stream.buffer);
        hello.stream.total = total.wrapping_add(body.len() as u64);
        [inner[i], outer[i]] = midstates(hello.binder_key);
    }
    compress(&mut states, &mut first);
    compress_blocks(&mut states, to_binders);
    let signed = signed.digests(states);
    compress_blocks(&mut states, to_end);
    let digests = full.digests(states);

    padded(&signed, &mut first);
    let binders = hmac(inner, outer, &mut first);
    for (i, hello) in hellos.iter_mut().flatten().enumerate() {
        let out = hello.out.insert(Hashed::ZERO_SHA256);
        binders[i].store_digest(out.binder.sha256_mut());
        digests[i].store_digest(out.full.sha256_mut());
        hello.stream.state = states[i].to_array();
    }
}

#[inline(never)]
#[target_feature(enable = "sha,avx")]
fn early_traffic_secrets<const N: usize>(jobs: &mut [Option<Sha256EarlyTraffic<'_>>; N]) {
    let [mut inner, mut outer] = [[State::ZERO; N]; 2];
    let mut info = [ZERO; N];
    for (i, job) in jobs.iter().flatten().enumerate() {
        [inner[i], outer[i]] = midstates(job.early_secret);
    }
    // The places of the digest are zeros.
    const { assert!(DIGEST_AT == 16 + 5) };
    let [a, b, _, d] = load_block(&INFO_BLOCK);
    for (info, job) in info.iter_mut().zip(jobs.iter().flatten()) {
        let [x, y] = load(job.client_hello);
        let in_b = big_endian(_mm_slli_si128::<5>(x));
        let c = big_endian(_mm_alignr_epi8::<11>(y, x));
        let in_d = big_endian(_mm_srli_si128::<11>(y));
        *info = [a, _mm_or_si128(b, in_b), c, _mm_or_si128(d, in_d)];
    }
    let secrets = hmac(inner, outer, &mut info);
    for (job, secret) in jobs.iter_mut().flatten().zip(secrets) {
        let out = job.out.insert(Secret::zero(HashAlgorithm::Sha256));
        secret.store_digest(out.sha256_mut());
    }
}

/// The chaining values of the inner and the outer hash of an HMAC key.
#[inline]
#[target_feature(enable = "avx")]
fn midstates(key: &[u8; 64]) -> [State; 2] {
    let mut midstates = [State::ZERO; 2];
    for (state, half) in midstates.iter_mut().zip(key.as_chunks().0) {
        *state = State::from_digest(half);
    }
    midstates
}

/// The MACs over the last blocks `words`, from the chaining values of the inner and the outer
/// hash.
#[inline]
#[target_feature(enable = "sha,avx")]
fn hmac<const N: usize>(
    mut inner: [State; N],
    mut outer: [State; N],
    words: &mut [Words; N],
) -> [State; N] {
    compress(&mut inner, words);
    padded(&inner, words);
    compress(&mut outer, words);
    outer
}

/// The last blocks of hashes of one block and a digest.
#[inline]
#[target_feature(enable = "avx")]
fn padded<const N: usize>(digests: &[State; N], words: &mut [Words; N]) {
    for (words, digest) in words.iter_mut().zip(digests) {
        let [low, high] = digest.to_words();
        let end_mark = _mm_set_epi32(0, 0, 0, i32::MIN);
        *words = [low, high, end_mark, _mm_set_epi32(8 * (64 + 32), 0, 0, 0)];
    }
}

/// The block in a stream's buffer, filled up from the body.
#[inline]
#[target_feature(enable = "avx")]
fn filled(stream: &Stream<u32, 64>, body: &[u8]) -> Words {
    let buffered = stream.buffered();
    let mut block = load(&stream.buffer);
    for (i, words) in block.iter_mut().enumerate() {
        let at = 16 * i;
        if let Some(ahead) = at.checked_sub(buffered) {
            *words = load_part(&body[ahead..]);
        } else if buffered - at < 16 {
            // Whatever is behind what was buffered goes out of the register.
            let kept = (buffered - at) as isize;
            let old = moved(moved(*words, 16 - kept), kept - 16);
            *words = _mm_or_si128(old, moved(load_part(body), kept));
        }
        *words = big_endian(*words);
    }
    block
}

/// The last `len` bytes of `data`, which is longer, and zeros.
#[inline]
#[target_feature(enable = "avx")]
fn rest(data: &[u8], len: usize) -> Words {
    let (parts, last) = data[data.len() - len..].as_chunks::<16>();
    let mut block = ZERO;
    for (i, words) in block.iter_mut().enumerate() {
        if let Some(part) = parts.get(i) {
            *words = load_part(part);
        } else if i == parts.len() && !last.is_empty() {
            *words = moved(
                load_part(&data[data.len() - 16..]),
                last.len() as isize - 16,
            );
        }
    }
    block
}

/// Moves the bytes up by `up` places, and zeros behind them.
#[inline]
#[target_feature(enable = "avx")]
fn moved(bytes: __m128i, up: isize) -> __m128i {
    /// Where each byte comes from; from nowhere if the high bit is set.
    const FROM: [u8; 48] = {
        let mut from = [0x80; 48];
        let mut i = 0;
        while i < 16 {
            from[16 + i] = i as u8;
            i += 1;
        }
        from
    };
    _mm_shuffle_epi8(
        bytes,
        load_part(&FROM[16_usize.wrapping_add_signed(-up) % 32..]),
    )
}

/// What marks the end of a message behind the first `len` bytes of its last block.
#[inline]
#[target_feature(enable = "avx")]
fn end_mark(len: usize) -> Words {
    const MARK: [u8; 128] = {
        let mut mark = [0; 128];
        mark[64] = 0x80;
        mark
    };
    load(MARK[64 - len % 64..].first_chunk().unwrap_or(&[0; 64]))
}

/// The one or two blocks that end each message (FIPS 180-4, 5.1).
struct Ends<const N: usize> {
    blocks: [[Words; N]; 2],
    len: [usize; N],
}

impl<const N: usize> Ends<N> {
    const NONE: Self = Self {
        blocks: [[ZERO; N]; 2],
        len: [0; N],
    };

    /// Ends message `i`, of which `before` bytes come before `body`, at the end of `range`.
    /// Returns the whole blocks in there, and what is behind them.
    #[inline]
    #[target_feature(enable = "avx")]
    fn end<'a>(
        &mut self,
        i: usize,
        body: &'a [u8],
        range: Range<usize>,
        before: u64,
    ) -> (&'a [[u8; 64]], Words) {
        let end = range.end;
        let (whole, tail) = body[range].as_chunks();
        let rest = rest(&body[..end], tail.len());
        let mark = end_mark(tail.len());
        for (words, (rest, mark)) in self.blocks[0][i].iter_mut().zip(rest.iter().zip(mark)) {
            *words = big_endian(_mm_or_si128(*rest, mark));
        }
        self.len[i] = Stream::<u32, 64>::padded_blocks(tail.len());
        let bits = before.wrapping_add(end as u64).wrapping_mul(8);
        let bits = _mm_set_epi32(bits as i32, (bits >> 32) as i32, 0, 0);
        let last = &mut self.blocks[self.len[i] - 1][i];
        last[3] = _mm_or_si128(last[3], bits);
        (whole, rest)
    }

    /// The digests, from the chaining values behind the whole blocks.
    #[inline]
    #[target_feature(enable = "sha,avx")]
    fn digests(mut self, mut states: [State; N]) -> [State; N] {
        let [first, second] = &mut self.blocks;
        compress(&mut states, first);
        let mut longer = [false; N];
        for (longer, len) in longer.iter_mut().zip(self.len) {
            *longer = len == 2;
        }
        compress_some(&mut states, second, longer);
        states
    }
}

//! What follows from up to sixteen ClientHellos, hashed in step, each at its own length.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::array;
use std::ops::Range;
use zeroize::Zeroize;

use super::avx512::{
    Avx512, LANES, States, Words, compress, insert, load_blocks, load_digests, load_states,
    load_words, store_block, store_digests, store_states,
};
use super::{DIGEST_AT, Hashed, INFO_BLOCK, Secret, Sha256EarlyTraffic, Sha256Hello};
use crate::schedule::HashAlgorithm;
use crate::schedule::hash::{Stream, Word};
use crate::wipe::overwrite;

impl Avx512 {
    /// As [`WideHasher::client_hellos`](crate::schedule::wide::WideHasher::client_hellos), for up
    /// to sixteen.
    pub(in super::super) fn client_hellos(self, hellos: &mut [Option<Sha256Hello<'_>>]) {
        // SAFETY: a value of this type exists only where the features were detected.
        unsafe { client_hellos(hellos) };
    }

    /// As
    /// [`WideHasher::early_traffic_secrets`](crate::schedule::wide::WideHasher::early_traffic_secrets),
    /// for up to sixteen.
    pub(in super::super) fn early_traffic_secrets(
        self,
        jobs: &mut [Option<Sha256EarlyTraffic<'_>>],
    ) {
        // SAFETY: a value of this type exists only where the features were detected.
        unsafe { early_traffic_secrets(jobs) };
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn client_hellos(hellos: &mut [Option<Sha256Hello<'_>>]) {
    let transcripts = transcripts(hellos);
    let [mut binders, mut full] = [[[0; 32]; LANES]; 2];
    let mut states = [[0; 8]; LANES];
    store_digests(&transcripts.full, &mut full);
    store_states(&transcripts.states, &mut states);

    let mut keys = [&[0; 64]; LANES];
    for (key, hello) in keys.iter_mut().zip(hellos.iter().flatten()) {
        *key = hello.binder_key;
    }
    let mac = hmac(&keys, &padded(&transcripts.truncated));
    store_digests(&mac, &mut binders);

    for (lane, hello) in hellos.iter_mut().flatten().take(LANES).enumerate() {
        // Written where it stays: a core stalls where it copies what was just written in other
        // pieces.
        let out = hello.out.insert(Hashed::ZERO_SHA256);
        *out.binder.sha256_mut() = binders[lane];
        *out.full.sha256_mut() = full[lane];
        let (stream, body) = (&mut *hello.stream, hello.body);
        stream.state = states[lane];
        stream.total = stream.total.wrapping_add(body.len() as u64);
        let rest = insert(
            _mm512_setzero_si512(),
            0,
            &body[body.len() - stream.buffered()..],
        );
        store_block(rest, &mut stream.buffer);
    }
}

/// What ClientHellos hash to.
struct Transcripts {
    /// Up to the binders.
    truncated: States,
    full: States,
    /// The chaining values in front of what is left over.
    states: States,
}

// Not inlined: it needs much stack, and those who have secrets on theirs are to need little.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
fn transcripts(hellos: &[Option<Sha256Hello<'_>>]) -> Transcripts {
    let mut states = [&u32::INITIAL; LANES];
    let mut first = [[0; 64]; LANES];
    let [mut to_binders, mut to_end] = [[Message::NONE; LANES]; 2];
    for (lane, hello) in hellos.iter().flatten().take(LANES).enumerate() {
        let (body, total) = (hello.body, hello.stream.total);
        states[lane] = &hello.stream.state;
        store_block(filled(hello.stream, body), &mut first[lane]);
        let begin = 64 - hello.stream.buffered();
        to_binders[lane] = Message::new(body, begin..hello.truncated_len, total);
        let begin = begin + to_binders[lane].blocks.as_flattened().len();
        to_end[lane] = Message::new(body, begin..body.len(), total);
    }
    // Lanes without a message of their own go with the first: nothing waits for them.
    for lane in hellos.len()..LANES {
        (to_binders[lane], to_end[lane]) = (to_binders[0], to_end[0]);
    }
    let mut states = load_states(&states);
    compress(&mut states, &load_blocks(&first.each_ref()));
    let mut padding = [[[0; 64]; 2]; LANES];
    let truncated = digests(&to_binders, &mut padding, &mut states);
    let full = digests(&to_end, &mut padding, &mut states);
    Transcripts {
        truncated,
        full,
        states,
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn early_traffic_secrets(jobs: &mut [Option<Sha256EarlyTraffic<'_>>]) {
    let mut keys = [&[0; 64]; LANES];
    let mut hellos = [&[0; 32]; LANES];
    for (lane, job) in jobs.iter().flatten().take(LANES).enumerate() {
        keys[lane] = job.early_secret;
        hellos[lane] = job.client_hello;
    }
    let mut info = [_mm512_setzero_si512(); 16];
    for (word, bytes) in info.iter_mut().zip(INFO_BLOCK.as_chunks().0) {
        *word = _mm512_set1_epi32(i32::from_be_bytes(*bytes));
    }
    // The digest does not begin with a word.
    const { assert!(DIGEST_AT % 4 == 1) };
    for (word, digest) in load_digests(&hellos).into_iter().enumerate() {
        let word = DIGEST_AT / 4 + word;
        info[word] = _mm512_or_si512(info[word], _mm512_srli_epi32::<8>(digest));
        info[word + 1] = _mm512_or_si512(info[word + 1], _mm512_slli_epi32::<24>(digest));
    }
    let mut mac = hmac(&keys, &info);
    let mut secrets = [[0; 32]; LANES];
    store_digests(&mac, &mut secrets);
    mac.zeroize();
    for (lane, job) in jobs.iter_mut().flatten().take(LANES).enumerate() {
        let out = job.out.insert(Secret::zero(HashAlgorithm::Sha256));
        *out.sha256_mut() = secrets[lane];
    }
    overwrite(secrets.as_flattened_mut());
}

/// The MACs over a last block, from the two chaining values of each key.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn hmac(keys: &[&[u8; 64]; LANES], last: &Words) -> States {
    let [a, b, c, d, e, f, g, h, mut outer @ ..] = load_blocks(keys);
    let mut inner = [a, b, c, d, e, f, g, h];
    compress(&mut inner, last);
    compress(&mut outer, &padded(&inner));
    inner.zeroize();
    outer
}

/// The last block of a hash of one block and a digest.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn padded(digest: &States) -> Words {
    let mut block = [_mm512_setzero_si512(); 16];
    block[..8].copy_from_slice(digest);
    block[8] = _mm512_set1_epi32(1 << 31);
    block[15] = _mm512_set1_epi32(8 * (64 + 32));
    block
}

/// The block in a stream's buffer, filled up from the body.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn filled(stream: &Stream<u32, 64>, body: &[u8]) -> __m512i {
    let buffered = stream.buffered();
    let block = insert(_mm512_setzero_si512(), 0, &stream.buffer[..buffered]);
    insert(block, buffered, body)
}

/// The digests of messages, which have `states` before. These go on to what is left over. In
/// `padding` the ends of messages are put together.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
fn digests(
    messages: &[Message<'_>; LANES],
    padding: &mut [[[u8; 64]; 2]; LANES],
    states: &mut States,
) -> States {
    let [mut padded_from, mut ends] = [[0; LANES]; 2];
    for (lane, message) in messages.iter().enumerate() {
        message.pad(&mut padding[lane]);
        padded_from[lane] = message.blocks.len() as u32;
        ends[lane] = message.len() as u32;
    }
    let (padded_from, ends) = (load_words(&padded_from), load_words(&ends));
    let whole_rows = _mm512_reduce_min_epu32(padded_from);
    let mut running = *states;
    for row in 0..whole_rows {
        compress(
            &mut running,
            &load_blocks(&whole_row(messages, row as usize)),
        );
    }
    let mut digests = running;
    for row in whole_rows.._mm512_reduce_max_epu32(ends) {
        let padded = _mm512_cmpeq_epi32_mask(padded_from, _mm512_set1_epi32(row as i32));
        select(states, padded, &running);
        let blocks = last_row(messages, padding, row as usize);
        compress(&mut running, &load_blocks(&blocks));
        let ended = _mm512_cmpeq_epi32_mask(ends, _mm512_set1_epi32(row as i32 + 1));
        select(&mut digests, ended, &running);
    }
    digests
}

/// Replaces the values of the lanes in `which`, a bit each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn select(states: &mut States, which: u16, by: &States) {
    for (state, by) in states.iter_mut().zip(by) {
        *state = _mm512_mask_mov_epi32(*state, which, *by);
    }
}

// What a closure does that has these instructions cannot be inlined into `map`, which has not.

/// The blocks at `row`, which each message has.
#[inline]
fn whole_row<'a>(messages: &[Message<'a>; LANES], row: usize) -> [&'a [u8; 64]; LANES] {
    messages.each_ref().map(|message| &message.blocks[row])
}

/// The blocks at `row`, or the padding. Where a message has come to its end it does not matter.
#[inline]
fn last_row<'a>(
    messages: &[Message<'a>; LANES],
    padding: &'a [[[u8; 64]; 2]; LANES],
    row: usize,
) -> [&'a [u8; 64]; LANES] {
    array::from_fn(|lane| {
        let blocks = messages[lane].blocks;
        match blocks.get(row) {
            Some(block) => block,
            None => &padding[lane][(row - blocks.len()) % 2],
        }
    })
}

/// The last part of what a stream hashes.
#[derive(Clone, Copy)]
struct Message<'a> {
    blocks: &'a [[u8; 64]],
    rest: &'a [u8],
    /// Of the whole message.
    bits: u64,
}

impl<'a> Message<'a> {
    const NONE: Self = Self {
        blocks: &[],
        rest: &[],
        bits: 0,
    };

    /// The part in `range` of `body`, before all of which the stream has hashed `before` bytes.
    #[inline]
    fn new(body: &'a [u8], range: Range<usize>, before: u64) -> Self {
        let bits = before.wrapping_add(range.end as u64).wrapping_mul(8);
        let (blocks, rest) = body[range].as_chunks();
        Self { blocks, rest, bits }
    }

    /// Blocks with the padding.
    #[inline]
    fn len(&self) -> usize {
        self.blocks.len() + self.padding_len()
    }

    #[inline]
    fn padding_len(&self) -> usize {
        Stream::<u32, 64>::padded_blocks(self.rest.len())
    }

    /// What ends the message (FIPS 180-4, 5.1).
    ///
    /// Put together in a register: a core stalls where it loads a whole block that was just written
    /// in pieces.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn pad(&self, blocks: &mut [[u8; 64]; 2]) {
        let rest = insert(_mm512_setzero_si512(), 0, self.rest);
        let mut last = _mm512_mask_set1_epi8(rest, 1 << self.rest.len(), 0x80_u8 as i8);
        let [first, second] = blocks;
        let mut to = first;
        if self.padding_len() == 2 {
            store_block(last, to);
            (last, to) = (_mm512_setzero_si512(), second);
        }
        let bits = self.bits.swap_bytes() as i64;
        store_block(_mm512_mask_set1_epi64(last, 1 << 7, bits), to);
    }
}

//! What follows from up to sixteen ClientHellos, hashed in step, each at its own length.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use zeroize::Zeroize;

use super::avx512::{
    Avx512, LANES, States, Words, compress, insert, load_blocks, load_digests, load_states,
    load_words, store_block, store_states,
};
use super::{DIGEST_AT, Digest, Hashed, INFO_BLOCK, Secret, Sha256EarlyTraffic, Sha256Hello};
use crate::schedule::hash::{Stream, Word};
use crate::wipe::overwrite;

/// Those of the lanes; none in the last of them, if there are fewer.
type Hellos<'a> = [Option<Sha256Hello<'a>>; LANES];

/// Every lane takes part.
const ALL: u16 = u16::MAX;

impl Avx512 {
    /// As [`WideHasher::client_hellos`](crate::schedule::wide::WideHasher::client_hellos).
    pub(in super::super) fn client_hellos(self, hellos: &mut Hellos<'_>) {
        let [mut binders, mut full] = [[[0; 8]; LANES]; 2];
        // SAFETY: a value of this type exists only where the features were detected.
        unsafe { client_hellos(hellos, &mut binders, &mut full) };
        for ((hello, binder), full) in hellos.iter_mut().flatten().zip(&binders).zip(&full) {
            *hello.out = Some(Hashed {
                binder: Digest::from_words(binder),
                full: Digest::from_words(full),
            });
        }
    }

    /// As
    /// [`WideHasher::early_traffic_secrets`](crate::schedule::wide::WideHasher::early_traffic_secrets).
    pub(in super::super) fn early_traffic_secrets(
        self,
        jobs: &mut [Option<Sha256EarlyTraffic<'_>>; LANES],
    ) {
        const NONE: &[u8; 32] = &[0; 32];
        let keys = (jobs.each_ref()).map(|job| job.as_ref().map_or(NONE, |job| job.early_secret));
        let hellos = (jobs.each_ref()).map(|job| job.as_ref().map_or(NONE, |job| job.client_hello));
        let mut secrets = [[0; 8]; LANES];
        // SAFETY: a value of this type exists only where the features were detected.
        unsafe { early_traffic_secrets(&hellos, &keys, &mut secrets) };
        for (job, secret) in jobs.iter_mut().flatten().zip(&secrets) {
            *job.out = Some(Secret::from_words(secret));
        }
        overwrite(secrets.as_flattened_mut());
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn client_hellos(
    hellos: &mut Hellos<'_>,
    binders: &mut [[u32; 8]; LANES],
    full: &mut [[u32; 8]; LANES],
) {
    let mut states = load_states(&hellos.each_ref().map(|hello| match hello {
        Some(hello) => &hello.stream.state,
        None => &u32::INITIAL,
    }));
    let signed = digests(hellos, Sha256Hello::truncated, &mut states);
    let digest = digests(hellos, Sha256Hello::binders, &mut states);
    store_states(&digest, full);
    // A place to pass through only.
    store_states(&states, binders);
    for (hello, state) in hellos.iter_mut().zip(&*binders) {
        if let Some(hello) = hello {
            hello.stream.state = *state;
        }
    }
    let [inner, outer] = [0, 1].map(|half| {
        hellos.each_ref().map(|hello| match hello {
            Some(hello) => &hello.binder_key.as_chunks().0[half],
            None => &[0; 32],
        })
    });
    let (inner, outer) = (load_digests(&inner), load_digests(&outer));
    hmac(inner, outer, &padded(&signed), binders);
}

#[target_feature(enable = "avx512f,avx512bw")]
fn early_traffic_secrets(
    hellos: &[&[u8; 32]; LANES],
    early_secrets: &[&[u8; 32]; LANES],
    secrets: &mut [[u32; 8]; LANES],
) {
    let mut key = load_digests(early_secrets);
    let inner = key_block(&key, 0x3636_3636);
    let outer = key_block(&key, 0x5c5c_5c5c);
    key.zeroize();
    let mut info = [_mm512_setzero_si512(); 16];
    for (word, bytes) in info.iter_mut().zip(INFO_BLOCK.as_chunks().0) {
        *word = _mm512_set1_epi32(i32::from_be_bytes(*bytes));
    }
    // The digest does not begin with a word.
    const { assert!(DIGEST_AT % 4 == 1) };
    for (word, digest) in load_digests(hellos).into_iter().enumerate() {
        let word = DIGEST_AT / 4 + word;
        info[word] = _mm512_or_si512(info[word], _mm512_srli_epi32::<8>(digest));
        info[word + 1] = _mm512_or_si512(info[word + 1], _mm512_slli_epi32::<24>(digest));
    }
    hmac(inner, outer, &info, secrets);
}

/// The MACs over a last block, from the chaining values of the inner and the outer hash.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn hmac(mut inner: States, mut outer: States, last: &Words, macs: &mut [[u32; 8]; LANES]) {
    compress(&mut inner, last, ALL);
    compress(&mut outer, &padded(&inner), ALL);
    store_states(&outer, macs);
    inner.zeroize();
    outer.zeroize();
}

/// The chaining value behind the first block of an HMAC: the key, combined with `pad`.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
fn key_block(key: &States, pad: i32) -> States {
    let pad = _mm512_set1_epi32(pad);
    let mut block = [pad; 16];
    for (word, key) in block.iter_mut().zip(key) {
        *word = _mm512_xor_si512(pad, *key);
    }
    let mut states = load_states(&[&u32::INITIAL; LANES]);
    compress(&mut states, &block, ALL);
    block.zeroize();
    states
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

/// Hashes a part of each ClientHello behind its stream, and returns the digests. `states` has the
/// chaining values of the streams.
#[target_feature(enable = "avx512f,avx512bw")]
fn digests<'a>(
    hellos: &mut Hellos<'a>,
    part: impl Fn(&Sha256Hello<'a>) -> &'a [u8],
    states: &mut States,
) -> States {
    let mut messages = [const { Message::NONE }; LANES];
    for (message, hello) in messages.iter_mut().zip(hellos) {
        if let Some(hello) = hello {
            let part = part(hello);
            message.end(hello.stream, part);
        }
    }

    // All end with the last row of blocks.
    let rows = messages.iter().map(Message::len).max().unwrap_or(0);
    let mut starts = [0; LANES];
    let mut padding_starts = [0; LANES];
    for (lane, message) in messages.iter().enumerate() {
        starts[lane] = (rows - message.len()) as u32;
        padding_starts[lane] = (rows - message.padding_len) as u32;
    }
    let mut padded = *states;
    for row in 0..rows {
        let this_row = _mm512_set1_epi32(row as i32);
        let padding = _mm512_cmpeq_epi32_mask(load_words(&padding_starts), this_row);
        if padding != 0 {
            for (state, padded) in states.iter_mut().zip(&padded) {
                *state = _mm512_mask_mov_epi32(*state, padding, *padded);
            }
        }
        let mut blocks = [&[0; 64]; LANES];
        for ((block, message), start) in blocks.iter_mut().zip(&messages).zip(starts) {
            *block = message.block(row.saturating_sub(start as usize));
        }
        let active = _mm512_cmple_epi32_mask(load_words(&starts), this_row);
        compress(&mut padded, &load_blocks(&blocks), active);
    }
    padded
}

/// A message up to its end: what a stream has to compress to take data in, and its padding.
struct Message<'a> {
    /// The block in the stream's buffer, if the data fills it.
    filled: [u8; 64],
    filled_len: usize,
    blocks: &'a [[u8; 64]],
    padding: [[u8; 64]; 2],
    padding_len: usize,
}

impl<'a> Message<'a> {
    const NONE: Self = Self {
        filled: [0; 64],
        filled_len: 0,
        blocks: &[],
        padding: [[0; 64]; 2],
        padding_len: 1,
    };

    /// Lets the stream take all of `data` in, but for its chaining value.
    ///
    /// Bytes are copied by a mask: to copy some and then to load the whole block, as a scalar
    /// stream does, takes half as long as the compression.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn end(&mut self, stream: &mut Stream<u32, 64>, data: &'a [u8]) {
        let none = _mm512_setzero_si512();
        let mut at = stream.buffered();
        let mut last = insert(none, 0, &stream.buffer[..at]);
        let mut rest = data;
        if let Some(behind) = data.get(64 - at..) {
            store_block(insert(last, at, data), &mut self.filled);
            self.filled_len = 1;
            (last, at, rest) = (none, 0, behind);
        }
        (self.blocks, rest) = rest.as_chunks();
        last = insert(last, at, rest);
        at += rest.len();
        store_block(last, &mut stream.buffer);
        stream.total = stream.total.wrapping_add(data.len() as u64);

        let end_mark = _mm512_mask_set1_epi8(last, 1 << at, 0x80_u8 as i8);
        store_block(end_mark, &mut self.padding[0]);
        self.padding_len = if at + 1 + 8 > 64 { 2 } else { 1 };
        let bits = stream.total.wrapping_mul(8).to_be_bytes();
        self.padding[self.padding_len - 1][56..].copy_from_slice(&bits);
    }

    #[inline]
    fn len(&self) -> usize {
        self.filled_len + self.blocks.len() + self.padding_len
    }

    /// The block at `index`, less than [`len`](Self::len).
    #[inline]
    fn block(&self, index: usize) -> &[u8; 64] {
        if index < self.filled_len {
            return &self.filled;
        }
        let index = index - self.filled_len;
        match self.blocks.get(index) {
            Some(block) => block,
            None => &self.padding[(index - self.blocks.len()) % 2],
        }
    }
}

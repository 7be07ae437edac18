//! What follows from one or two ClientHellos: two are hashed in turn, so that one goes on while
//! the other waits for its last instruction.

use std::slice;

use super::{BINDER_KEY_LEN, Digest, EARLY_SECRET_LEN, Secret, Sha256Job};
use crate::schedule::hash::{Stream, Word};
use crate::wipe::overwrite;

/// Takes each chaining value over its blocks, of which there may be more for one than for
/// another.
pub(super) trait Compress<const N: usize>:
    Fn([&mut [u32; 8]; N], [&[[u8; 64]]; N]) + Copy
{
}

impl<const N: usize, F: Fn([&mut [u32; 8]; N], [&[[u8; 64]]; N]) + Copy> Compress<N> for F {}

/// As [`WideHasher::binders`](super::WideHasher::binders).
pub(super) fn binders<const N: usize>(
    compress: impl Compress<N>,
    mut jobs: [Sha256Job<'_, BINDER_KEY_LEN, Digest>; N],
) {
    let digests = digests(compress, &mut jobs);
    let [inner, outer] = [0, 1].map(|half| {
        jobs.each_ref().map(|job| {
            let (halves, _) = job.key.as_chunks::<32>();
            words(&halves[half])
        })
    });
    let last = digests.map(|digest| Stream::last_block(&digest));
    let macs = hmac(compress, inner, outer, &last);
    for (job, mac) in jobs.into_iter().zip(&macs) {
        *job.out = Some(Digest::from_words(mac));
    }
}

/// As [`WideHasher::early_traffic_secrets`](super::WideHasher::early_traffic_secrets).
pub(super) fn early_traffic_secrets<const N: usize>(
    compress: impl Compress<N>,
    mut jobs: [Sha256Job<'_, EARLY_SECRET_LEN, Secret>; N],
) {
    let digests = digests(compress, &mut jobs);
    let keys = jobs.each_ref().map(|job| job.key);
    let [inner, outer] = [0x36, 0x5c].map(|pad| key_blocks(compress, keys, pad));
    let last = digests.map(|digest| {
        let mut block = INFO_BLOCK;
        u32::write(&digest, &mut block[DIGEST_AT..][..32]);
        block
    });
    let mut secrets = hmac(compress, inner, outer, &last);
    for (job, secret) in jobs.into_iter().zip(&secrets) {
        *job.out = Some(Secret::from_words(secret));
    }
    overwrite(secrets.as_flattened_mut());
}

/// What HKDF-Expand hashes for the early traffic secret behind the block of the key: HkdfLabel
/// (RFC 8446, 7.1), with zeros for the digest, then the counter, and padding.
pub(super) const INFO_BLOCK: [u8; 64] = {
    const LEN: usize = DIGEST_AT + 32 + 1;
    let mut block = [0; 64];
    let label = b"\x00\x20\x11dtls13c e traffic\x20";
    block.split_at_mut(DIGEST_AT).0.copy_from_slice(label);
    block[LEN - 1] = 1;
    block[LEN] = 0x80;
    let bits = (8 * (64 + LEN as u64)).to_be_bytes();
    block.split_at_mut(64 - bits.len()).1.copy_from_slice(&bits);
    block
};

/// Where the digest has its place in [`INFO_BLOCK`].
pub(super) const DIGEST_AT: usize = 21;

/// Hashes the data of each job behind its transcript, and returns the digests.
fn digests<const N: usize, const KEY: usize, T>(
    compress: impl Compress<N>,
    jobs: &mut [Sha256Job<'_, KEY, T>; N],
) -> [[u32; 8]; N] {
    // What fills the buffer, whole blocks, and what is left.
    let parts = jobs.each_mut().map(|job| {
        let room = 64 - job.stream.buffered();
        let (filling, rest) = job.data.split_at(room.min(job.data.len()));
        job.stream.update(filling);
        let (blocks, rest) = rest.as_chunks();
        (blocks, rest)
    });
    let blocks = parts.map(|(blocks, _)| blocks);
    compress(jobs.each_mut().map(|job| &mut job.stream.state), blocks);
    for (job, (blocks, rest)) in jobs.iter_mut().zip(parts) {
        let len = blocks.as_flattened().len() as u64;
        job.stream.total = job.stream.total.wrapping_add(len);
        job.stream.update(rest);
    }
    let padding = jobs.each_ref().map(|job| job.stream.padding());
    let mut digests = jobs.each_ref().map(|job| job.stream.state);
    let blocks = padding.each_ref().map(|(blocks, len)| &blocks[..*len]);
    compress(digests.each_mut(), blocks);
    digests
}

/// The MACs over a last block, from the chaining values of the inner and the outer hash.
fn hmac<const N: usize>(
    compress: impl Compress<N>,
    mut inner: [[u32; 8]; N],
    mut outer: [[u32; 8]; N],
    last: &[[u8; 64]; N],
) -> [[u32; 8]; N] {
    compress(inner.each_mut(), last.each_ref().map(slice::from_ref));
    let last = inner.map(|digest| Stream::last_block(&digest));
    compress(outer.each_mut(), last.each_ref().map(slice::from_ref));
    overwrite(inner.as_flattened_mut());
    outer
}

/// The chaining values behind the first block of an HMAC: the key, combined with `pad`.
fn key_blocks<const N: usize>(
    compress: impl Compress<N>,
    keys: [&[u8; EARLY_SECRET_LEN]; N],
    pad: u8,
) -> [[u32; 8]; N] {
    let mut blocks = [[pad; 64]; N];
    for (block, key) in blocks.iter_mut().zip(keys) {
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
    }
    let mut states = [u32::INITIAL; N];
    compress(states.each_mut(), blocks.each_ref().map(slice::from_ref));
    overwrite(blocks.as_flattened_mut());
    states
}

fn words(bytes: &[u8; 32]) -> [u32; 8] {
    let (words, _) = bytes.as_chunks();
    std::array::from_fn(|word| u32::from_be_bytes(words[word]))
}

//! What follows from one or two ClientHellos: two are hashed in turn, so that one goes on while
//! the other waits for its last instruction.

use std::{array, slice};

use super::{Digest, Hashed, SECRET_LEN, Secret, Sha256EarlyTraffic, Sha256Hello};
use crate::schedule::hash::{Stream, Word};
use crate::wipe::overwrite;

/// Takes each chaining value over its blocks, of which there may be more for one than for
/// another.
pub(super) trait Compress<const N: usize>:
    Fn([&mut [u32; 8]; N], [&[[u8; 64]]; N]) + Copy
{
}

impl<const N: usize, F: Fn([&mut [u32; 8]; N], [&[[u8; 64]]; N]) + Copy> Compress<N> for F {}

/// As [`WideHasher::client_hellos`](super::WideHasher::client_hellos).
pub(super) fn client_hellos<const N: usize>(
    compress: impl Compress<N>,
    mut hellos: [Sha256Hello<'_>; N],
) {
    let truncated = hellos.each_ref().map(|hello| hello.truncated);
    let signed = digests(compress, &mut hellos, truncated);
    let binders = hellos.each_ref().map(|hello| hello.binders);
    let full = digests(compress, &mut hellos, binders);
    let [inner, outer] = [0, 1].map(|half| {
        hellos.each_ref().map(|hello| {
            let (halves, _) = hello.binder_key.as_chunks::<32>();
            words(&halves[half])
        })
    });
    let last = signed.map(|digest| Stream::last_block(&digest));
    let macs = hmac(compress, inner, outer, &last);
    for ((hello, binder), full) in hellos.into_iter().zip(&macs).zip(&full) {
        *hello.out = Some(Hashed {
            binder: Digest::from_words(binder),
            full: Digest::from_words(full),
        });
    }
}

/// As [`WideHasher::early_traffic_secrets`](super::WideHasher::early_traffic_secrets).
pub(super) fn early_traffic_secrets<const N: usize>(
    compress: impl Compress<N>,
    jobs: [Sha256EarlyTraffic<'_>; N],
) {
    let keys = jobs.each_ref().map(|job| job.early_secret);
    let [inner, outer] = [0x36, 0x5c].map(|pad| key_blocks(compress, keys, pad));
    let last = jobs.each_ref().map(|job| {
        let mut block = INFO_BLOCK;
        block[DIGEST_AT..][..SECRET_LEN].copy_from_slice(job.client_hello);
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

/// Hashes the data of each ClientHello behind its transcript, and returns the digests.
fn digests<const N: usize>(
    compress: impl Compress<N>,
    hellos: &mut [Sha256Hello<'_>; N],
    mut data: [&[u8]; N],
) -> [[u32; 8]; N] {
    // What fills the buffer, whole blocks, and what is left.
    let mut states = hellos.each_ref().map(|hello| hello.stream.state);
    let filled: [bool; N] = array::from_fn(|i| hellos[i].stream.fill(&mut data[i]));
    let buffers = array::from_fn(|i| {
        let buffer = slice::from_ref(&hellos[i].stream.buffer);
        &buffer[..usize::from(filled[i])]
    });
    compress(states.each_mut(), buffers);
    let parts = data.map(<[u8]>::as_chunks);
    compress(states.each_mut(), parts.map(|(blocks, _)| blocks));
    for ((hello, state), (blocks, rest)) in hellos.iter_mut().zip(&states).zip(parts) {
        let len = blocks.as_flattened().len() as u64;
        hello.stream.state = *state;
        hello.stream.total = hello.stream.total.wrapping_add(len);
        hello.stream.update(rest);
    }
    let padding = hellos.each_ref().map(|hello| hello.stream.padding());
    let blocks = padding.each_ref().map(|(blocks, len)| &blocks[..*len]);
    compress(states.each_mut(), blocks);
    states
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
    keys: [&[u8; SECRET_LEN]; N],
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

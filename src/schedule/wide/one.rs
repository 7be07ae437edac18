//! What follows from one ClientHello, on every CPU.

use super::{Digest, Hashed, SECRET_LEN, Secret, Sha256EarlyTraffic, Sha256Hello};
use crate::schedule::hash::{Stream, Word};
use crate::wipe::overwrite;

/// As [`WideHasher::client_hellos`](super::WideHasher::client_hellos).
pub(super) fn client_hello(hello: Sha256Hello<'_>) {
    hello.stream.update(hello.truncated());
    let signed = hello.stream.clone().finish();
    hello.stream.update(hello.binders());
    let full = hello.stream.clone().finish();
    let [inner, outer] = [0, 1].map(|half| words(&hello.binder_key.as_chunks().0[half]));
    let binder = hmac(inner, outer, &Stream::last_block(&signed));
    *hello.out = Some(Hashed {
        binder: Digest::from_words(&binder),
        full: Digest::from_words(&full),
    });
}

/// As [`WideHasher::early_traffic_secrets`](super::WideHasher::early_traffic_secrets).
pub(super) fn early_traffic_secret(job: Sha256EarlyTraffic<'_>) {
    let [inner, outer] = [0x36, 0x5c].map(|pad| key_block(job.early_secret, pad));
    let mut last = INFO_BLOCK;
    last[DIGEST_AT..][..SECRET_LEN].copy_from_slice(job.client_hello);
    let mut secret = hmac(inner, outer, &last);
    *job.out = Some(Secret::from_words(&secret));
    overwrite(&mut secret);
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

/// The MAC over a last block, from the chaining values of the inner and the outer hash.
fn hmac(mut inner: [u32; 8], mut outer: [u32; 8], last: &[u8; 64]) -> [u32; 8] {
    u32::compress(&mut inner, std::slice::from_ref(last));
    u32::compress(&mut outer, &[Stream::last_block(&inner)]);
    overwrite(&mut inner);
    outer
}

/// The chaining value behind the first block of an HMAC: the key, combined with `pad`.
fn key_block(key: &[u8; SECRET_LEN], pad: u8) -> [u32; 8] {
    let mut block = [pad; 64];
    for (byte, key) in block.iter_mut().zip(key) {
        *byte ^= key;
    }
    let state = Stream::chaining_value(&block);
    overwrite(&mut block);
    state
}

fn words(bytes: &[u8; 32]) -> [u32; 8] {
    let (words, _) = bytes.as_chunks();
    std::array::from_fn(|word| u32::from_be_bytes(words[word]))
}

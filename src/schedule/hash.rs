//! SHA-256 and SHA-384 as streams whose chaining values can be taken out and put back
//! (FIPS 180-4).
//!
//! HMAC needs chaining values to start from a key that was hashed long ago, which hash
//! libraries do not offer; the compression functions themselves are those of `sha2`, which picks
//! SHA-NI or AVX2 at run time. All compressions of the key schedule happen in this file, but those
//! of [batches](super::wide).

use sha2::block_api::{compress256, compress512};
use std::fmt;
use std::slice;
use subtle::ConstantTimeEq;

use super::HashAlgorithm;
use crate::wipe::overwrite;

/// The longest digest, in bytes: that of SHA-384.
pub const MAX_DIGEST_LEN: usize = 48;

/// A running hash. Cheap to clone, so that a transcript can be read off and continued.
#[derive(Clone)]
pub struct Hash(pub(super) Running);

#[derive(Clone)]
pub(super) enum Running {
    Sha256(Stream<u32, 64>),
    Sha384(Stream<u64, 128>),
}

impl Hash {
    /// A hash of nothing yet.
    #[must_use]
    #[inline]
    pub fn new(hash: HashAlgorithm) -> Self {
        Self(match hash {
            HashAlgorithm::Sha256 => Running::Sha256(Stream::new()),
            HashAlgorithm::Sha384 => Running::Sha384(Stream::new()),
        })
    }

    /// Begins anew with a few bytes, where it is.
    #[inline]
    pub(super) fn restart(&mut self, hash: HashAlgorithm, with: [u8; 4]) {
        if self.algorithm() != hash {
            *self = Self::new(hash);
        }
        match &mut self.0 {
            Running::Sha256(stream) => stream.restart(with),
            Running::Sha384(stream) => stream.restart(with),
        }
    }

    /// The digest of `data`.
    #[must_use]
    pub fn digest(hash: HashAlgorithm, data: &[u8]) -> Digest {
        let mut running = Self::new(hash);
        running.update(data);
        running.finish()
    }

    /// Which hash this is.
    #[must_use]
    pub const fn algorithm(&self) -> HashAlgorithm {
        match self.0 {
            Running::Sha256(_) => HashAlgorithm::Sha256,
            Running::Sha384(_) => HashAlgorithm::Sha384,
        }
    }

    /// Hashes `data` after everything before it.
    #[inline]
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            Running::Sha256(stream) => stream.update(data),
            Running::Sha384(stream) => stream.update(data),
        }
    }

    /// The digest of everything hashed.
    #[must_use]
    #[inline]
    pub fn finish(self) -> Digest {
        match self.0 {
            Running::Sha256(stream) => Digest::from_words(&stream.finish()),
            Running::Sha384(stream) => Digest::from_words(&stream.finish()[..6]),
        }
    }

    /// The digest of everything hashed so far; hashing can go on.
    #[must_use]
    #[inline]
    pub fn finish_clone(&self) -> Digest {
        self.clone().finish()
    }
}

/// Prints nothing of what was hashed.
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({:?})", self.algorithm())
    }
}

/// A digest or a MAC: as many bytes as its hash puts out.
#[derive(Clone, Copy)]
pub struct Digest {
    bytes: [u8; MAX_DIGEST_LEN],
    len: u8,
}

impl Digest {
    /// The digest that consists of `bytes`, if they are as many as `hash` puts out.
    #[must_use]
    #[inline]
    pub fn from_bytes(hash: HashAlgorithm, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != hash.output_len() {
            return None;
        }
        let mut digest = Self {
            bytes: [0; MAX_DIGEST_LEN],
            len: bytes.len() as u8,
        };
        digest.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(digest)
    }

    /// Its bytes: 32 for SHA-256, 48 for SHA-384.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The hash that puts out as many bytes.
    #[must_use]
    #[inline]
    pub const fn hash(&self) -> HashAlgorithm {
        match self.len {
            32 => HashAlgorithm::Sha256,
            _ => HashAlgorithm::Sha384,
        }
    }

    /// Whether these are its bytes, in constant time.
    #[must_use]
    #[inline]
    pub fn ct_eq(&self, bytes: &[u8]) -> bool {
        // By words: `subtle` compares slices byte by byte, which costs as much as a compression.
        // The lengths, multiples of 8, are no secret.
        let (ours, _) = self.as_bytes().as_chunks();
        let (theirs, _) = bytes.as_chunks();
        let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
        let pairs = ours.iter().zip(theirs);
        let difference = pairs.fold(0, |all, (a, b)| all | (word(a) ^ word(b)));
        bytes.len() == usize::from(self.len) && difference.ct_eq(&0).into()
    }

    /// As many zeros as SHA-256 puts out, to be [overwritten](Self::sha256_mut).
    #[cfg(target_arch = "x86_64")]
    pub(super) const ZERO_SHA256: Self = Self {
        bytes: [0; MAX_DIGEST_LEN],
        len: 32,
    };

    /// The bytes of a digest of SHA-256, where they are.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn sha256_mut(&mut self) -> &mut [u8; 32] {
        &mut self.bytes.as_chunks_mut().0[0]
    }

    /// The digest whose big-endian words are `words`: at most 48 bytes of them.
    #[inline]
    pub(super) fn from_words<W: Word<BLOCK>, const BLOCK: usize>(words: &[W]) -> Self {
        let mut bytes = [0; MAX_DIGEST_LEN];
        let len = size_of_val(words);
        W::write(words, &mut bytes[..len]);
        Self {
            bytes,
            len: len as u8,
        }
    }
}

/// In constant time, since a digest may be a MAC.
impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other.as_bytes())
    }
}

impl Eq for Digest {}

/// Prints the length only: a MAC may be a secret.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({} bytes)", self.len)
    }
}

/// The word of a hash: `u32` for SHA-256, `u64` for the SHA-512 family.
pub(super) trait Word<const BLOCK: usize>: Copy + Default {
    /// The chaining value that a hash starts with (FIPS 180-4, 5.3).
    const INITIAL: [Self; 8];

    fn compress(state: &mut [Self; 8], blocks: &[[u8; BLOCK]]);

    /// Writes `words` big-endian into `out`, which is as long as they are.
    fn write(words: &[Self], out: &mut [u8]);

    /// Eight big-endian words out of `bytes`, if it has exactly as many.
    fn read(bytes: &[u8]) -> Option<[Self; 8]>;
}

/// A Merkle-Damgard hash under way, over blocks of `BLOCK` bytes.
#[derive(Clone)]
pub(super) struct Stream<W: Word<BLOCK>, const BLOCK: usize> {
    pub(super) state: [W; 8],
    /// Bytes hashed, those in the buffer included.
    pub(super) total: u64,
    /// Holds the `total % BLOCK` bytes after the last full block.
    pub(super) buffer: [u8; BLOCK],
}

impl<W: Word<BLOCK>, const BLOCK: usize> Stream<W, BLOCK> {
    #[inline]
    fn new() -> Self {
        Self {
            state: W::INITIAL,
            total: 0,
            buffer: [0; BLOCK],
        }
    }

    /// Begins anew with a few bytes. Behind them the buffer may keep what it holds, until more is
    /// hashed: nothing looks at it.
    #[inline]
    fn restart(&mut self, with: [u8; 4]) {
        self.state = W::INITIAL;
        self.total = with.len() as u64;
        self.buffer[..with.len()].copy_from_slice(&with);
    }

    /// Goes on from the chaining value behind one block.
    #[inline]
    pub(super) fn after_one_block(state: [W; 8]) -> Self {
        Self {
            state,
            total: BLOCK as u64,
            buffer: [0; BLOCK],
        }
    }

    /// The hash of one block, behind which the chaining value is `state`, and of `words` of
    /// another hash: the outer hash of an HMAC.
    #[inline]
    pub(super) fn hash_words(mut state: [W; 8], words: &[W]) -> [W; 8] {
        W::compress(&mut state, slice::from_ref(&Self::last_block(words)));
        state
    }

    /// The last block of a hash of one block and `words`.
    #[inline]
    fn last_block(words: &[W]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let len = size_of_val(words);
        W::write(words, &mut block[..len]);
        block[len] = 0x80;
        let bits = (8 * (BLOCK + len) as u64).to_be_bytes();
        block[BLOCK - bits.len()..].copy_from_slice(&bits);
        block
    }

    /// The chaining value behind `block` at the start of a message.
    pub(super) fn chaining_value(block: &[u8; BLOCK]) -> [W; 8] {
        let mut state = W::INITIAL;
        W::compress(&mut state, slice::from_ref(block));
        state
    }

    #[inline]
    pub(super) fn update(&mut self, mut data: &[u8]) {
        if self.buffered() > 0 && self.fill(&mut data) {
            W::compress(&mut self.state, slice::from_ref(&self.buffer));
        }
        self.total = self.total.wrapping_add(data.len() as u64);
        let (blocks, rest) = data.as_chunks();
        if !blocks.is_empty() {
            W::compress(&mut self.state, blocks);
        }
        self.buffer[..rest.len()].copy_from_slice(rest);
    }

    /// Takes what fits into the buffer off `data`. If the buffer is full then, which is returned,
    /// it is still to be compressed.
    #[inline]
    fn fill(&mut self, data: &mut &[u8]) -> bool {
        let buffered = self.buffered();
        let (filling, rest) = data.split_at((BLOCK - buffered).min(data.len()));
        self.buffer[buffered..][..filling.len()].copy_from_slice(filling);
        self.total = self.total.wrapping_add(filling.len() as u64);
        *data = rest;
        buffered + filling.len() == BLOCK
    }

    /// The last chaining value.
    #[inline]
    pub(super) fn finish(mut self) -> [W; 8] {
        let (mut blocks, len) = self.padding();
        W::compress(&mut self.state, &blocks[..len]);
        overwrite(blocks.as_flattened_mut());
        self.state
    }

    /// The one or two blocks that end the message if nothing follows (FIPS 180-4, 5.1).
    #[inline]
    fn padding(&self) -> ([[u8; BLOCK]; 2], usize) {
        let buffered = self.buffered();
        let mut blocks = [[0; BLOCK]; 2];
        blocks[0][..buffered].copy_from_slice(&self.buffer[..buffered]);
        blocks[0][buffered] = 0x80;
        // 64 bits of the length are enough for all that can be hashed.
        let len = Self::padded_blocks(buffered);
        let bits = self.total.wrapping_mul(8).to_be_bytes();
        blocks[len - 1][BLOCK - bits.len()..].copy_from_slice(&bits);
        (blocks, len)
    }

    /// Blocks left to compress, if `len` bytes follow and then the padding.
    #[inline]
    pub(super) fn blocks_to_end(&self, len: usize) -> usize {
        Self::padded_blocks(self.buffered() + len)
    }

    /// Blocks of `len` bytes and the padding: a byte at least, and the length in two words.
    #[inline]
    pub(super) const fn padded_blocks(len: usize) -> usize {
        (len + 1 + 2 * size_of::<W>()).div_ceil(BLOCK)
    }

    #[inline]
    pub(super) fn buffered(&self) -> usize {
        (self.total % BLOCK as u64) as usize
    }
}

/// What was hashed may be a key.
impl<W: Word<BLOCK>, const BLOCK: usize> Drop for Stream<W, BLOCK> {
    #[inline]
    fn drop(&mut self) {
        overwrite(&mut self.state);
        overwrite(&mut self.buffer);
    }
}

impl Word<64> for u32 {
    const INITIAL: [Self; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    #[inline]
    fn compress(state: &mut [Self; 8], blocks: &[[u8; 64]]) {
        compress256(state, blocks);
    }

    #[inline]
    fn write(words: &[Self], out: &mut [u8]) {
        for (word, bytes) in words.iter().zip(out.as_chunks_mut().0) {
            *bytes = word.to_be_bytes();
        }
    }

    #[inline]
    fn read(bytes: &[u8]) -> Option<[Self; 8]> {
        let words: &[[u8; 4]; 8] = bytes.as_chunks().0.try_into().ok()?;
        (bytes.len() == 32).then(|| words.map(Self::from_be_bytes))
    }
}

impl Word<128> for u64 {
    const INITIAL: [Self; 8] = [
        0xcbbb_9d5d_c105_9ed8,
        0x629a_292a_367c_d507,
        0x9159_015a_3070_dd17,
        0x152f_ecd8_f70e_5939,
        0x6733_2667_ffc0_0b31,
        0x8eb4_4a87_6858_1511,
        0xdb0c_2e0d_64f9_8fa7,
        0x47b5_481d_befa_4fa4,
    ];

    #[inline]
    fn compress(state: &mut [Self; 8], blocks: &[[u8; 128]]) {
        compress512(state, blocks);
    }

    #[inline]
    fn write(words: &[Self], out: &mut [u8]) {
        for (word, bytes) in words.iter().zip(out.as_chunks_mut().0) {
            *bytes = word.to_be_bytes();
        }
    }

    #[inline]
    fn read(bytes: &[u8]) -> Option<[Self; 8]> {
        let words: &[[u8; 8]; 8] = bytes.as_chunks().0.try_into().ok()?;
        (bytes.len() == 64).then(|| words.map(Self::from_be_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::digest;

    fn reference(hash: HashAlgorithm, data: &[u8]) -> digest::Digest {
        match hash {
            HashAlgorithm::Sha256 => digest::digest(&digest::SHA256, data),
            HashAlgorithm::Sha384 => digest::digest(&digest::SHA384, data),
        }
    }

    #[test]
    fn every_length_over_three_blocks_hashes_as_ring_does() {
        let data: Vec<u8> = (0..400u16).map(|i| (i * 7) as u8).collect();
        for hash in [HashAlgorithm::Sha256, HashAlgorithm::Sha384] {
            for len in 0..=data.len() {
                let ours = Hash::digest(hash, &data[..len]);
                let theirs = reference(hash, &data[..len]);
                assert_eq!(ours.as_bytes(), theirs.as_ref(), "{hash:?} of {len} bytes");
            }
        }
    }

    proptest! {
        #[test]
        fn any_split_of_any_data_hashes_as_the_whole(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
            sha384: bool,
        ) {
            let hash = if sha384 { HashAlgorithm::Sha384 } else { HashAlgorithm::Sha256 };
            let mut running = Hash::new(hash);
            let mut whole = Vec::new();
            for part in &parts {
                running.update(part);
                whole.extend_from_slice(part);
                // Reading a digest off in between must not disturb what follows.
                let sofar = running.finish_clone();
                assert_eq!(sofar.as_bytes(), reference(hash, &whole).as_ref());
            }
            assert_eq!(running.finish().as_bytes(), reference(hash, &whole).as_ref());
        }
    }

    #[test]
    fn a_digest_has_the_length_of_its_hash_and_compares_whole() {
        let digest = Hash::digest(HashAlgorithm::Sha256, b"a");
        assert!(Digest::from_bytes(HashAlgorithm::Sha256, digest.as_bytes()) == Some(digest));
        assert!(Digest::from_bytes(HashAlgorithm::Sha384, digest.as_bytes()).is_none());
        let mut other = digest;
        other.bytes[31] ^= 1;
        assert!(other != digest);
    }
}

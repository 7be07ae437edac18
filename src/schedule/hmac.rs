//! HMAC whose key is kept as its two chaining values (RFC 2104, section 4).
//!
//! A key costs two compressions once; from then on, and from wherever its chaining values were
//! kept, signing a digest costs two.

use std::fmt;

use super::HashAlgorithm;
use super::hash::{Digest, Hash, Stream, Word};
use crate::wipe::{overwrite, scrubbed};

/// The most bytes that [`HmacKey::to_midstates`] writes.
pub const MAX_MIDSTATES_LEN: usize = midstates_len(HashAlgorithm::Sha384);

/// Bytes of the two chaining values of an HMAC key: 64 for SHA-256, 128 for SHA-384.
#[must_use]
pub const fn midstates_len(hash: HashAlgorithm) -> usize {
    match hash {
        HashAlgorithm::Sha256 => 2 * 32,
        HashAlgorithm::Sha384 => 2 * 64,
    }
}

/// An HMAC key as the chaining values behind its inner and outer block. Wiped when dropped.
///
/// Whoever has the chaining values can sign, so that they are as secret as the key.
#[derive(Clone)]
pub struct HmacKey(Key);

#[derive(Clone)]
enum Key {
    Sha256 {
        midstates: Midstates<u32, 64>,
        /// Up to the length of the other: whatever lies there is moved along, and can be secret.
        _zeros: [u64; 8],
    },
    Sha384(Midstates<u64, 128>),
}

impl Key {
    #[inline]
    const fn sha256(midstates: Midstates<u32, 64>) -> Self {
        Self::Sha256 {
            midstates,
            _zeros: [0; 8],
        }
    }
}

impl HmacKey {
    /// The HMAC key `key`, of any length.
    #[must_use]
    pub fn new(hash: HashAlgorithm, key: &[u8]) -> Self {
        scrubbed(|| {
            Self(match hash {
                HashAlgorithm::Sha256 => Key::sha256(Midstates::of_key(hash, key)),
                HashAlgorithm::Sha384 => Key::Sha384(Midstates::of_key(hash, key)),
            })
        })
    }

    /// The key whose chaining values [`to_midstates`](Self::to_midstates) wrote, if there are
    /// exactly as many bytes as `hash` has ([`midstates_len`]).
    #[must_use]
    #[inline]
    pub fn from_midstates(hash: HashAlgorithm, midstates: &[u8]) -> Option<Self> {
        Some(Self(match hash {
            HashAlgorithm::Sha256 => Key::sha256(Midstates::read(midstates)?),
            HashAlgorithm::Sha384 => Key::Sha384(Midstates::read(midstates)?),
        }))
    }

    /// Writes the inner and then the outer chaining value, big-endian words, and returns how many
    /// bytes that were; `None`, and nothing written, if `out` is shorter than [`midstates_len`].
    pub fn to_midstates(&self, out: &mut [u8]) -> Option<usize> {
        let len = midstates_len(self.hash());
        let out = out.get_mut(..len)?;
        match &self.0 {
            Key::Sha256 { midstates, .. } => midstates.write(out),
            Key::Sha384(midstates) => midstates.write(out),
        }
        Some(len)
    }

    /// The hash that it is a key for.
    #[must_use]
    #[inline]
    pub const fn hash(&self) -> HashAlgorithm {
        match self.0 {
            Key::Sha256 { .. } => HashAlgorithm::Sha256,
            Key::Sha384(_) => HashAlgorithm::Sha384,
        }
    }

    /// The MAC over `parts`, one after the other.
    #[must_use]
    #[inline]
    pub fn sign(&self, parts: &[&[u8]]) -> Digest {
        scrubbed(|| match &self.0 {
            Key::Sha256 { midstates, .. } => midstates.sign::<8>(parts),
            Key::Sha384(midstates) => midstates.sign::<6>(parts),
        })
    }

    /// Whether `tag` is the whole MAC over `data`; in constant time.
    #[must_use]
    #[inline]
    pub fn verify(&self, data: &[u8], tag: &[u8]) -> bool {
        self.sign(&[data]).ct_eq(tag)
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HmacKey({:?})", self.hash())
    }
}

#[derive(Clone)]
struct Midstates<W: Word<BLOCK>, const BLOCK: usize> {
    inner: [W; 8],
    outer: [W; 8],
}

impl<W: Word<BLOCK>, const BLOCK: usize> Midstates<W, BLOCK> {
    fn of_key(hash: HashAlgorithm, key: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        if let Some(start) = block.get_mut(..key.len()) {
            start.copy_from_slice(key);
        } else {
            let digest = Hash::digest(hash, key);
            block[..digest.as_bytes().len()].copy_from_slice(digest.as_bytes());
        }
        for byte in &mut block {
            *byte ^= 0x36;
        }
        let inner = Stream::chaining_value(&block);
        for byte in &mut block {
            *byte ^= 0x36 ^ 0x5c;
        }
        let outer = Stream::chaining_value(&block);
        overwrite(&mut block);
        Self { inner, outer }
    }

    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        let (inner, outer) = bytes.split_at_checked(8 * size_of::<W>())?;
        Some(Self {
            inner: W::read(inner)?,
            outer: W::read(outer)?,
        })
    }

    fn write(&self, out: &mut [u8]) {
        let (inner, outer) = out.split_at_mut(8 * size_of::<W>());
        W::write(&self.inner, inner);
        W::write(&self.outer, outer);
    }

    /// `WORDS` of the chaining value are the hash's output.
    #[inline]
    fn sign<const WORDS: usize>(&self, parts: &[&[u8]]) -> Digest {
        let mut inner = Stream::after_one_block(self.inner);
        for part in parts {
            inner.update(part);
        }
        let digest = inner.finish();
        let mac = Stream::hash_words(self.outer, &digest[..WORDS]);
        Digest::from_words(&mac[..WORDS])
    }
}

impl<W: Word<BLOCK>, const BLOCK: usize> Drop for Midstates<W, BLOCK> {
    #[inline]
    fn drop(&mut self) {
        overwrite(self.inner.as_mut_slice());
        overwrite(self.outer.as_mut_slice());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::hmac;

    const HASHES: [HashAlgorithm; 2] = [HashAlgorithm::Sha256, HashAlgorithm::Sha384];

    fn reference(hash: HashAlgorithm, key: &[u8], data: &[u8]) -> hmac::Tag {
        let algorithm = match hash {
            HashAlgorithm::Sha256 => hmac::HMAC_SHA256,
            HashAlgorithm::Sha384 => hmac::HMAC_SHA384,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), data)
    }

    proptest! {
        #[test]
        fn any_key_signs_any_data_as_ring_does(
            key in prop::collection::vec(any::<u8>(), 0..300),
            data in prop::collection::vec(any::<u8>(), 0..300),
            split in any::<prop::sample::Index>(),
        ) {
            for hash in HASHES {
                let ours = HmacKey::new(hash, &key);
                let (start, end) = data.split_at(split.index(data.len() + 1));
                let tag = reference(hash, &key, &data);
                assert_eq!(ours.sign(&[start, end]).as_bytes(), tag.as_ref());
                assert!(ours.verify(&data, tag.as_ref()));
            }
        }
    }

    #[test]
    fn keys_around_the_block_length_sign_as_ring_does() {
        for hash in HASHES {
            for len in [0, 1, 31, 32, 48, 63, 64, 65, 127, 128, 129, 200] {
                let key = vec![0xa5; len];
                let ours = HmacKey::new(hash, &key).sign(&[b"data"]);
                assert_eq!(ours.as_bytes(), reference(hash, &key, b"data").as_ref());
            }
        }
    }

    #[test]
    fn a_key_comes_back_from_its_midstates_and_from_nothing_shorter_or_longer() {
        for hash in HASHES {
            let key = HmacKey::new(hash, b"key");
            let mut bytes = [0; MAX_MIDSTATES_LEN + 1];
            assert!(
                key.to_midstates(&mut bytes[..midstates_len(hash) - 1])
                    .is_none()
            );
            let len = key.to_midstates(&mut bytes).unwrap();
            assert_eq!(len, midstates_len(hash));
            let back = HmacKey::from_midstates(hash, &bytes[..len]).unwrap();
            assert!(back.sign(&[b"data"]) == key.sign(&[b"data"]));
            assert!(HmacKey::from_midstates(hash, &bytes[..len - 1]).is_none());
            assert!(HmacKey::from_midstates(hash, &bytes[..len + 1]).is_none());
        }
    }

    #[test]
    fn a_tag_with_one_changed_bit_or_another_length_is_refused() {
        for hash in HASHES {
            let key = HmacKey::new(hash, b"key");
            let tag = key.sign(&[b"data"]);
            for bit in 0..8 * tag.as_bytes().len() {
                let mut forged = tag.as_bytes().to_vec();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert!(!key.verify(b"data", &forged), "{hash:?} bit {bit}");
            }
            assert!(!key.verify(b"data", &tag.as_bytes()[1..]));
            assert!(!key.verify(b"data", &[]));
            assert!(!key.verify(b"datb", tag.as_bytes()));
        }
    }

    #[test]
    fn a_key_prints_its_hash_and_nothing_else() {
        let printed = format!("{:?}", HmacKey::new(HashAlgorithm::Sha256, b"secret"));
        assert_eq!(printed, "HmacKey(Sha256)");
    }
}

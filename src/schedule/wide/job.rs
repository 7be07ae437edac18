//! One ClientHello of a batch.

use crate::schedule::hash::{Running, Stream};
use crate::schedule::{HashAlgorithm, Transcript};

/// A ClientHello, or a part of one, that ends a transcript for now, and what is wanted from it.
pub struct Job<'a, T> {
    /// What comes before. Afterwards it has taken `data` in.
    pub transcript: &'a mut Transcript,
    /// What is hashed behind it.
    pub data: &'a [u8],
    /// The secret that is combined with the digest.
    pub key: &'a [u8],
    /// Where the result goes; `None` if `key` is not as long as the transcript's hash asks for.
    pub out: &'a mut Option<T>,
}

impl<'a, T> Job<'a, T> {
    #[inline]
    pub(super) fn fits<const KEY: usize>(&self) -> bool {
        self.transcript.hash() == HashAlgorithm::Sha256 && self.key.len() == KEY
    }

    /// The same, if it fits.
    #[inline]
    pub(super) fn sha256<const KEY: usize>(self) -> Option<Sha256Job<'a, KEY, T>> {
        let Running::Sha256(stream) = &mut self.transcript.0.0 else {
            return None;
        };
        Some(Sha256Job {
            stream,
            data: self.data,
            key: self.key.try_into().ok()?,
            out: self.out,
        })
    }
}

/// A [`Job`] with SHA-256 and a key of the right length.
pub(super) struct Sha256Job<'a, const KEY: usize, T> {
    pub(super) stream: &'a mut Stream<u32, 64>,
    pub(super) data: &'a [u8],
    pub(super) key: &'a [u8; KEY],
    pub(super) out: &'a mut Option<T>,
}

impl<const KEY: usize, T> Sha256Job<'_, KEY, T> {
    /// Blocks to the end of the message.
    #[inline]
    pub(super) fn blocks(&self) -> u32 {
        self.stream.blocks_to_end(self.data.len()) as u32
    }

    /// Hashes so many blocks already.
    #[inline]
    pub(super) fn advance(&mut self, blocks: u32) {
        if blocks > 0 {
            let len = 64 * blocks as usize - self.stream.buffered();
            let (now, later) = self.data.split_at(len.min(self.data.len()));
            self.stream.update(now);
            self.data = later;
        }
    }
}

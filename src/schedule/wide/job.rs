//! One flow of a batch: its ClientHello, and later its early traffic secret.

use std::fmt;

use crate::schedule::hash::{Running, Stream};
use crate::schedule::{Digest, HashAlgorithm, Secret, Transcript, midstates_len};

/// An HMAC key.
const KEY_LEN: usize = midstates_len(HashAlgorithm::Sha256);
const DIGEST_LEN: usize = HashAlgorithm::Sha256.output_len();

/// A ClientHello that offers a PSK.
pub struct Hello<'a> {
    /// What comes before, the header of the ClientHello included. Afterwards it has taken all of
    /// it in.
    pub transcript: &'a mut Transcript,
    /// The body.
    pub body: &'a [u8],
    /// Bytes of the body before the list of binders, with which it ends.
    pub truncated_len: usize,
    /// The midstates of the HMAC key that signs the binder.
    pub binder_key: &'a [u8],
    /// Where the result goes; `None` if `binder_key` is not as long as the transcript's hash asks
    /// for, or the body shorter than `truncated_len`.
    pub out: &'a mut Option<Hashed>,
}

impl fmt::Debug for Hello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello").finish_non_exhaustive()
    }
}

/// What a ClientHello hashes to.
#[derive(Clone, Copy, Debug)]
pub struct Hashed {
    /// What its binder must be (RFC 8446, 4.2.11.2).
    pub binder: Digest,
    /// The transcript hash up to and with the whole ClientHello.
    pub full: Digest,
}

impl Hashed {
    /// With zeros in place of what SHA-256 puts out.
    #[cfg(target_arch = "x86_64")]
    pub(super) const ZERO_SHA256: Self = Self {
        binder: Digest::ZERO_SHA256,
        full: Digest::ZERO_SHA256,
    };
}

/// A `client_early_traffic_secret` (RFC 8446, 7.1) that is to be derived.
pub struct EarlyTraffic<'a> {
    /// The transcript hash up to and with the ClientHello.
    pub client_hello: &'a Digest,
    /// What is [kept](crate::schedule::EarlySecret::to_kept) of the early secret.
    pub early_secret: &'a [u8],
    /// Where it goes; `None` if that is not as long as the digest's hash asks for.
    pub out: &'a mut Option<Secret>,
}

impl fmt::Debug for EarlyTraffic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlyTraffic").finish_non_exhaustive()
    }
}

/// A [`Hello`] that is wide.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(super) struct Sha256Hello<'a> {
    pub(super) stream: &'a mut Stream<u32, 64>,
    pub(super) body: &'a [u8],
    /// At least a block, and at most the body.
    pub(super) truncated_len: usize,
    pub(super) binder_key: &'a [u8; KEY_LEN],
    pub(super) out: &'a mut Option<Hashed>,
}

/// An [`EarlyTraffic`] that is wide.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(super) struct Sha256EarlyTraffic<'a> {
    pub(super) client_hello: &'a [u8; DIGEST_LEN],
    pub(super) early_secret: &'a [u8; KEY_LEN],
    pub(super) out: &'a mut Option<Secret>,
}

impl<'a> Hello<'a> {
    /// Whether it can be hashed at once with others: these all begin with a whole block.
    #[inline]
    pub(super) fn is_wide(&self) -> bool {
        let hash = self.transcript.hash();
        hash == HashAlgorithm::Sha256
            && self.binder_key.len() == KEY_LEN
            && (64..=self.body.len()).contains(&self.truncated_len)
    }

    /// The same, if it is wide.
    #[inline]
    pub(super) fn sha256(self) -> Option<Sha256Hello<'a>> {
        let Running::Sha256(stream) = &mut self.transcript.0.0 else {
            return None;
        };
        Some(Sha256Hello {
            stream,
            body: self.body,
            truncated_len: self.truncated_len,
            binder_key: self.binder_key.try_into().ok()?,
            out: self.out,
        })
    }
}

impl<'a> EarlyTraffic<'a> {
    /// Whether it can be derived at once with others.
    #[inline]
    pub(super) fn is_wide(&self) -> bool {
        self.client_hello.hash() == HashAlgorithm::Sha256 && self.early_secret.len() == KEY_LEN
    }

    /// The same, if it is wide.
    #[inline]
    pub(super) fn sha256(self) -> Option<Sha256EarlyTraffic<'a>> {
        Some(Sha256EarlyTraffic {
            client_hello: self.client_hello.as_bytes().try_into().ok()?,
            early_secret: self.early_secret.try_into().ok()?,
            out: self.out,
        })
    }
}

impl<'a> Sha256Hello<'a> {
    /// Blocks to the end of what the binder signs.
    #[inline]
    pub(super) fn blocks(&self) -> u32 {
        self.stream.blocks_to_end(self.truncated_len) as u32
    }

    /// Hashes so many blocks already, but leaves one.
    #[inline]
    pub(super) fn advance(&mut self, blocks: u32) {
        if blocks > 0 {
            let len = 64 * blocks as usize - self.stream.buffered();
            let (now, later) = self.body.split_at(len.min(self.truncated_len - 64));
            self.stream.update(now);
            self.body = later;
            self.truncated_len -= now.len();
        }
    }
}

//! The transcript hash (RFC 8446, 4.4.1; RFC 9147, 5.2), and the two digests of a ClientHello
//! that offers a PSK.
//!
//! DTLS hashes handshake messages as TLS writes them: type, 24-bit length, body. Its own
//! `message_seq`, `fragment_offset` and `fragment_length` are not part of the transcript.

use std::fmt;

use super::HashAlgorithm;
use super::hash::{Digest, Hash};
use crate::wire::{HandshakeType, tls_header};

/// The hash over the handshake messages so far.
#[derive(Clone)]
pub struct Transcript(pub(super) Hash);

impl Transcript {
    /// A transcript without messages.
    #[must_use]
    #[inline]
    pub fn new(hash: HashAlgorithm) -> Self {
        Self(Hash::new(hash))
    }

    /// Forgets all messages and begins with the header of one with a body of `len` bytes, less than
    /// 2^24, which is still to be added. Where it is: to move a transcript takes longer than that.
    #[inline]
    pub(crate) fn begin(&mut self, hash: HashAlgorithm, msg_type: HandshakeType, len: usize) {
        self.0.restart(hash, tls_header(msg_type, len as u32));
    }

    /// The transcript of a handshake whose first ClientHello was answered with a
    /// HelloRetryRequest: the digest of that ClientHello stands for it, which is all that a
    /// server without state has to keep in its cookie. `hello_retry_request` is the message's
    /// body, without a header.
    #[must_use]
    pub fn after_hello_retry_request(
        client_hello1: &Digest,
        hash: HashAlgorithm,
        hello_retry_request: &[u8],
    ) -> Self {
        let mut transcript = Self::new(hash);
        transcript.begin_after(client_hello1, hash, hello_retry_request);
        transcript
    }

    /// Forgets all messages and begins as
    /// [`after_hello_retry_request`](Self::after_hello_retry_request) does. Where it is: a transcript
    /// that is moved takes along what lay behind it.
    pub(crate) fn begin_after(
        &mut self,
        client_hello1: &Digest,
        hash: HashAlgorithm,
        hello_retry_request: &[u8],
    ) {
        let client_hello1 = client_hello1.as_bytes();
        self.begin(hash, HandshakeType::MESSAGE_HASH, client_hello1.len());
        self.update(client_hello1);
        self.add(HandshakeType::SERVER_HELLO, hello_retry_request);
    }

    /// Adds the whole message of type `msg_type` with `body`, less than 2^24 bytes.
    #[inline]
    pub fn add(&mut self, msg_type: HandshakeType, body: &[u8]) {
        self.add_header(msg_type, body.len());
        self.update(body);
    }

    /// Adds the header of a message with a body of `len` bytes, less than 2^24, which is still to
    /// be added.
    #[inline]
    pub(crate) fn add_header(&mut self, msg_type: HandshakeType, len: usize) {
        self.0.update(&tls_header(msg_type, len as u32));
    }

    /// Adds a part of a message.
    #[inline]
    pub(crate) fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// Which hash this is.
    #[must_use]
    pub const fn hash(&self) -> HashAlgorithm {
        self.0.algorithm()
    }

    /// The hash of the messages so far.
    #[must_use]
    #[inline]
    pub fn digest(&self) -> Digest {
        self.0.finish_clone()
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transcript({:?})", self.hash())
    }
}

/// The two digests of a ClientHello with a `pre_shared_key` extension: truncated before its
/// binders, which the binders sign, and in full, which the early secrets are derived with. The
/// second goes on where the first stopped, and is computed only if asked for.
#[derive(Clone)]
pub struct ClientHelloHash<'a> {
    truncated: Transcript,
    binders: &'a [u8],
}

impl<'a> ClientHelloHash<'a> {
    /// Hashes, behind what `transcript` holds, the ClientHello with `body` up to
    /// `truncated_len`, the bytes of the body before its list of binders (RFC 8446, 4.2.11.2).
    /// The header that is hashed says the length of the whole body. `None` if the body is
    /// shorter than `truncated_len`.
    #[must_use]
    #[inline]
    pub fn new(mut transcript: Transcript, body: &'a [u8], truncated_len: usize) -> Option<Self> {
        let (before, binders) = body.split_at_checked(truncated_len)?;
        transcript.add_header(HandshakeType::CLIENT_HELLO, body.len());
        transcript.update(before);
        Some(Self {
            truncated: transcript,
            binders,
        })
    }

    /// The hash that the binders sign.
    #[must_use]
    #[inline]
    pub fn truncated(&self) -> Digest {
        self.truncated.digest()
    }

    /// The transcript up to and with the whole ClientHello.
    #[must_use]
    #[inline]
    pub fn into_transcript(self) -> Transcript {
        let mut full = self.truncated;
        full.update(self.binders);
        full
    }

    /// The hash of the whole ClientHello, behind what came before it.
    #[must_use]
    #[inline]
    pub fn full(self) -> Digest {
        self.into_transcript().0.finish()
    }
}

impl fmt::Debug for ClientHelloHash<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientHelloHash({:?})", self.truncated.hash())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SHA256: HashAlgorithm = HashAlgorithm::Sha256;

    fn sha256(parts: &[&[u8]]) -> Digest {
        Hash::digest(SHA256, &parts.concat())
    }

    #[test]
    fn trap_26_message_seq_and_fragment_fields_are_not_in_the_transcript() {
        // Given a ClientHello in the DTLS form, message_seq 7, one fragment,
        let body = [0x5a; 300];
        let dtls = [&[1, 0, 1, 44, 0, 7, 0, 0, 0, 0, 1, 44], body.as_slice()].concat();
        // when it is hashed, then as TLS would write it, not as DTLS does.
        let hashed = ClientHelloHash::new(Transcript::new(SHA256), &body, 260).unwrap();
        assert!(hashed.full() == sha256(&[&[1, 0, 1, 44], &body]));
        let hashed = ClientHelloHash::new(Transcript::new(SHA256), &body, 260).unwrap();
        assert!(hashed.full() != sha256(&[&dtls]));
    }

    #[test]
    fn the_truncated_hash_says_the_full_length_and_the_full_hash_continues_it() {
        let body: Vec<u8> = (0..=255).collect();
        for truncated_len in [0, 1, 59, 60, 61, 221, 256] {
            let hashed =
                ClientHelloHash::new(Transcript::new(SHA256), &body, truncated_len).unwrap();
            let expected = sha256(&[&[1, 0, 1, 0], &body[..truncated_len]]);
            assert!(hashed.truncated() == expected, "{truncated_len}");
            assert!(hashed.full() == sha256(&[&[1, 0, 1, 0], &body]));
        }
        assert!(ClientHelloHash::new(Transcript::new(SHA256), &body, 257).is_none());
    }

    #[test]
    fn trap_27_after_a_retry_the_first_client_hello_is_its_digest_and_the_retry_counts() {
        let (hello1, retry, hello2) = ([1; 50], [2; 60], [3; 70]);
        let digest1 = sha256(&[&[1, 0, 0, 50], &hello1]);
        let by_hand = |truncated: &[u8]| {
            sha256(&[
                &[254, 0, 0, 32],
                digest1.as_bytes(),
                &[2, 0, 0, 60],
                &retry,
                &[1, 0, 0, 70],
                truncated,
            ])
        };
        let transcript = Transcript::after_hello_retry_request(&digest1, SHA256, &retry);
        let hashed = ClientHelloHash::new(transcript, &hello2, 35).unwrap();
        assert!(hashed.truncated() == by_hand(&hello2[..35]));
        assert!(hashed.full() == by_hand(&hello2));
    }
}

//! What an embedder can do wrong. What a peer does wrong is a verdict.

use std::fmt;

use crate::random::RandomUnavailable;

/// Misuse or misconfiguration by the embedder, never something a peer can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The random source gave nothing; nothing was changed.
    RandomUnavailable,
    /// A setting is out of its range; the text names it.
    Config(&'static str),
    /// An output buffer is shorter than what has to be written, in bytes.
    BufferTooSmall {
        /// How many bytes are needed.
        needed: usize,
    },
    /// There are as many keys as the configuration allows, and none of them can be retired yet.
    TooManyKeys,
    /// This key is here already.
    DuplicateKey,
    /// No such lane: the configuration has fewer.
    NoSuchLane,
    /// The lane has no serials left under the active key, and no key is there to follow it: call
    /// `maintain`, or import a key.
    SerialsExhausted,
    /// The session has outlived the lifetime that is allowed since its full handshake.
    SessionExpired,
    /// An input is longer or shorter than the format allows; the text names it.
    Length(&'static str),
    /// A key has protected as much as it may; the next key has to take over.
    KeyExhausted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RandomUnavailable => f.write_str("the random source gave nothing"),
            Self::Config(what) => write!(f, "configuration: {what}"),
            Self::BufferTooSmall { needed } => write!(f, "the buffer needs {needed} bytes"),
            Self::TooManyKeys => f.write_str("as many keys as the configuration allows"),
            Self::DuplicateKey => f.write_str("this key is here already"),
            Self::NoSuchLane => f.write_str("no such lane"),
            Self::SerialsExhausted => f.write_str("no serials left, and no key to follow"),
            Self::SessionExpired => f.write_str("the session has outlived its full handshake"),
            Self::Length(what) => write!(f, "length out of range: {what}"),
            Self::KeyExhausted => f.write_str("the key has protected as much as it may"),
        }
    }
}

impl std::error::Error for Error {}

impl From<RandomUnavailable> for Error {
    fn from(_: RandomUnavailable) -> Self {
        Self::RandomUnavailable
    }
}

//! What an embedder can do wrong. What a peer does wrong is a verdict.

use std::fmt;

use crate::random::RandomUnavailable;

/// Why the library did not do what its embedder asked for. No bytes of a peer's can bring it about;
/// when a session is over and how many tickets are wanted is up to peers, though.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The random source gave nothing.
    RandomUnavailable,
    /// A setting is out of its range; the text names it.
    Config(&'static str),
    /// An output buffer is shorter than what has to be written, in bytes.
    BufferTooSmall {
        /// How many bytes are needed.
        needed: usize,
    },
    /// There are as many keys as [`max_keys`](crate::keys::KeyConfig::max_keys) allows, and none of
    /// them can be retired yet: their tickets have not expired, or a reader holds on to them.
    TooManyKeys,
    /// This key is here already.
    DuplicateKey,
    /// No such lane: the configuration has fewer.
    NoSuchLane {
        /// The lane that was asked for.
        lane: usize,
        /// How many there are.
        lanes: usize,
    },
    /// The lane has no serials left under the key of this snapshot. A worker lets the next key take
    /// over by itself, if there is one. Otherwise call `maintain`, which does where keys are drawn,
    /// or `rotate`.
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
            Self::TooManyKeys => f.write_str("as many keys as max_keys, and all are needed"),
            Self::DuplicateKey => f.write_str("this key is here already"),
            Self::NoSuchLane { lane, lanes } => write!(f, "lane {lane} of {lanes}"),
            Self::SerialsExhausted => f.write_str("no serials left under this key"),
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

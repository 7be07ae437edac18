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
    /// An input is longer or shorter than the format allows; the text names it.
    Length(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RandomUnavailable => f.write_str("the random source gave nothing"),
            Self::Config(what) => write!(f, "configuration: {what}"),
            Self::BufferTooSmall { needed } => write!(f, "the buffer needs {needed} bytes"),
            Self::Length(what) => write!(f, "length out of range: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<RandomUnavailable> for Error {
    fn from(_: RandomUnavailable) -> Self {
        Self::RandomUnavailable
    }
}

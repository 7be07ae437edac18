//! Randomness as an argument.

use std::fmt;

/// A source of random bytes fit for keys, given by the embedder.
///
/// Drawn from when an engine is built and when a key is drawn or imported, never per ticket.
pub trait SecureRandom {
    /// Fills `out` entirely, or says that it could not.
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable>;
}

/// The random source gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomUnavailable;

impl fmt::Display for RandomUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the random source gave nothing")
    }
}

impl std::error::Error for RandomUnavailable {}

impl SecureRandom for ring::rand::SystemRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        ring::rand::SecureRandom::fill(self, out).map_err(|_| RandomUnavailable)
    }
}

impl<F: Fn(&mut [u8]) -> Result<(), RandomUnavailable>> SecureRandom for F {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        self(out)
    }
}

//! DTLS 1.3 session resumption and 0-RTT for UDP gateways.
#![deny(unsafe_code)]

pub mod schedule;
pub mod wire;

mod error;
mod random;
mod time;

pub use error::Error;
pub use random::{RandomUnavailable, SecureRandom};
pub use time::UnixMillis;

//! DTLS 1.3 session resumption and 0-RTT for UDP gateways.
#![deny(unsafe_code)]
#![allow(dead_code, unused_imports)] // until admission is there

pub mod keys;
pub mod replay;
pub mod schedule;
pub mod ticket;
pub mod wire;

mod error;
mod random;
mod sync;
mod time;

pub use error::Error;
pub use random::{RandomUnavailable, SecureRandom};
pub use time::UnixMillis;

#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod admission;
pub mod client;
pub mod handover;
pub mod keys;
pub mod replay;
pub mod schedule;
pub mod ticket;
pub mod wire;

mod engine;
mod error;
mod metrics;
mod random;
mod sync;
mod time;
mod wipe;

pub use admission::{Arrival, Datagram, Resumed, Retried, Verdict};
pub use engine::{Admitted, BATCH_MAX, Builder, Engine, Profile, Worker};
pub use error::Error;
pub use keys::{KeySecret, TicketKeyManager};
pub use metrics::Metrics;
pub use random::{RandomUnavailable, SecureRandom};
pub use replay::{ReplayCache, ReplayProtection};
pub use ticket::{EncryptedTicket, NewSession, ResumptionSecret, SessionState};
pub use time::UnixMillis;

#[cfg(dtls_session_loom)]
#[doc(hidden)]
pub mod model;

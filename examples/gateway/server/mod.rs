//! A DTLS 1.3 server (RFC 9147) around the engine: sans-I/O, for one core at a time.
//!
//! A batch of datagrams comes in at the [`door`](Server::receive), with the time:
//!
//! ```text
//! ClientHello -> engine's verdict -> negotiation -> HelloRetryRequest, of which nothing is kept
//!                                               \-> handshake: the server's flight, a connection
//! other records -> table -> connection -> receiver (keys by epoch) -> messages, ACKs, data
//!                                      -> flights (until acknowledged) -> sender -> outbox
//! ```
//!
//! What happens on connections is told to the application as [`Event`]s, and early data before
//! the handshake is complete. What is to be sent is in the [`Outbox`] afterwards. No clock is read
//! and no socket touched: `serve` does that, and tests need neither.
//!
//! Not here: client certificates, which are never asked for, and versions before DTLS 1.3, which
//! get `protocol_version`.

// As in a crate of its own, which this could be.
#![allow(unreachable_pub)]

mod ack;
mod certificate;
mod client_messages;
mod connection;
mod door;
mod event;
mod failure;
mod flight;
mod handshake;
mod key_exchange;
mod key_schedule;
pub(crate) mod messages;
mod negotiation;
mod outbox;
mod receiver;
mod records_in;
mod sender;
mod settings;
mod table;
// Fuzzing takes its client and its surroundings from there.
#[cfg(any(test, fuzzing))]
pub(crate) mod tests;

pub use certificate::Identity;
pub use door::{Packet, Server};
pub use event::{Closed, Event, Reply};
pub use outbox::Outbox;
pub use settings::Settings;

//! The client's side: keeping sessions, and offering each of them once.
//!
//! A [`ClientSession`] is made from a NewSessionTicket and kept in a [`SessionStore`]. To connect,
//! it is [taken](SessionStore::take) out and [offered](ClientSession::offer): the [`Offer`] writes
//! the pre_shared_key extension of a ClientHello, signs its binder, and seals early data. A client
//! that has no ClientHello of its own finds one in [`FirstFlight`].
//!
//! ```
//! use dtls_session::UnixMillis;
//! use dtls_session::client::{
//!     ClientHelloParams, ClientSession, Endpoint, FirstFlight, Framing, SessionStore, StoreConfig,
//! };
//! use dtls_session::schedule::CipherSuite;
//! # use dtls_session::wire::NewSessionTicket;
//!
//! # let (resumption_master_secret, random, public_key) = ([1; 32], [2; 32], [3; 32]);
//! # let mut body = [0; 64];
//! # let len = NewSessionTicket {
//! #     ticket_lifetime: 3600,
//! #     ticket_age_add: 4,
//! #     ticket_nonce: &[0],
//! #     ticket: b"opaque",
//! #     max_early_data_size: Some(16384),
//! # }
//! # .write(&mut body)?;
//! # let new_session_ticket = &body[..len];
//! let store = SessionStore::new(StoreConfig::default())?;
//! let gateway = Endpoint::new("127.0.0.1:5684".parse()?, Some("gateway.example"));
//!
//! // In a connection to the gateway, a NewSessionTicket has come.
//! let now = UnixMillis(1_700_000_000_000);
//! let session = ClientSession::from_new_session_ticket(
//!     new_session_ticket,
//!     CipherSuite::Aes128GcmSha256,
//!     &resumption_master_secret,
//!     Some(b"coap"),
//!     now,
//! )?;
//! store.store(gateway.clone(), session, now)?;
//!
//! // A minute later the client connects again, and sends a request with its ClientHello.
//! let now = UnixMillis(now.0 + 60_000);
//! let mut offer = store.take(&gateway, now).and_then(|session| session.offer(now));
//! let params = ClientHelloParams {
//!     server_name: gateway.server_name.as_deref(),
//!     alpn: &[b"coap"],
//!     supported_groups: &[29],
//!     key_shares: &[(29, &public_key)],
//!     early_data: true,
//!     ..ClientHelloParams::new(random)
//! };
//! let flight = FirstFlight::new(&params, offer.as_mut(), &Framing::default(), &[b"GET /"])?;
//! assert_eq!(flight.datagrams.len(), 2);
//!
//! // The ticket is gone: it is never offered twice.
//! assert!(store.take(&gateway, now).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod endpoint;
mod flight;
mod hello;
mod offer;
mod session;
mod store;

pub use endpoint::Endpoint;
pub use flight::{FirstFlight, Framing};
pub use hello::ClientHelloParams;
pub use offer::{EarlyDataSealer, Offer};
pub use session::{ClientSession, SessionInfo, TicketRefused};
pub use store::{NotStored, SessionStore, StoreConfig};

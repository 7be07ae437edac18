//! Bytes of the wire and borrowed views of them (RFC 9147, 4 and 5; RFC 8446, 4).
//!
//! A datagram holds [`records`], a handshake record holds [`fragments`] of messages, and a message
//! that is whole, or was made whole by a [`Reassembly`], is a [`ClientHello`]. Nothing here copies
//! or allocates except the reassembly and the known shapes of ClientHellos, which take all their
//! memory when they are built. Any bytes give a view or a reason ([`Malformed`]); secrets and
//! authentication are other rooms' matter.

mod alert;
mod client_hello;
mod extensions;
mod handshake;
mod key_share;
mod layout;
mod malformed;
mod new_session_ticket;
mod partial;
mod pre_shared_key;
mod reader;
mod reassembly;
mod record;
mod server_hello;
mod shapes;
mod vectors;

pub use alert::AlertDescription;
pub use client_hello::ClientHello;
pub use handshake::{
    Fragment, Fragments, HANDSHAKE_HEADER_LEN, HandshakeType, dtls_header, fragments, tls_header,
};
pub use key_share::KeyShareEntry;
pub use malformed::Malformed;
pub use new_session_ticket::{MAX_TICKET_LIFETIME_SECONDS, NewSessionTicket};
pub use pre_shared_key::{PreSharedKeys, PskIdentity, PskModes};
pub use reassembly::{Outcome, Reassembly, Refusal, SlotId};
pub use record::{
    CiphertextRecord, ContentType, LEGACY_RECORD_VERSION, MAX_CIPHERTEXT_LEN, MAX_PLAINTEXT_LEN,
    PLAINTEXT_HEADER_LEN, PlaintextRecord, Record, Records, UnifiedHeader, plaintext_header,
    records,
};
pub use server_hello::{HelloRetryRequest, ServerHello};

pub(crate) use extensions::extension_type;
pub(crate) use reader::Writer;
pub(crate) use shapes::Shapes;

/// DTLS 1.3 in supported_versions.
pub const DTLS_1_3: u16 = 0xfefc;

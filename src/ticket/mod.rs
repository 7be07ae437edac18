//! Tickets: what is inside, how it is sealed, and how it is opened.

mod encrypted;
mod state;

pub use encrypted::{
    EncryptedTicket, OPAQUE_MAX, OpenError, OpenedTicket, Payload, Scratch, TICKET_MAX,
};
pub use state::{HOST_DATA_MAX, SessionState};

pub(crate) use encrypted::Birth;
pub(crate) use state::mapped;

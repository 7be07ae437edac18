//! Tickets: what is inside, how it is sealed, and how it is opened.

mod encrypted;
mod head;
mod issue;
mod state;

pub use encrypted::{
    EncryptedTicket, OPAQUE_MAX, OpenError, OpenedTicket, Payload, Scratch, TICKET_MAX,
};
pub use issue::{NewSession, ResumptionSecret};
pub use state::{HOST_DATA_MAX, SessionState};

pub(crate) use encrypted::Origin;
pub(crate) use issue::{IssueRules, issue};
pub(crate) use state::{in_short, mapped};

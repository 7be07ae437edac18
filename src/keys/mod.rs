//! Ticket keys: one key, the epoch-swapped array of them, and their rotation.

mod array;
mod lane;
mod manager;
mod ticket_key;

pub use array::KeyRole;
pub use manager::{
    KeyConfig, KeyReader, KeySnapshot, KeyStatus, Maintenance, TICKET_LIFETIME_MAX,
    TicketKeyManager,
};
pub use ticket_key::{Issuer, KEY_SECRET_LEN, KeyId, KeySecret};

pub(crate) use lane::{AdoptedLane, HandedOver, Place};
#[cfg(dtls_session_loom)]
pub(crate) use lane::{Budget, Lane};
pub(crate) use manager::NoSerial;
#[cfg(dtls_session_loom)]
pub(crate) use ticket_key::Household;
pub(crate) use ticket_key::{Adopted, BIRTH_LEN, BirthPlace, NONCE_LEN, TicketKey};

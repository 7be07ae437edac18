//! Rotation while tickets are sealed and opened.

use std::time::Duration;

use dtls_session::keys::{KeyConfig, KeyReader};
use dtls_session::ticket::{Payload, Scratch, TICKET_MAX};
use dtls_session::{EncryptedTicket, KeySecret, TicketKeyManager, UnixMillis};

use crate::check::{Thread, check_bounded};
use crate::common::Seeded;

/// Keys of tickets that live 10 s, as they are at time 0: one seals, one is to follow.
pub(crate) fn keys() -> TicketKeyManager {
    let config = KeyConfig {
        ticket_lifetime: Duration::from_secs(10),
        ..KeyConfig::default()
    };
    let (secret, random) = (KeySecret::new([7; 32]), Seeded::new(1));
    let keys = TicketKeyManager::with_key(config, &secret, &random, UnixMillis(0)).unwrap();
    keys.maintain(UnixMillis(0), &random).unwrap();
    keys
}

/// A reader that has pinned before: the first time works for the collector.
pub(crate) fn reader(keys: &TicketKeyManager) -> KeyReader {
    let reader = keys.reader();
    drop(reader.snapshot());
    reader
}

/// A ticket that expires at 10 s.
pub(crate) fn seal(reader: &KeyReader) -> Vec<u8> {
    let mut ticket = vec![0; TICKET_MAX];
    let keys = reader.snapshot();
    let sealed = keys.seal_opaque(0, b"session", 10, UnixMillis(0), &mut ticket);
    let (len, remembered) = sealed.unwrap();
    assert!(remembered);
    ticket.truncate(len);
    ticket
}

/// Invariant 5, "a ticket that was issued can be opened until it expires", and 6, "readers never
/// wait": a worker seals and opens while another key takes over. It never meets a torn key, and its
/// ticket always opens.
///
/// At most 5 preemptions. Too long for every run: `run.sh --ignored`.
#[test]
#[ignore = "takes minutes"]
fn a_ticket_opens_whatever_rotates() {
    check_bounded(5, || {
        let keys = keys();
        let reader = reader(&keys);
        let thread = Thread::run(move || {
            let ticket = seal(&reader);
            let mut scratch = Scratch::new();
            let snapshot = reader.snapshot();
            let ticket = EncryptedTicket::parse(&ticket).unwrap();
            let opened = ticket.open(&snapshot, &mut scratch).unwrap();
            assert!(matches!(
                opened.payload,
                Payload::Opaque {
                    bytes: b"session",
                    ..
                }
            ));
            drop(snapshot);
            reader
        });
        let random = Seeded::new(2);
        keys.rotate(UnixMillis(0), &random).unwrap();
        thread.join();
    });
}

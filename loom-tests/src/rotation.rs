//! Rotation while tickets are sealed and opened.

use std::time::Duration;

use dtls_session::keys::{KeyConfig, KeyReader};
use dtls_session::ticket::{Payload, Scratch, TICKET_MAX};
use dtls_session::{EncryptedTicket, TicketKeyManager, UnixMillis};

use crate::check::{Thread, check};
use crate::common::Seeded;

/// Drawn keys of tickets that live 10 s, as they are at time 0: one seals, one is to follow. They
/// are needed as long as tickets of this process are.
pub(crate) fn keys() -> TicketKeyManager {
    let config = KeyConfig {
        ticket_lifetime: Duration::from_secs(10),
        ..KeyConfig::default()
    };
    TicketKeyManager::new(config, &Seeded::new(1), UnixMillis(0)).unwrap()
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

fn opens(reader: &KeyReader, ticket: &[u8]) -> bool {
    let (keys, mut scratch) = (reader.snapshot(), Scratch::new());
    let ticket = EncryptedTicket::parse(ticket).unwrap();
    match ticket
        .open(&keys, &mut scratch)
        .map(|opened| opened.payload())
    {
        Ok(Some(Payload::Opaque { bytes, .. })) => bytes == b"session",
        _ => false,
    }
}

/// Invariant 5, "a ticket that was issued can be opened until it expires", and 6, "readers never
/// wait": a worker seals and opens while another key takes over. It never meets a torn key, and its
/// ticket always opens.
#[test]
fn a_ticket_opens_whatever_rotates() {
    check(|| {
        let keys = keys();
        let reader = reader(&keys);
        let thread = Thread::run(move || {
            let ticket = seal(&reader);
            assert!(opens(&reader, &ticket));
            reader
        });
        keys.rotate(UnixMillis(0), &Seeded::new(2)).unwrap();
        thread.join();
    });
}

/// Invariant 5: a worker issues a ticket while its key is being taken out of use. The key is kept
/// until the ticket has expired, though nobody knew of the ticket when the key's time seemed over.
#[test]
fn a_key_stays_for_what_is_sealed_while_it_goes() {
    check(|| {
        let (keys, random) = (keys(), Seeded::new(2));
        let reader = reader(&keys);
        let thread = Thread::run(move || (seal(&reader), reader));
        keys.rotate(UnixMillis(0), &random).unwrap();
        for now in [9_998, 9_999] {
            keys.maintain(UnixMillis(now), &random).unwrap();
        }
        let (ticket, reader) = thread.join();
        assert!(opens(&reader, &ticket));
    });
}

//! Flights that are refused, each at its own stage and for one reason: all before that is genuine.

use dtls_session::wire::ClientHello;

use super::flights::Flight;
use super::naive::client_hello;

/// What is wrong with a flight. Its length stays the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoilt {
    /// It does not begin with a record.
    Record,
    /// It offers no mode of key exchange that a gateway allows.
    PskMode,
    /// Nobody has the key of its ticket.
    Key,
    /// Its ticket does not authenticate.
    Ticket,
    /// It does not offer the suite of its session, nor another with that hash.
    Suites,
    /// Its binder is another's.
    Binder,
}

/// Suites and modes as [`Client::first_flight`](super::flights::Client::first_flight) offers them:
/// the lists, with their lengths.
const SUITES: [u8; 6] = [0, 4, 0x13, 0x01, 0x13, 0x02];
const ONLY_SHA384: [u8; 6] = [0, 4, 0x13, 0x02, 0x13, 0x02];
const PSK_DHE_KE: [u8; 6] = [0, 0x2d, 0, 2, 1, 1];
const PSK_KE: [u8; 6] = [0, 0x2d, 0, 2, 1, 0];

impl Flight {
    pub fn spoil(&mut self, what: Spoilt) {
        match what {
            Spoilt::Record => self.bytes[0] = 0xff,
            Spoilt::PskMode => self.replace(&PSK_DHE_KE, &PSK_KE),
            Spoilt::Key => self.flip(|hello| first(ticket(hello))),
            Spoilt::Ticket => self.flip(|hello| last(ticket(hello))),
            Spoilt::Suites => self.replace(&SUITES, &ONLY_SHA384),
            Spoilt::Binder => self.flip(|hello| last(binder(hello))),
        }
    }

    fn replace(&mut self, from: &[u8], to: &[u8]) {
        let mut places = self.bytes.windows(from.len());
        let at = places.position(|place| place == from).expect("offered");
        self.bytes[at..at + to.len()].copy_from_slice(to);
    }

    fn flip(&mut self, byte: impl for<'h> Fn(&ClientHello<'h>) -> &'h u8) {
        let hello = ClientHello::parse(client_hello(&self.bytes).expect("a ClientHello"));
        let byte = std::ptr::from_ref(byte(&hello.expect("well-formed")));
        let at = byte.addr() - self.bytes.as_ptr().addr();
        self.bytes[at] ^= 1;
    }
}

pub fn ticket<'h>(hello: &ClientHello<'h>) -> &'h [u8] {
    let psks = hello.pre_shared_keys().expect("offered");
    psks.identities().next().expect("one").identity
}

fn binder<'h>(hello: &ClientHello<'h>) -> &'h [u8] {
    let psks = hello.pre_shared_keys().expect("offered");
    psks.binders().next().expect("one")
}

fn first(bytes: &[u8]) -> &u8 {
    bytes.first().expect("not empty")
}

fn last(bytes: &[u8]) -> &u8 {
    bytes.last().expect("not empty")
}

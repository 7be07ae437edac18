//! What a connection tells the application, and how that answers.

use std::net::SocketAddr;

use dtls_session::schedule::RECORD_OVERHEAD_LEN;
use dtls_session::wire::{AlertDescription, ContentType};
use dtls_session::{UnixMillis, Worker};

use super::outbox::Outbox;
use super::sender::{Level, Sender};

/// Something that happened on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Early data: its sender has the PSK, and this flight was never accepted before. What it asks
    /// for has no forward secrecy, and the handshake may yet fail.
    EarlyData(&'a [u8]),
    /// The handshake is complete.
    Established {
        /// By a ticket rather than a certificate.
        is_resumption: bool,
    },
    /// Application data.
    Data(&'a [u8]),
    /// The connection is over. A handshake that its client gives up for another ends without this.
    Closed(Closed),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The client said so.
    CloseNotify,
    /// The client sent this alert.
    Alert(AlertDescription),
    /// This server sent this alert.
    Failed(AlertDescription),
    /// The handshake took too long, or nothing came for too long.
    TimedOut,
    /// This server ends.
    Shutdown,
    /// The client began another association from the same address and completed it.
    Replaced,
}

/// The application: it is called with each event, and may answer at once.
pub type App<'a> = dyn FnMut(Event<'_>, &mut Reply<'_>) + 'a;

/// What surrounds a connection while it works.
pub struct Host<'a> {
    pub now: UnixMillis,
    /// The engine, for tickets.
    pub worker: &'a mut Worker,
    /// Where its datagrams go.
    pub out: &'a mut Outbox,
    /// Where its events go.
    pub app: &'a mut App<'a>,
}

/// The way back to the client of an event.
pub struct Reply<'a> {
    sender: &'a mut Sender,
    out: &'a mut Outbox,
    held: Option<&'a mut Held>,
}

/// Answers to early data that wait for the handshake to be complete.
#[derive(Default)]
pub struct Held {
    bytes: Vec<u8>,
    /// Where in `bytes` each of them ends.
    ends: Vec<usize>,
}

/// How many bytes may wait, with what makes records of them: answers without content count, too.
const HELD_MAX: usize = 32 << 10;

impl Held {
    fn add(&mut self, data: &[u8]) -> bool {
        let (end, count) = (self.bytes.len() + data.len(), self.ends.len() + 1);
        let fits = end + count * RECORD_OVERHEAD_LEN <= HELD_MAX;
        if fits {
            self.bytes.extend(data);
            self.ends.push(end);
        }
        fits
    }

    /// The handshake is complete, and the ACK that tells the client so is on its way before them.
    pub(super) fn release(&mut self, sender: &mut Sender, out: &mut Outbox) {
        let Self { bytes, ends } = std::mem::take(self);
        let mut start = 0;
        for end in ends {
            send(sender, &bytes[start..end], out);
            start = end;
        }
    }
}

impl<'a> Reply<'a> {
    /// With `held` given, answers wait there.
    pub(super) fn new(
        sender: &'a mut Sender,
        out: &'a mut Outbox,
        held: Option<&'a mut Held>,
    ) -> Self {
        Self { sender, out, held }
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.sender.path.peer
    }

    /// Sends application data of at most 2^14 bytes in a datagram of its own. `false` if it was not
    /// sent: the connection is over, or there is more to send than may be sent or kept before the
    /// handshake is complete.
    pub fn send(&mut self, data: &[u8]) -> bool {
        match &mut self.held {
            Some(held) => held.add(data),
            None => send(self.sender, data, self.out),
        }
    }
}

fn send(sender: &mut Sender, data: &[u8], out: &mut Outbox) -> bool {
    out.end_datagram();
    let content_type = ContentType::APPLICATION_DATA;
    let sent = sender.send(Level::Application, content_type, data, out);
    out.end_datagram();
    sent.is_some()
}

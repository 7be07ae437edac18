//! One association: how it begins, what it does when time passes, and how it ends.
//!
//! Sans-I/O: datagrams and the time come in, datagrams and events go to the [`Host`]. What comes in
//! is read in `records_in`, and the client's handshake messages in `client_messages`.

use std::net::SocketAddr;
use std::sync::Arc;

use dtls_session::UnixMillis;
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::{AlertDescription, ContentType, Reassembly, Record, records};
use ring::rand::SystemRandom;

use super::ack::{self, RecordNumber};
use super::event::{Closed, Event, Held, Host, Reply};
use super::failure::Failure;
use super::flight::{Flight, Purpose};
use super::handshake::{self, Accepted, Handshake, Resumption};
use super::key_schedule::TrafficSecrets;
use super::outbox::Outbox;
use super::receiver::Receiver;
use super::sender::{Level, Path, Sender};
use super::settings::Settings;

/// What this server wants to find in the records of clients that offer connection IDs (RFC 9146).
/// All are of one length, since the length is not on the wire.
pub type ConnectionId = [u8; CONNECTION_ID_LEN];

/// Bytes of a [`ConnectionId`].
pub const CONNECTION_ID_LEN: usize = 8;

/// The alert that ends a connection in peace (RFC 8446, 6.1).
pub(super) const CLOSE_NOTIFY: AlertDescription = AlertDescription(0);

/// One association.
pub struct Connection {
    pub(super) settings: Arc<Settings>,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) state: State,
    pub(super) suite: CipherSuite,
    /// The application traffic secrets as they are now.
    pub(super) application: TrafficSecrets,
    /// The number of the message that is expected next.
    pub(super) next_received: u16,
    pub(super) next_sent: u16,
    /// There only while a message comes in fragments.
    pub(super) reassembly: Option<Box<Reassembly>>,
    /// What is under way, until all of it is acknowledged.
    pub(super) flights: Vec<Flight>,
    pub(super) to_acknowledge: ack::Received,
    pub(super) deadline: UnixMillis,
    pub(super) connection_id: Option<ConnectionId>,
    /// The random of the ClientHello, and whether a HelloRetryRequest came before it: by that it
    /// is known again.
    hello: ([u8; 32], bool),
    /// The record of the client's Finished, until the client shows that it is done, too.
    pub(super) finished: Option<RecordNumber>,
    /// The newest record received.
    pub(super) latest: RecordNumber,
    pub(super) held: Held,
}

pub(super) enum State {
    /// Waiting for the client's Finished.
    Handshaking(Box<Handshake>),
    /// What tickets are made of, until they are.
    Established(Option<Box<Resumption>>),
    Closed,
}

impl Connection {
    /// Accepts a ClientHello and sends the server's flight.
    pub fn accept(
        accepted: &Accepted<'_>,
        settings: &Arc<Settings>,
        random: &SystemRandom,
        now: UnixMillis,
        out: &mut Outbox,
    ) -> Result<Self, Failure> {
        let arrival = accepted.arrival;
        let hello = accepted.hello()?;
        let path = Path::new(arrival.datagram.peer, arrival.send_limit());
        let client_id = hello.connection_id().unwrap_or_default();
        let first_record = record_number_for_answer(arrival.datagram.bytes);
        let mut sender = Sender::new(path, settings.mtu, first_record, client_id);
        let begun = handshake::begin(accepted, settings, random, &mut sender)?;
        let mut connection = Self {
            settings: Arc::clone(settings),
            sender,
            receiver: begun.receiver,
            suite: accepted.choice.suite,
            state: State::Handshaking(Box::new(begun.handshake)),
            application: begun.application,
            next_received: arrival.message_seq.wrapping_add(1),
            next_sent: begun.next_message,
            reassembly: None,
            flights: Vec::new(),
            to_acknowledge: ack::Received::default(),
            deadline: now.saturating_add(settings.handshake_timeout),
            connection_id: accepted.connection_id,
            hello: (*hello.random(), arrival.retried.is_some()),
            finished: None,
            latest: RecordNumber::default(),
            held: Held::default(),
        };
        connection.start(begun.flight, now, out);
        Ok(connection)
    }

    /// Sends a flight, and again until it is acknowledged.
    pub(super) fn start(&mut self, mut flight: Flight, now: UnixMillis, out: &mut Outbox) {
        flight.send(&mut self.sender, now, out);
        self.flights.push(flight);
    }

    /// The ClientHello came again, in `len` bytes of a datagram: its answer is lost, perhaps. From
    /// where the client has moved away it only comes late.
    pub fn hello_again(&mut self, from: SocketAddr, len: usize, now: UnixMillis, out: &mut Outbox) {
        if from == self.peer() {
            self.sender.path.received(len);
            self.repeat(now, out);
        }
    }

    pub(super) fn repeat(&mut self, now: UnixMillis, out: &mut Outbox) {
        for flight in &mut self.flights {
            if flight.purpose() == Purpose::Handshake {
                flight.repeat(&mut self.sender, now, out);
            }
        }
    }

    /// When [`on_timeout`](Self::on_timeout) is to be called.
    pub fn timeout(&self) -> UnixMillis {
        let flights = self.flights.iter().filter_map(Flight::due);
        let earlier = flights.chain(self.receiver.due()).min();
        earlier.map_or(self.deadline, |due| due.min(self.deadline))
    }

    /// Does what is due.
    pub fn on_timeout(&mut self, host: &mut Host<'_>) {
        if host.now >= self.deadline {
            self.close(Closed::TimedOut, host);
            return;
        }
        self.receiver.on_timeout(host.now);
        let now = host.now;
        let is_due = |flight: &Flight| flight.due().is_some_and(|due| now >= due);
        if let Some(finished) = self.finished
            && self.flights.iter().any(is_due)
        {
            // Who has not got its tickets may not have got the ACK before them, either.
            self.to_acknowledge.add(finished);
            self.acknowledge(host.out);
        }
        for flight in &mut self.flights {
            flight.on_timeout(&mut self.sender, now, host.out);
        }
    }

    /// The client is there. What it may still lack is sent again, since it can process no later
    /// message before it has that.
    pub(super) fn resume(&mut self, now: UnixMillis, out: &mut Outbox) {
        for flight in &mut self.flights {
            flight.resume(&mut self.sender, now, out);
        }
    }

    /// Says good-bye and ends.
    pub fn close(&mut self, why: Closed, host: &mut Host<'_>) {
        if !self.is_closed() {
            self.send_alert([1, CLOSE_NOTIFY.0], host.out);
            self.end(why, host);
        }
    }

    /// Ends without a word: the client has begun another association.
    pub fn abandon(&mut self, host: &mut Host<'_>) {
        self.end(Closed::Replaced, host);
    }

    pub(super) fn fail(&mut self, Failure(alert): Failure, host: &mut Host<'_>) {
        self.send_alert(alert.fatal(), host.out);
        self.end(Closed::Failed(alert), host);
    }

    pub(super) fn send_alert(&mut self, alert: [u8; 2], out: &mut Outbox) {
        let level = match self.is_handshaking() {
            true => Level::Handshake,
            false => Level::Application,
        };
        self.sender.send(level, ContentType::ALERT, &alert, out);
    }

    pub(super) fn end(&mut self, why: Closed, host: &mut Host<'_>) {
        self.state = State::Closed;
        self.flights.clear();
        self.tell(Event::Closed(why), host);
    }

    pub(super) fn tell(&mut self, event: Event<'_>, host: &mut Host<'_>) {
        let waits = self.is_handshaking() && !self.settings.answer_early_data_at_once;
        let held = waits.then_some(&mut self.held);
        (host.app)(event, &mut Reply::new(&mut self.sender, host.out, held));
    }

    /// Where the client is.
    pub fn peer(&self) -> SocketAddr {
        self.sender.path.peer
    }

    /// What this server wants to find in the client's records; `None`: nothing.
    pub fn connection_id(&self) -> Option<ConnectionId> {
        self.connection_id
    }

    /// Whether it was made by the ClientHello with this random, or by the one that followed that.
    /// Not if a second ClientHello follows it: then the client waits for another answer than it
    /// got for a copy of its first one.
    pub fn began_with(&self, random: &[u8; 32], is_second: bool) -> bool {
        let (began_with, was_second) = &self.hello;
        began_with == random && (*was_second || !is_second)
    }

    pub fn is_handshaking(&self) -> bool {
        matches!(self.state, State::Handshaking(_))
    }

    pub(super) fn is_established(&self) -> bool {
        matches!(self.state, State::Established(_))
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }
}

/// The record number for the plaintext answer to a datagram: that of its own first record. So that
/// a HelloRetryRequest, of which nothing is kept, and the ServerHello that follows never share one.
pub fn record_number_for_answer(datagram: &[u8]) -> u64 {
    match records(datagram, 0).next() {
        Some(Ok(Record::Plaintext(record))) => record.sequence_number,
        _ => 0,
    }
}

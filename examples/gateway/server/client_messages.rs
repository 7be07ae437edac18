//! The client's handshake messages behind its ClientHello: its Finished, and what may come after
//! (RFC 9147, 5.2, 8 and 9).

use std::mem;
use std::time::Duration;

use dtls_session::NewSession;
use dtls_session::ticket::{ResumptionSecret, TICKET_MAX};
use dtls_session::wire::{
    AlertDescription, Fragment, HANDSHAKE_HEADER_LEN, HandshakeType, Outcome, Reassembly, fragments,
};

use super::ack::RecordNumber;
use super::connection::{Connection, State};
use super::event::{Event, Host};
use super::failure::Failure;
use super::flight::{Flight, Purpose};
use super::key_schedule::{next_traffic_secret, opener, sealer};
use super::messages::{self, KEY_UPDATE, NEW_CONNECTION_ID, REQUEST_CONNECTION_ID};
use super::sender::Level;

const UNEXPECTED: Failure = Failure(AlertDescription::UNEXPECTED_MESSAGE);
const MALFORMED: Failure = Failure(AlertDescription::DECODE_ERROR);

/// The longest message that is put together from fragments. All that a client may send is shorter,
/// but for an absurd number of connection IDs.
const MESSAGE_MAX: usize = 512;

/// Records that are left of a key when the next is announced: enough until that is acknowledged.
const RECORDS_RESERVED: u64 = 1 << 16;

/// When fragments are forgotten: later than any retransmission.
const REASSEMBLY_TIMEOUT: Duration = Duration::from_secs(120);

/// A NewSessionTicket with its header, and some room for what is around the ticket.
const NEW_SESSION_TICKET_MAX: usize = HANDSHAKE_HEADER_LEN + TICKET_MAX + 64;

impl Connection {
    /// Takes in a record of handshake messages.
    pub(super) fn messages(
        &mut self,
        record: RecordNumber,
        plaintext: &[u8],
        host: &mut Host<'_>,
    ) -> Result<(), Failure> {
        for fragment in fragments(plaintext) {
            self.fragment(record, &fragment?, host)?;
        }
        Ok(())
    }

    fn fragment(
        &mut self,
        record: RecordNumber,
        fragment: &Fragment<'_>,
        host: &mut Host<'_>,
    ) -> Result<(), Failure> {
        let ahead = fragment.message_seq.wrapping_sub(self.next_received);
        // An EndOfEarlyData took a number, too, if there was one.
        let skipped = matches!(&self.state, State::Handshaking(h) if h.end_of_early_data);
        let is_next = ahead == 0 || (ahead == 1 && skipped);
        if !is_next {
            if ahead > u16::MAX / 2 {
                // It was processed before: the ACK is lost.
                self.to_acknowledge.add(record);
            }
            // What comes too early is not kept, and so not acknowledged.
            return Ok(());
        }
        if fragment.is_whole() {
            self.to_acknowledge.add(record);
            self.next_received = fragment.message_seq.wrapping_add(1);
            return self.message(fragment.msg_type, fragment.body, record, host);
        }
        let mut reassembly = match self.reassembly.take() {
            Some(reassembly) => reassembly,
            None => Box::new(Reassembly::new(1, MESSAGE_MAX, REASSEMBLY_TIMEOUT)?),
        };
        match reassembly.insert(0, fragment, host.now) {
            Outcome::Complete(slot) | Outcome::AlreadyComplete(slot) => {
                self.to_acknowledge.add(record);
                self.next_received = fragment.message_seq.wrapping_add(1);
                self.message(fragment.msg_type, reassembly.body(slot), record, host)
            }
            Outcome::Incomplete => {
                self.to_acknowledge.add(record);
                self.reassembly = Some(reassembly);
                Ok(())
            }
            Outcome::Refused(_) => Err(Failure(AlertDescription::ILLEGAL_PARAMETER)),
        }
    }

    fn message(
        &mut self,
        msg_type: HandshakeType,
        body: &[u8],
        record: RecordNumber,
        host: &mut Host<'_>,
    ) -> Result<(), Failure> {
        match mem::replace(&mut self.state, State::Closed) {
            State::Handshaking(handshake) if msg_type == HandshakeType::FINISHED => {
                let (opener, resumption) = handshake.finish(body, &self.application.client)?;
                let is_resumption = resumption.session.authenticated.is_some();
                self.state = State::Established(Some(Box::new(resumption)));
                self.receiver.complete(opener, host.now);
                self.finished = Some(record);
                self.flights.clear();
                self.sender.set_sealer(Level::Handshake, None);
                self.deadline = host.now.saturating_add(self.settings.idle_timeout);
                self.tell(Event::Established { is_resumption }, host);
                Ok(())
            }
            state @ State::Established(_) => {
                self.state = state;
                match msg_type {
                    KEY_UPDATE => self.key_update(body, record, host),
                    NEW_CONNECTION_ID => self.new_connection_id(body),
                    REQUEST_CONNECTION_ID => self.request_connection_id(host),
                    _ => Err(UNEXPECTED),
                }
            }
            state => {
                self.state = state;
                Err(UNEXPECTED)
            }
        }
    }

    /// The client goes on with its next keys, and may want this server to do so too.
    fn key_update(
        &mut self,
        body: &[u8],
        record: RecordNumber,
        host: &mut Host<'_>,
    ) -> Result<(), Failure> {
        let is_requested = messages::read_key_update(body).map_err(|()| MALFORMED)?;
        let epoch = self.receiver.newest_epoch();
        if record.epoch != epoch {
            // It has to use the keys that it announced before it announces others.
            return Err(UNEXPECTED);
        }
        self.application.client = next_traffic_secret(&self.application.client)?;
        let next = opener(self.suite, &self.application.client, epoch + 1)?;
        self.receiver.update(next);
        if is_requested {
            self.send_one(Purpose::KeyUpdate, KEY_UPDATE, &[0], host);
        }
        Ok(())
    }

    /// Announces this server's next keys before those that it has are used up.
    pub(super) fn renew_keys(&mut self, host: &mut Host<'_>) {
        if self.sender.records_left() < RECORDS_RESERVED {
            self.send_one(Purpose::KeyUpdate, KEY_UPDATE, &[0], host);
        }
    }

    /// The client has acknowledged this server's KeyUpdate and all before it: from now on the next
    /// keys seal.
    pub(super) fn update_own_keys(&mut self) -> Result<(), Failure> {
        if let Some(epoch) = self.sender.application_epoch() {
            self.application.server = next_traffic_secret(&self.application.server)?;
            let next = sealer(self.suite, &self.application.server, epoch + 1)?;
            self.sender.set_sealer(Level::Application, Some(next));
        }
        Ok(())
    }

    /// The client wants to find another connection ID in what it receives.
    fn new_connection_id(&mut self, body: &[u8]) -> Result<(), Failure> {
        if !self.sender.has_connection_id() {
            return Err(UNEXPECTED);
        }
        let id = messages::read_new_connection_id(body).map_err(|()| MALFORMED)?;
        if let Some(id) = id {
            self.sender.set_connection_id(id);
        }
        Ok(())
    }

    fn request_connection_id(&mut self, host: &mut Host<'_>) -> Result<(), Failure> {
        if self.connection_id().is_none() {
            return Err(UNEXPECTED);
        }
        let none = messages::no_new_connection_id();
        self.send_one(Purpose::ConnectionIds, NEW_CONNECTION_ID, &none, host);
        Ok(())
    }

    /// Sends a message, unless one of its kind is under way (RFC 9147, 5.8.4).
    fn send_one(
        &mut self,
        purpose: Purpose,
        msg_type: HandshakeType,
        body: &[u8],
        host: &mut Host<'_>,
    ) {
        // A KeyUpdate that has arrived is under way until the next keys are used.
        let is_under_way = |flight: &Flight| {
            flight.purpose() == purpose
                && (purpose == Purpose::KeyUpdate || !flight.is_acknowledged())
        };
        if self.flights.iter().any(is_under_way) {
            return;
        }
        let mut flight = Flight::new(purpose, self.settings.retransmit_after);
        self.push(&mut flight, msg_type, body);
        self.start(flight, host.now, host.out);
    }

    fn push(&mut self, flight: &mut Flight, msg_type: HandshakeType, body: &[u8]) {
        let room = self.sender.room(Level::Application);
        flight.push(Level::Application, room, msg_type, self.next_sent, body);
        self.next_sent = self.next_sent.wrapping_add(1);
    }

    /// Hands out the tickets of a handshake that has just been completed; later, none.
    pub(super) fn issue_tickets(&mut self, host: &mut Host<'_>) {
        let Host {
            now, worker, out, ..
        } = host;
        let now = *now;
        let State::Established(resumption) = &mut self.state else {
            return;
        };
        let Some(resumption) = resumption.take() else {
            return;
        };
        let session = &resumption.session;
        if !session.wants_tickets || self.settings.tickets == 0 {
            return;
        }
        let mut flight = Flight::new(Purpose::Tickets, self.settings.retransmit_after);
        for nonce in 0..self.settings.tickets {
            let new_session = NewSession {
                suite: resumption.suite,
                secret: ResumptionSecret::Master {
                    secret: resumption.master_secret.as_bytes(),
                    ticket_nonce: &[nonce],
                },
                server_name: session.server_name.as_deref(),
                alpn: session.alpn.as_deref(),
                authenticated: session.authenticated.unwrap_or(now),
                host_data: b"",
                message_seq: self.next_sent,
            };
            let mut message = [0; NEW_SESSION_TICKET_MAX];
            let issued = worker.issue(&new_session, self.peer().ip(), now, &mut message);
            // A session may be too old for a ticket, or the keys used up: then there is none.
            let Some(body) = issued
                .ok()
                .and_then(|len| message.get(HANDSHAKE_HEADER_LEN..len))
            else {
                break;
            };
            self.push(&mut flight, HandshakeType::NEW_SESSION_TICKET, body);
        }
        if !flight.is_acknowledged() {
            self.start(flight, now, out);
        }
    }
}

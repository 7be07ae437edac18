//! What a worker does with a batch of datagrams: the engine judges the ClientHellos, and the table
//! has the associations for all the rest.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dtls_session::admission::NoEarlyData;
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::{
    AlertDescription, ContentType, HandshakeType, PLAINTEXT_HEADER_LEN, dtls_header,
};
use dtls_session::{
    Admitted, Arrival, BATCH_MAX, Datagram, Error, Resumed, SecureRandom, UnixMillis, Verdict,
    Worker,
};
use ring::rand::SystemRandom;

use super::connection::{CONNECTION_ID_LEN, Connection, record_number_for_answer};
use super::event::{App, Host};
use super::failure::Failure;
use super::handshake::Accepted;
use super::key_exchange::Group;
use super::negotiation::{Answer, Choice, negotiate};
use super::outbox::Outbox;
use super::sender::write_plaintext;
use super::settings::Settings;
use super::table::{Table, connection_id};

/// The longest body of a HelloRetryRequest, in bytes.
const HELLO_RETRY_REQUEST_MAX: usize = 192;

/// A DTLS 1.3 server on one core.
pub struct Server {
    worker: Worker,
    table: Table,
    reception: Reception,
    stopwatch: fn() -> Instant,
}

/// How many ClientHellos were judged in a batch, and how long the engine took for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judged {
    pub flights: u32,
    pub time: Duration,
}

/// A datagram that was received, in the buffer in which its records will be opened.
pub struct Packet<'b> {
    pub bytes: &'b mut [u8],
    pub peer: SocketAddr,
}

/// What is needed to answer a ClientHello, next to the table and the engine.
struct Reception {
    settings: Arc<Settings>,
    random: SystemRandom,
    /// Of the worker, which its connection IDs begin with.
    lane: u8,
    is_closing: bool,
    refused: u64,
}

impl Server {
    /// A server with the engine's `worker` of this `lane`. The `stopwatch` is for its figures only.
    pub fn new(
        settings: Arc<Settings>,
        worker: Worker,
        lane: u8,
        stopwatch: fn() -> Instant,
    ) -> Self {
        Self {
            worker,
            table: Table::new(settings.associations_max),
            reception: Reception {
                settings,
                random: SystemRandom::new(),
                lane,
                is_closing: false,
                refused: 0,
            },
            stopwatch,
        }
    }

    /// Takes in up to [`BATCH_MAX`] datagrams. What is to be sent is in `out` afterwards.
    pub fn receive(
        &mut self,
        batch: &mut [Packet<'_>],
        now: UnixMillis,
        out: &mut Outbox,
        app: &mut App<'_>,
    ) -> Result<Judged, Error> {
        let peer = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut hellos = [Datagram { bytes: &[], peer }; BATCH_MAX];
        let mut len = 0;
        for (packet, hello) in batch
            .iter()
            .filter(|p| is_handshake(p.bytes))
            .zip(&mut hellos)
        {
            *hello = Datagram {
                bytes: packet.bytes,
                peer: packet.peer,
            };
            len += 1;
        }
        // How much of each is behind its ClientHello: early data, most likely.
        let mut rests = [0; BATCH_MAX];
        let begun = (self.stopwatch)();
        let admitted = self.worker.admit(&hellos[..len], now)?;
        let mut judged = Judged {
            flights: 0,
            time: (self.stopwatch)().saturating_duration_since(begun),
        };
        for (flight, rest) in admitted.iter().zip(&mut rests) {
            out.end_datagram();
            let (arrival, _) = flight;
            *rest = arrival.rest.len();
            judged.flights += u32::from(arrival.hello.is_some());
            self.reception
                .answer(&admitted, flight, &mut self.table, now, out);
        }
        drop(admitted);

        let mut rests = rests.into_iter();
        let worker = &mut self.worker;
        let mut host = Host {
            now,
            worker,
            out,
            app,
        };
        for packet in batch {
            host.out.end_datagram();
            let start = match is_handshake(packet.bytes) {
                true => packet.bytes.len() - rests.next().unwrap_or(0),
                false => 0,
            };
            if let Some(records @ [_, ..]) = packet.bytes.get_mut(start..) {
                self.table.receive(records, packet.peer, &mut host);
            }
        }
        Ok(judged)
    }

    /// When [`on_timeout`](Self::on_timeout) is to be called.
    pub fn timeout(&self) -> Option<UnixMillis> {
        self.table.timeout()
    }

    /// Sends again what was not acknowledged, and ends what has been silent for too long.
    pub fn on_timeout(&mut self, now: UnixMillis, out: &mut Outbox, app: &mut App<'_>) {
        let worker = &mut self.worker;
        self.table.on_timeout(&mut Host {
            now,
            worker,
            out,
            app,
        });
    }

    /// Says good-bye to all clients.
    pub fn close(&mut self, now: UnixMillis, out: &mut Outbox, app: &mut App<'_>) {
        let worker = &mut self.worker;
        self.table.close(&mut Host {
            now,
            worker,
            out,
            app,
        });
    }

    /// How many associations there are.
    pub fn associations(&self) -> usize {
        self.table.len()
    }

    /// How many of them are handshakes that are not over.
    pub fn handshakes(&self) -> usize {
        self.table.handshakes()
    }

    /// From now on no association begins.
    pub fn refuse_newcomers(&mut self) {
        self.reception.is_closing = true;
    }

    /// How many ClientHellos were not answered since there was no room for their association, or
    /// no time.
    pub fn refused(&self) -> u64 {
        self.reception.refused
    }

    /// The lane of the server whose connection ID is in the datagram's first record, if one is.
    /// That server knows its client, wherever it is now.
    pub fn lane_of(&self, datagram: &[u8]) -> Option<usize> {
        connection_id(datagram).map(|[lane, ..]| lane.into())
    }
}

/// It begins with a plaintext handshake record: a ClientHello, or a part of one.
fn is_handshake(datagram: &[u8]) -> bool {
    datagram.first() == Some(&ContentType::HANDSHAKE.0)
}

impl Reception {
    fn answer(
        &mut self,
        admitted: &Admitted<'_>,
        (arrival, verdict): (&Arrival<'_>, Verdict<'_>),
        table: &mut Table,
        now: UnixMillis,
        out: &mut Outbox,
    ) {
        let resumed = match verdict {
            Verdict::AcceptEarlyData(resumed) | Verdict::Resume(resumed, _) => Some(resumed),
            Verdict::FullHandshake(_) | Verdict::Retransmission => None,
            Verdict::Abort(alert, _) => return refuse(arrival, alert, table, out),
            _ => return,
        };
        let Some(hello) = &arrival.hello else { return };
        let peer = arrival.datagram.peer;
        let is_second = arrival.retried.is_some();
        if let Some(connection) = table.begun_by(peer, hello.random(), is_second) {
            let len = arrival.datagram.bytes.len() - arrival.rest.len();
            connection.hello_again(peer, len, now, out);
            return;
        }
        let is_again = matches!(verdict, Verdict::Retransmission);
        // A flight whose early data is accepted is the only one of its ticket.
        let is_unique = matches!(verdict, Verdict::AcceptEarlyData(_));
        let is_busy = table.handshakes() >= self.settings.handshakes_without_cookie_max;
        // Who has to show first that it receives at its address: its association is over already; or
        // the flight may be another's that was recorded; or a handshake is under way there, which
        // nobody else is to disturb; or too many are anywhere.
        let has_to_ask = arrival.retried.is_none()
            && (is_again
                || may_be_recorded(&verdict)
                || table.is_handshaking(peer)
                || (is_busy && !is_unique));
        let done = match negotiate(arrival, resumed, &self.settings) {
            Err(_) if is_again => Ok(()),
            Err(failure) => Err(failure),
            Ok(Answer::HelloRetryRequest { suite, group }) => {
                retry(admitted, arrival, suite, group, out)
            }
            Ok(Answer::ServerHello(choice)) if has_to_ask => {
                retry(admitted, arrival, choice.suite, None, out)
            }
            Ok(Answer::ServerHello(_)) if is_again => Ok(()),
            Ok(Answer::ServerHello(_)) if self.is_closing || table.is_full() => {
                self.refused += 1;
                Ok(())
            }
            Ok(Answer::ServerHello(choice)) => self
                .accept(arrival, choice, resumed, now, out)
                .map(|connection| table.insert(connection)),
        };
        if let Err(Failure(alert)) = done {
            refuse(arrival, alert, table, out);
        }
    }

    fn accept(
        &self,
        arrival: &Arrival<'_>,
        choice: Choice<'_>,
        resumed: Option<&Resumed<'_>>,
        now: UnixMillis,
        out: &mut Outbox,
    ) -> Result<Connection, Failure> {
        let offers_id = arrival
            .hello
            .is_some_and(|hello| hello.connection_id().is_some());
        let mut id = [0; CONNECTION_ID_LEN];
        if offers_id {
            let drawn = SecureRandom::fill(&self.random, &mut id);
            drawn.map_err(|_| Failure(AlertDescription::INTERNAL_ERROR))?;
            id[0] = self.lane;
        }
        let accepted = Accepted {
            arrival,
            choice,
            resumed,
            connection_id: offers_id.then_some(id),
        };
        Connection::accept(&accepted, &self.settings, &self.random, now, out)
    }
}

/// Its binder is genuine, and yet it may come from anybody: with a recorded flight and false
/// addresses an association could be begun at each port.
fn may_be_recorded(verdict: &Verdict<'_>) -> bool {
    use NoEarlyData::{Early, Late, OutOfTime, Replayed};
    matches!(
        verdict,
        Verdict::Resume(_, Replayed | Late | Early | OutOfTime)
    )
}

/// Asks for another ClientHello, and keeps nothing.
fn retry(
    admitted: &Admitted<'_>,
    arrival: &Arrival<'_>,
    suite: CipherSuite,
    group: Option<Group>,
    out: &mut Outbox,
) -> Result<(), Failure> {
    let mut body = [0; HELLO_RETRY_REQUEST_MAX];
    let group = group.map(Group::code);
    let len = admitted.hello_retry_request(arrival, suite, group, &mut body)?;
    let message_seq = 0;
    let header = dtls_header(
        HandshakeType::SERVER_HELLO,
        len as u32,
        message_seq,
        0,
        len as u32,
    );
    let message = [&header[..], &body[..len]].concat();
    answer_plaintext(arrival, ContentType::HANDSHAKE, &message, out);
    Ok(())
}

/// Ends what has hardly begun. Not what is under way already: the client might take this alert,
/// which nothing protects, for an answer to what somebody else has sent in its name.
fn refuse(arrival: &Arrival<'_>, alert: AlertDescription, table: &Table, out: &mut Outbox) {
    if table.is_handshaking(arrival.datagram.peer) {
        return;
    }
    answer_plaintext(arrival, ContentType::ALERT, &alert.fatal(), out);
}

/// Sends a plaintext record in answer to a ClientHello, if its sender may get as much.
fn answer_plaintext(
    arrival: &Arrival<'_>,
    content_type: ContentType,
    fragment: &[u8],
    out: &mut Outbox,
) {
    let Datagram { bytes, peer } = arrival.datagram;
    let len = PLAINTEXT_HEADER_LEN + fragment.len();
    if arrival.send_limit().is_some_and(|limit| len > limit) {
        return;
    }
    let number = record_number_for_answer(bytes);
    let write = |room: &mut [u8]| write_plaintext(number, content_type, fragment, room);
    // It fails only if the buffer is too short, which was made to measure.
    let _ = out.record(peer, len, write);
}

//! One worker: a batch of datagrams from its socket, the engine's verdicts, and what follows.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dtls_session::admission::Discarded;
use dtls_session::schedule::{EarlyDataOpener, EarlyRecord};
use dtls_session::wire::{Record, records};
use dtls_session::{
    BATCH_MAX, Datagram, Engine, Error, NewSession, Profile, Resumed, ResumptionSecret, UnixMillis,
    Verdict, Worker,
};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::protocol::{self, Event, Outcome, Report, TicketRequest, Tickets};
use crate::Failure;
use crate::sockets::{self, Inbox};

/// What a worker has done. It alone writes.
#[derive(Default)]
pub(crate) struct WorkerStats {
    pub(crate) flights: AtomicU64,
    pub(crate) admit_ns: AtomicU64,
    pub(crate) batches: AtomicU64,
}

impl WorkerStats {
    fn count(&self, flights: u64, elapsed: Duration) {
        let ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.flights.fetch_add(flights, Relaxed);
        self.admit_ns.fetch_add(ns, Relaxed);
        self.batches.fetch_add(1, Relaxed);
    }
}

/// Works until it shall `stop`.
pub(crate) fn run(
    engine: &Engine,
    lane: usize,
    socket: &UdpSocket,
    stats: &WorkerStats,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let mut worker = engine.worker(lane)?;
    let mut inbox = Inbox::new(Profile::default().batch);
    let mut early_data = EarlyData::default();
    let lane = u8::try_from(lane)?;
    let mut poll = Poll::new()?;
    poll.registry().register(
        &mut SourceFd(&socket.as_raw_fd()),
        Token(0),
        Interest::READABLE,
    )?;
    let mut events = Events::with_capacity(1);
    let mut more_waits = true;
    while !stop.load(Relaxed) {
        if !more_waits {
            wait(&mut poll, &mut events)?;
        }
        more_waits = inbox.fill(socket)?;
        let now = protocol::now();

        let mut batch = [NO_DATAGRAM; BATCH_MAX];
        let mut len = 0;
        for (bytes, peer) in inbox.datagrams() {
            match TicketRequest::parse(bytes) {
                Some(request) => {
                    let tickets = issue(&mut worker, &request, peer, now)?;
                    sockets::send(socket, [(peer, &tickets[..])].into_iter());
                }
                None => {
                    batch[len] = Datagram { bytes, peer };
                    len += 1;
                }
            }
        }

        let before = Instant::now();
        let admitted = worker.admit(&batch[..len], now)?;
        let elapsed = before.elapsed();

        let mut flights = 0;
        let mut reports = Reports::new(lane);
        for (arrival, verdict) in admitted.iter() {
            let peer = arrival.datagram.peer;
            if let (Some(hello), Some(outcome)) = (&arrival.hello, Outcome::of(&verdict)) {
                flights += 1;
                if let Some(tag) = hello.random().first_chunk() {
                    reports.push(peer, *tag, Event::Judged(outcome));
                }
            }
            match &verdict {
                // The handshake goes on with one flight less to wait for, and early data goes to
                // the application at once: what came with the ClientHello, and what follows.
                Verdict::AcceptEarlyData(resumed) => {
                    early_data.begin(peer, resumed, now);
                    early_data.open(peer, arrival.rest, now, &mut reports);
                }
                Verdict::Discard(Discarded::Encrypted) => {
                    early_data.open(peer, arrival.datagram.bytes, now, &mut reports);
                }
                // A ServerHello with the session, or one without: the early data that the client
                // has sent is dropped.
                Verdict::Resume(..) | Verdict::FullHandshake(_) => {}
                // What was answered before is sent again, the alert is sent, or nothing.
                Verdict::Retransmission | Verdict::Abort(..) => {}
                Verdict::Incomplete | Verdict::Discard(_) => {}
            }
        }
        stats.count(flights, elapsed);
        reports.send(socket);
        early_data.prune(now);
    }
    Ok(())
}

/// Waits for datagrams, but not so long that nobody looks whether to stop.
fn wait(poll: &mut Poll, events: &mut Events) -> io::Result<()> {
    match poll.poll(events, Some(Duration::from_millis(50))) {
        Err(why) if why.kind() == io::ErrorKind::Interrupted => Ok(()),
        polled => polled,
    }
}

/// Tickets for a client that names the secret of its session, in place of a full handshake.
fn issue(
    worker: &mut Worker,
    request: &TicketRequest<'_>,
    peer: SocketAddr,
    now: UnixMillis,
) -> Result<Vec<u8>, Error> {
    let issued = UnixMillis(now.0.saturating_sub(request.age_ms.into()));
    let mut out = Vec::new();
    Tickets::begin(&mut out);
    for nonce in 0..request.count {
        let session = NewSession {
            suite: request.suite,
            secret: ResumptionSecret::Master {
                secret: request.resumption_master_secret,
                ticket_nonce: &[nonce],
            },
            server_name: Some(protocol::SERVER_NAME.as_bytes()),
            alpn: Some(protocol::ALPN),
            authenticated: issued,
            host_data: b"",
            message_seq: 4,
        };
        let mut message = [0; 1024];
        let len = worker.issue(&session, peer.ip(), issued, &mut message)?;
        Tickets::push(&mut out, &message[..len]);
    }
    Ok(out)
}

/// The early data of clients, by address.
#[derive(Default)]
struct EarlyData {
    openers: HashMap<SocketAddr, EarlyDataOpener>,
    pruned: UnixMillis,
}

impl EarlyData {
    /// For how long it may still come: as long as a handshake takes, and a while for reordering.
    const TIME: Duration = Duration::from_secs(3);

    fn begin(&mut self, peer: SocketAddr, resumed: &Resumed<'_>, now: UnixMillis) {
        if let Some(mut opener) = resumed.early_data() {
            opener.retire_at(now.saturating_add(Self::TIME));
            self.openers.insert(peer, opener);
        }
    }

    /// Opens the records in `bytes`. What does not open is dropped in silence (RFC 9147, 4.5.2):
    /// anybody can send it.
    fn open(&mut self, peer: SocketAddr, bytes: &[u8], now: UnixMillis, reports: &mut Reports) {
        let Some(opener) = self.openers.get_mut(&peer) else {
            return;
        };
        for record in records(bytes, 0) {
            let Ok(Record::Ciphertext(record)) = record else {
                return;
            };
            let mut record = record.bytes.to_vec();
            let Ok(EarlyRecord::ApplicationData(data)) = opener.open(&mut record, 0, now) else {
                continue;
            };
            // Here the application gets `data`. This one says only that it came, and whose.
            if let (Some(tag), Ok(len)) = (data.first_chunk(), u8::try_from(data.len())) {
                reports.push(peer, *tag, Event::EarlyData(len));
            }
        }
    }

    /// Drops keys whose time is over, once a second.
    fn prune(&mut self, now: UnixMillis) {
        if now.saturating_since(self.pruned) > Duration::from_secs(1) {
            self.openers.retain(|_, opener| !opener.is_retired(now));
            self.pruned = now;
        }
    }
}

/// What the batch's senders are told, one datagram each.
struct Reports {
    lane: u8,
    by_peer: Vec<(SocketAddr, Vec<u8>)>,
}

impl Reports {
    fn new(lane: u8) -> Self {
        let by_peer = Vec::new();
        Self { lane, by_peer }
    }

    fn push(&mut self, peer: SocketAddr, tag: [u8; 8], event: Event) {
        let place = self.by_peer.iter().position(|(other, _)| *other == peer);
        let place = place.unwrap_or_else(|| {
            let mut report = Vec::new();
            Report::begin(&mut report, self.lane);
            self.by_peer.push((peer, report));
            self.by_peer.len() - 1
        });
        Report::push(&mut self.by_peer[place].1, tag, event);
    }

    fn send(&self, socket: &UdpSocket) {
        let reports = self.by_peer.iter();
        sockets::send(socket, reports.map(|(peer, report)| (*peer, &report[..])));
    }
}

const NO_DATAGRAM: Datagram<'static> = Datagram {
    bytes: &[],
    peer: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
};

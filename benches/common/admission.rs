//! The admission of first flights, from datagram to accepted early data.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;

use dtls_session::wire::{HANDSHAKE_HEADER_LEN, NewSessionTicket};
use dtls_session::{Datagram, Engine, NewSession, ResumptionSecret, UnixMillis, Verdict, Worker};
use ring::rand::SystemRandom;

use super::contest::{Contestant, Shuffler, time};
use super::flights::{ALPN, Client, Clients, Flight, Kind, SERVER_NAME, SUITE, now};
use super::naive::{Accepted, Naive, Refused};
use super::replay::Name;
use super::spoil::Spoilt;
use super::tickets::{NATIVE_LEN, TICKET_OVERHEAD, open_refused, open_ring};

pub const BATCH: usize = 32;
/// Flights in one round: few enough to stay in a core's second-level cache, as what a network
/// card has just delivered does.
pub const ROUND: usize = 16 * BATCH;
/// Flights before the clock starts. Other contestants ran in between, and a gateway that matters is
/// not idle either: its code, its tables and what the CPU has learnt of its branches are at hand.
pub const WARM_UP: usize = 4 * BATCH;

/// The admission of genuine flights. Their tickets are of all those that are out, in random order.
pub fn accept(mut ours: Gateway, used: Arc<DashMap<Name, u64>>) -> Vec<Contestant> {
    let mut naive = NaiveGateway::new(used);
    let (our_flight, naive_flight) = (ours.flights(1), naive.flights(1));
    eprintln!(
        "    a datagram of {} bytes with our ticket, {} bytes with the naive one",
        our_flight[0].bytes.len(),
        naive_flight[0].bytes.len(),
    );
    vec![
        Contestant::new("dtls-session, Worker::admit", ROUND, move || {
            ours.round(BATCH)
        }),
        Contestant::new("naive pipeline", ROUND, move || naive.round()),
    ]
}

/// The same of ours, but no ClientHello is like another.
pub fn accept_unlike(gateway: Gateway) -> Contestant {
    let mut gateway = gateway.with(Kind::EachItsOwn);
    let name = "dtls-session, no ClientHello like another";
    Contestant::new(name, ROUND, move || gateway.round(BATCH))
}

/// Flights that are refused, and change nothing by it: each is used again in each round.
pub fn reject() -> Vec<Contestant> {
    let mut contestants = vec![
        open_ring("ring, opening a genuine ticket", NATIVE_LEN),
        rejected("unknown key", Spoilt::Key),
        rejected("forged ticket", Spoilt::Ticket),
        rejected("bad binder", Spoilt::Binder),
    ];
    contestants.extend(open_refused());
    contestants
}

/// A lane of the library, and clients with tickets of it.
pub struct Gateway {
    pub worker: Worker,
    /// Some opaque tickets of all that were issued, in random order.
    pub opaque: Vec<EmptyTicket>,
    kind: Kind,
    clients: Clients,
    pool: VecDeque<Client>,
    random: Shuffler,
}

/// An opaque ticket without bytes of the host's.
pub type EmptyTicket = [u8; TICKET_OVERHEAD + 16];

impl Gateway {
    /// With as many tickets out as `outstanding` says. Of these, `pooled` are clients' and as many
    /// are kept in `opaque`. If clients need more, they are issued.
    pub fn new(outstanding: usize, pooled: usize) -> Self {
        Self::within(outstanding, pooled, Duration::MAX)
    }

    /// The same, but with fewer tickets if that takes too long.
    pub fn within(outstanding: usize, pooled: usize, patience: Duration) -> Self {
        let engine = Engine::builder().build(&SystemRandom::new(), now());
        let mut gateway = Self::of(&engine.expect("built"), 0);
        gateway.issue(pooled, outstanding / pooled.max(1), patience);
        gateway
    }

    /// One that has accepted a batch, and so knows the shape of its clients' ClientHellos.
    pub fn that_knows_clients() -> Self {
        let mut gateway = Self::new(0, ROUND);
        let flights = gateway.flights(BATCH);
        let datagrams: Vec<_> = flights.iter().map(Flight::datagram).collect();
        assert_eq!(gateway.admit(&datagrams), BATCH);
        gateway
    }

    /// The gateway of `lane`.
    pub fn of(engine: &Engine, lane: usize) -> Self {
        Self {
            worker: engine.worker(lane).expect("there is this lane"),
            opaque: Vec::new(),
            kind: Kind::Same,
            clients: Clients::new(lane as u64),
            pool: VecDeque::new(),
            random: Shuffler(lane as u64 + 1000),
        }
    }

    /// The same, of clients of this kind.
    pub fn with(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Issues tickets to `count` clients, each among `spacing` tickets.
    fn issue(&mut self, count: usize, spacing: usize, patience: Duration) {
        let reader = self.worker.engine().keys().reader();
        let lane = self.worker.lane();
        let mut clients = Vec::with_capacity(count);
        let (now, mut out) = (now(), [0; 1024]);
        let start = Instant::now();
        for _ in 0..count {
            if start.elapsed() > patience {
                break;
            }
            let keys = reader.snapshot();
            let mut sealed = 0;
            for _ in 1..spacing {
                let (len, remembered) = keys
                    .seal_opaque(lane, b"", 3600, now, &mut out)
                    .expect("there are serials");
                assert!(remembered);
                sealed = len;
            }
            self.opaque.extend(EmptyTicket::try_from(&out[..sealed]));
            drop(keys);
            clients.push(self.issue_one(now, &mut out));
        }
        self.random.shuffle(&mut clients);
        self.random.shuffle(&mut self.opaque);
        self.pool.extend(clients);
    }

    fn issue_one(&mut self, now: UnixMillis, out: &mut [u8]) -> Client {
        let (address, psk) = self.clients.next();
        let session = NewSession {
            suite: SUITE,
            secret: ResumptionSecret::Psk(&psk),
            server_name: Some(SERVER_NAME.as_bytes()),
            alpn: Some(ALPN),
            authenticated: now,
            host_data: b"",
            message_seq: 5,
        };
        let len = self.worker.issue(&session, address.ip(), now, out);
        let body = &out[HANDSHAKE_HEADER_LEN..len.expect("there are serials")];
        let ticket = NewSessionTicket::parse(body).expect("it is well-formed");
        Client::new(address, &psk, &ticket, now)
    }

    /// First flights of `count` clients, sent now.
    pub fn flights(&mut self, count: usize) -> Vec<Flight> {
        self.flights_sent(count, now())
    }

    /// The same, sent when the clients' clocks say `sent`.
    pub fn flights_sent(&mut self, count: usize, sent: UnixMillis) -> Vec<Flight> {
        if self.pool.len() < count {
            self.issue(16 * ROUND, 64, Duration::MAX);
        }
        let clients = self.pool.drain(..count);
        clients
            .map(|client| client.first_flight(self.kind, &mut self.random, sent))
            .collect()
    }

    /// How long it takes to admit a round of genuine flights, in batches of `size`.
    pub fn round(&mut self, size: usize) -> Duration {
        let flights = self.flights(WARM_UP + ROUND);
        let datagrams: Vec<_> = flights.iter().map(Flight::datagram).collect();
        let (first, datagrams) = datagrams.split_at(WARM_UP);
        self.count_in(size, first, accepted);
        accepting(|| self.count_in(size, datagrams, accepted))
    }

    /// Admits batch after batch and returns how many flights got 0-RTT.
    pub fn admit(&mut self, datagrams: &[Datagram<'_>]) -> usize {
        self.count(datagrams, accepted)
    }

    /// Admits batch after batch and returns how many got such a verdict.
    pub fn count(
        &mut self,
        datagrams: &[Datagram<'_>],
        such: impl Fn(&Verdict<'_>) -> bool,
    ) -> usize {
        self.count_in(BATCH, datagrams, such)
    }

    /// The same, in batches of `size`.
    fn count_in(
        &mut self,
        size: usize,
        datagrams: &[Datagram<'_>],
        such: impl Fn(&Verdict<'_>) -> bool,
    ) -> usize {
        datagrams
            .chunks(size)
            .map(|batch| count(&mut self.worker, batch, &such))
            .sum()
    }
}

/// Admits one batch and returns how many flights got 0-RTT.
pub fn admit(worker: &mut Worker, batch: &[Datagram<'_>]) -> usize {
    count(worker, batch, &accepted)
}

/// As a gateway does it: the clock is read once, and each verdict is looked at.
fn count(
    worker: &mut Worker,
    batch: &[Datagram<'_>],
    such: &impl Fn(&Verdict<'_>) -> bool,
) -> usize {
    let admitted = worker.admit(batch, now()).expect("not too many");
    let such = |(_, verdict): &(_, _)| such(verdict);
    admitted.iter().filter(such).count()
}

fn accepted(verdict: &Verdict<'_>) -> bool {
    match verdict {
        Verdict::AcceptEarlyData(resumed) => {
            black_box(resumed.client_early_traffic_secret());
            true
        }
        _ => false,
    }
}

/// The naive pipeline, and clients with tickets of it.
pub struct NaiveGateway {
    pub naive: Naive,
    clients: Clients,
    random: Shuffler,
}

impl NaiveGateway {
    pub fn new(used: Arc<DashMap<Name, u64>>) -> Self {
        Self {
            naive: Naive::new(used),
            clients: Clients::new(3),
            random: Shuffler(4),
        }
    }

    pub fn flights(&mut self, count: usize) -> Vec<Flight> {
        self.flights_sent(count, now())
    }

    pub fn flights_sent(&mut self, count: usize, sent: UnixMillis) -> Vec<Flight> {
        let flight = |_| {
            let (address, psk) = self.clients.next();
            let client = |ticket: &NewSessionTicket<'_>| Client::new(address, &psk, ticket, now());
            let client = self.naive.issue(&psk, address.ip(), client);
            client.first_flight(Kind::Same, &mut self.random, sent)
        };
        (0..count).map(flight).collect()
    }

    /// How long it takes to admit a round of genuine flights.
    pub fn round(&mut self) -> Duration {
        let flights = self.flights(WARM_UP + ROUND);
        let (first, flights) = flights.split_at(WARM_UP);
        self.admit(first);
        accepting(|| self.admit(flights))
    }

    /// Admits one after the other and returns how many got 0-RTT.
    pub fn admit(&self, flights: &[Flight]) -> usize {
        self.count(flights, |answer| answer.is_ok())
    }

    /// Admits one after the other and returns how many got such an answer.
    pub fn count(
        &self,
        flights: &[Flight],
        such: impl Fn(&Result<Accepted, Refused>) -> bool,
    ) -> usize {
        let such = |flight: &&Flight| {
            let answer = self.naive.admit(&flight.bytes, flight.peer);
            such(black_box(&answer))
        };
        flights.iter().filter(such).count()
    }
}

/// How long `admit` takes, which accepts a round of flights.
fn accepting(admit: impl FnOnce() -> usize) -> Duration {
    let mut accepted = 0;
    let took = time(|| accepted = admit());
    assert_eq!(accepted, ROUND, "each flight is genuine and comes once");
    took
}

fn rejected(name: &'static str, spoilt: Spoilt) -> Contestant {
    let mut gateway = Gateway::that_knows_clients();
    let mut flights = gateway.flights(ROUND);
    flights.iter_mut().for_each(|flight| flight.spoil(spoilt));
    Contestant::new(name, ROUND, move || {
        let datagrams: Vec<_> = flights.iter().map(Flight::datagram).collect();
        gateway.admit(&datagrams[..WARM_UP]);
        let mut accepted = 0;
        let took: Duration = time(|| accepted = gateway.admit(&datagrams));
        assert_eq!(accepted, 0);
        took
    })
}

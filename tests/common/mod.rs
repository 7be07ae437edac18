//! A gateway and its clients, for tests: time and randomness are ours.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::cell::Cell;
use std::net::SocketAddr;

use dtls_session::admission::{AbortReason, Discarded, NoEarlyData, NoResumption};
use dtls_session::client::{ClientHelloParams, ClientSession, FirstFlight, Framing, Offer};
use dtls_session::schedule::{CipherSuite, EarlyRecord};
use dtls_session::wire::{AlertDescription, ClientHello, HandshakeType, fragments};
use dtls_session::{
    Builder, Datagram, Engine, NewSession, RandomUnavailable, ResumptionSecret, SecureRandom,
    UnixMillis, Verdict, Worker,
};

pub const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
pub const MASTER: [u8; 48] = [0x5a; 48];
pub const SNI: &str = "gateway.example";
pub const ALPN: &[u8] = b"coap";
pub const EARLY: &[u8] = b"early data";

/// A random source with a seed, so that a failure can be repeated.
pub struct Seeded(Cell<u64>);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub fn next(&self) -> u64 {
        // SplitMix64.
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }
}

impl SecureRandom for Seeded {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        out.iter_mut().for_each(|byte| *byte = self.next() as u8);
        Ok(())
    }
}

pub fn after(ms: u64) -> UnixMillis {
    UnixMillis(NOW.0 + ms)
}

pub fn peer(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], port))
}

/// The peer of most tests.
pub fn client_address() -> SocketAddr {
    peer(1, 40_000)
}

pub fn engine(builder: Builder) -> Engine {
    builder.build(&Seeded::new(1), NOW).unwrap()
}

pub fn worker(builder: Builder) -> Worker {
    engine(builder).worker(0).unwrap()
}

/// The session of a full handshake that is over.
pub fn session(suite: CipherSuite, now: UnixMillis) -> NewSession<'static> {
    NewSession {
        suite,
        secret: ResumptionSecret::Master {
            secret: &MASTER[..suite.hash().output_len()],
            ticket_nonce: &[0],
        },
        server_name: Some(SNI.as_bytes()),
        alpn: Some(ALPN),
        authenticated: now,
        host_data: b"",
        message_seq: 5,
    }
}

/// The body of the NewSessionTicket that the worker issues for it.
pub fn ticket_for(worker: &mut Worker, session: &NewSession<'_>, now: UnixMillis) -> Vec<u8> {
    let mut out = [0; 1024];
    let len = worker
        .issue(session, client_address().ip(), now, &mut out)
        .unwrap();
    let message = fragments(&out[..len]).next().unwrap().unwrap();
    assert_eq!(message.msg_type, HandshakeType::NEW_SESSION_TICKET);
    message.body.to_vec()
}

pub fn ticket(worker: &mut Worker, now: UnixMillis) -> Vec<u8> {
    ticket_for(worker, &session(CipherSuite::Aes128GcmSha256, now), now)
}

pub fn client_session(suite: CipherSuite, ticket: &[u8], now: UnixMillis) -> ClientSession {
    let secret = &MASTER[..suite.hash().output_len()];
    ClientSession::from_new_session_ticket(ticket, suite, secret, Some(ALPN), now).unwrap()
}

/// The offer of a client whose clock is behind if the ticket has expired.
pub fn offer(ticket: &[u8], received: UnixMillis, now: UnixMillis) -> Offer {
    let session = client_session(CipherSuite::Aes128GcmSha256, ticket, received);
    let last = UnixMillis(session.info().expires.0 - 1);
    session.offer(now.min(last)).unwrap()
}

/// What the client of most tests offers.
pub fn params(random: u8) -> ClientHelloParams<'static> {
    ClientHelloParams {
        server_name: Some(SNI),
        alpn: &[ALPN],
        supported_groups: &[29],
        key_shares: &[(29, &[7; 32])],
        early_data: true,
        ..ClientHelloParams::new([random; 32])
    }
}

pub fn flight(params: &ClientHelloParams<'_>, mut offer: Offer) -> FirstFlight {
    let early: &[&[u8]] = if params.early_data && offer.allows_early_data() {
        &[EARLY]
    } else {
        &[]
    };
    FirstFlight::new(params, Some(&mut offer), &Framing::default(), early).unwrap()
}

/// The first flight of a client that got `ticket` at `received` and connects at `now`.
pub fn first_flight(ticket: &[u8], received: UnixMillis, now: UnixMillis) -> FirstFlight {
    flight(&params(9), offer(ticket, received, now))
}

/// A verdict without what is borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Accept,
    Resume(NoEarlyData),
    Full(NoResumption),
    Retransmission,
    Incomplete,
    Abort(AlertDescription, AbortReason),
    Discard(Discarded),
}

pub fn seen(verdict: Verdict<'_>) -> Seen {
    match verdict {
        Verdict::AcceptEarlyData(_) => Seen::Accept,
        Verdict::Resume(_, why) => Seen::Resume(why),
        Verdict::FullHandshake(why) => Seen::Full(why),
        Verdict::Retransmission => Seen::Retransmission,
        Verdict::Incomplete => Seen::Incomplete,
        Verdict::Abort(alert, why) => Seen::Abort(alert, why),
        Verdict::Discard(why) => Seen::Discard(why),
    }
}

pub fn admit_from(worker: &mut Worker, bytes: &[u8], peer: SocketAddr, now: UnixMillis) -> Seen {
    let batch = [Datagram { bytes, peer }];
    let admitted = worker.admit(&batch, now).unwrap();
    let (arrival, verdict) = admitted.iter().next().unwrap();
    // Whatever came before.
    assert_eq!(arrival.hello, ClientHello::parse(arrival.hello_body).ok());
    seen(verdict)
}

pub fn admit(worker: &mut Worker, bytes: &[u8], now: UnixMillis) -> Seen {
    admit_from(worker, bytes, client_address(), now)
}

/// Admits the first ClientHello of a handshake, and answers it with a HelloRetryRequest, whose body
/// is returned with the verdict.
pub fn ask_for_a_cookie(
    worker: &mut Worker,
    bytes: &[u8],
    peer: SocketAddr,
    suite: CipherSuite,
    now: UnixMillis,
) -> (Seen, Vec<u8>) {
    let batch = [Datagram { bytes, peer }];
    let admitted = worker.admit(&batch, now).unwrap();
    let (arrival, verdict) = admitted.iter().next().unwrap();
    assert!(arrival.retried.is_none());
    let mut retry = vec![0; 192];
    let len = admitted.hello_retry_request(arrival, suite, None, &mut retry);
    retry.truncate(len.unwrap());
    (seen(verdict), retry)
}

/// How the ClientHello is sent that answers a HelloRetryRequest.
pub fn second() -> Framing {
    Framing {
        message_seq: 1,
        sequence_number: 1,
        ..Framing::default()
    }
}

/// Admits the ClientHello of a flight, which must be accepted, and opens its early data.
pub fn admit_and_read(worker: &mut Worker, flight: &FirstFlight, now: UnixMillis) -> Vec<u8> {
    let batch = [Datagram {
        bytes: &flight.datagrams[0],
        peer: client_address(),
    }];
    let admitted = worker.admit(&batch, now).unwrap();
    let (_, verdict) = admitted.iter().next().unwrap();
    let Verdict::AcceptEarlyData(resumed) = verdict else {
        panic!("{verdict:?}")
    };
    let mut opener = resumed.early_data().unwrap();
    let mut record = flight.datagrams[1].clone();
    match opener.open(&mut record, 0, now).unwrap() {
        EarlyRecord::ApplicationData(data) => data.to_vec(),
        other => panic!("{other:?}"),
    }
}

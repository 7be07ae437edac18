//! What traffic and gateway say to each other besides DTLS, and the short lives that make a run of
//! seconds show what a gateway sees in days.
//!
//! The traffic asks for tickets as if it had made a full handshake, whose secret it names; and the
//! gateway says what became of each flight where it would go on with a handshake. All of it goes
//! in the clear: for loopback sockets only. Numbers are big-endian.
//!
//! ```text
//! request  'T' count:1 age_ms:4 suite:2 resumption_master_secret
//! tickets  'N' (length:2 NewSessionTicket)*
//! report   'V' lane:1 (tag:8 event:1 detail:1)*
//! ```
//!
//! A flight's tag is the beginning of its ClientHello.random and of its early data.

use std::time::{Duration, SystemTime};

use dtls_session::admission::{AbortReason, NoEarlyData, NoResumption};
use dtls_session::schedule::CipherSuite;
use dtls_session::{UnixMillis, Verdict};

/// A day in a real gateway.
pub(crate) const TICKET_LIFETIME: Duration = Duration::from_secs(5);
/// An hour in a real gateway.
pub(crate) const ROTATION_INTERVAL: Duration = Duration::from_secs(1);
/// How late and how early a flight may arrive: ten seconds in a real gateway.
pub(crate) const FRESHNESS: Duration = Duration::from_secs(2);
/// For how long the same flight from the same address is a retransmission: ten seconds as well.
pub(crate) const RETRANSMISSION_WINDOW: Duration = Duration::from_secs(1);
/// What lies so far beyond one of these times is certainly beyond.
pub(crate) const MARGIN: Duration = Duration::from_millis(300);

/// The service of all sessions.
pub(crate) const SERVER_NAME: &str = "gateway.example";
pub(crate) const ALPN: &[u8] = b"coap";

/// Tickets in one answer, at most: a loopback datagram holds them.
pub(crate) const TICKETS_MAX: u8 = 32;

const REQUEST: u8 = b'T';
const TICKETS: u8 = b'N';
const REPORT: u8 = b'V';

/// The system's clock, which the library does not read.
pub(crate) fn now() -> UnixMillis {
    UnixMillis::from(SystemTime::now())
}

/// Asks for tickets.
#[derive(Clone, Copy)]
pub(crate) struct TicketRequest<'a> {
    pub(crate) count: u8,
    /// How long ago they shall have been issued.
    pub(crate) age_ms: u32,
    pub(crate) suite: CipherSuite,
    pub(crate) resumption_master_secret: &'a [u8],
}

impl<'a> TicketRequest<'a> {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = vec![REQUEST, self.count];
        out.extend(self.age_ms.to_be_bytes());
        out.extend(self.suite.code().to_be_bytes());
        out.extend(self.resumption_master_secret);
        out
    }

    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let ([REQUEST, count, a, b, c, d, s0, s1], secret) = datagram.split_first_chunk()? else {
            return None;
        };
        let suite = CipherSuite::from_code(u16::from_be_bytes([*s0, *s1]))?;
        let well_formed = *count <= TICKETS_MAX && secret.len() == suite.hash().output_len();
        well_formed.then_some(Self {
            count: *count,
            age_ms: u32::from_be_bytes([*a, *b, *c, *d]),
            suite,
            resumption_master_secret: secret,
        })
    }
}

/// Tickets: NewSessionTicket messages with their handshake headers.
pub(crate) struct Tickets;

impl Tickets {
    pub(crate) fn begin(out: &mut Vec<u8>) {
        out.clear();
        out.push(TICKETS);
    }

    pub(crate) fn push(out: &mut Vec<u8>, message: &[u8]) {
        out.extend((message.len() as u16).to_be_bytes());
        out.extend(message);
    }

    /// The messages in `datagram`, if it is one of tickets.
    pub(crate) fn parse(datagram: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
        let (&TICKETS, mut rest) = datagram.split_first()? else {
            return None;
        };
        Some(std::iter::from_fn(move || {
            let (len, tail) = rest.split_first_chunk()?;
            let (message, tail) = tail.split_at_checked(u16::from_be_bytes(*len).into())?;
            rest = tail;
            Some(message)
        }))
    }
}

/// What became of flights from one address.
pub(crate) struct Report;

/// What happened to a flight.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Judged(Outcome),
    /// A record of this many bytes was opened, which began with the flight's tag.
    EarlyData(u8),
}

impl Report {
    pub(crate) fn begin(out: &mut Vec<u8>, lane: u8) {
        out.clear();
        out.extend([REPORT, lane]);
    }

    pub(crate) fn push(out: &mut Vec<u8>, tag: [u8; 8], event: Event) {
        out.extend(tag);
        out.extend(match event {
            Event::Judged(outcome) => outcome.code(),
            Event::EarlyData(len) => [EARLY_DATA, len],
        });
    }

    /// The lane that reports, and what it reports.
    pub(crate) fn parse(datagram: &[u8]) -> Option<(u8, impl Iterator<Item = ([u8; 8], Event)>)> {
        let ([REPORT, lane], entries) = datagram.split_first_chunk()? else {
            return None;
        };
        let events = entries.chunks_exact(10).filter_map(|entry| {
            let (tag, detail) = entry.split_first_chunk()?;
            let event = match *detail {
                [EARLY_DATA, len] => Event::EarlyData(len),
                [verdict, reason] => Event::Judged(Outcome::from_code([verdict, reason])?),
                _ => return None,
            };
            Some((*tag, event))
        });
        Some((*lane, events))
    }
}

/// A verdict on a ClientHello, without what it borrows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Accepted,
    Resumed(NoEarlyData),
    FullHandshake(NoResumption),
    Retransmission,
    Aborted(AbortReason),
}

const ACCEPTED: u8 = 0;
const RESUMED: u8 = 1;
const FULL_HANDSHAKE: u8 = 2;
const RETRANSMISSION: u8 = 3;
const ABORTED: u8 = 4;
const EARLY_DATA: u8 = 5;

impl Outcome {
    /// `None` for what is no ClientHello, or not yet.
    pub(crate) fn of(verdict: &Verdict<'_>) -> Option<Self> {
        match *verdict {
            Verdict::AcceptEarlyData(_) => Some(Self::Accepted),
            Verdict::Resume(_, why_not) => Some(Self::Resumed(why_not)),
            Verdict::FullHandshake(why) => Some(Self::FullHandshake(why)),
            Verdict::Retransmission => Some(Self::Retransmission),
            Verdict::Abort(_, why) => Some(Self::Aborted(why)),
            Verdict::Incomplete | Verdict::Discard(_) => None,
        }
    }

    /// Verdict and reason under the names that the engine's counters have.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Accepted => ("accept_early_data", ""),
            Self::Resumed(why_not) => ("resume", why_not.name()),
            Self::FullHandshake(why) => ("full_handshake", why.name()),
            Self::Retransmission => ("retransmission", ""),
            Self::Aborted(why) => ("abort", why.name()),
        }
    }

    fn code(self) -> [u8; 2] {
        match self {
            Self::Accepted => [ACCEPTED, 0],
            Self::Resumed(why_not) => [RESUMED, place(NoEarlyData::ALL, &why_not)],
            Self::FullHandshake(why) => [FULL_HANDSHAKE, place(NoResumption::ALL, &why)],
            Self::Retransmission => [RETRANSMISSION, 0],
            Self::Aborted(why) => [ABORTED, place(AbortReason::ALL, &why)],
        }
    }

    fn from_code([verdict, reason]: [u8; 2]) -> Option<Self> {
        let reason = usize::from(reason);
        match verdict {
            ACCEPTED => Some(Self::Accepted),
            RESUMED => NoEarlyData::ALL.get(reason).copied().map(Self::Resumed),
            FULL_HANDSHAKE => {
                let why = NoResumption::ALL.get(reason).copied();
                why.map(Self::FullHandshake)
            }
            RETRANSMISSION => Some(Self::Retransmission),
            ABORTED => AbortReason::ALL.get(reason).copied().map(Self::Aborted),
            _ => None,
        }
    }
}

fn place<T: PartialEq>(all: &[T], one: &T) -> u8 {
    let place = all.iter().position(|other| other == one);
    place
        .and_then(|at| u8::try_from(at).ok())
        .unwrap_or(u8::MAX)
}

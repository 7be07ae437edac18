//! Flights that come so far and no further.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dtls_session::admission::{AbortReason, Discarded, NoEarlyData, NoResumption};
use dtls_session::{Datagram, Verdict};

use crate::common::admission::{BATCH, Gateway, NaiveGateway, ROUND, WARM_UP};
use crate::common::contest::{Contestant, time};
use crate::common::flights::{Flight, now};
use crate::common::naive::Refused;
use crate::common::spoil::Spoilt;

/// Nanoseconds for a flight that comes as far as its name says: in the order in which both
/// pipelines look at it.
pub(super) struct Ladder {
    pub(super) record: f64,
    pub(super) psk_mode: f64,
    pub(super) key: f64,
    pub(super) ticket: f64,
    pub(super) suites: f64,
    pub(super) binder: f64,
    pub(super) not_fresh: f64,
    pub(super) accepted: f64,
}

impl Ladder {
    /// From the laps of [`ours`] or of [`naive`].
    pub(super) fn of(laps: &mut impl Iterator<Item = f64>) -> Self {
        let [
            record,
            psk_mode,
            key,
            ticket,
            suites,
            binder,
            not_fresh,
            accepted,
        ] = std::array::from_fn(|_| laps.next().unwrap_or(f64::NAN));
        Self {
            record,
            psk_mode,
            key,
            ticket,
            suites,
            binder,
            not_fresh,
            accepted,
        }
    }
}

/// What is wrong with the flights of the lower rungs, and the answer of either pipeline.
type Rung = (Spoilt, fn(&Verdict<'_>) -> bool, Refused);

const SPOILT: [Rung; 6] = [
    (
        Spoilt::Record,
        |verdict| matches!(verdict, Verdict::Discard(Discarded::NotARecord)),
        Refused::Malformed,
    ),
    (
        Spoilt::PskMode,
        |verdict| matches!(verdict, Verdict::FullHandshake(NoResumption::NoPskMode)),
        Refused::Malformed,
    ),
    (
        Spoilt::Key,
        |verdict| matches!(verdict, Verdict::FullHandshake(NoResumption::UnknownKey)),
        Refused::UnknownKey,
    ),
    (
        Spoilt::Ticket,
        |verdict| matches!(verdict, Verdict::FullHandshake(NoResumption::ForgedTicket)),
        Refused::Forged,
    ),
    (
        Spoilt::Suites,
        |verdict| matches!(verdict, Verdict::FullHandshake(NoResumption::NoCommonSuite)),
        Refused::OtherContext,
    ),
    (
        Spoilt::Binder,
        |verdict| matches!(verdict, Verdict::Abort(_, AbortReason::BadBinder)),
        Refused::BadBinder,
    ),
];

/// How far ahead the clock of a client is whose flight is not fresh.
const AHEAD: Duration = Duration::from_secs(60);

/// The library, up to flights that `gateway` accepts.
pub(super) fn ours(mut gateway: Gateway) -> Vec<Contestant> {
    let mut rungs: Vec<_> = SPOILT.map(|(what, answer, _)| spoilt(what, answer)).into();
    rungs.push(not_fresh());
    rungs.push(Contestant::new("accepted", ROUND, move || {
        gateway.round(BATCH)
    }));
    rungs
}

fn spoilt(what: Spoilt, answer: fn(&Verdict<'_>) -> bool) -> Contestant {
    let mut gateway = Gateway::that_knows_clients();
    let mut flights = gateway.flights(ROUND);
    flights.iter_mut().for_each(|flight| flight.spoil(what));
    Contestant::new("spoilt", ROUND, move || {
        let arrived = flights.clone();
        timed(&arrived, |arrived| gateway.count(arrived, answer), ROUND)
    })
}

/// On no rung: what was accepted a moment ago, and comes again.
pub(super) fn repeated() -> Contestant {
    let mut gateway = Gateway::new(0, ROUND);
    let answer = |verdict: &Verdict<'_>| matches!(verdict, Verdict::Retransmission);
    Contestant::new("repeated", ROUND, move || {
        let flights = gateway.flights(ROUND);
        gateway.admit(&datagrams(&flights));
        let arrived = flights.clone();
        // In a table of limited size some took the places of others.
        let most = ROUND * 3 / 4;
        timed(&arrived, |arrived| gateway.count(arrived, answer), most)
    })
}

/// Flights of clients whose clocks are off.
fn not_fresh() -> Contestant {
    let mut gateway = Gateway::new(0, ROUND);
    let flights = gateway.flights_sent(ROUND, now().saturating_add(AHEAD));
    let answer = |verdict: &Verdict<'_>| matches!(verdict, Verdict::Resume(_, NoEarlyData::Early));
    Contestant::new("not fresh", ROUND, move || {
        let arrived = flights.clone();
        timed(&arrived, |arrived| gateway.count(arrived, answer), ROUND)
    })
}

/// The naive pipeline, up to flights that `gateway` accepts.
pub(super) fn naive(mut gateway: NaiveGateway) -> Vec<Contestant> {
    let mut refusing = NaiveGateway::new(Arc::default());
    let mut refused: Vec<_> = SPOILT
        .map(|(what, _, why)| {
            let mut flights = refusing.flights(ROUND);
            flights.iter_mut().for_each(|flight| flight.spoil(what));
            (flights, why)
        })
        .into();
    let not_fresh = refusing.flights_sent(ROUND, now().saturating_add(AHEAD));
    refused.push((not_fresh, Refused::NotFresh));
    let refusing = Rc::new(refusing);
    let refused = refused.into_iter().map(|(flights, why)| {
        let refusing = Rc::clone(&refusing);
        Contestant::new("refused", ROUND, move || {
            let arrived = flights.clone();
            let refused = |arrived: &[Flight]| {
                refusing.count(arrived, |answer| answer.as_ref().err() == Some(&why))
            };
            refused(&arrived[..WARM_UP]);
            let mut answers = 0;
            let took = time(|| answers = refused(&arrived));
            assert_eq!(answers, ROUND, "{why:?}");
            took
        })
    });
    let accepted = Contestant::new("accepted", ROUND, move || gateway.round());
    refused.chain([accepted]).collect()
}

/// How long it takes to admit datagrams that have just arrived, of which at least `expected` get
/// the answer that is counted.
fn timed(
    arrived: &[Flight],
    mut count: impl FnMut(&[Datagram<'_>]) -> usize,
    expected: usize,
) -> Duration {
    let datagrams = datagrams(arrived);
    count(&datagrams[..WARM_UP]);
    let mut counted = 0;
    let took = time(|| counted = count(&datagrams));
    assert!(counted >= expected, "{counted} of {}", arrived.len());
    took
}

fn datagrams(flights: &[Flight]) -> Vec<Datagram<'_>> {
    flights.iter().map(Flight::datagram).collect()
}

//! The whole way of a flight, from the datagram to the verdict.

use dtls_session::admission::{AbortReason, NoEarlyData};
use dtls_session::wire::AlertDescription;
use dtls_session::{Engine, ReplayProtection, Worker};

use crate::check::{Thread, check};
use crate::common::{NOW, Seen, admit, admit_from, after, engine, first_flight, peer, ticket};

const REPLAYED: Seen = Seen::Resume(NoEarlyData::Replayed);
const BAD_BINDER: Seen = Seen::Abort(AlertDescription::DECRYPT_ERROR, AbortReason::BadBinder);

/// Two workers, and a flight for either.
fn two_workers(protection: ReplayProtection) -> ([Worker; 2], Vec<u8>) {
    let builder = Engine::builder().replay_protection(protection);
    let engine = engine(builder.recorder_bytes(1 << 10));
    let mut workers = [(); 2].map(|()| engine.worker(0).unwrap());
    let ticket = ticket(&mut workers[0], NOW);
    // The first time works for the collector.
    drop(workers[1].admit(&[], NOW).unwrap());
    let flight = first_flight(&ticket, NOW, after(100));
    (workers, flight.datagrams[0].clone())
}

/// Whoever saw a ticket sends it with a binder of his own.
fn with_bad_binder(flight: &[u8]) -> Vec<u8> {
    let mut forged = flight.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    forged
}

/// Invariant 1, "at most once", across cores: a replay from another port reaches another worker at
/// the same time. One of the two gets 0-RTT, the other resumes without.
#[test]
fn a_flight_and_its_replay_on_two_workers() {
    for protection in [
        ReplayProtection::SingleUseTickets,
        ReplayProtection::ClientHelloRecording,
    ] {
        check(move || {
            let ([mut one, mut two], flight) = two_workers(protection);
            let replay = flight.clone();
            let thread = Thread::run(move || {
                let seen = admit_from(&mut two, &replay, peer(1, 9), after(110));
                (seen, two)
            });
            let seen = admit(&mut one, &flight, after(100));
            let (replayed, _two) = thread.join();
            assert!([[seen, replayed], [replayed, seen]].contains(&[Seen::Accept, REPLAYED]));
        });
    }
}

/// Invariant 2, "authenticate, then remember": a valid ticket with a bad binder changes nothing,
/// whether it comes before the genuine flight or at the same time.
#[test]
fn a_bad_binder_uses_nothing_up() {
    check(|| {
        let ([mut one, mut two], flight) = two_workers(ReplayProtection::SingleUseTickets);
        let forged = with_bad_binder(&flight);
        assert_eq!(admit(&mut one, &forged, after(90)), BAD_BINDER);
        let thread = Thread::run(move || (admit(&mut two, &forged, after(100)), two));
        assert_eq!(admit(&mut one, &flight, after(100)), Seen::Accept);
        assert_eq!(thread.join().0, BAD_BINDER);
    });
}

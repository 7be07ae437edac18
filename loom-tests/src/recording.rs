//! The table of recorded flights: buckets of two, slices that take turns.

use std::sync::Arc;

use dtls_session::UnixMillis;
use dtls_session::model::Recorder;

use crate::check::{Thread, check};

const NOW: UnixMillis = UnixMillis(0);
const SLICE_MS: u64 = 10;
/// As many slices as a window of one slice needs.
const RING: u64 = 4;

/// A recorder with one bucket for each slice.
fn recorder() -> Arc<Recorder> {
    let bytes = RING as usize * 2 * 8;
    Arc::new(Recorder::new(bytes, SLICE_MS, SLICE_MS, NOW).unwrap())
}

/// The same place in the ring, one turn later.
fn next_turn() -> UnixMillis {
    UnixMillis(NOW.0 + RING * SLICE_MS)
}

fn firsts(answers: &[bool]) -> usize {
    answers.iter().filter(|first| **first).count()
}

/// Invariant 1, "at most once": of three workers that record one flight, one is the first.
#[test]
fn of_three_recorders_of_one_flight_one_is_first() {
    check(|| {
        let recorder = recorder();
        let threads = [1, 2].map(|_| {
            let recorder = Arc::clone(&recorder);
            Thread::run(move || recorder.record(NOW, b"flight"))
        });
        let mut answers = vec![recorder.record(NOW, b"flight")];
        answers.extend(threads.map(Thread::join));
        assert_eq!(firsts(&answers), 1);
    });
}

/// Invariant 1: two flights race for the places of one bucket, in either order. Each is first
/// once.
#[test]
fn flights_that_race_for_a_bucket_are_each_first_once() {
    check(|| {
        let recorder = recorder();
        let other = Arc::clone(&recorder);
        let thread = Thread::run(move || [b"f", b"g"].map(|flight| other.record(NOW, flight)));
        let [g, f] = [b"g", b"f"].map(|flight| recorder.record(NOW, flight));
        let [other_f, other_g] = thread.join();
        assert_eq!(firsts(&[f, other_f]), 1);
        assert_eq!(firsts(&[g, other_g]), 1);
    });
}

/// Invariant 3, "fail closed": of three flights that race for a bucket of two, one is refused, and
/// no flight that was accepted is forgotten for it.
#[test]
fn a_full_bucket_evicts_nothing() {
    check(|| {
        let recorder = recorder();
        let threads = [b"f", b"g"].map(|flight| {
            let recorder = Arc::clone(&recorder);
            Thread::run(move || recorder.record(NOW, flight))
        });
        let mut answers = vec![recorder.record(NOW, b"h")];
        answers.extend(threads.map(Thread::join));
        assert_eq!(firsts(&answers), 2);
        let again = [b"f", b"g", b"h"].map(|flight| recorder.record(NOW, flight));
        assert_eq!(firsts(&again), 0);
    });
}

/// Invariant 1: a flight is replayed while its slice expires and the next turn takes its places.
/// It is not accepted again, and the next turn's flight is accepted once.
#[test]
fn a_flight_is_not_accepted_again_when_its_slice_expires() {
    check(|| {
        let recorder = recorder();
        assert!(recorder.record(NOW, b"flight"));
        let other = Arc::clone(&recorder);
        let thread = Thread::run(move || other.record(next_turn(), b"next"));
        let replayed = [1, 2].map(|_| recorder.record(NOW, b"flight"));
        assert_eq!(firsts(&replayed), 0);
        assert_eq!(
            firsts(&[thread.join(), recorder.record(next_turn(), b"next")]),
            1
        );
    });
}

/// Invariant 1: two slow workers record a flight whose slice is just expiring, while a third
/// records the first flight of the next turn.
#[test]
fn slow_recorders_of_an_expiring_slice_agree() {
    check(|| {
        let recorder = recorder();
        let [slow, new] = [(NOW, b"flight"), (next_turn(), b"newest")].map(|(arrival, flight)| {
            let recorder = Arc::clone(&recorder);
            Thread::run(move || recorder.record(arrival, flight))
        });
        let answer = recorder.record(NOW, b"flight");
        assert!(firsts(&[answer, slow.join()]) <= 1);
        assert!(new.join());
        assert!(!recorder.record(next_turn(), b"newest"));
    });
}

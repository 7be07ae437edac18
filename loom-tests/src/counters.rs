//! Counters that are read while they are written.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use dtls_session::model::Counters;
use dtls_session::{Engine, Worker};

use crate::check::{Thread, check};
use crate::common::{NOW, admit, engine};

/// Invariant 6, "readers never wait": whoever sums up while a worker counts sees a count that was
/// true, and later never a smaller one.
///
/// It sees everything that it could, which is what loom alone would miss: see `sync::checked`.
#[test]
fn a_sum_is_true_and_never_falls() {
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let all_seen = Arc::clone(&seen);
    check(move || {
        let counters = Arc::new(Counters::new());
        let other = Arc::clone(&counters);
        let thread = Thread::run(move || (0..2).for_each(|_| other.count_issued()));
        let first = counters.sum().issued();
        let second = counters.sum().issued();
        assert!(first <= second && second <= 2);
        seen.lock().unwrap().insert((first, second));
        thread.join();
        assert_eq!(counters.sum().issued(), 2);
    });
    assert_eq!(all_seen.lock().unwrap().len(), 6);
}

fn count_one(worker: &mut Worker) {
    admit(worker, b"not a record", NOW);
}

/// Invariant 6: two workers count at once without waiting for each other, and nothing is lost, since
/// each has counters of its own.
#[test]
fn two_workers_lose_no_count() {
    check(|| {
        let engine = engine(Engine::builder());
        let [mut one, mut two] = [(); 2].map(|()| engine.worker(0).unwrap());
        count_one(&mut one);
        count_one(&mut two);
        let thread = Thread::run(move || {
            count_one(&mut two);
            two
        });
        count_one(&mut one);
        thread.join();
        assert_eq!(engine.metrics().discarded(), 4);
    });
}

/// Invariant 6: a worker comes while another goes, and may go on with its counters. Nothing is lost.
#[test]
fn who_takes_counters_over_loses_no_count() {
    check(|| {
        let engine = engine(Engine::builder());
        let going = Counters::of_next_worker(&engine);
        let thread = Thread::run(move || going.count_issued());
        Counters::of_next_worker(&engine).count_issued();
        thread.join();
        assert_eq!(engine.metrics().issued(), 2);
    });
}

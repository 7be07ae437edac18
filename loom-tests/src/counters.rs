//! Counters that are read while they are written.

use std::sync::Arc;

use dtls_session::model::Counters;
use dtls_session::{Engine, Worker};

use crate::check::{Thread, check};
use crate::common::{NOW, admit, engine};

/// Invariant 6, "readers never wait": whoever sums up while a worker counts sees a count that was
/// true, and later never a smaller one.
#[test]
fn a_sum_is_true_and_never_falls() {
    check(|| {
        let counters = Arc::new(Counters::new());
        let other = Arc::clone(&counters);
        let thread = Thread::run(move || (0..2).for_each(|_| other.count_issued()));
        let first = counters.sum().issued();
        let second = counters.sum().issued();
        assert!(first <= second && second <= 2);
        thread.join();
        assert_eq!(counters.sum().issued(), 2);
    });
}

fn count_one(worker: &mut Worker) {
    admit(worker, b"not a record", NOW);
}

/// Two workers count at once, and nothing is lost: each has counters of its own.
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

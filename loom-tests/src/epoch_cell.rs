//! The cell in which the key array is swapped, over `crossbeam-epoch` as it is.

use std::sync::Arc;

use dtls_session::model::EpochCell;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::check::{Lent, Thread, Watched, check};

/// Invariant 6, "readers never wait", and 7, "what is retired is gone once the last reader has
/// left": a reader sees the old value or the new one, whole, and either stays until it has left.
///
/// It pins twice, so that the second pin can see what was not there at the first.
#[test]
fn a_reader_sees_whole_values_that_stay_until_it_leaves() {
    check(|| {
        let cell = EpochCell::new(Watched::new(1));
        let reader = cell.reader();
        // The first pin of a reader works for the collector, which is not the point here.
        drop(reader.pin());
        let step = Arc::new(AtomicUsize::new(0));
        let other_step = Arc::clone(&step);
        let thread = Thread::run(move || {
            let first = reader.pin();
            // Loom has to try what comes before the writer begins, and it looks at atomics only.
            other_step.store(1, Relaxed);
            let second = reader.pin();
            assert!(first.read() <= second.read());
            drop((first, second));
            reader
        });
        step.load(Relaxed);
        cell.replace(Watched::new(2), || {});
        cell.collect();
        thread.join();
    });
}

/// Invariant 7: the old value goes when the reader has left, not before, though the reader pins
/// anew all the time; and it does go.
#[test]
fn the_old_value_goes_when_its_reader_has_left() {
    check(|| {
        let cell = EpochCell::new(Watched::new(1));
        let reader = cell.reader();
        drop(reader.pin());
        let thread = Thread::run(move || {
            reader.pin().read();
            reader.pin().read();
            reader
        });
        let gone = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&gone);
        cell.replace(Watched::new(2), move || {
            count.fetch_add(1, Relaxed);
        });
        cell.collect();
        thread.join();
        (0..3).for_each(|_| cell.collect());
        assert_eq!(gone.load(Relaxed), 1);
    });
}

/// Invariant 7: it is a reader's own pin that finds out that all have left, and the writer that
/// drops the value. What the reader did with it comes before.
#[test]
fn what_a_reader_did_comes_before_the_writer_drops_it() {
    check(|| {
        let cell = EpochCell::new(Watched::new(1));
        let reader = Lent::new(cell.reader());
        let first_pins = [cell.reader(), cell.reader()];
        let old = reader.lend().pin();
        cell.replace(Watched::new(2), || {});
        let thread = Thread::run(move || {
            old.read();
            drop(old);
            // The first pin of a reader works for the collector, and it takes two.
            loom::stop_exploring();
            drop(first_pins[0].pin());
            loom::explore();
            drop(first_pins[1].pin());
            first_pins
        });
        cell.collect();
        thread.join();
        drop(reader);
    });
}

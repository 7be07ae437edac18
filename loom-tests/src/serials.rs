//! Serials: a nonce is made of each.

use std::sync::Arc;

use dtls_session::model::{Budget, Household, Lane};

use crate::check::{Thread, check};

/// Invariant 4, "a nonce is used once": two workers of one lane never get the same serial, and
/// none beyond the limit.
#[test]
fn no_serial_is_given_twice() {
    check(|| {
        let lane = Arc::new(Lane::new(3, &Budget::new(0)));
        let other = Arc::clone(&lane);
        let take_two = |lane: &Lane| [lane.take_serial(1), lane.take_serial(1)];
        let thread = Thread::run(move || take_two(&other));
        let mut given = [take_two(&lane), thread.join()].concat();
        given.sort_unstable();
        assert_eq!(given, [None, Some(0), Some(1), Some(2)]);
    });
}

/// Invariant 5, "a ticket that was issued can be opened until it expires": the key knows the
/// expiry of the last ticket, whichever of two workers issued it.
#[test]
fn the_latest_expiry_counts() {
    check(|| {
        let key = Household::new(1).key([1; 32]);
        let other = key.clone();
        let thread = Thread::run(move || other.take_serial(0, 10));
        key.take_serial(0, 20);
        thread.join();
        key.end_sealing();
        assert_eq!(key.last_expiry(), Some(20));
    });
}

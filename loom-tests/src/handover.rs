//! A graceful stop hands over which tickets were used, while workers still accept.

use std::sync::Arc;

use dtls_session::model::{Budget, Lane};

use crate::check::{Thread, check};

/// Invariant 1, "at most once", across a restart: a ticket that is struck while its bit is handed
/// over is accepted here or there, not both.
#[test]
fn a_ticket_is_accepted_before_the_handover_or_after_it() {
    check(|| {
        let budget = Budget::new(1 << 10);
        let lane = Arc::new(Lane::new(4, &budget));
        let serial = lane.take_serial(1).unwrap();
        assert!(lane.remember(serial));
        let other = Arc::clone(&lane);
        let thread = Thread::run(move || other.strike(serial));
        let next = lane.hand_over(&budget).unwrap();
        let struck = [thread.join(), next.strike(serial), lane.strike(serial)];
        assert_eq!(struck.iter().filter(|won| **won == Some(true)).count(), 1);
    });
}

/// Invariant 1, and 3, "fail closed": a ticket that is issued and struck while the bits are handed
/// over is accepted once at most, and by the next process only if its bit went over.
#[test]
fn a_ticket_of_the_last_moment_is_accepted_once_at_most() {
    check(|| {
        let budget = Budget::new(1 << 10);
        let lane = Arc::new(Lane::new(4, &budget));
        let other = Arc::clone(&lane);
        let thread = Thread::run(move || {
            let serial = other.take_serial(1).unwrap();
            assert!(other.remember(serial));
            other.strike(serial)
        });
        let next = lane.hand_over(&budget).unwrap();
        let struck = [thread.join(), next.strike(0)];
        assert!(struck.iter().filter(|won| **won == Some(true)).count() <= 1);
    });
}

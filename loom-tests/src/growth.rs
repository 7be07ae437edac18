//! Bits of used tickets that grow while tickets are struck.

use std::sync::Arc;

use dtls_session::model::{Budget, Lane};

use crate::check::{Thread, check};

/// Invariant 1, "at most once", and 9, "bounded": two workers of a lane make the same chunk at
/// once and strike in it. No strike is lost with the chunk that lost, nor is its memory.
#[test]
fn no_strike_is_lost_when_two_grow_the_same_chunk() {
    check(|| {
        let budget = Budget::new(1 << 10);
        let lane = Arc::new(Lane::new(4, &budget));
        // Serials 2 and 3 lie in the third chunk.
        for _ in 0..4 {
            lane.take_serial(1);
        }
        let other = Arc::clone(&lane);
        let thread = Thread::run(move || {
            assert!(other.remember(2));
            other.strike(2)
        });
        assert!(lane.remember(3));
        assert_eq!(lane.strike(3), Some(true));
        let struck = [lane.strike(2), thread.join(), lane.strike(2)];
        assert_eq!(struck.iter().filter(|won| **won == Some(true)).count(), 1);
        assert_eq!(lane.strike(3), Some(false));
        assert_eq!(budget.used(), 8, "one chunk, counted once");
    });
}

/// Invariant 3, "fail closed": who strikes a ticket whose chunk is only being made either knows
/// nothing of it, or strikes it for good.
#[test]
fn a_strike_during_growth_counts_or_does_nothing() {
    check(|| {
        let lane = Arc::new(Lane::new(4, &Budget::new(1 << 10)));
        let other = Arc::clone(&lane);
        let thread = Thread::run(move || {
            let serial = other.take_serial(1).unwrap();
            assert!(other.remember(serial));
        });
        let early = lane.strike(0);
        assert_ne!(early, Some(false), "nobody struck it before");
        thread.join();
        assert_eq!(lane.strike(0), Some(early != Some(true)));
    });
}

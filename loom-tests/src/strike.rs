//! Workers that strike the same ticket.

use std::sync::Arc;

use dtls_session::model::{Budget, Lane};

use crate::check::{Thread, check};

fn lane_with_one_ticket() -> Arc<Lane> {
    let lane = Lane::new(4, &Budget::new(1 << 10));
    let serial = lane.take_serial(1).unwrap();
    assert!(lane.remember(serial));
    Arc::new(lane)
}

/// Invariant 1, "at most once": of two workers that strike one ticket, exactly one wins.
#[test]
fn of_two_workers_one_wins() {
    check(|| {
        let lane = lane_with_one_ticket();
        let other = Arc::clone(&lane);
        let thread = Thread::run(move || other.strike(0));
        let won = [lane.strike(0), thread.join()];
        assert!(won == [Some(true), Some(false)] || won == [Some(false), Some(true)]);
        assert_eq!(lane.strike(0), Some(false));
    });
}

/// Invariant 1: of three workers that strike one ticket, exactly one wins.
#[test]
fn of_three_workers_one_wins() {
    check(|| {
        let lane = lane_with_one_ticket();
        let threads = [1, 2].map(|_| {
            let lane = Arc::clone(&lane);
            Thread::run(move || lane.strike(0))
        });
        let mut won = vec![lane.strike(0)];
        won.extend(threads.map(Thread::join));
        won.sort_unstable();
        assert_eq!(won, [Some(false), Some(false), Some(true)]);
    });
}

/// Invariant 1, and 3, "fail closed": strikes of neighbours in one word do not undo each other,
/// and none strikes the other's ticket.
#[test]
fn neighbours_leave_each_other_alone() {
    check(|| {
        let lane = lane_with_one_ticket();
        for _ in 0..3 {
            lane.take_serial(1);
        }
        // Both lie in the third chunk.
        assert!(lane.remember(2) && lane.remember(3));
        let other = Arc::clone(&lane);
        let thread = Thread::run(move || other.strike(2));
        assert_eq!(lane.strike(3), Some(true));
        assert_eq!(thread.join(), Some(true));
        assert_eq!([lane.strike(2), lane.strike(3)], [Some(false); 2]);
    });
}

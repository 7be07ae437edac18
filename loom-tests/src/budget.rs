//! The limit of the bits of used tickets.

use std::sync::Arc;

use dtls_session::model::{Budget, Lane};

use crate::check::{Thread, check};

/// Bytes of one chunk, as small as it is here.
const CHUNK: usize = 8;

/// Invariant 9, "bounded": two lanes that grow at once stay within the limit together, at every
/// moment, and give back what they took.
#[test]
fn lanes_that_grow_at_once_stay_within_the_limit() {
    check(|| {
        let budget = Budget::new(CHUNK);
        let lanes = Arc::new([Lane::new(4, &budget), Lane::new(4, &budget)]);
        let (others, watched) = (Arc::clone(&lanes), budget.clone());
        let thread = Thread::run(move || {
            let remembers = others[1].remember(0);
            assert!(watched.used() <= CHUNK);
            remembers
        });
        let remembers = lanes[0].remember(0);
        assert!(budget.used() <= CHUNK);
        assert_ne!(remembers, thread.join(), "there is room for one");
        assert_eq!(budget.used(), CHUNK);
        drop(lanes);
        assert_eq!(budget.used(), 0);
    });
}

/// Invariant 9: two lanes go at once, and all that they took is there again.
#[test]
fn lanes_that_go_at_once_give_everything_back() {
    check(|| {
        let budget = Budget::new(2 * CHUNK);
        let [one, two] = [(); 2].map(|()| Lane::new(4, &budget));
        assert!(one.remember(0) && two.remember(0));
        let thread = Thread::run(move || drop(one));
        drop(two);
        thread.join();
        assert_eq!(budget.used(), 0);
    });
}

//! When a key may go.

use dtls_session::model::Household;

use crate::check::{Thread, check};

/// Invariant 5, "a ticket that was issued can be opened until it expires": who is told that no
/// more tickets come knows the expiry of the last one, though another thread found it out.
#[test]
fn the_last_expiry_is_final_when_sealing_has_ended() {
    check(|| {
        let key = Household::new(1).key([1; 32]);
        let other = key.clone();
        let thread = Thread::run(move || {
            other.take_serial(0, 10);
            // The worker has left, and this thread has seen it.
            other.end_sealing();
        });
        let last_expiry = key.last_expiry();
        assert!([None, Some(10)].contains(&last_expiry));
        thread.join();
    });
}

/// Invariant 7, "there is a way to see that it happened": one key goes while another is retired,
/// and exactly that one still waits.
#[test]
fn keys_that_wait_are_counted_while_others_go() {
    check(|| {
        let household = Household::new(1);
        let [going, waiting] = [[1; 32], [2; 32]].map(|secret| household.key(secret));
        going.retire();
        let thread = Thread::run(move || drop(going));
        waiting.retire();
        thread.join();
        assert_eq!(household.waiting(), 1);
        drop(waiting);
        assert_eq!(household.waiting(), 0);
    });
}

//! A pointer that is set at most once, under the bits of used tickets.

use std::sync::Arc;

use dtls_session::model::OnceBox;

use crate::check::{Thread, Watched, check};

/// Invariant 1, "at most once": of two workers that make the memory for the same tickets, one
/// wins, and both go on with what it made. Two memories would accept a ticket twice.
#[test]
fn two_set_it_and_both_see_the_first() {
    check(|| {
        let cell = Arc::new(OnceBox::new());
        let other = Arc::clone(&cell);
        let thread = Thread::run(move || {
            let (seen, ours) = other.set(Watched::new(1));
            (seen.read(), ours)
        });
        let (seen, ours) = cell.set(Watched::new(2));
        let (seen, other) = ((seen.read(), ours), thread.join());
        assert_ne!(seen.1, other.1, "one of them has won");
        assert_eq!(seen.0, other.0);
        assert_eq!(seen.0, cell.get().unwrap().read(), "and it stays");
    });
}

/// Invariant 6, "readers never wait": who reads while it is set sees nothing, or all of it.
#[test]
fn a_reader_sees_nothing_or_all_of_it() {
    check(|| {
        let cell = Arc::new(OnceBox::new());
        let other = Arc::clone(&cell);
        let thread = Thread::run(move || other.set(Watched::new(1)).1);
        if let Some(seen) = cell.get() {
            assert_eq!(seen.read(), 1);
        }
        thread.join();
    });
}

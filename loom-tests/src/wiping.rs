//! A key is retired while a worker still uses it.

use dtls_session::replay::{ReplayConfig, Strike};
use dtls_session::ticket::Scratch;
use dtls_session::{EncryptedTicket, ReplayCache, UnixMillis};

use crate::check::{Thread, check};
use crate::common::Seeded;
use crate::rotation::{keys, reader, seal};

/// Invariant 7, "key bytes are overwritten once the last reader has left", and 5: a worker opens
/// and strikes a ticket of a key that is just being retired. The key and its bits stay until the
/// worker has left, and are gone soon after.
#[test]
fn a_retired_key_stays_until_its_last_reader_has_left() {
    check(|| {
        let (keys, random) = (keys(), Seeded::new(2));
        let reader = reader(&keys);
        let ticket = seal(&reader);
        keys.rotate(UnixMillis(0), &random).unwrap();
        for now in 1..4 {
            keys.maintain(UnixMillis(now), &random).unwrap();
        }
        let replay = ReplayCache::new(&ReplayConfig::default(), 1, &random, UnixMillis(0)).unwrap();
        let thread = Thread::run(move || {
            let mut scratch = Scratch::new();
            let snapshot = reader.snapshot();
            let ticket = EncryptedTicket::parse(&ticket).unwrap();
            // It has expired, so that it need not open.
            if let Ok(opened) = ticket.open(&snapshot, &mut scratch) {
                let strike = replay.check_and_record(&opened, b"binder", UnixMillis(0));
                assert_eq!(strike, Strike::First);
            }
            drop(snapshot);
            reader
        });
        assert_eq!(
            keys.maintain(UnixMillis(10_000), &random).unwrap().retired,
            1
        );
        assert!(keys.retired_waiting() <= 1);
        thread.join();
        for now in 1..4 {
            keys.maintain(UnixMillis(10_000 + now), &random).unwrap();
        }
        assert_eq!(keys.retired_waiting(), 0);
    });
}

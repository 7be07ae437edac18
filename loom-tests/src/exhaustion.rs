//! Workers whose lane has no serial left.

use std::time::Duration;

use dtls_session::keys::{KeyConfig, KeyId};
use dtls_session::ticket::Scratch;
use dtls_session::wire::NewSessionTicket;
use dtls_session::{EncryptedTicket, Engine, KeySecret, Worker, model};

use crate::check::{Thread, check, check_bounded};
use crate::common::{NOW, Seeded, ticket};

/// An engine with one lane, whose first key has no serial left, and the next one two.
fn exhausted() -> Engine {
    let keys = KeyConfig {
        serials_per_lane: 2,
        ticket_lifetime: Duration::from_secs(10),
        ..KeyConfig::default()
    };
    let random = Seeded::new(1);
    let builder = Engine::builder()
        .keys(keys)
        .ticket_key(KeySecret::new([7; 32]))
        .reassembly(1, 100);
    let engine = builder.build(&random, NOW).unwrap();
    engine.maintain(NOW, &random).unwrap();
    let mut worker = engine.worker(0).unwrap();
    for _ in 0..2 {
        ticket(&mut worker, NOW);
    }
    engine
}

/// Where a ticket was born: its nonce, and the key that it is for.
fn birth(engine: &Engine, message: &[u8]) -> (KeyId, u8, u32) {
    let ticket = NewSessionTicket::parse(message).unwrap().ticket;
    let reader = engine.keys().reader();
    let (snapshot, mut scratch) = (reader.snapshot(), Scratch::new());
    let ticket = EncryptedTicket::parse(ticket).unwrap();
    model::birth(&ticket.open(&snapshot, &mut scratch).unwrap())
}

/// A worker that has pinned before: the first time works for the collector.
fn worker(engine: &Engine) -> Worker {
    let mut worker = engine.worker(0).unwrap();
    drop(worker.admit(&[], NOW).unwrap());
    worker
}

/// Invariant 4, "a nonce is used once", under exhaustion: two workers find the key exhausted at
/// once. One key takes over, once, and both get a serial of it. At most 5 preemptions.
#[test]
fn two_exhausted_workers_share_the_next_key() {
    check_bounded(5, || {
        let engine = exhausted();
        let [mut one, mut two] = [(); 2].map(|()| worker(&engine));
        let thread = Thread::run(move || (ticket(&mut two, NOW), two));
        let ours = ticket(&mut one, NOW);
        let (theirs, two) = thread.join();
        let births = [ours, theirs].map(|ticket| birth(&engine, &ticket));
        assert_eq!(births[0].0, births[1].0, "one key took over");
        assert_ne!(births[0].2, births[1].2);
        drop((one, two));
    });
}

/// Invariants 4 and 5: a worker finds the key exhausted while rotation is under way anyway.
#[test]
fn exhaustion_meets_rotation() {
    check(|| {
        let engine = exhausted();
        let mut worker = worker(&engine);
        let thread = Thread::run(move || (ticket(&mut worker, NOW), worker));
        engine.keys().rotate(NOW, &Seeded::new(2)).unwrap();
        let (ticket, worker) = thread.join();
        birth(&engine, &ticket);
        drop(worker);
    });
}

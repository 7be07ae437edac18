//! Striking tickets that are used, while very many are out.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dtls_session::EncryptedTicket;
use dtls_session::keys::KeySnapshot;
use dtls_session::replay::Strike;
use dtls_session::ticket::{OpenedTicket, Scratch};

use super::admission::{EmptyTicket, Gateway};
use super::contest::{Contestant, Shuffler, time};
use super::flights::now;

const BATCH: usize = 32;
/// Few enough that what was opened is still near when it is struck, as it is in the engine.
pub const ROUND: usize = 8 * BATCH;

/// Tickets that are struck, of those that are out: enough to touch the whole register, whose
/// cache lines hold 512 bits each.
pub const SAMPLES: usize = 1 << 18;

/// When used tickets expire, for the maps: it makes no difference to them.
pub const EXPIRES: u64 = 1_900_000_000_000;

/// A ticket's name in a map: as long as its tag.
pub type Name = [u8; 16];

/// Strikes in random order while `outstanding` tickets are out. The maps remember as many used
/// ones, and forget after the timing what they were told in it.
pub fn strike(outstanding: usize) -> Vec<Contestant> {
    let mut gateway = Gateway::new(outstanding, SAMPLES.min(outstanding / 2));
    let used = Arc::new(filled(outstanding));
    vec![ours(&mut gateway), dash_map(&used), mutex(outstanding)]
}

/// Tickets that were opened are struck batch by batch. The register's memory is asked for a batch
/// ahead, as the engine does when it opens tickets whose binders it has yet to verify.
///
/// When all samples were struck they are struck again, which costs the same. The tickets stay
/// `gateway`'s: another contestant may strike them, too.
pub fn ours(gateway: &mut Gateway) -> Contestant {
    fetched_ahead(gateway, 1)
}

/// The same, with the memory asked for so many batches ahead; 0: not at all.
pub fn fetched_ahead(gateway: &mut Gateway, batches: usize) -> Contestant {
    let engine = gateway.worker.engine().clone();
    let reader = engine.keys().reader();
    let mut tickets = gateway.opaque.clone();
    tickets.truncate(tickets.len() / ROUND * ROUND);
    // Not those that another contestant has just struck.
    let rounds = tickets.len() / ROUND;
    tickets.rotate_left(batches * rounds / 8 * ROUND);
    let arrival = now();
    let mut next = 0;
    let mut scratch: Vec<_> = (0..ROUND).map(|_| Scratch::new()).collect();
    Contestant::new("dtls-session, ReplayCache", ROUND, move || {
        let (replay, keys) = (engine.replay(), reader.snapshot());
        let places = tickets[next..][..ROUND].iter().zip(&mut scratch);
        let open = |(ticket, scratch)| open(&keys, ticket, scratch);
        let opened: Vec<OpenedTicket<'_, '_>> = places.map(open).collect();
        let mut known = 0;
        let took = time(|| {
            let mut asked = opened.chunks(BATCH);
            let mut ask = || {
                asked
                    .next()
                    .into_iter()
                    .flatten()
                    .for_each(|t| replay.prefetch(t))
            };
            (0..batches).for_each(|_| ask());
            for batch in opened.chunks(BATCH) {
                if batches > 0 {
                    ask();
                }
                for ticket in batch {
                    let strike = replay.check_and_record(ticket, b"", arrival);
                    known += usize::from(matches!(strike, Strike::First | Strike::Replayed));
                }
            }
        });
        assert_eq!(known, ROUND);
        next = (next + ROUND) % tickets.len();
        took
    })
}

fn open<'k, 'b>(
    keys: &'k KeySnapshot<'_>,
    ticket: &EmptyTicket,
    scratch: &'b mut Scratch,
) -> OpenedTicket<'k, 'b> {
    let ticket = EncryptedTicket::parse(ticket).expect("well-formed");
    ticket.open(keys, scratch).expect("genuine")
}

pub fn dash_map(used: &Arc<DashMap<Name, u64>>) -> Contestant {
    let used = Arc::clone(used);
    let mut names = Shuffler(8);
    Contestant::new("DashMap", ROUND, move || {
        let strike = |name| used.insert(name, EXPIRES).is_none();
        strike_all(&mut names, strike, |name| {
            used.remove(&name);
        })
    })
}

fn mutex(outstanding: usize) -> Contestant {
    let mut used = HashMap::with_capacity(outstanding + ROUND);
    let mut random = Shuffler(9);
    used.extend((0..outstanding).map(|_| (random.bytes(), EXPIRES)));
    let used = Mutex::new(used);
    let mut names = Shuffler(10);
    Contestant::new("Mutex<HashMap>", ROUND, move || {
        let lock = || used.lock().expect("no panic before");
        let strike = |name: Name| lock().insert(name, EXPIRES).is_none();
        strike_all(&mut names, strike, |name| {
            lock().remove(&name);
        })
    })
}

/// Strikes new names, and then lets them be forgotten.
pub fn strike_all(
    names: &mut Shuffler,
    strike: impl Fn(Name) -> bool,
    forget: impl Fn(Name),
) -> Duration {
    let names: Vec<Name> = (0..ROUND).map(|_| names.bytes()).collect();
    let mut first = 0;
    let took = time(|| {
        for name in black_box(&names) {
            first += usize::from(strike(*name));
        }
    });
    assert_eq!(first, ROUND, "each is used once");
    names.into_iter().for_each(forget);
    took
}

/// A map in which `outstanding` used tickets are remembered, filled by two threads.
pub fn filled(outstanding: usize) -> DashMap<Name, u64> {
    filled_within(outstanding, Duration::MAX)
}

/// The same, but with fewer if that takes too long.
pub fn filled_within(outstanding: usize, patience: Duration) -> DashMap<Name, u64> {
    let used = DashMap::with_capacity(outstanding + ROUND);
    let start = Instant::now();
    let fill = |seed: u64, mut count: usize| {
        let mut random = Shuffler(seed);
        while count > 0 && start.elapsed() < patience {
            let chunk = count.min(1 << 16);
            for _ in 0..chunk {
                used.insert(random.bytes(), EXPIRES);
            }
            count -= chunk;
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| fill(5, outstanding / 2));
        fill(6, outstanding - outstanding / 2);
    });
    used
}

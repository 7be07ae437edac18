//! Striking tickets that are used, while very many are out.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dtls_session::EncryptedTicket;
use dtls_session::keys::KeySnapshot;
use dtls_session::replay::{ReplayCache, Strike};
use dtls_session::ticket::{OpenedTicket, Scratch};

use super::admission::{EmptyTicket, Gateway};
use super::contest::{Contestant, Entrant, Shuffler, time};
use super::flights::now;

const BATCH: usize = 32;

/// New names that a map is told in one round, all over it.
pub const ROUND: usize = 1 << 13;

/// Tickets that are struck, of those that are out: as many as the register of 64 M has cache
/// lines, which hold 512 bits each.
pub const SAMPLES: usize = 1 << 17;

/// Goes that are not timed, before each one that is: after the first one part of what is struck still
/// comes from where others have displaced it to.
const WARM_UP: usize = 3;

/// When used tickets expire, for the maps: it makes no difference to them.
pub const EXPIRES: u64 = 1_900_000_000_000;

/// A ticket's name in a map: as long as its tag.
pub type Name = [u8; 16];

/// Strikes in random order while `outstanding` tickets are out. The maps remember as many used
/// ones, and forget after the timing what they were told in it.
///
/// All of them strike for a while before they are timed: what another one has left in the caches,
/// and what is asked of them between two strikes in a gateway, is not in their figures.
pub fn strike<R>(outstanding: usize, compare: impl FnOnce(Vec<Entrant<'_>>) -> R) -> R {
    let gateway = Gateway::new(outstanding, SAMPLES.min(outstanding / 2));
    let used = Arc::new(filled(outstanding));
    let maps = [dash_map(&used), mutex(outstanding)];
    Opened::of(&gateway, |opened| {
        compare([opened.strikes()].into_iter().chain(maps).collect())
    })
}

/// Tickets of those that are out.
#[derive(Clone, Copy)]
pub struct Opened<'a> {
    replay: &'a ReplayCache,
    tickets: &'a [OpenedTicket<'a, 'a>],
}

impl<'a> Opened<'a> {
    /// Opens some of `gateway`'s, in whole batches.
    pub fn of<R>(gateway: &Gateway, work: impl FnOnce(Opened<'_>) -> R) -> R {
        let engine = gateway.worker.engine();
        let reader = engine.keys().reader();
        let keys = reader.snapshot();
        let (batches, _) = gateway.opaque.as_chunks::<BATCH>();
        let sealed = batches.as_flattened();
        let mut scratch: Vec<_> = sealed.iter().map(|_| Scratch::new()).collect();
        let open = |(ticket, scratch)| open(&keys, ticket, scratch);
        let tickets: Vec<_> = sealed.iter().zip(&mut scratch).map(open).collect();
        work(Opened {
            replay: engine.replay(),
            tickets: &tickets,
        })
    }

    /// They are struck batch by batch. The register's memory is asked for a batch ahead, as the
    /// engine does when it opens tickets whose binders it has yet to verify.
    ///
    /// Each time they are struck again, which costs the same.
    pub fn strikes(self) -> Entrant<'a> {
        self.fetched_ahead(1)
    }

    /// The same, with the memory asked for so many batches ahead; 0: not at all.
    pub fn fetched_ahead(self, batches: usize) -> Entrant<'a> {
        let name = "dtls-session, ReplayCache";
        Entrant::new(name, self.tickets.len(), move || {
            (0..WARM_UP).for_each(|_| self.strike_all(batches));
            time(|| self.strike_all(batches))
        })
    }

    fn strike_all(self, batches: usize) {
        let arrival = now();
        let mut asked = self.tickets.chunks(BATCH);
        let mut ask = || {
            let batch = asked.next().into_iter().flatten();
            batch.for_each(|ticket| self.replay.prefetch(ticket));
        };
        (0..batches).for_each(|_| ask());
        let mut known = 0;
        for batch in self.tickets.chunks(BATCH) {
            if batches > 0 {
                ask();
            }
            for ticket in batch {
                let strike = self.replay.check_and_record(ticket, b"", arrival);
                known += usize::from(matches!(strike, Strike::First | Strike::Replayed));
            }
        }
        assert_eq!(known, self.tickets.len());
    }
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
    let mut strike_new = || {
        let names: Vec<Name> = (0..ROUND).map(|_| names.bytes()).collect();
        let mut first = 0;
        let took = time(|| {
            for name in black_box(&names) {
                first += usize::from(strike(*name));
            }
        });
        assert_eq!(first, ROUND, "each is used once");
        names.into_iter().for_each(&forget);
        took
    };
    for _ in 0..WARM_UP {
        strike_new();
    }
    strike_new()
}

/// A map in which `outstanding` used tickets are remembered, filled by two threads.
pub fn filled(outstanding: usize) -> DashMap<Name, u64> {
    filled_within(outstanding, Duration::MAX)
}

/// The same, but with fewer if that takes too long.
pub fn filled_within(outstanding: usize, patience: Duration) -> DashMap<Name, u64> {
    // It grows as it is filled, so that however far that gets no page of it is touched for the
    // first time when it is timed.
    let used = DashMap::new();
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

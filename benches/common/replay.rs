//! Striking tickets that are used, while very many are out.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

use dashmap::DashMap;
use dtls_session::keys::{KeyConfig, KeyReader, KeySnapshot};
use dtls_session::replay::{ReplayConfig, Strike};
use dtls_session::ticket::{OpenedTicket, Scratch, TICKET_MAX};
use dtls_session::{EncryptedTicket, ReplayCache, TicketKeyManager};
use ring::rand::SystemRandom;

use super::contest::{Contestant, Shuffler, time};
use super::tickets::NOW;

const BATCH: usize = 32;
const ROUND: usize = 32 * BATCH;

/// Tickets that are struck, of those that are out: enough to touch the whole register, whose
/// cache lines hold 512 bits each.
const SAMPLES: usize = 1 << 18;

const EXPIRES: u64 = NOW.0 + 3_600_000;

/// An opaque ticket without bytes of the host's.
type Ticket = [u8; 21 + 16 + 16];

/// A ticket's name in a map: as long as its tag.
type Name = [u8; 16];

/// Strikes in random order while `outstanding` tickets are out. The maps remember as many used
/// ones, and forget after the timing what they were told in it.
pub fn strike(outstanding: usize) -> Vec<Contestant> {
    let mut contestants = strike_without_mutex(outstanding);
    contestants.push(mutex(outstanding));
    contestants
}

pub fn strike_without_mutex(outstanding: usize) -> Vec<Contestant> {
    vec![ours(outstanding), dash_map(outstanding)]
}

/// A register of very many tickets, and some of these in random order.
struct Register {
    replay: ReplayCache,
    reader: KeyReader,
    tickets: Vec<Ticket>,
}

impl Register {
    fn new(outstanding: usize) -> Self {
        let random = SystemRandom::new();
        let manager = TicketKeyManager::new(KeyConfig::default(), &random, NOW).expect("built");
        let replay = ReplayCache::new(&ReplayConfig::default(), 1, &random, NOW).expect("built");
        let reader = manager.reader();
        let tickets = issue(&reader, outstanding);
        Self {
            replay,
            reader,
            tickets,
        }
    }
}

fn issue(reader: &KeyReader, count: usize) -> Vec<Ticket> {
    let spacing = count.div_ceil(SAMPLES);
    let mut out = [0; TICKET_MAX];
    let mut samples = Vec::with_capacity(count / spacing);
    for n in 0..count {
        let keys = reader.snapshot();
        let sealed = keys.seal_opaque(0, b"", 3600, NOW, &mut out);
        let (len, remembered) = sealed.expect("there are serials");
        assert!(remembered);
        if n % spacing == 0 {
            samples.push(out[..len].try_into().expect("an empty ticket"));
        }
    }
    Shuffler(7).shuffle(&mut samples);
    samples
}

/// Tickets that were opened are struck batch by batch. The register's memory is asked for a batch
/// ahead, as the engine does when it opens tickets whose binders it has yet to verify.
///
/// When all samples were struck they are struck again, which costs the same.
fn ours(outstanding: usize) -> Contestant {
    let register = Register::new(outstanding);
    let (mut next, mut expected) = (0, Strike::First);
    let mut scratch: Vec<_> = (0..ROUND).map(|_| Scratch::new()).collect();
    Contestant::new("dtls-session, ReplayCache", ROUND, move || {
        let Register {
            replay, tickets, ..
        } = &register;
        let keys = register.reader.snapshot();
        let places = tickets[next..][..ROUND].iter().zip(&mut scratch);
        let open = |(ticket, scratch)| open(&keys, ticket, scratch);
        let opened: Vec<OpenedTicket<'_, '_>> = places.map(open).collect();
        let mut as_expected = 0;
        let took = time(|| {
            let mut asked = opened.chunks(BATCH);
            let mut ask = || {
                asked
                    .next()
                    .into_iter()
                    .flatten()
                    .for_each(|t| replay.prefetch(t))
            };
            ask();
            for batch in opened.chunks(BATCH) {
                ask();
                for ticket in batch {
                    let strike = replay.check_and_record(ticket, b"", NOW);
                    as_expected += usize::from(strike == expected);
                }
            }
        });
        assert_eq!(as_expected, ROUND);
        next += ROUND;
        if next == tickets.len() {
            (next, expected) = (0, Strike::Replayed);
        }
        took
    })
}

fn open<'k, 'b>(
    keys: &'k KeySnapshot<'_>,
    ticket: &Ticket,
    scratch: &'b mut Scratch,
) -> OpenedTicket<'k, 'b> {
    let ticket = EncryptedTicket::parse(ticket).expect("well-formed");
    ticket.open(keys, scratch).expect("genuine")
}

fn dash_map(outstanding: usize) -> Contestant {
    let used = filled(outstanding);
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

fn strike_all(
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
    let used = DashMap::with_capacity(outstanding + ROUND);
    let fill = |seed: u64, count: usize| {
        let mut random = Shuffler(seed);
        for _ in 0..count {
            used.insert(random.bytes(), EXPIRES);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| fill(5, outstanding / 2));
        fill(6, outstanding - outstanding / 2);
    });
    used
}

//! Finding a ticket's key, alone and while another core finds and replaces keys.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use dtls_session::TicketKeyManager;
use dtls_session::keys::KeyConfig;
use ring::rand::SystemRandom;

use super::contest::{Contestant, time};
use super::tickets::NOW;

const BATCH: usize = 32;
const BATCHES: usize = 1 << 14;

/// As many as a day of hourly rotation leaves.
const KEYS: usize = 25;

/// Batches of the other core between two of its writes.
const BATCHES_PER_WRITE: usize = 256;

/// What a peer finds: as large as a key of `ring`.
#[derive(Clone)]
struct Key([u8; 544]);

/// Lookups of all keys in turn: ours in one snapshot for each batch, the peers' one by one, as
/// they are where tickets are opened one by one. If `busy`, another thread does the same and
/// replaces a key now and then.
pub fn lookup(busy: bool) -> Vec<Contestant> {
    vec![
        ours(busy),
        rw_lock(busy),
        rw_lock_list(busy),
        arc_swap(busy),
    ]
}

fn ours(busy: bool) -> Contestant {
    let random = SystemRandom::new();
    let manager = TicketKeyManager::new(KeyConfig::default(), &random, NOW).expect("built");
    let reader = manager.reader();
    let ids = ids(|_| {
        // A key that has sealed a ticket stays until that expires, the others go at once.
        let sealed = reader
            .snapshot()
            .seal_opaque(0, b"", 3600, NOW, &mut [0; 64]);
        sealed.expect("there are serials");
        let id = manager.active();
        let rotated = manager.rotate(NOW, &random);
        rotated.expect("there are random numbers");
        id
    });
    let writer = manager.clone();
    let find = move || {
        let reader = manager.reader();
        move || {
            let keys = reader.snapshot();
            for id in black_box(&ids) {
                assert!(keys.contains(*id));
            }
        }
    };
    let rotate = move || {
        // An error is a key too many: those of before have yet to leave.
        let _ = writer.rotate(NOW, &SystemRandom::new());
    };
    contestant("dtls-session, a snapshot for 32", busy, find, rotate)
}

fn rw_lock(busy: bool) -> Contestant {
    let ids = ids(|n| n);
    let keys: HashMap<_, _> = ids.iter().map(|id| (*id, Key([7; 544]))).collect();
    let keys = Arc::new(RwLock::new(keys));
    let written = Arc::clone(&keys);
    let find = move || {
        let keys = Arc::clone(&keys);
        move || {
            for id in black_box(&ids) {
                let keys = keys.read().expect("no panic before");
                black_box(&keys.get(id).expect("it stays").0);
            }
        }
    };
    contestant("RwLock<HashMap>, read for each", busy, find, move || {
        let mut keys = written.write().expect("no panic before");
        keys.insert(u64::MAX, Key([8; 544]));
    })
}

fn rw_lock_list(busy: bool) -> Contestant {
    let ids = ids(|n| n);
    let keys: Vec<_> = ids
        .iter()
        .map(|id| (*id, Box::new(Key([7; 544]))))
        .collect();
    let keys = Arc::new(RwLock::new(keys));
    let written = Arc::clone(&keys);
    let find = move || {
        let keys = Arc::clone(&keys);
        move || {
            for id in black_box(&ids) {
                let keys = keys.read().expect("no panic before");
                let found = keys.iter().find(|(known, _)| known == id);
                black_box(&found.expect("it stays").1);
            }
        }
    };
    contestant("RwLock<Vec>, read for each", busy, find, move || {
        let mut keys = written.write().expect("no panic before");
        *keys[0].1 = Key([8; 544]);
    })
}

fn arc_swap(busy: bool) -> Contestant {
    let ids = ids(|n| n);
    let keys: HashMap<_, _> = ids
        .iter()
        .map(|id| (*id, Arc::new(Key([7; 544]))))
        .collect();
    let keys = Arc::new(ArcSwap::from_pointee(keys));
    let written = Arc::clone(&keys);
    let find = move || {
        let keys = Arc::clone(&keys);
        move || {
            for id in black_box(&ids) {
                black_box(&keys.load().get(id).expect("it stays").0);
            }
        }
    };
    contestant("ArcSwap<HashMap>, load for each", busy, find, move || {
        let mut next = HashMap::clone(&written.load());
        next.insert(u64::MAX, Arc::new(Key([8; 544])));
        written.store(Arc::new(next));
    })
}

/// A batch of ids: each key's in turn.
fn ids<I: Copy>(mut id: impl FnMut(u64) -> I) -> [I; BATCH] {
    let keys: Vec<I> = (0..KEYS as u64)
        .map(|n| id(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    std::array::from_fn(|n| keys[n % KEYS])
}

/// `find` makes, for each thread, what looks up a batch.
fn contestant<F: FnMut() + 'static>(
    name: &'static str,
    busy: bool,
    find: impl Fn() -> F + Send + 'static,
    write: impl FnMut() + Send + 'static,
) -> Contestant {
    let mut find_batch = find();
    let neighbour = busy.then(|| Neighbour::new(find, write));
    Contestant::new(name, BATCH * BATCHES, move || {
        let mut round = || time(|| (0..BATCHES).for_each(|_| find_batch()));
        match &neighbour {
            Some(neighbour) => neighbour.beside(round),
            None => round(),
        }
    })
}

/// Another core that works with the same keys.
struct Neighbour {
    shared: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    works: AtomicBool,
    ends: AtomicBool,
    /// Batches that it has looked up.
    batches: AtomicUsize,
}

/// Rounds that are tried to have one beside which the other core has really worked.
const TRIES: usize = 1000;

impl Neighbour {
    fn new<F: FnMut()>(
        find: impl FnOnce() -> F + Send + 'static,
        mut write: impl FnMut() + Send + 'static,
    ) -> Self {
        let shared = Arc::new(State::default());
        let state = Arc::clone(&shared);
        let work = move || {
            let mut find_batch = find();
            while !state.ends.load(Ordering::Relaxed) {
                if !state.works.load(Ordering::Relaxed) {
                    std::thread::park();
                    continue;
                }
                (0..BATCHES_PER_WRITE).for_each(|_| find_batch());
                state
                    .batches
                    .fetch_add(BATCHES_PER_WRITE, Ordering::Relaxed);
                write();
            }
        };
        Self {
            shared,
            thread: Some(std::thread::spawn(work)),
        }
    }

    /// Times `round` while the other core works, and not while the system lets it wait.
    fn beside(&self, mut round: impl FnMut() -> Duration) -> Duration {
        let State { works, batches, .. } = &*self.shared;
        works.store(true, Ordering::Relaxed);
        self.unpark();
        let mut took = Duration::ZERO;
        for _ in 0..TRIES {
            let before = batches.load(Ordering::Relaxed);
            took = round();
            if batches.load(Ordering::Relaxed) - before >= BATCHES / 4 {
                break;
            }
        }
        works.store(false, Ordering::Relaxed);
        took
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        self.unpark();
        self.thread.take().map(JoinHandle::join);
    }
}

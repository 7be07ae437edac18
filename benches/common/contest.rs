//! Ways to do the same thing, timed against each other.

use std::time::{Duration, Instant};

/// One way to do it. A round does it `ops` times and returns how long that took, without what it
/// needed to prepare.
pub struct Entrant<'a> {
    pub name: &'static str,
    pub ops: u32,
    round: Box<dyn FnMut() -> Duration + 'a>,
}

/// One that has all that it needs.
pub type Contestant = Entrant<'static>;

impl<'a> Entrant<'a> {
    pub fn new(name: &'static str, ops: usize, round: impl FnMut() -> Duration + 'a) -> Self {
        Self {
            name,
            ops: u32::try_from(ops).expect("a round of fewer than 2^32"),
            round: Box::new(round),
        }
    }

    pub fn round(&mut self) -> Duration {
        (self.round)()
    }
}

/// What a contestant needed in its best round, in nanoseconds for one operation.
#[derive(Clone, Copy)]
pub struct Lap {
    pub name: &'static str,
    pub ns: f64,
}

/// Runs all contestants in turn, again and again, and keeps the best round of each: whatever else
/// the machine does slows all of them down, and some rounds of each not at all.
pub fn race(contestants: &mut [Entrant<'_>], rounds: usize) -> Vec<Lap> {
    let mut best = vec![Duration::MAX; contestants.len()];
    for _ in 0..rounds {
        for (contestant, best) in contestants.iter_mut().zip(&mut best) {
            *best = contestant.round().min(*best);
        }
    }
    let laps = contestants.iter().zip(best);
    laps.map(|(contestant, best)| Lap {
        name: contestant.name,
        ns: best.as_secs_f64() * 1e9 / f64::from(contestant.ops),
    })
    .collect()
}

/// How long `work` takes. Not inlined: `.ci/instructions` counts what happens in here.
#[inline(never)]
pub fn time<R>(work: impl FnOnce() -> R) -> Duration {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed()
}

/// Numbers that look random and are the same in each run (splitmix64).
pub struct Shuffler(pub u64);

impl Shuffler {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
        bytes
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, (self.next() % (end as u64 + 1)) as usize);
        }
    }
}

//! A worker while keys rotate.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dtls_session::Engine;
use dtls_session::keys::KeyConfig;
use ring::rand::SystemRandom;

use crate::common::admission::{BATCH, Gateway, admit};
use crate::common::contest::Shuffler;
use crate::common::flights::{Flight, now};
use crate::pin;

/// Flights in one round: some milliseconds' worth, with some rotations.
const ROUND: usize = 64 * BATCH;

/// How often keys rotate, where they do: 1000 times a second.
const EVERY: Duration = Duration::from_millis(1);

/// What was seen of one worker, in turn while keys rotated on another core and while they did not.
pub(crate) struct Rotation {
    /// Those that happened while batches were admitted.
    pub(crate) rotations: usize,
    pub(crate) still: Batches,
    pub(crate) rotating: Batches,
    /// The batches, by their number, in which keys rotated.
    pub(crate) rotated_in: Vec<usize>,
}

/// How long batches took, in the order in which they came.
#[derive(Default)]
pub(crate) struct Batches(pub(crate) Vec<Duration>);

impl Batches {
    /// In microseconds.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted[(last as f64 * q) as usize].as_secs_f64() * 1e6
    }

    /// In microseconds, without those that were interrupted.
    fn mean(&self) -> f64 {
        let most = self.quantile(1.0 - INTERRUPTED);
        let took = self.0.iter().map(|took| took.as_secs_f64() * 1e6);
        let kept: Vec<_> = took.filter(|took| *took <= most).collect();
        kept.iter().sum::<f64>() / kept.len() as f64
    }
}

/// The slowest batches, which the system interrupted. At 1000 rotations a second some 3% of the
/// batches have one in them, so that most of these stay.
const INTERRUPTED: f64 = 0.005;

impl Rotation {
    /// Throughput while keys rotate, as a part of that while they do not.
    pub(crate) fn throughput_ratio(&self) -> f64 {
        self.still.mean() / self.rotating.mean()
    }

    pub(crate) fn rotations_per_second(&self) -> f64 {
        let rotating: Duration = self.rotating.0.iter().sum();
        self.rotations as f64 / rotating.as_secs_f64()
    }
}

pub(crate) fn run(rounds: usize) -> Rotation {
    // Each of them has issued tickets that somebody still holds: no rotation is put off for want of
    // a place.
    let keys = KeyConfig {
        max_keys: 1024,
        ..KeyConfig::default()
    };
    let engine = Engine::builder()
        .keys(keys)
        .build(&SystemRandom::new(), now())
        .expect("built");
    let rotator = Rotator::default();
    let (mut still, mut rotating) = (Batches::default(), Batches::default());
    let (mut rotations, mut rotated_in) = (0, Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| rotator.run(&engine));
        pin(0);
        let mut gateway = Gateway::of(&engine, 0);
        let mut random = Shuffler(1);
        for _ in 0..rounds {
            // In random order: that of each round would go with the pool of clients, which is
            // filled for each fourth set of flights.
            let mut turns = [(false, &mut still), (true, &mut rotating)];
            random.shuffle(&mut turns);
            for (rotates, batches) in turns {
                let flights = gateway.flights(ROUND);
                let datagrams: Vec<_> = flights.iter().map(Flight::datagram).collect();
                rotator.set(rotates);
                let mut before = rotator.rotations();
                for batch in datagrams.chunks(BATCH) {
                    let start = Instant::now();
                    assert_eq!(admit(&mut gateway.worker, batch), BATCH);
                    batches.0.push(start.elapsed());
                    let after = rotator.rotations();
                    if after > before {
                        rotations += after - before;
                        rotated_in.push(batches.0.len() - 1);
                        before = after;
                    }
                }
                rotator.set(false);
            }
        }
        rotator.ends.store(true, Ordering::Relaxed);
    });
    Rotation {
        rotations,
        still,
        rotating,
        rotated_in,
    }
}

/// Rotates keys while it is told to.
#[derive(Default)]
struct Rotator {
    rotates: AtomicBool,
    ends: AtomicBool,
    rotations: AtomicUsize,
}

impl Rotator {
    fn run(&self, engine: &Engine) {
        pin(1);
        let mut next = Instant::now();
        while !self.ends.load(Ordering::Relaxed) {
            if self.rotates.load(Ordering::Relaxed) {
                // An error would be a key too many: those of before had yet to leave.
                if engine.keys().rotate(now(), &SystemRandom::new()).is_ok() {
                    self.rotations.fetch_add(1, Ordering::Relaxed);
                }
            }
            // By when they are due, so that one that came late does not put the others off; but not
            // all at once for a time in which this thread did not run.
            next = (next + EVERY).max(Instant::now() - 4 * EVERY);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn rotations(&self) -> usize {
        self.rotations.load(Ordering::Relaxed)
    }

    fn set(&self, rotates: bool) {
        self.rotates.store(rotates, Ordering::Relaxed);
    }
}

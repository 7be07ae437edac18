//! Two workers on two cores, and a worker while keys rotate.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dtls_session::{Datagram, Engine};
use ring::rand::SystemRandom;

use crate::common::admission::{BATCH, Gateway, admit};
use crate::common::flights::{Flight, now};
use crate::figures::Figures;

/// Flights of one worker in one round: a millisecond's worth.
const ROUND: usize = 64 * BATCH;

/// How often keys rotate, where they do.
const ROTATION: Duration = Duration::from_millis(1);

pub(crate) fn run(rounds: usize, figures: &mut Figures) {
    figures.section("Two cores, and keys that rotate 1000 times a second");
    let rounds = rounds / 2;
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
        figures.add("scaling_2_workers", scaling(rounds));
    }
    let rotation = rotation(rounds);
    figures.add("rotation_throughput_ratio", rotation.throughput_ratio);
    figures.add("rotations", rotation.rotations as f64);
    figures.add("batch_p50_us", rotation.still.p50_us);
    figures.add("batch_p999_us", rotation.still.p999_us);
    figures.add("batch_p50_rotating_us", rotation.rotating.p50_us);
    figures.add("batch_p999_rotating_us", rotation.rotating.p999_us);
    figures.add(
        "batch_p999_rotation_ratio",
        rotation.rotating.p999_us / rotation.still.p999_us,
    );
}

/// How many times the throughput of one worker two have. Each worker's flights come with tickets
/// of both, as they do where clients' ports change.
fn scaling(rounds: usize) -> f64 {
    let builder = Engine::builder().lanes(2);
    let engine = builder.build(&SystemRandom::new(), now()).expect("built");
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let meeting = Meeting::default();
    let desks = [Mutex::default(), Mutex::default()];
    let best = |lane: usize| {
        if let Some(core) = cores.get(lane) {
            core_affinity::set_for_current(*core);
        }
        let mut gateway = Gateway::of(&engine, lane);
        let (mut alone, mut together) = (Duration::MAX, Duration::MAX);
        for _ in 0..rounds {
            for both in [false, true] {
                let mut flights = gateway.flights(ROUND);
                swap_half(&mut flights, &desks, lane, &meeting);
                let datagrams: Vec<_> = flights.iter().map(Flight::datagram).collect();
                meeting.meet();
                if both {
                    together = together.min(admit_all(&mut gateway, &datagrams));
                } else if lane == 0 {
                    alone = alone.min(admit_all(&mut gateway, &datagrams));
                }
                meeting.meet();
            }
        }
        (alone, together)
    };
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| best(1));
        (best(0), second.join().expect("no panic"))
    });
    let throughput = |took: Duration| ROUND as f64 / took.as_secs_f64();
    (throughput(first.1) + throughput(second.1)) / throughput(first.0)
}

/// Gives half of the flights to the other thread, and takes as many of its.
fn swap_half(
    flights: &mut Vec<Flight>,
    desks: &[Mutex<Vec<Flight>>; 2],
    lane: usize,
    meeting: &Meeting,
) {
    let half = flights.len() / 2;
    let put = |desk: usize, flights| *desks[desk].lock().expect("no panic before") = flights;
    let take = |desk: usize| std::mem::take(&mut *desks[desk].lock().expect("no panic before"));
    put(lane, flights.split_off(half));
    meeting.meet();
    let others = take(1 - lane);
    meeting.meet();
    // One of ours, one of theirs.
    *flights = std::mem::take(flights)
        .into_iter()
        .zip(others)
        .flat_map(<[_; 2]>::from)
        .collect();
}

fn admit_all(gateway: &mut Gateway, datagrams: &[Datagram<'_>]) -> Duration {
    let start = Instant::now();
    let accepted = gateway.admit(datagrams);
    let took = start.elapsed();
    assert_eq!(
        accepted,
        datagrams.len(),
        "each flight is genuine and comes once"
    );
    took
}

/// Lets two threads go on at the same moment: neither sleeps.
#[derive(Default)]
struct Meeting {
    arrivals: AtomicUsize,
}

impl Meeting {
    fn meet(&self) {
        let arrival = self.arrivals.fetch_add(1, Ordering::AcqRel);
        let both = (arrival / 2 + 1) * 2;
        while self.arrivals.load(Ordering::Acquire) < both {
            std::thread::yield_now();
        }
    }
}

struct Rotation {
    /// Throughput while keys rotate per throughput while they do not.
    throughput_ratio: f64,
    rotations: usize,
    still: Tail,
    rotating: Tail,
}

/// How long batches took.
struct Tail {
    p50_us: f64,
    p999_us: f64,
}

/// One worker, in turn while keys rotate on another core and while they do not.
fn rotation(rounds: usize) -> Rotation {
    let engine = Engine::builder()
        .build(&SystemRandom::new(), now())
        .expect("built");
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let rotator = Rotator::default();
    std::thread::scope(|scope| {
        scope.spawn(|| rotator.run(&engine, cores.get(1)));
        if let Some(core) = cores.first() {
            core_affinity::set_for_current(*core);
        }
        let mut gateway = Gateway::of(&engine, 0);
        let mut took = [Vec::new(), Vec::new()];
        let mut batches = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for rotating in [false, true] {
                let flights = gateway.flights(ROUND);
                let datagrams: Vec<_> = flights.iter().map(Flight::datagram).collect();
                rotator.set(rotating);
                let start = Instant::now();
                for batch in datagrams.chunks(BATCH) {
                    let start = Instant::now();
                    assert_eq!(admit(&mut gateway.worker, batch), BATCH);
                    batches[usize::from(rotating)].push(start.elapsed());
                }
                took[usize::from(rotating)].push(start.elapsed());
                rotator.set(false);
            }
        }
        rotator.ends.store(true, Ordering::Relaxed);
        let [still, rotating] = took.map(|took| quantile(took, 0.5));
        let [still_tail, rotating_tail] = batches.map(|took| Tail {
            p50_us: quantile(took.clone(), 0.5),
            p999_us: quantile(took, 0.999),
        });
        Rotation {
            throughput_ratio: still / rotating,
            rotations: rotator.rotations.load(Ordering::Relaxed),
            still: still_tail,
            rotating: rotating_tail,
        }
    })
}

/// In microseconds.
fn quantile(mut took: Vec<Duration>, q: f64) -> f64 {
    took.sort_unstable();
    let last = took.len().saturating_sub(1);
    took[(last as f64 * q) as usize].as_secs_f64() * 1e6
}

/// Rotates keys while it is told to.
#[derive(Default)]
struct Rotator {
    rotates: AtomicBool,
    ends: AtomicBool,
    rotations: AtomicUsize,
}

impl Rotator {
    fn run(&self, engine: &Engine, core: Option<&core_affinity::CoreId>) {
        if let Some(core) = core {
            core_affinity::set_for_current(*core);
        }
        while !self.ends.load(Ordering::Relaxed) {
            if self.rotates.load(Ordering::Relaxed) {
                // Too many keys: those of before have yet to leave.
                if engine.keys().rotate(now(), &SystemRandom::new()).is_ok() {
                    self.rotations.fetch_add(1, Ordering::Relaxed);
                }
            }
            std::thread::sleep(ROTATION);
        }
    }

    /// Returns when the first rotation has happened, if there are to be some.
    fn set(&self, rotates: bool) {
        let before = self.rotations.load(Ordering::Relaxed);
        self.rotates.store(rotates, Ordering::Relaxed);
        while rotates && self.rotations.load(Ordering::Relaxed) == before {
            std::thread::yield_now();
        }
    }
}

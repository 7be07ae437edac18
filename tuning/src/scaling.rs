//! Workers on several cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dtls_session::Engine;
use ring::rand::SystemRandom;

use crate::common::admission::{BATCH, Gateway};
use crate::common::flights::{Flight, now};
use crate::pin;

/// Flights of one worker in one round: a millisecond's worth.
const ROUND: usize = 64 * BATCH;

/// Lanes of an engine, at most.
const WORKERS_MAX: usize = 256;

/// Flights per second of 1, 2, 4 and more workers on as many cores of one engine. Each worker's
/// flights come with tickets of two of them, as they do where clients' ports change.
pub(crate) fn run(cores: usize, rounds: usize) -> Vec<(usize, f64)> {
    let cores = cores.min(WORKERS_MAX);
    let mut teams: Vec<_> = (0..)
        .map(|power| 1 << power)
        .take_while(|team| *team < cores)
        .collect();
    teams.push(cores);
    let builder = Engine::builder().lanes(cores);
    let engine = builder.build(&SystemRandom::new(), now()).expect("built");
    let crew = Crew {
        engine: &engine,
        teams: &teams,
        rounds,
        meeting: Meeting::new(cores),
        desks: (0..cores).map(|_| Mutex::default()).collect(),
    };
    let times: Vec<Vec<Duration>> = std::thread::scope(|scope| {
        let crew = &crew;
        let others: Vec<_> = (1..cores)
            .map(|lane| scope.spawn(move || crew.work(lane)))
            .collect();
        let first = crew.work(0);
        let others = others
            .into_iter()
            .map(|other| other.join().expect("no panic"));
        std::iter::once(first).chain(others).collect()
    });
    let throughput = |(index, team): (usize, &usize)| {
        let of = |took: &Vec<Duration>| ROUND as f64 / took[index].as_secs_f64();
        (*team, times[..*team].iter().map(of).sum())
    };
    teams.iter().enumerate().map(throughput).collect()
}

/// What the workers share.
struct Crew<'e> {
    engine: &'e Engine,
    teams: &'e [usize],
    rounds: usize,
    meeting: Meeting,
    desks: Vec<Mutex<Vec<Flight>>>,
}

impl Crew<'_> {
    /// The best time of this lane in each team. Those that it is not in, it waits for.
    fn work(&self, lane: usize) -> Vec<Duration> {
        pin(lane);
        let mut gateway = Gateway::of(self.engine, lane);
        let mut best = vec![Duration::MAX; self.teams.len()];
        for _ in 0..self.rounds {
            for (team, best) in self.teams.iter().zip(&mut best) {
                let flights = self.exchange(lane, gateway.flights(ROUND));
                let datagrams: Vec<_> = flights.iter().map(Flight::datagram).collect();
                self.meeting.meet();
                if lane < *team {
                    let start = Instant::now();
                    assert_eq!(gateway.admit(&datagrams), ROUND);
                    *best = start.elapsed().min(*best);
                }
                self.meeting.meet();
            }
        }
        best
    }

    /// Gives half of the flights to the lane before, and takes as many from the one behind.
    fn exchange(&self, lane: usize, mut ours: Vec<Flight>) -> Vec<Flight> {
        let desk = |lane: usize| {
            self.desks[lane % self.desks.len()]
                .lock()
                .expect("no panic")
        };
        *desk(lane) = ours.split_off(ROUND / 2);
        self.meeting.meet();
        let theirs = std::mem::take(&mut *desk(lane + 1));
        self.meeting.meet();
        ours.into_iter()
            .zip(theirs)
            .flat_map(<[_; 2]>::from)
            .collect()
    }
}

/// Lets threads go on at the same moment: none of them sleeps.
struct Meeting {
    size: usize,
    arrivals: AtomicUsize,
}

impl Meeting {
    fn new(size: usize) -> Self {
        Self {
            size,
            arrivals: AtomicUsize::new(0),
        }
    }

    fn meet(&self) {
        let before = self.arrivals.fetch_add(1, Ordering::AcqRel);
        let all = (before / self.size + 1) * self.size;
        while self.arrivals.load(Ordering::Acquire) < all {
            std::thread::yield_now();
        }
    }
}

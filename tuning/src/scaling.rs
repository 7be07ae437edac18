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

/// Workers that work at the same time.
#[derive(Clone, Copy)]
struct Team {
    size: usize,
    /// Each has an engine of its own: they share nothing but the machine.
    apart: bool,
}

pub(crate) struct Scaling {
    /// Flights per second of 1, 2, 4 and more workers on as many cores of one engine. Each worker's
    /// flights come with tickets of two of them, as they do where clients' ports change.
    pub(crate) together: Vec<(usize, f64)>,
    /// The same of two workers with an engine each. What they do better is what sharing costs.
    pub(crate) two_apart: Option<f64>,
}

pub(crate) fn run(cores: usize, rounds: usize) -> Scaling {
    let cores = cores.min(WORKERS_MAX);
    let mut sizes: Vec<_> = (0..)
        .map(|power| 1 << power)
        .take_while(|size| *size < cores)
        .collect();
    sizes.push(cores);
    let together = |size: &usize| Team {
        size: *size,
        apart: false,
    };
    let mut teams: Vec<_> = sizes.iter().map(together).collect();
    if cores > 1 {
        teams.push(Team {
            size: 2,
            apart: true,
        });
    }
    let builder = Engine::builder().lanes(cores);
    let engine = builder.build(&SystemRandom::new(), now()).expect("built");
    let crew = Crew {
        engine: &engine,
        teams: &teams,
        rounds,
        meeting: Meeting::new(cores),
        desks: (0..cores).map(|_| Mutex::default()).collect(),
    };
    let times: Vec<Vec<Vec<Duration>>> = std::thread::scope(|scope| {
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
    let throughput = |(index, team): (usize, &Team)| -> f64 {
        // A round takes as long as its last worker: their best ones need not have been the same.
        let took = |round: usize| {
            times[..team.size]
                .iter()
                .map(move |lane| lane[index][round])
        };
        let best = (0..rounds).filter_map(|round| took(round).max()).min();
        best.map_or(f64::NAN, |best| {
            (team.size * ROUND) as f64 / best.as_secs_f64()
        })
    };
    let throughputs: Vec<_> = teams.iter().enumerate().map(throughput).collect();
    Scaling {
        two_apart: throughputs.get(sizes.len()).copied(),
        together: sizes.into_iter().zip(throughputs).collect(),
    }
}

/// What the workers share.
struct Crew<'e> {
    engine: &'e Engine,
    teams: &'e [Team],
    rounds: usize,
    meeting: Meeting,
    desks: Vec<Mutex<Vec<Flight>>>,
}

impl Crew<'_> {
    /// The times of this lane in each team, round by round. Those that it is not in, it sleeps
    /// through: cores may share more than they say.
    fn work(&self, lane: usize) -> Vec<Vec<Duration>> {
        pin(lane);
        let mut shared = Gateway::of(self.engine, lane);
        let mut own = Gateway::new(0, 0);
        let mut times = vec![Vec::new(); self.teams.len()];
        for _ in 0..self.rounds {
            for (team, times) in self.teams.iter().zip(&mut times) {
                let flights = self.exchange(lane, shared.flights(ROUND));
                let own_flights = own.flights(if team.apart { ROUND } else { 0 });
                let (gateway, flights) = match team.apart {
                    true => (&mut own, own_flights),
                    false => (&mut shared, flights),
                };
                let datagrams: Vec<_> = flights.iter().map(Flight::datagram).collect();
                self.meeting.meet();
                if lane < team.size {
                    let start = Instant::now();
                    assert_eq!(gateway.admit(&datagrams), ROUND);
                    times.push(start.elapsed());
                    self.meeting.meet();
                } else {
                    self.meeting.meet_asleep();
                }
            }
        }
        times
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

/// Lets threads go on at the same moment.
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
        self.wait(std::thread::yield_now);
    }

    fn meet_asleep(&self) {
        self.wait(|| std::thread::sleep(Duration::from_micros(100)));
    }

    fn wait(&self, pause: impl Fn()) {
        let before = self.arrivals.fetch_add(1, Ordering::AcqRel);
        let all = (before / self.size + 1) * self.size;
        while self.arrivals.load(Ordering::Acquire) < all {
            pause();
        }
    }
}

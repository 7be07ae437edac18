//! Rounds in which all threads admit the same flights.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use dtls_session::admission::{NoEarlyData, NoResumption};
use dtls_session::{BATCH_MAX, Datagram, Engine, Error, UnixMillis, Worker};

use crate::common::*;
use crate::meeting::{Meeting, Member, lock};

/// How many scenarios share the time.
const SCENARIOS: u32 = 5;

/// Flights that each thread brings to a round.
const FLIGHTS: usize = 40;

/// Old flights that each thread offers again in every round.
const OLD: usize = 500;

/// A first flight, and what was said of it.
pub(crate) struct Flight {
    datagram: Vec<u8>,
    accepted: AtomicU32,
    /// A verdict named another reason against 0-RTT than a replay.
    spoken_against: AtomicBool,
}

impl Flight {
    pub(crate) fn new(datagram: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            datagram,
            accepted: AtomicU32::new(0),
            spoken_against: AtomicBool::new(false),
        })
    }

    /// Whether it was accepted.
    fn judged(&self, verdict: Seen) -> bool {
        match verdict {
            Seen::Accept => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
            }
            Seen::Resume(NoEarlyData::Replayed) | Seen::Retransmission => {}
            Seen::Resume(
                NoEarlyData::Late
                | NoEarlyData::Early
                | NoEarlyData::NotOffered
                | NoEarlyData::OtherIssuer
                | NoEarlyData::ReplayCacheFull
                | NoEarlyData::OutOfTime,
            )
            | Seen::Full(NoResumption::TicketExpired | NoResumption::UnknownKey) => {
                self.spoken_against.store(true, Ordering::Relaxed);
            }
            other => panic!("a genuine flight got {other:?}"),
        }
        verdict == Seen::Accept
    }

    /// The oracle.
    pub(crate) fn assert_once(&self) {
        let accepted = self.accepted.load(Ordering::Relaxed);
        let spoken_against = self.spoken_against.load(Ordering::Relaxed);
        assert!(accepted <= 1, "accepted {accepted} times");
        assert!(
            accepted == 1 || spoken_against,
            "never accepted, for no reason"
        );
    }
}

/// What all threads of a scenario share.
pub(crate) struct Race {
    pub(crate) threads: usize,
    pub(crate) meeting: Meeting,
    /// Milliseconds; may step.
    pub(crate) clock: AtomicU64,
    pub(crate) seed: u64,
    brought: Vec<Mutex<Vec<Arc<Flight>>>>,
    end: Instant,
    last: AtomicBool,
    pub(crate) offered: AtomicU64,
    pub(crate) issued: AtomicU64,
    pub(crate) accepted: AtomicU64,
    _turn: MutexGuard<'static, ()>,
}

impl Race {
    pub(crate) fn new(scenario: &str) -> Self {
        // One scenario at a time has all cores.
        static TURN: Mutex<()> = Mutex::new(());
        let turn = lock(&TURN);
        let number = |name| {
            std::env::var(name)
                .ok()
                .and_then(|value| value.parse().ok())
        };
        let seconds = number("DTLS_SESSION_STRESS_SECONDS").unwrap_or(5);
        let seed = number("DTLS_SESSION_STRESS_SEED").unwrap_or_else(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.unwrap().as_nanos() as u64 % 1_000_000
        });
        println!("{scenario}: DTLS_SESSION_STRESS_SEED={seed}");
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let threads = cores.clamp(2, 64);
        Self {
            threads,
            meeting: Meeting::new(threads),
            clock: AtomicU64::new(NOW.0),
            seed,
            brought: (0..threads).map(|_| Mutex::default()).collect(),
            end: Instant::now() + Duration::from_secs(seconds) / SCENARIOS,
            last: AtomicBool::new(false),
            offered: AtomicU64::new(0),
            issued: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            _turn: turn,
        }
    }

    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis(self.clock.load(Ordering::Relaxed))
    }

    /// Runs `thread` on all cores, and `weather` beside them until they are done.
    pub(crate) fn run(&self, thread: impl Fn(usize) + Sync, weather: impl FnOnce()) {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|me| {
                    let thread = &thread;
                    scope.spawn(move || {
                        let _member = Member(&self.meeting);
                        thread(me);
                    })
                })
                .collect();
            {
                let _member = Member(&self.meeting);
                weather();
            }
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }

    /// Whether another round follows: all threads hear the same.
    pub(crate) fn goes_on(&self, me: usize) -> bool {
        if me == 0 && Instant::now() >= self.end {
            self.last.store(true, Ordering::Relaxed);
        }
        self.meeting.wait();
        let last = self.last.load(Ordering::Relaxed);
        if last {
            self.meeting.wait();
            self.meeting.end();
        }
        !last
    }

    pub(crate) fn bring(&self, me: usize, flights: Vec<Arc<Flight>>) {
        *lock(&self.brought[me]) = flights;
    }

    /// The flights of all threads.
    pub(crate) fn all(&self) -> Vec<Arc<Flight>> {
        let brought = self.brought.iter();
        brought.flat_map(|flights| lock(flights).clone()).collect()
    }

    /// Admits `flights` in batches, from a port that this thread uses for this time only.
    pub(crate) fn offer(
        &self,
        worker: &mut Worker,
        flights: &[Arc<Flight>],
        port: u16,
        random: &Seeded,
    ) {
        let mut rest = flights;
        while !rest.is_empty() {
            let size = (1 + random.below(BATCH_MAX as u64) as usize).min(rest.len());
            let (batch, after) = rest.split_at(size);
            rest = after;
            let datagrams: Vec<_> = batch
                .iter()
                .map(|flight| Datagram {
                    bytes: &flight.datagram,
                    peer: peer(1, port),
                })
                .collect();
            let admitted = worker.admit(&datagrams, self.now()).unwrap();
            let judged = batch.iter().zip(admitted.iter());
            let accepted = judged.filter(|(flight, (_, verdict))| flight.judged(seen(*verdict)));
            self.accepted
                .fetch_add(accepted.count() as u64, Ordering::Relaxed);
        }
        self.offered
            .fetch_add(flights.len() as u64, Ordering::Relaxed);
    }

    /// One thread's part: flights are made by `bring`, admitted by all, and looked at.
    pub(crate) fn rounds(
        &self,
        me: usize,
        engine: &Engine,
        lane: usize,
        mut bring: impl FnMut(&mut Worker, &Seeded) -> Vec<Arc<Flight>>,
    ) {
        let random = Seeded::new(self.seed << 8 | me as u64);
        let mut worker = engine.worker(lane).unwrap();
        let mut old: Vec<Arc<Flight>> = Vec::new();
        let mut port = 1_u16;
        while self.goes_on(me) {
            self.bring(me, bring(&mut worker, &random));
            self.meeting.wait();
            let mut flights = self.all();
            // In the same order, so that the threads meet at every flight, or in any.
            if random.below(2) == 0 {
                shuffle(&mut flights, &random);
            }
            for _ in 0..2 {
                port = port % 60_000 + 1;
                self.offer(&mut worker, &flights, port, &random);
            }
            self.offer(&mut worker, &old, port, &random);
            self.meeting.wait();
            let own = lock(&self.brought[me]).clone();
            own.iter().for_each(|flight| flight.assert_once());
            self.issued.fetch_add(own.len() as u64, Ordering::Relaxed);
            for flight in own.into_iter().step_by(7) {
                if old.len() < OLD {
                    old.push(flight);
                } else {
                    let place = random.below(OLD as u64) as usize;
                    old[place].assert_once();
                    old[place] = flight;
                }
            }
        }
        for flight in &old {
            flight.assert_once();
        }
    }

    /// Flights with a ticket of their own each, issued by `worker`.
    pub(crate) fn fresh(&self, worker: &mut Worker, random: &Seeded) -> Vec<Arc<Flight>> {
        (0..FLIGHTS)
            .filter_map(|_| {
                let now = self.now();
                let ticket = self.try_ticket(worker, now)?;
                let flight = flight(&params(random.next() as u8), offer(&ticket, now, now));
                Some(Flight::new(flight.datagrams[0].clone()))
            })
            .collect()
    }

    /// A NewSessionTicket, unless serials have run out.
    fn try_ticket(&self, worker: &mut Worker, now: UnixMillis) -> Option<Vec<u8>> {
        let mut out = [0; 512];
        let session = session(dtls_session::schedule::CipherSuite::Aes128GcmSha256, now);
        match worker.issue(&session, client_address().ip(), now, &mut out) {
            Ok(len) => Some(out[12..len].to_vec()),
            Err(Error::SerialsExhausted) => None,
            Err(other) => panic!("{other:?}"),
        }
    }

    /// The whole account must be right, and most flights accepted.
    pub(crate) fn report(&self, scenario: &str, least: f64) {
        let [offered, issued, accepted] =
            [&self.offered, &self.issued, &self.accepted].map(|n| n.load(Ordering::Relaxed));
        println!("{scenario}: {issued} flights offered {offered} times, {accepted} accepted");
        assert!(
            accepted as f64 >= least * issued as f64,
            "few were accepted"
        );
        assert!(issued > 0 && offered >= 4 * issued);
    }
}

fn shuffle(flights: &mut [Arc<Flight>], random: &Seeded) {
    for last in (1..flights.len()).rev() {
        flights.swap(last, random.below(last as u64 + 1) as usize);
    }
}

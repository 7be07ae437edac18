//! Single use against a `HashSet`, under anything that can happen to a gateway: issuing, admitting
//! and replaying on any worker, rotation, restart with the same key, with what was remembered handed
//! over or not, and a clock that steps.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use common::*;
use dtls_session::admission::NoEarlyData;
use dtls_session::handover::{HandoverError, IDENTITY_LEN, hand_over, take_over};
use dtls_session::keys::KeyConfig;
use dtls_session::{Engine, KeySecret, ReplayProtection, UnixMillis, Worker};
use proptest::prelude::*;

const LANES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// A ticket, from this lane.
    Issue(usize),
    /// The next flight with a ticket nobody has used, admitted on this lane after a delay in ms.
    Admit(usize, u64),
    /// An earlier flight again: which, on which lane, from which port.
    Replay(prop::sample::Index, usize, u16),
    /// Time passes, in ms.
    Pass(u64),
    /// The clock steps back, in ms.
    ClockBack(u64),
    Rotate,
    Maintain,
    Restart,
    /// The next process takes over what this one remembers, where there is something.
    WarmRestart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..LANES).prop_map(Step::Issue),
        8 => (0..LANES, 0_u64..15_000).prop_map(|(lane, ms)| Step::Admit(lane, ms)),
        10 => (any::<prop::sample::Index>(), 0..LANES, 1_u16..4)
            .prop_map(|(which, lane, port)| Step::Replay(which, lane, port)),
        3 => (0_u64..20_000).prop_map(Step::Pass),
        1 => (0_u64..30_000).prop_map(Step::ClockBack),
        2 => Just(Step::Rotate),
        2 => Just(Step::Maintain),
        1 => Just(Step::Restart),
        1 => Just(Step::WarmRestart),
    ]
}

/// A ticket, and who issued it when.
struct Ticket {
    body: Vec<u8>,
    issued: UnixMillis,
    process: u64,
    expires: UnixMillis,
}

struct Flight {
    datagram: Vec<u8>,
    ticket: usize,
    expected_arrival: UnixMillis,
}

struct World {
    protection: ReplayProtection,
    process: u64,
    clock: u64,
    engine: Engine,
    workers: Vec<Worker>,
    tickets: Vec<Ticket>,
    /// Tickets that no flight offers yet.
    unused: Vec<usize>,
    flights: Vec<Flight>,
    /// What was accepted: flights, or tickets, or tickets within a window of time.
    accepted: HashSet<(usize, u64)>,
    /// Processes whose tickets this one remembers.
    remembered: HashSet<u64>,
    started: u64,
    /// When flights were accepted: by flight, lane and port.
    accepted_at: HashMap<(usize, usize, u16), u64>,
    randoms: u8,
    stepped_back: bool,
    drawn: u64,
}

impl World {
    fn new(protection: ReplayProtection) -> Self {
        let clock = NOW.0;
        let (engine, workers) = Self::start(protection, 0, clock);
        Self {
            protection,
            process: 0,
            clock,
            engine,
            workers,
            tickets: vec![],
            unused: vec![],
            flights: vec![],
            accepted: HashSet::new(),
            remembered: HashSet::from([0]),
            started: clock,
            accepted_at: HashMap::new(),
            randoms: 0,
            stepped_back: false,
            drawn: 0,
        }
    }

    fn start(protection: ReplayProtection, process: u64, clock: u64) -> (Engine, Vec<Worker>) {
        let keys = KeyConfig {
            lanes: LANES,
            rotation_interval: Some(Duration::from_secs(20)),
            ticket_lifetime: Duration::from_secs(40),
            ..KeyConfig::default()
        };
        let engine = Engine::builder()
            .keys(keys)
            .ticket_key(KeySecret::new([0x77; 32]))
            .replay_protection(protection)
            .recorder_bytes(1 << 20)
            .retransmission_window(Duration::from_secs(1))
            .build(&Seeded::new(process), UnixMillis(clock))
            .unwrap();
        let workers = (0..LANES)
            .map(|lane| engine.worker(lane).unwrap())
            .collect();
        (engine, workers)
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(self.clock)
    }

    fn apply(&mut self, step: &Step) {
        self.drawn += 1;
        let random = Seeded::new(1_000 + self.drawn);
        match step {
            Step::Issue(lane) => {
                let now = self.now();
                let body = ticket(&mut self.workers[*lane], now);
                let expires = now.saturating_add(Duration::from_secs(40));
                self.unused.push(self.tickets.len());
                self.tickets.push(Ticket {
                    body,
                    issued: now,
                    process: self.process,
                    expires,
                });
            }
            Step::Admit(lane, delay) => {
                let Some(ticket) = self.unused.pop() else {
                    return;
                };
                let kept = &self.tickets[ticket];
                // The clock of who offers an expired ticket is behind.
                let last = UnixMillis(kept.expires.0 - 1);
                let sent = self.now().clamp(kept.issued, last);
                self.randoms = self.randoms.wrapping_add(1);
                let offer = offer(&kept.body, kept.issued, sent);
                let flight = flight(&params(self.randoms), offer);
                let datagram = flight.datagrams[0].clone();
                self.flights.push(Flight {
                    datagram,
                    ticket,
                    expected_arrival: sent,
                });
                self.clock += delay;
                self.judge(self.flights.len() - 1, *lane, 1);
                if self.protection != ReplayProtection::SingleUseTickets {
                    // Such tickets may be used again.
                    self.unused.insert(0, ticket);
                }
            }
            Step::Replay(which, lane, port) => {
                if !self.flights.is_empty() {
                    self.judge(which.index(self.flights.len()), *lane, *port);
                }
            }
            Step::Pass(ms) => self.clock += ms,
            Step::ClockBack(ms) => {
                self.clock -= ms;
                self.stepped_back = true;
            }
            Step::Rotate => {
                self.engine.keys().rotate(self.now(), &random).unwrap();
            }
            Step::Maintain => {
                self.engine.maintain(self.now(), &random).unwrap();
            }
            Step::Restart => {
                self.remembered.clear();
                self.restart();
            }
            Step::WarmRestart => match hand_over(&self.engine, &[7; IDENTITY_LEN], self.now()) {
                Ok(registers) => {
                    self.restart();
                    let (minute, now) = (Duration::from_secs(60), self.now());
                    let taken =
                        take_over(&self.engine, &registers, &[7; IDENTITY_LEN], minute, now);
                    // It may have lost the key of the start.
                    if taken != Ok(1) {
                        assert_eq!(taken, Err(HandoverError::NoKeyInCommon));
                        self.remembered = HashSet::from([self.process]);
                    }
                }
                Err(why) => {
                    assert_eq!(why, HandoverError::NotSingleUse);
                    self.apply(&Step::Restart);
                }
            },
        }
    }

    fn restart(&mut self) {
        self.process += 1;
        self.remembered.insert(self.process);
        self.started = self.clock;
        (self.engine, self.workers) = Self::start(self.protection, self.process, self.clock);
        self.accepted_at.clear();
    }

    /// Offers a flight and compares the verdict with what the plain model says.
    fn judge(&mut self, which: usize, lane: usize, port: u16) {
        let now = self.now();
        let flight = &self.flights[which];
        let ticket = &self.tickets[flight.ticket];
        let verdict = admit_from(
            &mut self.workers[lane],
            &flight.datagram,
            peer(1, port),
            now,
        );

        let used = match self.protection {
            ReplayProtection::SingleUseTickets => (flight.ticket, 0),
            // Windows of 10 s, which follow one another from ten years before the start on.
            ReplayProtection::TimeWindowed => {
                let origin = self.started - 10 * 365 * 86_400_000;
                (flight.ticket, (flight.expected_arrival.0 - origin) / 10_000)
            }
            _ => (which, 0),
        };
        if verdict == Seen::Accept {
            assert!(
                self.accepted.insert(used),
                "flight {which} was accepted a second time"
            );
        }
        let repeated = self.accepted_at.get(&(which, lane, port));
        let expected = if now >= ticket.expires {
            // Before all: a ticket whose time is over is not even a retransmission.
            use dtls_session::admission::NoResumption::{TicketExpired, UnknownKey};
            vec![Seen::Full(TicketExpired), Seen::Full(UnknownKey)]
        } else if repeated.is_some_and(|at| at.abs_diff(now.0) < 1_000) {
            [Seen::Retransmission].to_vec()
        } else if now.saturating_since(flight.expected_arrival) > Duration::from_secs(10) {
            vec![Seen::Resume(NoEarlyData::Late)]
        } else if flight.expected_arrival.saturating_since(now) > Duration::from_secs(10) {
            vec![Seen::Resume(NoEarlyData::Early)]
        } else if !self.remembered.contains(&ticket.process) {
            vec![Seen::Resume(NoEarlyData::OtherIssuer)]
        } else if self.accepted.contains(&used) && verdict != Seen::Accept {
            vec![Seen::Resume(NoEarlyData::Replayed)]
        } else {
            vec![Seen::Accept]
        };
        // Keys that only the process of before had, or that were retired when the clock was
        // ahead, are unknown: that costs the resumption and never the promise.
        let lost = Seen::Full(dtls_session::admission::NoResumption::UnknownKey);
        // What was taken over goes with a key that is retired when the clock is ahead.
        let forgotten = ticket.process != self.process
            && self.stepped_back
            && verdict == Seen::Resume(NoEarlyData::OtherIssuer);
        let known = expected.contains(&verdict)
            || (verdict == lost && self.may_be_lost(which))
            || forgotten;
        assert!(known, "flight {which}: {verdict:?}, expected {expected:?}");
        if verdict == Seen::Accept {
            self.accepted_at.insert((which, lane, port), now.0);
        }
    }

    fn may_be_lost(&self, which: usize) -> bool {
        let ticket = &self.tickets[self.flights[which].ticket];
        ticket.process != self.process || self.stepped_back
    }
}

fn run(protection: ReplayProtection, steps: &[Step]) {
    let mut world = World::new(protection);
    for step in steps {
        world.apply(step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_ticket_is_accepted_at_most_once(steps in prop::collection::vec(step(), 1..150)) {
        run(ReplayProtection::SingleUseTickets, &steps);
    }

    #[test]
    fn a_ticket_is_accepted_at_most_once_in_a_window(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        run(ReplayProtection::TimeWindowed, &steps);
    }

    #[test]
    fn a_client_hello_is_accepted_at_most_once(steps in prop::collection::vec(step(), 1..150)) {
        run(ReplayProtection::ClientHelloRecording, &steps);
    }
}

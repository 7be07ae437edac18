//! Nothing that was accepted before a crash is accepted after it: a gateway's process is killed in
//! the middle of accepting flights and started again with the same ticket key, many times, and
//! offered every flight that was ever offered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod gateway;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use common::*;
use dtls_session::schedule::CipherSuite;
use gateway::{Answer, Gateway, Request, Start};

/// Clients that are new to each process.
const CLIENTS: u16 = 120;

/// What the world outside knows of all processes of a gateway.
struct Outside {
    random: Seeded,
    /// Every flight that was ever offered.
    flights: Vec<Vec<u8>>,
    accepted: HashSet<u32>,
    /// How often each answer came.
    answers: HashMap<Answer, usize>,
}

impl Outside {
    fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self {
            random: Seeded::new(seed),
            flights: Vec::new(),
            accepted: HashSet::new(),
            answers: HashMap::new(),
        }
    }

    /// The flights of clients with these tickets.
    fn add(&mut self, tickets: &[Vec<u8>]) -> Vec<u32> {
        let first = self.flights.len() as u32;
        self.flights
            .extend(tickets.iter().zip(0..).map(|(ticket, n)| {
                let session = client_session(CipherSuite::Aes128GcmSha256, ticket, NOW);
                let flight = flight(&params(n), session.offer(NOW).unwrap());
                flight.datagrams[0].clone()
            }));
        (first..self.flights.len() as u32).collect()
    }

    fn shuffle(&self, ids: &mut [u32]) {
        for last in (1..ids.len()).rev() {
            ids.swap(last, self.random.below(last as u64 + 1) as usize);
        }
    }

    /// Makes requests until so many answers have come, and kills the process then: it may be
    /// anywhere in what follows. The oracle is here.
    fn ask_and_kill(
        &mut self,
        gateway: Gateway,
        requests: &[Request],
        kill_after: usize,
    ) -> Vec<(u32, Answer)> {
        let answers = gateway.ask_and_kill(requests, &self.flights, kill_after);
        assert!(answers.len() >= kill_after, "it died by itself");
        for (id, answer) in &answers {
            if *answer == Answer::Accept {
                assert!(self.accepted.insert(*id), "flight {id} was accepted again");
            }
            *self.answers.entry(*answer).or_default() += 1;
        }
        answers
    }

    fn count(&self, answer: Answer) -> usize {
        self.answers.get(&answer).copied().unwrap_or(0)
    }
}

fn crash_often(start: &Start, restarts: usize, seed: u64) {
    let mut outside = Outside::new(seed);
    for _ in 0..restarts {
        let (gateway, tickets) = Gateway::start(start, CLIENTS);
        // Every flight of before, then new ones, twice each, and some of before in between.
        let old: Vec<u32> = (0..outside.flights.len() as u32).collect();
        let new = outside.add(&tickets);
        let mut mixed = [new.as_slice(), &new].concat();
        mixed.extend(old.iter().step_by(20));
        outside.shuffle(&mut mixed);
        let kill_after = old.len() + 1 + outside.random.below(mixed.len() as u64) as usize;
        let offered = old.iter().chain(&mixed).copied().map(Request::Flight);
        let offered: Vec<_> = offered.collect();
        // A flight of an earlier process resumes, and no more.
        for (id, answer) in outside.ask_and_kill(gateway, &offered, kill_after) {
            let is_old = (id as usize) < old.len();
            assert_eq!(
                is_old,
                answer == Answer::OtherIssuer,
                "flight {id}: {answer:?}"
            );
        }
    }
    println!("{} flights: {:?}", outside.flights.len(), outside.answers);
    assert!(outside.count(Answer::Accept) > 20 * restarts);
    assert!(outside.count(Answer::Replayed) > restarts);
    assert!(outside.count(Answer::OtherIssuer) > 0);
    assert_eq!(outside.count(Answer::Other), 0);
}

#[test]
fn trap_09_no_flight_is_accepted_again_after_a_crash() {
    crash_often(&Start::SingleUse, 20, 11);
}

#[test]
fn trap_09_no_recorded_flight_is_accepted_again_after_a_crash() {
    crash_often(&Start::Recording, 10, 12);
}

#[test]
fn no_flight_is_accepted_again_after_a_crash_in_the_middle_of_a_handover() {
    let registers = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("registers of a crash");
    let _ = std::fs::remove_file(&registers);
    let start = Start::Handover(registers);
    let mut outside = Outside::new(13);
    let mut gone_on = 0;
    for process in 0..20 {
        // Given a process that took over what the one before had handed over, if it came to that,
        let (gateway, tickets) = Gateway::start(&start, CLIENTS);
        let old: Vec<u32> = (0..outside.flights.len() as u32).collect();
        let new = outside.add(&tickets);
        // when it is offered old and new flights and is killed about when it hands over,
        let mut mixed = [old.as_slice(), &new].concat();
        outside.shuffle(&mut mixed);
        let handover = mixed.len() / 2 + outside.random.below(50) as usize;
        let mut requests: Vec<_> = mixed.into_iter().map(Request::Flight).collect();
        requests.insert(handover, Request::HandOver);
        // (the last one lives to the end: it is offered every flight there ever was)
        let kill_after = match process % 4 {
            _ if process == 19 => requests.len(),
            0 => requests.len(),
            n => handover + n - 1,
        };
        // then nothing is accepted again, and what was not accepted before may be.
        let answers = outside.ask_and_kill(gateway, &requests, kill_after);
        gone_on += answers
            .iter()
            .filter(|(id, answer)| (*id as usize) < old.len() && *answer == Answer::Accept)
            .count();
    }
    println!(
        "{:?}, {gone_on} accepted by a later process",
        outside.answers
    );
    assert!(gone_on > 0, "no 0-RTT went on after a handover");
    assert!(outside.count(Answer::HandedOver) > 0);
    assert_eq!(outside.count(Answer::Other), 0);
}

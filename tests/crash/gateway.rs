//! A gateway in a process of its own, which is this test's binary again, and how it is talked to:
//! requests through its standard input, answers through its standard error, which has no buffer
//! and is libtest's neither.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dtls_session::admission::NoEarlyData;
use dtls_session::handover::{HandoverError, hand_over_to_file, take_over_from_file};
use dtls_session::{Datagram, Engine, KeySecret, ReplayProtection, Worker};

use crate::common::*;

const START: &str = "DTLS_SESSION_CRASH";
const TICKETS: &str = "DTLS_SESSION_CRASH_TICKETS";
/// Longer than any process takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// In place of the number of a flight.
const HAND_OVER: u32 = u32::MAX;

/// How a process starts. All have the same ticket key.
pub(crate) enum Start {
    SingleUse,
    Recording,
    /// With the registers of the process before, if they are there, and able to write them.
    Handover(PathBuf),
}

#[derive(Clone, Copy)]
pub(crate) enum Request {
    /// The flight of this number.
    Flight(u32),
    HandOver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Accept,
    Replayed,
    OtherIssuer,
    HandedOver,
    Other,
}

const ANSWERS: [Answer; 5] = [
    Answer::Accept,
    Answer::Replayed,
    Answer::OtherIssuer,
    Answer::HandedOver,
    Answer::Other,
];

/// The process, as its parent sees it.
pub(crate) struct Gateway {
    process: Arc<Mutex<Child>>,
    over: Arc<AtomicBool>,
}

impl Gateway {
    /// Starts a process, and has it issue tickets.
    pub(crate) fn start(start: &Start, tickets: u16) -> (Self, Vec<Vec<u8>>) {
        let start = match start {
            Start::SingleUse => "single use".into(),
            Start::Recording => "recording".into(),
            Start::Handover(path) => path.clone().into_os_string(),
        };
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "gateway::process",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(START, start)
            .env(TICKETS, tickets.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = process.stderr.as_mut().unwrap();
        let tickets = (0..tickets).map(|_| {
            let mut len = [0; 2];
            answers.read_exact(&mut len).unwrap();
            let mut ticket = vec![0; u16::from_be_bytes(len).into()];
            answers.read_exact(&mut ticket).unwrap();
            ticket
        });
        let tickets = tickets.collect();
        let gateway = Self {
            process: Arc::new(Mutex::new(process)),
            over: Arc::new(AtomicBool::new(false)),
        };
        gateway.watch();
        (gateway, tickets)
    }

    /// Kills the process when it takes too long, so that nobody waits for it for ever.
    fn watch(&self) {
        let (process, over) = (Arc::clone(&self.process), Arc::clone(&self.over));
        let begun = Instant::now();
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = process.lock().unwrap().kill();
        });
    }

    /// Makes requests, and kills the process (SIGKILL) when so many answers have come. Returns
    /// all that it has answered until it died.
    pub(crate) fn ask_and_kill(
        self,
        requests: &[Request],
        flights: &[Vec<u8>],
        kill_after: usize,
    ) -> Vec<(u32, Answer)> {
        let (mut input, mut output) = {
            let mut process = self.process.lock().unwrap();
            (
                process.stdin.take().unwrap(),
                process.stderr.take().unwrap(),
            )
        };
        let answers = std::thread::scope(|scope| {
            scope.spawn(move || {
                for request in requests {
                    // The process may be dead by now.
                    if input.write_all(&encode(*request, flights)).is_err() {
                        return;
                    }
                }
            });
            let mut answers = Vec::new();
            let mut answer = [0; 5];
            while output.read_exact(&mut answer).is_ok() {
                let [id @ .., answer] = answer;
                let answer = ANSWERS.get(usize::from(answer)).copied();
                answers.push((
                    u32::from_be_bytes(id),
                    answer.expect("an answer, and no panic's message"),
                ));
                if answers.len() == kill_after {
                    self.process.lock().unwrap().kill().unwrap();
                }
            }
            answers
        });
        self.over.store(true, Ordering::Relaxed);
        self.process.lock().unwrap().wait().unwrap();
        answers
    }
}

/// Number, length, datagram.
fn encode(request: Request, flights: &[Vec<u8>]) -> Vec<u8> {
    match request {
        Request::HandOver => [&HAND_OVER.to_be_bytes()[..], &[0, 0]].concat(),
        Request::Flight(id) => {
            let datagram = &flights[id as usize];
            let len = u16::try_from(datagram.len()).unwrap();
            [&id.to_be_bytes()[..], &len.to_be_bytes(), datagram].concat()
        }
    }
}

fn decode(input: &mut impl Read) -> Option<(u32, Vec<u8>)> {
    let mut head = [0; 6];
    input.read_exact(&mut head).ok()?;
    let [id @ .., high, low] = head;
    let mut datagram = vec![0; u16::from_be_bytes([high, low]).into()];
    input.read_exact(&mut datagram).ok()?;
    Some((u32::from_be_bytes(id), datagram))
}

fn answer(id: u32, answer: Answer) {
    let place = ANSWERS.iter().position(|this| *this == answer).unwrap();
    let [a, b, c, d] = id.to_be_bytes();
    // One write, at once: whoever kills this process after it still hears it.
    std::io::stderr()
        .write_all(&[a, b, c, d, place as u8])
        .unwrap();
}

/// The process itself.
#[test]
fn process() {
    let Some(start) = std::env::var_os(START) else {
        return;
    };
    let engine = build(&start);
    let mut worker = engine.worker(0).unwrap();
    for _ in 0..std::env::var(TICKETS).unwrap().parse().unwrap() {
        let ticket = ticket(&mut worker, NOW);
        let len = u16::try_from(ticket.len()).unwrap().to_be_bytes();
        std::io::stderr()
            .write_all(&[&len, &ticket[..]].concat())
            .unwrap();
    }
    let mut input = BufReader::new(std::io::stdin());
    let mut port = 0;
    loop {
        // As many as have come, so that verdicts are given that are not answered yet.
        let mut batch = Vec::new();
        while batch.len() < 16 && (batch.is_empty() || input.buffer().len() > 1_000) {
            match decode(&mut input) {
                Some((HAND_OVER, _)) => {
                    admit_batch(&mut worker, &batch, &mut port);
                    batch.clear();
                    hand_over_to_file(&engine, start.as_ref(), NOW).unwrap();
                    answer(HAND_OVER, Answer::HandedOver);
                }
                Some(flight) => batch.push(flight),
                None => return,
            }
        }
        admit_batch(&mut worker, &batch, &mut port);
        if input.fill_buf().is_ok_and(<[u8]>::is_empty) {
            return;
        }
    }
}

fn build(start: &std::ffi::OsStr) -> Engine {
    let protection = match start.to_str() {
        Some("recording") => ReplayProtection::ClientHelloRecording,
        _ => ReplayProtection::SingleUseTickets,
    };
    let engine = Engine::builder()
        .ticket_key(KeySecret::new([0x2f; 32]))
        .replay_protection(protection)
        .build(&ring::rand::SystemRandom::new(), NOW)
        .unwrap();
    if !matches!(start.to_str(), Some("recording" | "single use")) {
        let taken = take_over_from_file(&engine, start.as_ref(), Duration::from_secs(1), NOW);
        match taken {
            Ok(_) | Err(HandoverError::Missing | HandoverError::Torn) => {}
            Err(other) => panic!("{other}"),
        }
    }
    engine
}

fn admit_batch(worker: &mut Worker, batch: &[(u32, Vec<u8>)], port: &mut u16) {
    let datagrams: Vec<_> = batch
        .iter()
        .map(|(_, bytes)| {
            // Never the same as lately: this is no test of retransmissions.
            *port = *port % 60_000 + 1;
            Datagram {
                bytes,
                peer: peer(1, *port),
            }
        })
        .collect();
    let admitted = worker.admit(&datagrams, NOW).unwrap();
    for ((id, _), (_, verdict)) in batch.iter().zip(admitted.iter()) {
        answer(
            *id,
            match seen(verdict) {
                Seen::Accept => Answer::Accept,
                Seen::Resume(NoEarlyData::Replayed) => Answer::Replayed,
                Seen::Resume(NoEarlyData::OtherIssuer) => Answer::OtherIssuer,
                _ => Answer::Other,
            },
        );
    }
}

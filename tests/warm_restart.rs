//! A graceful stop hands over what was used, and a start takes it over once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use dtls_session::admission::NoEarlyData;
use dtls_session::client::FirstFlight;
use dtls_session::handover::{
    HandoverError, IDENTITY_LEN, hand_over, hand_over_to_file, take_over, take_over_from_file,
};
use dtls_session::keys::KeyConfig;
use dtls_session::{Engine, KeySecret, ReplayProtection, Worker};

const IDENTITY: [u8; IDENTITY_LEN] = [6; IDENTITY_LEN];
const MINUTE: Duration = Duration::from_secs(60);
const REPLAYED: Seen = Seen::Resume(NoEarlyData::Replayed);
const UNKNOWN: Seen = Seen::Resume(NoEarlyData::OtherIssuer);

fn start(process: u64) -> (Engine, Worker) {
    let engine = Engine::builder()
        .lanes(2)
        .ticket_key(KeySecret::new([0x33; 32]))
        .build(&Seeded::new(process), NOW)
        .unwrap();
    let worker = engine.worker(1).unwrap();
    (engine, worker)
}

fn flights(worker: &mut Worker, count: u8) -> Vec<FirstFlight> {
    let flight_of = |n| flight(&params(n), offer(&ticket(worker, NOW), NOW, after(100)));
    (0..count).map(flight_of).collect()
}

fn verdicts(worker: &mut Worker, flights: &[FirstFlight], port: u16) -> Vec<Seen> {
    let judge =
        |flight: &FirstFlight| admit_from(worker, &flight.datagrams[0], peer(1, port), after(100));
    flights.iter().map(judge).collect()
}

fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("dtls-session-{name}-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

/// What lies in the place of [`path`]'s and beside it.
fn left_of(name: &str) -> Vec<String> {
    let begin = format!("dtls-session-{name}-{}", std::process::id());
    let names = fs::read_dir(std::env::temp_dir()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap_or_default());
    names.filter(|name| name.starts_with(&begin)).collect()
}

#[test]
fn zero_rtt_goes_on_over_two_warm_restarts() {
    let path = path("goes-on");
    let (engine, mut worker) = start(1);
    let flights = flights(&mut worker, 30);
    assert_eq!(verdicts(&mut worker, &flights[..10], 1), [Seen::Accept; 10]);
    hand_over_to_file(&engine, &path, after(200)).unwrap();
    // What was handed over is not accepted here any more.
    assert_eq!(verdicts(&mut worker, &flights[10..], 2), [REPLAYED; 20]);
    drop((engine, worker));

    let (engine, mut worker) = start(2);
    assert_eq!(
        take_over_from_file(&engine, &path, MINUTE, after(300)),
        Ok(1)
    );
    assert_eq!(verdicts(&mut worker, &flights[..10], 3), [REPLAYED; 10]);
    assert_eq!(
        verdicts(&mut worker, &flights[10..20], 3),
        [Seen::Accept; 10]
    );
    // The second restart hands on what the first has taken over.
    hand_over_to_file(&engine, &path, after(400)).unwrap();
    drop((engine, worker));

    let (engine, mut worker) = start(3);
    assert_eq!(
        take_over_from_file(&engine, &path, MINUTE, after(500)),
        Ok(1)
    );
    assert_eq!(verdicts(&mut worker, &flights[..20], 4), [REPLAYED; 20]);
    assert_eq!(verdicts(&mut worker, &flights[20..], 4), [Seen::Accept; 10]);
    assert_eq!(verdicts(&mut worker, &flights, 5), [REPLAYED; 30]);
}

#[test]
fn without_a_handover_sessions_resume_and_get_no_0rtt() {
    let (_, mut worker) = start(1);
    let flights = flights(&mut worker, 3);
    let (engine, mut worker) = start(2);
    let missing = take_over_from_file(&engine, &path("missing"), MINUTE, NOW);
    assert_eq!(missing, Err(HandoverError::Missing));
    assert_eq!(verdicts(&mut worker, &flights, 1), [UNKNOWN; 3]);
}

#[test]
fn a_file_is_taken_over_once() {
    let path = path("once");
    let (engine, mut worker) = start(1);
    let flights = flights(&mut worker, 4);
    hand_over_to_file(&engine, &path, NOW).unwrap();
    let (second, _worker) = start(2);
    let (third, mut third_worker) = start(3);
    assert_eq!(take_over_from_file(&second, &path, MINUTE, NOW), Ok(1));
    let again = take_over_from_file(&third, &path, MINUTE, NOW);
    assert_eq!(again, Err(HandoverError::Missing));
    assert_eq!(verdicts(&mut third_worker, &flights, 1), [UNKNOWN; 4]);
}

#[test]
fn a_copied_file_is_refused() {
    let (original, copy) = (path("original"), path("copy"));
    let (engine, mut worker) = start(1);
    let flights = flights(&mut worker, 2);
    hand_over_to_file(&engine, &original, NOW).unwrap();
    fs::copy(&original, &copy).unwrap();
    let (second, mut second_worker) = start(2);
    let taken = take_over_from_file(&second, &copy, MINUTE, NOW);
    assert_eq!(taken, Err(HandoverError::Copied));
    assert_eq!(verdicts(&mut second_worker, &flights, 1), [UNKNOWN; 2]);
    // Put back in the place of the original, it is still a copy.
    let (third, _) = start(3);
    assert_eq!(take_over_from_file(&third, &original, MINUTE, NOW), Ok(1));
    let (engine, _worker) = start(4);
    hand_over_to_file(&engine, &original, NOW).unwrap();
    fs::copy(&original, &copy).unwrap();
    fs::remove_file(&original).unwrap();
    // An inode can be used again at once: then only the time of birth tells, which is that of a tick.
    std::thread::sleep(Duration::from_millis(20));
    fs::copy(&copy, &original).unwrap();
    let taken = take_over_from_file(&second, &original, MINUTE, NOW);
    assert_eq!(taken, Err(HandoverError::Copied));
    fs::remove_file(&copy).unwrap();
}

#[test]
fn a_file_with_a_second_name_is_refused_and_its_name_removed() {
    let (path, link) = (path("name"), path("second-name"));
    let (engine, _worker) = start(1);
    hand_over_to_file(&engine, &path, NOW).unwrap();
    fs::hard_link(&path, &link).unwrap();
    let (second, _) = start(2);
    let taken = take_over_from_file(&second, &path, MINUTE, NOW);
    assert_eq!(taken, Err(HandoverError::Copied));
    fs::remove_file(&link).unwrap();
    assert_eq!(left_of("name"), [""; 0]);
}

#[test]
fn a_link_to_a_file_does_not_let_it_be_taken_over_again_and_again() {
    let (path, link) = (path("behind-a-link"), path("link"));
    let (engine, mut worker) = start(1);
    let flights = flights(&mut worker, 2);
    hand_over_to_file(&engine, &path, NOW).unwrap();
    for process in 2..4 {
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let (engine, mut worker) = start(process);
        let taken = take_over_from_file(&engine, &link, MINUTE, NOW);
        assert_eq!(taken, Err(HandoverError::Copied));
        assert_eq!(verdicts(&mut worker, &flights, 1), [UNKNOWN; 2]);
    }
    let (engine, mut worker) = start(4);
    assert_eq!(take_over_from_file(&engine, &path, MINUTE, NOW), Ok(1));
    assert_eq!(verdicts(&mut worker, &flights, 1), [Seen::Accept; 2]);
}

#[test]
fn of_two_starts_that_come_by_two_names_of_a_file_one_at_most_gets_it() {
    let names = [path("one-name"), path("other-name")];
    for _ in 0..40 {
        let (engine, _worker) = start(1);
        hand_over_to_file(&engine, &names[0], NOW).unwrap();
        fs::hard_link(&names[0], &names[1]).unwrap();
        let both = Barrier::new(2);
        let taken = std::thread::scope(|scope| {
            let starts = [0, 1].map(|n| {
                let (name, both) = (&names[n], &both);
                scope.spawn(move || {
                    let (engine, _) = start(2 + n as u64);
                    both.wait();
                    take_over_from_file(&engine, name, MINUTE, NOW)
                })
            });
            starts.map(|start| start.join().unwrap())
        });
        // Who comes when the other one's name is gone is alone.
        let got = taken.iter().filter(|taken| taken.is_ok()).count();
        assert!(got <= 1, "{taken:?}");
    }
}

#[test]
fn who_waits_for_a_file_finds_it_whole() {
    let path = path("awaited");
    let (engine, mut worker) = start(1);
    let flights = flights(&mut worker, 2);
    // Much to be written: bits of a million tickets.
    let keys = engine.keys().reader();
    for _ in 0..1 << 20 {
        let sealed = keys.snapshot().seal_opaque(0, b"", 60, NOW, &mut [0; 100]);
        sealed.unwrap();
    }
    let (second, mut second_worker) = start(2);
    let over = AtomicBool::new(false);
    let taken = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            loop {
                let is_last = over.load(Ordering::SeqCst);
                match take_over_from_file(&second, &path, MINUTE, NOW) {
                    Err(HandoverError::Missing) if !is_last => {}
                    taken => return taken,
                }
            }
        });
        let handed_over = hand_over_to_file(&engine, &path, NOW);
        over.store(true, Ordering::SeqCst);
        handed_over.and(waiting.join().unwrap())
    });
    assert_eq!(taken, Ok(1));
    assert_eq!(verdicts(&mut second_worker, &flights, 1), [Seen::Accept; 2]);
}

#[test]
fn a_file_that_is_there_is_not_written_over_and_nothing_is_taken_away_for_it() {
    let path = path("there");
    let (engine, mut worker) = start(1);
    let flights = flights(&mut worker, 2);
    fs::write(&path, "of somebody else").unwrap();
    let there = hand_over_to_file(&engine, &path, NOW);
    let exists = std::io::ErrorKind::AlreadyExists;
    assert_eq!(there, Err(HandoverError::Io(exists)));
    assert_eq!(fs::read(&path).unwrap(), b"of somebody else");
    assert_eq!(verdicts(&mut worker, &flights, 1), [Seen::Accept; 2]);
    fs::remove_file(&path).unwrap();
}

#[test]
fn restarts_that_issue_nothing_do_not_add_up() {
    let (first, mut worker) = start(1);
    let flights = flights(&mut worker, 2);
    let mut registers = hand_over(&first, &IDENTITY, NOW).unwrap();
    let len = registers.len();
    for process in 2..10 {
        let (engine, _) = start(process);
        take_over(&engine, &registers, &IDENTITY, MINUTE, NOW).unwrap();
        registers = hand_over(&engine, &IDENTITY, NOW).unwrap();
        assert_eq!(registers.len(), len);
    }
    let (engine, mut worker) = start(10);
    take_over(&engine, &registers, &IDENTITY, MINUTE, NOW).unwrap();
    assert_eq!(verdicts(&mut worker, &flights, 1), [Seen::Accept; 2]);
}

#[test]
fn old_registers_are_refused() {
    let (engine, mut worker) = start(1);
    let flights = flights(&mut worker, 2);
    let registers = hand_over(&engine, &IDENTITY, after(1_000)).unwrap();
    let (second, mut second_worker) = start(2);
    for (now, max_age) in [(after(61_001), MINUTE), (after(999), MINUTE)] {
        let taken = take_over(&second, &registers, &IDENTITY, max_age, now);
        assert_eq!(taken, Err(HandoverError::Old));
    }
    assert_eq!(verdicts(&mut second_worker, &flights, 1), [UNKNOWN; 2]);
    assert_eq!(
        take_over(&second, &registers, &IDENTITY, MINUTE, after(61_000)),
        Ok(1)
    );
    let again = take_over(&second, &registers, &IDENTITY, MINUTE, after(61_000));
    assert_eq!(again, Err(HandoverError::AlreadyTaken));
}

#[test]
fn registers_are_taken_over_once_also_by_a_key_that_comes_back() {
    let fleet = || {
        let keys = KeyConfig {
            rotation_interval: None,
            ticket_lifetime: MINUTE,
            ..KeyConfig::default()
        };
        Engine::builder().lanes(2).keys(keys)
    };
    let key = KeySecret::new([0x33; 32]);
    let begin = |process| {
        let builder = fleet().ticket_key(key.clone());
        builder.build(&Seeded::new(process), NOW).unwrap()
    };
    let (first, second) = (begin(1), begin(2));
    let flights = flights(&mut first.worker(0).unwrap(), 3);
    let registers = hand_over(&first, &IDENTITY, NOW).unwrap();
    let hour = Duration::from_secs(3_600);
    let take_over = |now| take_over(&second, &registers, &IDENTITY, hour, now);
    assert_eq!(take_over(NOW), Ok(1));
    let mut worker = second.worker(0).unwrap();
    assert_eq!(verdicts(&mut worker, &flights, 1), [Seen::Accept; 3]);
    // The key is retired, and imported again.
    let (keys, random) = (second.keys(), Seeded::new(9));
    keys.rotate(NOW, &random).unwrap();
    let later = after(1_000_000);
    while keys.status().len() > 1 {
        keys.maintain(later, &random).unwrap();
    }
    keys.import(&key, later, &random, later).unwrap();
    assert_eq!(take_over(later), Err(HandoverError::AlreadyTaken));
    assert!(!verdicts(&mut worker, &flights, 2).contains(&Seen::Accept));
}

#[test]
fn a_file_that_cannot_be_written_is_not_left_behind() {
    let path = path("not-left");
    let recording = ReplayProtection::ClientHelloRecording;
    let engine = common::engine(Engine::builder().replay_protection(recording));
    let handed_over = hand_over_to_file(&engine, &path, NOW);
    assert_eq!(handed_over, Err(HandoverError::NotSingleUse));
    assert_eq!(left_of("not-left"), [""; 0]);
}

#[test]
fn torn_registers_are_refused_wherever_they_are_torn() {
    let (engine, mut worker) = start(1);
    let flights = flights(&mut worker, 2);
    let registers = hand_over(&engine, &IDENTITY, NOW).unwrap();
    let (second, mut second_worker) = start(2);
    for len in (0..registers.len()).step_by(13) {
        let taken = take_over(&second, &registers[..len], &IDENTITY, MINUTE, NOW);
        assert_eq!(
            taken,
            Err(HandoverError::Torn),
            "{len} of {}",
            registers.len()
        );
    }
    let longer = [&registers[..], &[0]].concat();
    let taken = take_over(&second, &longer, &IDENTITY, MINUTE, NOW);
    assert_eq!(taken, Err(HandoverError::Torn));
    assert_eq!(verdicts(&mut second_worker, &flights, 1), [UNKNOWN; 2]);
}

#[test]
fn registers_changed_in_any_byte_are_refused() {
    let (engine, mut worker) = start(1);
    flights(&mut worker, 2);
    let registers = hand_over(&engine, &IDENTITY, NOW).unwrap();
    let (second, _) = start(2);
    for at in (0..64).chain((64..registers.len()).step_by(17)) {
        let mut changed = registers.clone();
        changed[at] ^= 1;
        let taken = take_over(&second, &changed, &IDENTITY, MINUTE, NOW);
        // Where a byte decides more than the authenticity, that speaks first.
        match at {
            0..8 => assert_eq!(taken, Err(HandoverError::UnknownFormat), "byte {at}"),
            8..48 => assert_eq!(taken, Err(HandoverError::Forged), "byte {at}"),
            _ if at >= registers.len() - 32 => {
                assert_eq!(taken, Err(HandoverError::Forged), "byte {at}");
            }
            _ => assert!(taken.is_err(), "byte {at}"),
        }
    }
    assert_eq!(
        take_over(&second, &registers, &IDENTITY, MINUTE, NOW),
        Ok(1)
    );
}

#[test]
fn registers_of_another_version_are_refused() {
    let (engine, mut worker) = start(1);
    let flights = flights(&mut worker, 2);
    let mut registers = hand_over(&engine, &IDENTITY, NOW).unwrap();
    // "DSHO", and a version that is still to come.
    assert_eq!(registers[..8], *b"DSHO\0\0\0\x01");
    registers[7] = 2;
    let (second, mut second_worker) = start(2);
    let taken = take_over(&second, &registers, &IDENTITY, MINUTE, NOW);
    assert_eq!(taken, Err(HandoverError::UnknownFormat));
    assert_eq!(verdicts(&mut second_worker, &flights, 1), [UNKNOWN; 2]);
}

#[test]
fn registers_in_which_a_used_ticket_was_made_unused_are_refused() {
    let handed_over = |used: usize| {
        let (engine, mut worker) = start(1);
        let flights = flights(&mut worker, 2);
        verdicts(&mut worker, &flights[..used], 1);
        (hand_over(&engine, &IDENTITY, NOW).unwrap(), flights)
    };
    let ((used, flights), (unused, _)) = (handed_over(1), handed_over(0));
    // They differ in a bit and in what authenticates it.
    let body = used.len() - 32;
    let bits = used[..body].iter().zip(&unused);
    assert_eq!(bits.map(|(a, b)| (a ^ b).count_ones()).sum::<u32>(), 1);
    let (second, mut second_worker) = start(2);
    let forged = [&unused[..body], &used[body..]].concat();
    let taken = take_over(&second, &forged, &IDENTITY, MINUTE, NOW);
    assert_eq!(taken, Err(HandoverError::Forged));
    assert_eq!(verdicts(&mut second_worker, &flights, 1), [UNKNOWN; 2]);
    assert_eq!(take_over(&second, &used, &IDENTITY, MINUTE, NOW), Ok(1));
    let again = verdicts(&mut second_worker, &flights, 2);
    assert_eq!(again, [REPLAYED, Seen::Accept]);
}

#[test]
fn registers_of_other_keys_and_of_other_protections_are_refused() {
    let (engine, _worker) = start(1);
    let registers = hand_over(&engine, &IDENTITY, NOW).unwrap();
    let stranger = common::engine(Engine::builder());
    let taken = take_over(&stranger, &registers, &IDENTITY, MINUTE, NOW);
    assert_eq!(taken, Err(HandoverError::NoKeyInCommon));
    let recording = ReplayProtection::ClientHelloRecording;
    let recording = common::engine(Engine::builder().replay_protection(recording));
    let taken = take_over(&recording, &registers, &IDENTITY, MINUTE, NOW);
    assert_eq!(taken, Err(HandoverError::NotSingleUse));
    assert_eq!(
        hand_over(&recording, &IDENTITY, NOW),
        Err(HandoverError::NotSingleUse)
    );
}

#[test]
fn a_strike_that_races_a_handover_is_accepted_on_one_side_only() {
    for round in 0..50 {
        let (engine, mut worker) = start(2 * round);
        let flights = flights(&mut worker, 24);
        drop(worker);
        let (here, registers) = std::thread::scope(|scope| {
            let striking = scope.spawn(|| {
                let mut worker = engine.worker(0).unwrap();
                verdicts(&mut worker, &flights, 1)
            });
            let registers = hand_over(&engine, &IDENTITY, NOW).unwrap();
            (striking.join().unwrap(), registers)
        });
        let (second, mut second_worker) = start(2 * round + 1);
        take_over(&second, &registers, &IDENTITY, MINUTE, NOW).unwrap();
        let there = verdicts(&mut second_worker, &flights, 1);
        for (here, there) in here.iter().zip(there) {
            let accepted = [*here, there]
                .iter()
                .filter(|seen| **seen == Seen::Accept)
                .count();
            assert_eq!(accepted, 1, "{here:?} and {there:?}");
        }
    }
}

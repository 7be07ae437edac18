//! What goes on while flights are raced.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dtls_session::handover::{hand_over, take_over};
use dtls_session::keys::KeyConfig;
use dtls_session::{Builder, Engine, Error, KeySecret, ReplayProtection};

use crate::common::*;
use crate::meeting::lock;
use crate::race::{Flight, Race};

fn build(race: &Race, builder: Builder) -> Engine {
    builder.build(&Seeded::new(race.seed), NOW).unwrap()
}

/// What the workers have counted is what the oracle has seen.
fn assert_counted(race: &Race, engine: &Engine) {
    let counted = engine.metrics().accepted_early_data();
    assert_eq!(counted, race.accepted.load(Ordering::Relaxed));
}

/// Lets the clock go on by `tick` ms, and step now and then by up to `step` ms in either
/// direction.
fn tick(race: &Race, random: &Seeded, tick: u64, step: u64) {
    race.clock.fetch_add(tick, Ordering::Relaxed);
    if random.below(200) == 0 {
        let by = random.below(step);
        if random.below(2) == 0 {
            race.clock.fetch_add(by, Ordering::Relaxed);
        } else {
            race.clock.fetch_sub(by, Ordering::Relaxed);
        }
    }
}

#[test]
fn while_keys_rotate_a_thousand_times_a_second_and_the_clock_steps() {
    let race = Race::new("rotation");
    let keys = KeyConfig {
        lanes: race.threads,
        ticket_lifetime: Duration::from_secs(2),
        max_keys: 2_048,
        ..KeyConfig::default()
    };
    let engine = build(&race, Engine::builder().keys(keys));
    let begun = Instant::now();
    let mut rotations = 0;
    race.run(
        |me| race.rounds(me, &engine, me, |worker, random| race.fresh(worker, random)),
        || {
            let random = Seeded::new(race.seed + 1);
            while !race.meeting.is_over() {
                tick(&race, &random, 10, 1_500);
                match engine.keys().rotate(race.now(), &random) {
                    Ok(_) => rotations += 1,
                    Err(Error::TooManyKeys) => {}
                    Err(other) => panic!("{other:?}"),
                }
                engine.maintain(race.now(), &random).ok();
                let due = begun + Duration::from_millis(rotations);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        },
    );
    let rate = rotations as f64 / begun.elapsed().as_secs_f64();
    println!("rotation: {rotations} keys, {rate:.0} a second");
    race.report("rotation", 0.5);
    assert_counted(&race, &engine);
    assert!(rotations > 50, "{rotations} rotations");
}

#[test]
fn while_bitmaps_grow_under_several_workers_of_one_lane() {
    let race = Race::new("growth");
    let engine = build(&race, Engine::builder());
    // Behind key id and issuer, of which there is one each.
    let nonces = Mutex::new(HashSet::<[u8; 12]>::new());
    race.run(
        |me| {
            let reader = engine.keys().reader();
            let mut sealed = Vec::new();
            race.rounds(me, &engine, 0, |worker, random| {
                // Serials go by, so that growth comes often, and between two flights.
                let mut flights = Vec::new();
                for _ in 0..4 {
                    flights.extend(race.fresh(worker, random).into_iter().step_by(4));
                    let keys = reader.snapshot();
                    for _ in 0..500 {
                        let mut out = [0; 128];
                        let (_, once) = keys.seal_opaque(0, b"host", 60, NOW, &mut out).unwrap();
                        assert!(once, "no bit for a ticket");
                        sealed.extend(out[16..].first_chunk::<12>());
                    }
                }
                let mut all = lock(&nonces);
                if all.len() > 1_000_000 {
                    all.clear();
                }
                for nonce in sealed.drain(..) {
                    assert!(all.insert(nonce), "a nonce was used twice");
                }
                flights
            });
        },
        || {},
    );
    let (bytes, _) = engine.keys().register_bytes();
    println!("growth: {bytes} bytes of bits");
    race.report("growth", 1.0);
    assert_counted(&race, &engine);
}

#[test]
fn while_serials_run_out() {
    let race = Race::new("exhaustion");
    let keys = KeyConfig {
        lanes: race.threads,
        serials_per_lane: 25,
        ticket_lifetime: Duration::from_secs(5),
        max_keys: 1_024,
        ..KeyConfig::default()
    };
    let engine = build(&race, Engine::builder().keys(keys));
    race.run(
        |me| race.rounds(me, &engine, me, |worker, random| race.fresh(worker, random)),
        || {
            let random = Seeded::new(race.seed + 2);
            while !race.meeting.is_over() {
                tick(&race, &random, 10, 10);
                match engine.maintain(race.now(), &random) {
                    Ok(_) | Err(Error::TooManyKeys) => {}
                    Err(other) => panic!("{other:?}"),
                }
                std::thread::sleep(Duration::from_micros(300));
            }
        },
    );
    race.report("exhaustion", 0.5);
    assert_counted(&race, &engine);
}

#[test]
fn while_slices_of_recorded_flights_expire_and_the_clock_steps() {
    let race = Race::new("recording");
    let builder = Engine::builder()
        .lanes(race.threads)
        .replay_protection(ReplayProtection::ClientHelloRecording)
        .recorder_bytes(4 << 20);
    let engine = build(&race, builder);
    race.run(
        |me| {
            race.rounds(me, &engine, me, |worker, random| {
                // Two flights with each ticket.
                let now = race.now();
                let flights = (0..20).flat_map(|_| {
                    let ticket = ticket(worker, now);
                    let one = random.next() as u8;
                    [one, one.wrapping_add(1)].map(|random| {
                        let flight = flight(&params(random), offer(&ticket, now, now));
                        Flight::new(flight.datagrams[0].clone())
                    })
                });
                flights.collect()
            });
        },
        || {
            let random = Seeded::new(race.seed + 3);
            while !race.meeting.is_over() {
                tick(&race, &random, 20, 15_000);
                std::thread::sleep(Duration::from_millis(1));
            }
        },
    );
    race.report("recording", 0.3);
    assert_counted(&race, &engine);
}

#[test]
fn while_registers_are_handed_over_to_the_next_process() {
    let race = Race::new("handover");
    let secret = KeySecret::new([0x3c; 32]);
    let start = |process: u64| {
        let builder = Engine::builder()
            .lanes(race.threads)
            .ticket_key(secret.clone());
        builder
            .build(&Seeded::new(race.seed * 1_000 + process), NOW)
            .unwrap()
    };
    // The process that stops and the one that starts, anew for each round.
    let engines = Mutex::new(None::<(Engine, Engine)>);
    race.run(
        |me| {
            let random = Seeded::new(race.seed << 8 | me as u64);
            let mut process = 0;
            while race.goes_on(me) {
                if me == 0 {
                    process += 2;
                    *lock(&engines) = Some((start(process), start(process + 1)));
                }
                race.meeting.wait();
                let (old, new) = lock(&engines).clone().unwrap();
                let (mut before, mut after) = (old.worker(me).unwrap(), new.worker(me).unwrap());
                race.bring(me, race.fresh(&mut before, &random));
                race.meeting.wait();
                let flights = race.all();
                // One of the threads hands over while the others are admitting.
                let (first, rest) = flights.split_at(random.below(flights.len() as u64) as usize);
                race.offer(&mut before, first, 1, &random);
                if me == 0 {
                    let registers = hand_over(&old, &[1; 32], NOW).unwrap();
                    let max_age = Duration::from_secs(1);
                    take_over(&new, &registers, &[1; 32], max_age, NOW).unwrap();
                }
                race.offer(&mut before, rest, 2, &random);
                race.meeting.wait();
                race.offer(&mut after, &flights, 3, &random);
                race.offer(&mut before, &flights, 4, &random);
                race.meeting.wait();
                if me == 0 {
                    flights.iter().for_each(|flight| flight.assert_once());
                    race.issued
                        .fetch_add(flights.len() as u64, Ordering::Relaxed);
                }
            }
        },
        || {},
    );
    race.report("handover", 1.0);
}

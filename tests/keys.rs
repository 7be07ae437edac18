//! Ticket keys: rotation, retirement, nonces, lifetimes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::*;
use dtls_session::admission::{NoEarlyData, NoResumption};
use dtls_session::keys::{KeyConfig, KeyRole, TICKET_LIFETIME_MAX};
use dtls_session::schedule::CipherSuite;
use dtls_session::ticket::{HOST_DATA_MAX, OPAQUE_MAX, OpenError, Scratch};
use dtls_session::wire::NewSessionTicket;
use dtls_session::{
    EncryptedTicket, Engine, Error, KeySecret, NewSession, RandomUnavailable, ResumptionSecret,
    SecureRandom, TicketKeyManager, UnixMillis,
};

const HOUR: u64 = 3_600_000;

fn manager(config: KeyConfig) -> TicketKeyManager {
    TicketKeyManager::new(config, &Seeded::new(1), NOW).unwrap()
}

fn seal(keys: &TicketKeyManager, lane: u8, now: UnixMillis) -> Vec<u8> {
    let mut out = [0; 256];
    let reader = keys.reader();
    let (len, _) = reader
        .snapshot()
        .seal_opaque(lane, b"host", 60, now, &mut out)
        .unwrap();
    out[..len].to_vec()
}

fn opens(keys: &TicketKeyManager, ticket: &[u8]) -> Result<(), OpenError> {
    let reader = keys.reader();
    let mut scratch = Scratch::new();
    let ticket = EncryptedTicket::parse(ticket)?;
    ticket.open(&reader.snapshot(), &mut scratch).map(|_| ())
}

#[test]
fn trap_16_no_nonce_repeats_over_lanes_rotations_and_restarts() {
    // Given the same ticket key in three processes, each with two lanes and several rotations:
    // a ticket begins with key id, issuer and nonce, and no two may share all of them.
    let mut seen = HashSet::new();
    for process in 0..3 {
        let config = KeyConfig {
            lanes: 2,
            ..KeyConfig::default()
        };
        let random = Seeded::new(process);
        let keys =
            TicketKeyManager::with_key(config, &KeySecret::new([9; 32]), &random, NOW).unwrap();
        for _ in 0..3 {
            for n in 0..2_000 {
                let ticket = seal(&keys, n as u8 % 2, NOW);
                assert!(seen.insert(ticket[..28].to_vec()), "a nonce came twice");
            }
            keys.rotate(NOW, &random).unwrap();
        }
    }
}

#[test]
fn trap_16_a_key_that_comes_back_after_its_retirement_repeats_no_nonce() {
    let fleet = KeyConfig {
        rotation_interval: None,
        ..KeyConfig::default()
    };
    let (first, other) = (KeySecret::new([1; 32]), KeySecret::new([2; 32]));
    let random = Seeded::new(1);
    let keys = TicketKeyManager::with_key(fleet, &first, &random, NOW).unwrap();
    let before: HashSet<_> = (0..100)
        .map(|_| seal(&keys, 0, NOW)[..28].to_vec())
        .collect();
    keys.import(&other, after(1_000), &random, after(1_000))
        .unwrap();
    let later = after(100 * HOUR);
    while keys.status().len() > 1 {
        keys.maintain(later, &random).unwrap();
    }
    let id = keys.import(&first, later, &random, later).unwrap();
    assert_eq!(keys.active(), id);
    for _ in 0..100 {
        assert!(!before.contains(&seal(&keys, 0, NOW)[..28]));
    }
}

#[test]
fn trap_16_a_lane_without_serials_lets_the_next_key_take_over() {
    let keys = KeyConfig {
        serials_per_lane: 8,
        ..KeyConfig::default()
    };
    let engine = engine(Engine::builder().keys(keys));
    let mut worker = engine.worker(0).unwrap();
    let first = engine.keys().active();
    let tickets: Vec<_> = (0..16).map(|_| ticket(&mut worker, NOW)).collect();
    assert_ne!(
        engine.keys().active(),
        first,
        "the pending key took over by itself"
    );
    // Nobody has drawn another key, so the second is the last.
    let mut out = [0; 512];
    let session = session(CipherSuite::Aes128GcmSha256, NOW);
    let issued = worker.issue(&session, client_address().ip(), NOW, &mut out);
    assert_eq!(issued, Err(Error::SerialsExhausted));
    // Maintenance draws one, and issuing goes on.
    engine.maintain(after(1), &Seeded::new(5)).unwrap();
    assert!(
        worker
            .issue(&session, client_address().ip(), after(1), &mut out)
            .is_ok()
    );
    // All tickets of before are good.
    for (n, ticket) in tickets.iter().enumerate() {
        let flight = flight(&params(n as u8), offer(ticket, NOW, after(100)));
        assert_eq!(
            admit(&mut worker, &flight.datagrams[0], after(100)),
            Seen::Accept,
            "{n}"
        );
    }
}

#[test]
fn rotation_comes_early_when_serials_run_out() {
    let keys = KeyConfig {
        serials_per_lane: 80,
        ..KeyConfig::default()
    };
    let engine = engine(Engine::builder().keys(keys));
    let mut worker = engine.worker(0).unwrap();
    for _ in 0..69 {
        ticket(&mut worker, NOW);
    }
    assert!(
        !engine
            .maintain(after(1000), &Seeded::new(5))
            .unwrap()
            .rotated
    );
    ticket(&mut worker, NOW);
    assert!(
        engine
            .maintain(after(2000), &Seeded::new(5))
            .unwrap()
            .rotated
    );
    assert!(
        !engine
            .maintain(after(3000), &Seeded::new(5))
            .unwrap()
            .rotated
    );
}

#[test]
fn trap_17_the_first_key_seals_at_once() {
    let keys = manager(KeyConfig::default());
    assert_eq!(opens(&keys, &seal(&keys, 0, NOW)), Ok(()));
}

#[test]
fn trap_17_an_imported_key_opens_before_it_seals() {
    let fleet = KeyConfig {
        rotation_interval: None,
        ..KeyConfig::default()
    };
    let [here, there] = [1, 2].map(|seed| {
        let first = KeySecret::new([1; 32]);
        TicketKeyManager::with_key(fleet.clone(), &first, &Seeded::new(seed), NOW).unwrap()
    });
    let next = KeySecret::new([2; 32]);
    let id = here
        .import(&next, after(60_000), &Seeded::new(6), NOW)
        .unwrap();
    there
        .import(&next, after(60_000), &Seeded::new(6), NOW)
        .unwrap();
    assert_ne!(here.active(), id, "it does not seal yet");
    // The other host's clock is ahead: it seals already, and here the ticket opens.
    there.maintain(after(60_000), &Seeded::new(3)).unwrap();
    assert_eq!(there.active(), id);
    assert_eq!(opens(&here, &seal(&there, 0, after(60_000))), Ok(()));
    here.maintain(after(60_000), &Seeded::new(3)).unwrap();
    assert_eq!(here.active(), id);
    assert_eq!(
        here.import(&next, NOW, &Seeded::new(8), NOW),
        Err(Error::DuplicateKey)
    );
}

#[test]
fn trap_17_an_imported_key_waits_for_its_time_while_drawn_ones_take_turns() {
    let keys = manager(KeyConfig::default());
    let random = Seeded::new(6);
    let next = KeySecret::new([2; 32]);
    let due = after(5 * HOUR / 2);
    let id = keys.import(&next, due, &random, NOW).unwrap();
    for hours in 1..=2 {
        assert!(keys.maintain(after(hours * HOUR), &random).unwrap().rotated);
        assert_ne!(keys.active(), id, "after {hours} h");
    }
    assert!(keys.maintain(due, &random).unwrap().rotated);
    assert_eq!(keys.active(), id);
}

#[test]
fn trap_17_after_a_restart_the_keys_of_before_open_and_the_first_one_seals() {
    let fleet = KeyConfig {
        rotation_interval: None,
        ..KeyConfig::default()
    };
    let random = Seeded::new(6);
    let [sealing, before, next] = [1, 2, 3].map(|n| KeySecret::new([n; 32]));
    let keys = TicketKeyManager::with_key(fleet, &sealing, &random, after(HOUR)).unwrap();
    let active = keys.active();
    keys.import(&before, NOW, &random, after(HOUR)).unwrap();
    assert_eq!(keys.active(), active);
    let roles: Vec<_> = keys.status().iter().map(|key| key.role).collect();
    assert_eq!(roles, [KeyRole::Active, KeyRole::DecryptOnly]);
    let id = keys.import(&next, after(HOUR), &random, after(HOUR));
    assert_eq!(Ok(keys.active()), id, "its time has come");
    // They go when no host needs them any more.
    keys.maintain(after(26 * HOUR), &random).unwrap();
    keys.maintain(after(26 * HOUR), &random).unwrap();
    assert_eq!(keys.status().len(), 1);
}

#[test]
fn trap_15_an_imported_key_seals_in_its_time_though_the_clock_was_ahead_at_the_start() {
    let fleet = KeyConfig {
        rotation_interval: None,
        ..KeyConfig::default()
    };
    let random = Seeded::new(6);
    let [first, next] = [1, 2].map(|n| KeySecret::new([n; 32]));
    // Given a process that began while its clock was ten hours ahead,
    let keys = TicketKeyManager::with_key(fleet, &first, &random, after(10 * HOUR)).unwrap();
    // when a key comes that is to follow in an hour by the right clock,
    let id = keys.import(&next, after(HOUR), &random, NOW).unwrap();
    keys.maintain(after(HOUR - 1), &random).unwrap();
    assert_ne!(keys.active(), id);
    // then it does.
    keys.maintain(after(HOUR), &random).unwrap();
    assert_eq!(keys.active(), id);
}

#[test]
fn trap_18_a_key_that_is_replaced_ahead_of_time_outlives_the_tickets_of_other_hosts() {
    let fleet = KeyConfig {
        rotation_interval: None,
        ticket_lifetime: Duration::from_secs(3_600),
        ..KeyConfig::default()
    };
    let [first, next] = [1, 2].map(|n| KeySecret::new([n; 32]));
    let random = Seeded::new(7);
    let [here, there] = [1, 2].map(|seed| {
        let random = Seeded::new(seed);
        let keys = TicketKeyManager::with_key(fleet.clone(), &first, &random, NOW).unwrap();
        keys.import(&next, after(24 * HOUR), &random, NOW).unwrap();
        keys
    });
    here.rotate(NOW, &random).unwrap();
    for hours in 1..24 {
        here.maintain(after(hours * HOUR), &random).unwrap();
    }
    assert_eq!(opens(&here, &seal(&there, 0, after(23 * HOUR))), Ok(()));
}

#[test]
fn trap_18_a_given_key_outlives_the_tickets_of_other_hosts() {
    let shared = KeySecret::new([1; 32]);
    let [here, there] = [1, 2].map(|seed| {
        let random = Seeded::new(seed);
        TicketKeyManager::with_key(KeyConfig::default(), &shared, &random, NOW).unwrap()
    });
    let ticket = seal(&there, 0, after(HOUR - 1));
    // Here it sealed nothing, and other keys seal since.
    let random = Seeded::new(3);
    let just_before_expiry = after(25 * HOUR - 2);
    for now in [after(HOUR), after(2 * HOUR), just_before_expiry] {
        here.maintain(now, &random).unwrap();
    }
    assert_eq!(opens(&here, &ticket), Ok(()));
    here.maintain(after(26 * HOUR), &random).unwrap();
    assert_eq!(opens(&here, &ticket), Err(OpenError::UnknownKey));
}

#[test]
fn trap_18_a_key_outlives_its_tickets() {
    let config = KeyConfig {
        ticket_lifetime: Duration::from_secs(7_200),
        ..KeyConfig::default()
    };
    let engine = engine(Engine::builder().keys(config));
    let mut worker = engine.worker(0).unwrap();
    let random = Seeded::new(4);
    let mut tickets = Vec::new();
    for minute in 0..600 {
        let now = after(minute * 60_000);
        engine.maintain(now, &random).unwrap();
        tickets.push((minute, ticket(&mut worker, now)));
        // Every ticket that has not expired opens, every expired one is refused.
        for (issued, ticket) in tickets.iter().step_by(29) {
            let flight = first_flight(ticket, after(issued * 60_000), now);
            let verdict = admit_from(&mut worker, &flight.datagrams[0], peer(3, 3), now);
            let age = minute - issued;
            match verdict {
                Seen::Resume(NoEarlyData::OtherAddress) => assert!(age < 120, "{age} minutes"),
                Seen::Full(NoResumption::TicketExpired | NoResumption::UnknownKey) => {
                    assert!(age >= 120, "{age} minutes: {verdict:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    // Ten rotations; keys of before the last three hours are gone.
    assert!(
        engine.keys().status().len() <= 5,
        "{:?}",
        engine.keys().status()
    );
}

#[test]
fn trap_18_a_retired_key_is_forgotten_only_when_its_last_reader_leaves() {
    let config = KeyConfig {
        ticket_lifetime: Duration::from_secs(60),
        ..KeyConfig::default()
    };
    let keys = manager(config);
    let random = Seeded::new(2);
    let reader = keys.reader();
    seal(&keys, 0, NOW);
    keys.rotate(NOW, &random).unwrap();
    let snapshot = reader.snapshot();
    assert_eq!(keys.maintain(after(61_000), &random).unwrap().retired, 1);
    assert_eq!(keys.retired_waiting(), 1, "a reader still holds it");
    drop(snapshot);
    keys.maintain(after(61_001), &random).unwrap();
    assert_eq!(keys.retired_waiting(), 0);
}

#[test]
fn trap_19_opening_while_rotating_never_meets_a_torn_key() {
    let lifetime = Duration::from_secs(60);
    let config = KeyConfig {
        max_keys: 64,
        lanes: 2,
        ticket_lifetime: lifetime,
        ..KeyConfig::default()
    };
    let keys = manager(config);
    // The clock goes five seconds a rotation, so that keys are retired all the time.
    let clock = AtomicU64::new(NOW.0);
    let now = || UnixMillis(clock.load(Ordering::SeqCst));
    let end = after(400 * 5_000);
    let opened = std::thread::scope(|scope| {
        let reading = [0, 1].map(|lane| {
            let keys = &keys;
            scope.spawn(move || {
                let reader = keys.reader();
                let mut scratch = Scratch::new();
                let mut opened = 0_u32;
                while now() < end {
                    let sealed_at = now();
                    let mut out = [0; 256];
                    let sealed = reader
                        .snapshot()
                        .seal_opaque(lane, b"x", 60, sealed_at, &mut out);
                    let ticket = EncryptedTicket::parse(&out[..sealed.unwrap().0]).unwrap();
                    // Another snapshot: keys may have rotated in between.
                    let result = ticket.open(&reader.snapshot(), &mut scratch).map(|_| ());
                    let lives = now() < sealed_at.saturating_add(lifetime);
                    assert!(result.is_ok() || !lives, "{result:?}");
                    opened += u32::from(result.is_ok());
                }
                opened
            })
        });
        let random = Seeded::new(8);
        while now() < end {
            // A reader that is not scheduled can hold keys back until there is no room for more.
            let rotated = keys.rotate(now(), &random);
            assert!(
                matches!(rotated, Ok(_) | Err(Error::TooManyKeys)),
                "{rotated:?}"
            );
            clock.fetch_add(5_000, Ordering::SeqCst);
            std::thread::sleep(Duration::from_micros(200));
        }
        reading.map(|thread| thread.join().unwrap())
    });
    assert!(opened.iter().all(|opened| *opened > 0), "{opened:?}");
    // The first call lets the last readers' leaving be known, the second can retire by it.
    for _ in 0..2 {
        keys.maintain(end, &Seeded::new(9)).unwrap();
    }
    assert!(keys.status().len() < 20);
}

/// Fails as often as it is told to.
struct Flaky(Cell<u32>);

impl SecureRandom for Flaky {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        if let Some(left) = self.0.get().checked_sub(1) {
            self.0.set(left);
            return Err(RandomUnavailable);
        }
        Seeded::new(77).fill(out)
    }
}

#[test]
fn trap_20_a_failed_rotation_is_heard_of_and_tried_again() {
    let keys = manager(KeyConfig::default());
    let first = keys.active();
    // The interval passes, the pending key takes over, but no further one can be drawn.
    let flaky = Flaky(Cell::new(1));
    assert_eq!(
        keys.maintain(after(HOUR), &flaky),
        Err(Error::RandomUnavailable)
    );
    assert_ne!(keys.active(), first, "what could be done was done");
    // The next call makes up for it.
    let pending = || {
        keys.status()
            .iter()
            .filter(|key| key.role == KeyRole::Pending)
            .count()
    };
    assert_eq!(pending(), 0);
    assert!(keys.maintain(after(HOUR + 1000), &flaky).is_ok());
    assert_eq!(pending(), 1);
}

#[test]
fn a_rotation_beyond_the_limit_is_refused_and_comes_when_there_is_room() {
    let config = KeyConfig {
        max_keys: 3,
        ticket_lifetime: Duration::from_secs(60),
        ..KeyConfig::default()
    };
    let keys = manager(config);
    let random = Seeded::new(3);
    seal(&keys, 0, NOW);
    for _ in 0..2 {
        let id = keys.rotate(NOW, &random).unwrap();
        assert_eq!(keys.active(), id);
        seal(&keys, 0, NOW);
    }
    let active = keys.active();
    assert_eq!(keys.rotate(NOW, &random), Err(Error::TooManyKeys));
    assert_eq!((keys.active(), keys.status().len()), (active, 3));
    assert_eq!(keys.maintain(NOW, &random), Err(Error::TooManyKeys));
    assert!(keys.rotate(after(60_000), &random).is_ok());
    assert_ne!(keys.active(), active);
}

#[test]
fn a_random_source_that_repeats_itself_repeats_no_nonce() {
    let keys = manager(KeyConfig::default());
    let stuck = |out: &mut [u8]| {
        out.fill(7);
        Ok(())
    };
    let drawn = (0..4).map(|_| keys.rotate(NOW, &stuck)).collect::<Vec<_>>();
    assert!(drawn.contains(&Err(Error::DuplicateKey)));
    let ids: Vec<_> = keys.status().iter().map(|key| key.id).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
}

#[test]
fn the_interval_survives_a_clock_that_steps_back() {
    let keys = manager(KeyConfig::default());
    let random = Seeded::new(3);
    assert!(
        !keys
            .maintain(UnixMillis(NOW.0 - 1_000 * HOUR), &random)
            .unwrap()
            .rotated
    );
    let later = UnixMillis(NOW.0 - 999 * HOUR);
    assert!(
        keys.maintain(later, &random).unwrap().rotated,
        "one hour after the step"
    );
}

#[test]
fn trap_22_resumption_does_not_prolong_a_session_beyond_its_full_handshake() {
    let builder = Engine::builder().session_lifetime(Duration::from_secs(100_000));
    let mut worker = worker(builder);
    let session = session(CipherSuite::Aes128GcmSha256, NOW);
    for (age_s, expected) in [(0, 86_400), (50_000, 50_000), (99_999, 1)] {
        let body = ticket_for(&mut worker, &session, after(age_s * 1_000));
        assert_eq!(
            NewSessionTicket::parse(&body).unwrap().ticket_lifetime,
            expected
        );
    }
    let mut out = [0; 512];
    let late = worker.issue(
        &session,
        client_address().ip(),
        after(100_000_000),
        &mut out,
    );
    assert_eq!(late, Err(Error::SessionExpired));
}

#[test]
fn trap_23_lifetimes_above_a_week_are_refused() {
    let config = |lifetime| KeyConfig {
        ticket_lifetime: lifetime,
        ..KeyConfig::default()
    };
    let week = TICKET_LIFETIME_MAX;
    assert_eq!(week, Duration::from_secs(604_800));
    let build = |lifetime| TicketKeyManager::new(config(lifetime), &Seeded::new(1), NOW);
    assert!(build(week).is_ok());
    assert!(matches!(
        build(week + Duration::from_secs(1)),
        Err(Error::Config(_))
    ));
    assert!(matches!(build(Duration::ZERO), Err(Error::Config(_))));
    let keys = manager(config(Duration::from_secs(60)));
    let reader = keys.reader();
    let sealed = reader
        .snapshot()
        .seal_opaque(0, b"x", 61, NOW, &mut [0; 256]);
    assert!(matches!(sealed, Err(Error::Config(_))));
}

#[test]
fn trap_23_tickets_of_any_length_are_refused_without_harm() {
    let keys = manager(KeyConfig::default());
    let ticket = seal(&keys, 0, NOW);
    for len in 0..ticket.len() {
        assert!(opens(&keys, &ticket[..len]).is_err(), "{len}");
    }
    for extra in [1, 15, 16, 32, 70_000] {
        assert!(opens(&keys, &[&ticket[..], &vec![0; extra]].concat()).is_err());
    }
}

#[test]
fn a_ticket_changed_in_any_bit_does_not_open() {
    let keys = manager(KeyConfig::default());
    let ticket = seal(&keys, 0, NOW);
    for bit in 0..ticket.len() * 8 {
        let mut changed = ticket.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let expected = if bit < 64 {
            OpenError::UnknownKey
        } else {
            OpenError::Forged
        };
        assert_eq!(opens(&keys, &changed), Err(expected), "bit {bit}");
    }
}

#[test]
fn an_observer_learns_nothing_of_how_many_tickets_there_are() {
    // Neighbouring serials of one key: their nonces have no order and no common bytes, neither
    // those of one process nor those of two that seal under the same key.
    let nonces = |process| -> Vec<[u8; 12]> {
        let (config, key) = (KeyConfig::default(), KeySecret::new([9; 32]));
        let keys = TicketKeyManager::with_key(config, &key, &Seeded::new(process), NOW).unwrap();
        let tickets = (0..1_000).map(|_| seal(&keys, 0, NOW));
        tickets.map(|t| t[16..28].try_into().unwrap()).collect()
    };
    let (ours, others) = (nonces(1), nonces(2));
    for at in 0..12 {
        let ascending = ours.windows(2).filter(|two| two[0][at..] < two[1][at..]);
        let ascending = ascending.count();
        assert!((400..600).contains(&ascending), "{at}: {ascending}");
        let distinct: HashSet<_> = ours.iter().map(|nonce| nonce[at]).collect();
        assert!(distinct.len() > 200, "byte {at}: {}", distinct.len());
        let common = ours.iter().zip(&others).filter(|(a, b)| a[at] == b[at]);
        assert!(
            common.count() < 30,
            "byte {at} is that of the other process"
        );
    }
}

#[test]
fn opaque_tickets_give_back_the_hosts_bytes() {
    let keys = manager(KeyConfig::default());
    let reader = keys.reader();
    let mut scratch = Scratch::new();
    for len in [0, 1, 15, 16, 17, dtls_session::ticket::OPAQUE_MAX] {
        let bytes = vec![0x42; len];
        let mut out = [0; dtls_session::ticket::TICKET_MAX];
        let snapshot = reader.snapshot();
        let (sealed, once) = snapshot.seal_opaque(0, &bytes, 60, NOW, &mut out).unwrap();
        assert!(once);
        let ticket = EncryptedTicket::parse(&out[..sealed]).unwrap();
        let opened = ticket.open(&snapshot, &mut scratch).unwrap();
        assert!(opened.is_home());
        let payload = opened.payload().unwrap();
        assert_eq!(payload.expires(), after(60_000));
        let dtls_session::ticket::Payload::Opaque {
            bytes: opened,
            issued,
            lifetime,
        } = payload
        else {
            panic!("not opaque");
        };
        assert_eq!((opened, issued, lifetime), (&bytes[..], NOW, 60));
    }
    let too_long = vec![0; dtls_session::ticket::OPAQUE_MAX + 1];
    let sealed = reader
        .snapshot()
        .seal_opaque(0, &too_long, 60, NOW, &mut [0; 2048]);
    assert_eq!(sealed, Err(Error::Length("opaque payload")));
}

#[test]
fn misuse_gets_a_clear_error() {
    let build = |config| TicketKeyManager::new(config, &Seeded::new(1), NOW).map(|_| ());
    for config in [
        KeyConfig {
            lanes: 0,
            ..KeyConfig::default()
        },
        KeyConfig {
            lanes: 257,
            ..KeyConfig::default()
        },
        KeyConfig {
            serials_per_lane: 0,
            ..KeyConfig::default()
        },
        KeyConfig {
            serials_per_lane: (1 << 32) + 1,
            ..KeyConfig::default()
        },
        KeyConfig {
            max_keys: 2,
            ..KeyConfig::default()
        },
        KeyConfig {
            rotation_interval: Some(Duration::ZERO),
            ..KeyConfig::default()
        },
        // 255 minutes of tickets, the key that seals, and the next.
        KeyConfig {
            rotation_interval: Some(Duration::from_secs(60)),
            ticket_lifetime: Duration::from_secs(255 * 60),
            ..KeyConfig::default()
        },
    ] {
        assert!(matches!(build(config), Err(Error::Config(_))));
    }
    let dead = |_: &mut [u8]| Err(RandomUnavailable);
    let built = TicketKeyManager::new(KeyConfig::default(), &dead, NOW).map(|_| ());
    assert_eq!(built, Err(Error::RandomUnavailable));
    // Whatever is said first.
    let engine = engine(Engine::builder().lanes(2).keys(KeyConfig::default()));
    let no_such_lane = Error::NoSuchLane { lane: 2, lanes: 2 };
    assert_eq!(engine.worker(2).map(|_| ()), Err(no_such_lane));
    let keys = manager(KeyConfig::default());
    let sealed = keys
        .reader()
        .snapshot()
        .seal_opaque(1, b"x", 60, NOW, &mut [0; 256]);
    assert_eq!(sealed, Err(Error::NoSuchLane { lane: 1, lanes: 1 }));
    let sealed = keys
        .reader()
        .snapshot()
        .seal_opaque(0, b"x", 60, NOW, &mut [0; 50]);
    assert_eq!(
        sealed,
        Err(Error::BufferTooSmall {
            needed: 28 + 32 + 16
        })
    );
    let roles: Vec<_> = keys.status().iter().map(|key| key.role).collect();
    assert_eq!(roles, [KeyRole::Active, KeyRole::Pending]);
}

#[test]
fn who_is_told_how_much_room_a_ticket_takes_needs_to_be_told_once_and_no_serial() {
    let room_for = |issue: &mut dyn FnMut(&mut [u8]) -> Result<usize, Error>| {
        let Err(Error::BufferTooSmall { needed }) = issue(&mut []) else {
            panic!("no buffer, and nothing is wrong");
        };
        let short = issue(&mut vec![0; needed - 1]);
        assert_eq!(short, Err(Error::BufferTooSmall { needed }));
        (needed, issue(&mut vec![0; needed]))
    };
    for early_data in [0, 1] {
        let engine = engine(Engine::builder().max_early_data(early_data));
        let issued = || engine.keys().status()[0].issued;
        for suite in [CipherSuite::Aes128GcmSha256, CipherSuite::Aes256GcmSha384] {
            for (nonce, host_data) in [(0, 0), (1, 7), (255, HOST_DATA_MAX)] {
                let before = issued();
                let secret = vec![1; suite.hash().output_len()];
                let session = NewSession {
                    secret: ResumptionSecret::Master {
                        secret: &secret,
                        ticket_nonce: &vec![2; nonce],
                    },
                    host_data: &vec![3; host_data],
                    ..session(suite, NOW)
                };
                let mut worker = engine.worker(0).unwrap();
                let peer = peer(1, 1).ip();
                let mut issue = |out: &mut [u8]| worker.issue(&session, peer, NOW, out);
                let (needed, written) = room_for(&mut issue);
                assert_eq!(written, Ok(needed));
                assert_eq!(issued(), before + 1);
            }
        }
    }
    let keys = manager(KeyConfig::default());
    let reader = keys.reader();
    for len in [0, 1, 16, OPAQUE_MAX] {
        let bytes = vec![4; len];
        let before = keys.status()[0].issued;
        let mut seal = |out: &mut [u8]| {
            let sealed = reader.snapshot().seal_opaque(0, &bytes, 60, NOW, out);
            sealed.map(|(len, _)| len)
        };
        let (needed, written) = room_for(&mut seal);
        assert_eq!(written, Ok(needed));
        assert_eq!(keys.status()[0].issued, before + 1);
    }
}

#[test]
fn trap_24_nothing_secret_is_printed() {
    let keys = manager(KeyConfig::default());
    let secret = KeySecret::new([0xAB; 32]);
    let reader = keys.reader();
    let ticket = seal(&keys, 0, NOW);
    let mut scratch = Scratch::new();
    let snapshot = reader.snapshot();
    let opened = EncryptedTicket::parse(&ticket)
        .unwrap()
        .open(&snapshot, &mut scratch)
        .unwrap();
    let printed = format!("{secret:?} {:?}", opened.key_id());
    assert!(!printed.to_lowercase().contains("abab") && printed.contains("KeySecret(..)"));
    // What is not secret is there for people to compare.
    assert_eq!(opened.key_id(), keys.active());
    assert_eq!(opened.key_id().to_bytes(), ticket[..8]);
    let shared = TicketKeyManager::with_key(KeyConfig::default(), &secret, &Seeded::new(1), NOW);
    assert_eq!(shared.unwrap().active(), secret.id());
    let bytes = secret.id().to_bytes().map(|byte| format!("{byte:02x}"));
    assert_eq!(secret.id().to_string(), bytes.concat());
}

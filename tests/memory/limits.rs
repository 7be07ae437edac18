//! Every structure filled to its limit and past it: the limit in bytes holds as the allocator
//! counts them, admission goes on, and only 0-RTT is refused.

use std::time::Duration;

use dtls_session::admission::{Discarded, NoEarlyData};
use dtls_session::client::{
    ClientSession, Endpoint, FirstFlight, Framing, SessionStore, StoreConfig,
};
use dtls_session::keys::KeyConfig;
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::NewSessionTicket;
use dtls_session::{BATCH_MAX, Datagram, Engine, Error, ReplayProtection, Worker};

use crate::allocator::measure;
use crate::common::*;

/// What boxes that name a block may add to the block.
const SLACK: usize = 256;

fn admit_ticket(worker: &mut Worker, body: &[u8], random: u8, port: u16) -> Seen {
    let flight = flight(&params(random), offer(body, NOW, after(100)));
    admit_from(worker, &flight.datagrams[0], peer(1, port), after(100))
}

#[test]
fn the_register_keeps_to_its_bytes_and_tickets_beyond_resume() {
    // Given room for the first bits of two lanes, and for the next of one of them only,
    const LIMIT: usize = 2 * 4096 + 4096 + 1000;
    let keys = KeyConfig {
        lanes: 2,
        register_bytes: LIMIT,
        ticket_lifetime: Duration::from_secs(60),
        ..KeyConfig::default()
    };
    let engine = engine(Engine::builder().keys(keys));
    let mut workers = [0, 1].map(|lane| engine.worker(lane).unwrap());
    let reader = engine.keys().reader();
    let mut tickets = workers.each_mut().map(|worker| vec![ticket(worker, NOW)]);
    // when each lane issues more tickets than have room,
    let (_, usage) = measure(|| {
        let keys = reader.snapshot();
        for ticket in 0..2 * 33_000_u32 {
            let lane = (ticket % 2) as u8;
            keys.seal_opaque(lane, b"host", 60, NOW, &mut [0; 128])
                .unwrap();
        }
    });
    // then no more bytes are taken than were allowed,
    assert!(usage.peak <= LIMIT - 2 * 4096 + SLACK, "{usage:?}");
    assert_eq!(engine.keys().register_bytes(), (3 * 4096, LIMIT));
    // and all tickets resume, those that have room with 0-RTT, once.
    for (worker, tickets) in workers.iter_mut().zip(&mut tickets) {
        tickets.push(ticket(worker, NOW));
    }
    let allows = |body: &Vec<u8>| {
        let message = NewSessionTicket::parse(body).unwrap();
        message.max_early_data_size.is_some()
    };
    let with_room = tickets.iter().flatten().filter(|body| allows(body)).count();
    assert_eq!(with_room, 3);
    for (n, body) in tickets.iter().flatten().enumerate() {
        let expected = if allows(body) {
            Seen::Accept
        } else {
            Seen::Resume(NoEarlyData::NotOffered)
        };
        let worker = &mut workers[n % 2];
        assert_eq!(admit_ticket(worker, body, n as u8, 1), expected, "{n}");
        if expected == Seen::Accept {
            let replayed = Seen::Resume(NoEarlyData::Replayed);
            assert_eq!(admit_ticket(worker, body, n as u8, 2), replayed, "{n}");
        }
    }
    // The room comes back with the key's retirement.
    let random = Seeded::new(2);
    engine.keys().rotate(after(1_000), &random).unwrap();
    engine.maintain(after(61_000), &random).unwrap();
    engine.maintain(after(61_001), &random).unwrap();
    assert_eq!(engine.keys().register_bytes().0, 0);
}

#[test]
fn the_recorder_keeps_to_its_bytes_and_flights_beyond_resume() {
    const LIMIT: usize = 16 << 10;
    for protection in [
        ReplayProtection::ClientHelloRecording,
        ReplayProtection::TimeWindowed,
    ] {
        let small = Engine::builder().replay_protection(protection);
        let (engine, with_recorder) = measure(|| engine(small.recorder_bytes(LIMIT)));
        let (_, without) = measure(|| crate::common::engine(Engine::builder()));
        assert!(engine.replay().bytes() <= LIMIT);
        let recorder = with_recorder.kept - without.kept;
        assert!(recorder <= (LIMIT + SLACK) as isize, "{recorder}");

        let mut worker = engine.worker(0).unwrap();
        let mut verdicts = Vec::new();
        for n in 0..1_500_u32 {
            let ticket = ticket(&mut worker, NOW);
            let flight = flight(&params(n as u8), offer(&ticket, NOW, after(100)));
            let datagram = [Datagram {
                bytes: &flight.datagrams[0],
                peer: client_address(),
            }];
            let (verdict, usage) = measure(|| {
                let admitted = worker.admit(&datagram, after(100)).unwrap();
                seen(admitted.iter().next().unwrap().1)
            });
            assert_eq!(usage.calls, 0);
            verdicts.push((verdict, flight));
        }
        let full = Seen::Resume(NoEarlyData::ReplayCacheFull);
        let refused = verdicts
            .iter()
            .filter(|(verdict, _)| *verdict == full)
            .count();
        let accepted = verdicts
            .iter()
            .filter(|(verdict, _)| *verdict == Seen::Accept);
        assert!(refused > 0);
        assert_eq!(accepted.clone().count() + refused, verdicts.len());
        // Being full revives nothing.
        for (_, flight) in accepted {
            let again = admit_from(&mut worker, &flight.datagrams[0], peer(1, 9), after(200));
            assert_eq!(again, Seen::Resume(NoEarlyData::Replayed));
        }
    }
}

#[test]
fn the_pool_for_fragments_keeps_to_its_bytes_and_whole_flights_are_accepted() {
    // Given a worker with few slots, and its memory,
    let small = || Engine::builder().reassembly(8, 2_000);
    let (mut worker, usage) = measure(|| worker(small()));
    let pool = dtls_session::wire::Reassembly::new(8, 2_000, Duration::from_secs(5)).unwrap();
    let (_, twice) = measure(|| crate::common::worker(Engine::builder().reassembly(16, 2_000)));
    let slots = twice.kept - usage.kept;
    assert!(
        slots <= pool.memory_bytes() as isize,
        "{slots}: {pool:?}",
        pool = pool.memory_bytes()
    );

    let framing = Framing {
        max_datagram_len: 150,
        ..Framing::default()
    };
    let body = ticket(&mut worker, NOW);
    let mut flood_offer = offer(&body, NOW, after(100));
    let fragments = FirstFlight::new(&params(1), Some(&mut flood_offer), &framing, &[]).unwrap();
    // when first fragments come from very many addresses,
    for round in 0..500_u16 {
        let batch: Vec<_> = (0..BATCH_MAX as u16)
            .map(|n| Datagram {
                bytes: &fragments.datagrams[0],
                peer: peer(3, round * BATCH_MAX as u16 + n),
            })
            .collect();
        let (_, usage) = measure(|| {
            for (_, verdict) in worker.admit(&batch, after(100)).unwrap().iter() {
                let verdict = seen(verdict);
                let full = Seen::Discard(Discarded::ReassemblyFull);
                assert!([Seen::Incomplete, full].contains(&verdict), "{verdict:?}");
            }
        });
        assert_eq!(usage.calls, 0);
    }
    // then whole flights are accepted, and so is one whose fragments come together.
    let ticket = ticket(&mut worker, NOW);
    assert_eq!(admit_ticket(&mut worker, &ticket, 2, 1), Seen::Accept);
    let batch: Vec<_> = fragments
        .datagrams
        .iter()
        .map(|bytes| Datagram {
            bytes,
            peer: client_address(),
        })
        .collect();
    let admitted = worker.admit(&batch, after(100)).unwrap();
    let last = admitted.iter().last().unwrap().1;
    assert_eq!(seen(last), Seen::Accept);
}

#[test]
fn the_store_of_sessions_keeps_to_its_bytes() {
    // Without optimization a session takes long to make.
    let rounds = if cfg!(debug_assertions) { 2 } else { 20 };
    for (max_sessions, sessions_per_endpoint, name_len, ticket_len) in [
        (1_000, 1, 100, 596),
        (200, 4, 100, 596),
        (1, 1, 100, 596),
        // The tables of this one have little room beyond what its limit counts.
        (10_016, 1, 0, 4),
    ] {
        let config = StoreConfig {
            max_sessions,
            sessions_per_endpoint,
            max_session_bytes: name_len + 4 + ticket_len,
        };
        let (store, built) = measure(|| SessionStore::new(config).unwrap());
        let limit = store.memory_limit();
        let name = "n".repeat(name_len);
        // When it is filled over and over with sessions of ever new endpoints,
        let (_, usage) = measure(|| {
            for n in 0..rounds * max_sessions as u32 {
                let mut ticket = vec![7; ticket_len];
                ticket[..4].copy_from_slice(&n.to_le_bytes());
                let message = NewSessionTicket {
                    ticket_lifetime: 3_600,
                    ticket_age_add: n,
                    ticket_nonce: &[0],
                    ticket: &ticket,
                    max_early_data_size: None,
                };
                let suite = CipherSuite::Aes256GcmSha384;
                let session =
                    ClientSession::from_psk(&message, suite, b"psk", Some(ALPN), NOW).unwrap();
                let server = n / sessions_per_endpoint as u32;
                let address = peer((server >> 16) as u8, server as u16);
                store
                    .store(Endpoint::new(address, Some(&name)), session, NOW)
                    .unwrap();
            }
        });
        // then it keeps to its limit, which is not far from the truth.
        let most = built.kept as usize + usage.peak;
        assert!(most <= limit, "{usage:?}, limit {limit}");
        let close = most * 4 > limit || max_sessions == 1;
        assert!(close, "a limit far from the truth: {usage:?}, {limit}");
        assert_eq!(store.len(), max_sessions);
    }
}

#[test]
fn keys_keep_to_their_bytes_and_rotation_beyond_is_refused() {
    const MAX_KEYS: usize = 8;
    let keys = KeyConfig {
        lanes: 4,
        max_keys: MAX_KEYS,
        register_bytes: 1 << 20,
        ticket_lifetime: Duration::from_secs(60),
        ..KeyConfig::default()
    };
    let random = Seeded::new(4);
    let (engine, built) = measure(|| engine(Engine::builder().keys(keys)));
    let mut worker = engine.worker(0).unwrap();
    let limit = engine.keys().memory_limit();
    // Given as many keys as may be, each with tickets that live,
    let (refused, usage) = measure(|| {
        (0..1_000)
            .filter(|_| {
                let _ = ticket(&mut worker, NOW);
                engine.keys().rotate(NOW, &random) == Err(Error::TooManyKeys)
            })
            .count()
    });
    assert!(refused > 990, "{refused}");
    assert_eq!(engine.keys().status().len(), MAX_KEYS);
    let most = built.kept + usage.peak as isize;
    assert!(most <= limit as isize, "{most} of {limit}");
    // then tickets are issued and accepted all the same.
    let body = ticket(&mut worker, NOW);
    assert_eq!(admit_ticket(&mut worker, &body, 1, 1), Seen::Accept);

    // Given a reader that is stuck on these keys,
    let stuck = engine.keys().reader();
    let snapshot = stuck.snapshot();
    // when they retire, then they count until it leaves, in number and in bytes,
    let (refused, usage) = measure(|| {
        let mut refused = 0;
        for minute in 1..1_000 {
            let now = after(minute * 60_000);
            let _ = ticket(&mut worker, now);
            refused += u32::from(engine.keys().rotate(now, &random) == Err(Error::TooManyKeys));
            let _ = engine.maintain(now, &random);
            let waiting = engine.keys().retired_waiting();
            assert!(engine.keys().status().len() + waiting <= MAX_KEYS);
        }
        refused
    });
    assert!(refused > 990, "{refused}");
    let most = most + usage.peak as isize;
    assert!(most <= limit as isize, "{most} of {limit}");
    let now = after(1_000 * 60_000);
    let body = ticket(&mut worker, now);
    let genuine = flight(&params(2), offer(&body, now, now));
    assert_eq!(admit(&mut worker, &genuine.datagrams[0], now), Seen::Accept);
    // and when it has left, rotation goes on, and no memory stays behind.
    drop(snapshot);
    engine.maintain(now, &random).unwrap();
    let (_, usage) = measure(|| {
        for minute in 1_001..2_000 {
            let now = after(minute * 60_000);
            let _ = ticket(&mut worker, now);
            engine.maintain(now, &random).unwrap();
            engine.keys().rotate(now, &random).unwrap();
        }
    });
    assert!(usage.kept <= 0, "{usage:?}");
    assert_eq!(engine.keys().retired_waiting(), 0);
}

#[test]
fn workers_that_come_and_go_leave_nothing_behind_but_their_counts() {
    let engine = engine(Engine::builder());
    let body = ticket(&mut engine.worker(0).unwrap(), NOW);
    let genuine = first_flight(&body, NOW, NOW);
    let come_and_go = |ports: std::ops::Range<u16>| {
        for port in ports {
            let mut worker = engine.worker(0).unwrap();
            admit_from(&mut worker, &genuine.datagrams[0], peer(1, port), NOW);
        }
    };
    // The first ones leave what the collector still works with.
    come_and_go(0..100);
    let (_, usage) = measure(|| come_and_go(100..500));
    assert!(usage.kept < 4096, "{usage:?}");
    let metrics = engine.metrics();
    assert_eq!(
        metrics.verdicts().map(|(_, _, count)| count).sum::<u64>(),
        500
    );
}

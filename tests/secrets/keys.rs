//! A retired ticket key: its secret, its subkeys, its round keys.

use std::time::Duration;

use dtls_session::handover::hand_over;
use dtls_session::keys::KeyConfig;
use dtls_session::schedule::CipherSuite;
use dtls_session::ticket::Scratch;
use dtls_session::{
    Datagram, EncryptedTicket, Engine, KeySecret, RandomUnavailable, TicketKeyManager,
};

use crate::child::ISSUER;
use crate::common::*;
use crate::needles::{Needles, of_child};
use crate::scan::{Scanner, deep};

fn secret_of(key: &Needles) -> KeySecret {
    key.with("secret", |secret| {
        KeySecret::new(secret.try_into().unwrap())
    })
}

/// A random source that draws the issuer of these tests, and no keys that differ.
fn of_issuer(out: &mut [u8]) -> Result<(), RandomUnavailable> {
    out.fill(ISSUER[0]);
    Ok(())
}

#[test]
fn trap_24_a_retired_key_leaves_nothing_in_memory() {
    let scanner = Scanner::new();
    let all = of_child("key");
    scanner.assert_gone(&all);
    let seeded = Seeded::new(1);
    let random = |out: &mut [u8]| match out.len() {
        8 => {
            out.copy_from_slice(&ISSUER);
            Ok(())
        }
        _ => dtls_session::SecureRandom::fill(&seeded, out),
    };
    let config = KeyConfig {
        ticket_lifetime: Duration::from_secs(600),
        ..KeyConfig::default()
    };
    // Given a key that was imported, has sealed, and has opened tickets of this process and of
    // another,
    let secret = secret_of(&all);
    let keys = deep(|| TicketKeyManager::with_key(config, &secret, &random, NOW).unwrap());
    let reader = keys.reader();
    deep(|| {
        let mut ticket = [0; 256];
        let keys = reader.snapshot();
        let (len, _) = keys.seal_opaque(0, b"host", 600, NOW, &mut ticket).unwrap();
        for ticket in [&ticket[..len], all.public("ticket")] {
            let ticket = EncryptedTicket::parse(ticket).unwrap();
            let mut scratch = Scratch::new();
            assert!(ticket.open(&keys, &mut scratch).is_ok());
        }
    });
    let kept = all.of(&["kept", "home", "foreign"]);
    scanner.assert_there(&all.of(&["secret"]).and(&kept));
    // when its secret is dropped, then nobody else has kept it, nor what keys were made of;
    drop(secret);
    scanner.assert_gone(&all.of(&["secret", "input"]));
    // when it retires, as late as another host may need it, it is there for a last reader
    deep(|| keys.rotate(NOW, &random)).unwrap();
    deep(|| keys.maintain(after(1_000), &random)).unwrap();
    let snapshot = reader.snapshot();
    deep(|| keys.maintain(after(900_001), &random)).unwrap();
    assert_eq!(keys.retired_waiting(), 1);
    scanner.assert_there(&kept);
    // and for nobody after that.
    drop(snapshot);
    deep(|| keys.maintain(after(900_002), &random)).unwrap();
    assert_eq!(keys.retired_waiting(), 0);
    scanner.assert_gone(&all);
}

#[test]
fn sealing_for_a_host_leaves_nothing_of_the_key_on_the_stack() {
    let scanner = Scanner::new();
    let all = of_child("key");
    let secret = secret_of(&all);
    let config = KeyConfig {
        rotation_interval: None,
        ..KeyConfig::default()
    };
    let keys = deep(|| TicketKeyManager::with_key(config, &secret, &of_issuer, NOW).unwrap());
    drop(secret);
    let reader = keys.reader();
    deep(|| {
        let snapshot = reader.snapshot();
        let mut ticket = [0; 256];
        snapshot
            .seal_opaque(0, b"host", 600, NOW, &mut ticket)
            .unwrap();
    });
    drop((reader, keys));
    scanner.assert_gone(&all);
}

#[test]
fn a_key_leaves_nothing_when_its_engine_is_dropped() {
    let scanner = Scanner::new();
    let all = of_child("key");
    // Given an engine that has done everything that it does with its key,
    let secret = secret_of(&all);
    let builder = Engine::builder().ticket_key(secret);
    let engine = deep(|| builder.build(&of_issuer, NOW).unwrap());
    let mut worker = deep(|| engine.worker(0).unwrap());
    let flight = first_flight(&deep(|| ticket(&mut worker, NOW)), NOW, NOW);
    let batch = [Datagram {
        bytes: &flight.datagrams[0],
        peer: peer(7, 7),
    }];
    let mut retry = [0; 192];
    let admitted = deep(|| worker.admit(&batch, NOW).unwrap());
    let (arrival, _) = admitted.iter().next().unwrap();
    let suite = CipherSuite::Aes128GcmSha256;
    deep(|| admitted.hello_retry_request(arrival, suite, None, &mut retry)).unwrap();
    drop(admitted);
    deep(|| hand_over(&engine, &[1; 32], NOW)).unwrap();
    scanner.assert_there(&all.of(&["kept", "home"]));
    scanner.assert_gone(&all.of(&["secret", "input"]));
    // when it is dropped, nothing is left.
    drop(worker);
    drop(engine);
    scanner.assert_gone(&all);
}

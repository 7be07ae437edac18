//! Any bytes get a verdict, and change nothing but counters.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use dtls_session::admission::{Discarded, NoResumption};
use dtls_session::{BATCH_MAX, Datagram, Engine, Error, ReplayProtection};
use proptest::prelude::*;

const PROTECTIONS: [ReplayProtection; 2] = [
    ReplayProtection::SingleUseTickets,
    ReplayProtection::ClientHelloRecording,
];

/// The record's version and number are under no binder (RFC 9147, 5.2), nor is message_seq, but for
/// its being 0.
fn unbound(byte: usize) -> bool {
    (1..3).contains(&byte) || (5..11).contains(&byte)
}

fn with_bit_flipped(datagram: &[u8], bit: usize) -> Vec<u8> {
    let mut changed = datagram.to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    changed
}

#[test]
fn a_flight_changed_in_any_bit_is_never_accepted_and_uses_nothing_up() {
    for protection in PROTECTIONS {
        let mut worker = worker(Engine::builder().replay_protection(protection));
        let ticket = ticket(&mut worker, NOW);
        let flight = first_flight(&ticket, NOW, after(100));
        let genuine = &flight.datagrams[0];
        for bit in (0..genuine.len() * 8).filter(|bit| !unbound(bit / 8)) {
            let changed = with_bit_flipped(genuine, bit);
            let verdict = admit_from(&mut worker, &changed, peer(1, 77), after(100));
            assert_ne!(verdict, Seen::Accept, "bit {bit} of byte {}", bit / 8);
        }
        let verdict = admit_from(&mut worker, genuine, peer(1, 77), after(110));
        assert_eq!(verdict, Seen::Accept);
    }
}

#[test]
fn a_record_header_does_not_tell_flights_apart() {
    for protection in PROTECTIONS {
        let mut worker = worker(Engine::builder().replay_protection(protection));
        let ticket = ticket(&mut worker, NOW);
        let flight = first_flight(&ticket, NOW, after(100));
        let genuine = &flight.datagrams[0];
        let verdict = admit_from(&mut worker, genuine, peer(1, 77), after(100));
        assert_eq!(verdict, Seen::Accept);
        for bit in (0..genuine.len() * 8).filter(|bit| unbound(bit / 8)) {
            let changed = with_bit_flipped(genuine, bit);
            let verdict = admit_from(&mut worker, &changed, peer(1, 78), after(110));
            let refused = matches!(verdict, Seen::Resume(_));
            assert!(refused, "bit {bit} of byte {}: {verdict:?}", bit / 8);
        }
    }
}

#[test]
fn a_flight_cut_anywhere_is_never_accepted_and_uses_nothing_up() {
    let mut worker = worker(Engine::builder());
    let ticket = ticket(&mut worker, NOW);
    let flight = first_flight(&ticket, NOW, after(100));
    for len in 0..flight.datagrams[0].len() {
        let verdict = admit(&mut worker, &flight.datagrams[0][..len], after(100));
        assert_eq!(verdict, Seen::Discard(Discarded::NotARecord), "{len}");
    }
    assert_eq!(
        admit(&mut worker, &flight.datagrams[0], after(100)),
        Seen::Accept
    );
}

#[test]
fn datagrams_for_others_are_discarded_with_their_reason() {
    let mut worker = worker(Engine::builder());
    let handshake = |kind: u8, seq: u8| {
        [
            &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12][..],
            &[kind, 0, 0, 0, 0, seq],
            &[0; 6],
        ]
        .concat()
    };
    for (bytes, why) in [
        (vec![], Discarded::NotARecord),
        (b"GET / HTTP/1.1".to_vec(), Discarded::NotARecord),
        (
            [&[0x2d, 1, 2, 0, 20][..], &[9; 20]].concat(),
            Discarded::Encrypted,
        ),
        (
            // Behind a connection ID, of whatever length.
            [&[0x3f, 1, 2, 0, 20][..], &[9; 20]].concat(),
            Discarded::Encrypted,
        ),
        (
            [&[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2][..], &[2, 40]].concat(),
            Discarded::NotHandshake,
        ),
        (handshake(2, 0), Discarded::NotClientHello),
        (handshake(1, 9), Discarded::NotClientHello),
    ] {
        assert_eq!(admit(&mut worker, &bytes, NOW), Seen::Discard(why));
        let counted = worker.engine().metrics().discarded_because(why);
        assert!(counted > 0);
    }
}

#[test]
fn an_older_protocol_is_somebody_elses() {
    let mut worker = worker(Engine::builder());
    let flight = first_flight(&ticket(&mut worker, NOW), NOW, NOW);
    let mut body = flight.client_hello.clone();
    let at = body
        .windows(2)
        .position(|pair| pair == [0xfe, 0xfc])
        .unwrap();
    body[at + 1] = 0xfd;
    let datagram = dtls_session::client::Framing::default()
        .datagrams(&body)
        .unwrap()
        .remove(0);
    assert_eq!(
        admit(&mut worker, &datagram, NOW),
        Seen::Full(NoResumption::NotDtls13)
    );
}

#[test]
fn a_batch_too_large_is_misuse() {
    let mut worker = worker(Engine::builder());
    let batch = vec![
        Datagram {
            bytes: &[],
            peer: client_address()
        };
        BATCH_MAX + 1
    ];
    assert!(matches!(worker.admit(&batch, NOW), Err(Error::Length(_))));
    assert_eq!(
        worker.admit(&batch[..BATCH_MAX], NOW).unwrap().iter().len(),
        BATCH_MAX
    );
    assert_eq!(worker.admit(&[], NOW).unwrap().iter().len(), 0);
}

#[test]
fn every_datagram_is_counted_once() {
    let mut worker = worker(Engine::builder());
    let mut offered = 0;
    for n in 0..50_u8 {
        let ticket = ticket(&mut worker, NOW);
        let flight = flight(&params(n), offer(&ticket, NOW, NOW));
        for bytes in flight.datagrams.iter().chain(&flight.datagrams) {
            admit(&mut worker, bytes, NOW);
            offered += 1;
        }
    }
    let metrics = worker.engine().metrics();
    assert_eq!(
        metrics.verdicts().map(|(_, _, count)| count).sum::<u64>(),
        offered
    );
    assert_eq!(metrics.accepted_early_data(), 50);
    assert_eq!(metrics.retransmissions(), 50);
    assert_eq!(metrics.discarded_because(Discarded::Encrypted), 100);
    assert_eq!(metrics.issued(), 50);
}

proptest! {
    #[test]
    fn any_bytes_get_a_verdict(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut worker = worker(Engine::builder());
        let verdict = admit(&mut worker, &bytes, NOW);
        prop_assert!(!matches!(verdict, Seen::Accept | Seen::Resume(_)));
    }

    #[test]
    fn a_genuine_flight_spliced_with_any_bytes_is_never_accepted_wrongly(
        at in any::<prop::sample::Index>(),
        cut in 0_usize..40,
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut worker = worker(Engine::builder());
        let ticket = ticket(&mut worker, NOW);
        let flight = first_flight(&ticket, NOW, after(100));
        let genuine = &flight.datagrams[0];
        // Another client's, so that what is like it is not parsed.
        let ticket = common::ticket(&mut worker, NOW);
        let others = first_flight(&ticket, NOW, after(90));
        let verdict = admit(&mut worker, &others.datagrams[0], after(90));
        prop_assert_eq!(verdict, Seen::Accept);
        let at = 13 + at.index(genuine.len() - 13);
        let end = genuine.len().min(at + cut);
        let mut changed = genuine.clone();
        changed.splice(at..end, bytes);
        let verdict = admit(&mut worker, &changed, after(100));
        if changed.get(..genuine.len()) == Some(&genuine[..]) {
            // Something follows it.
            prop_assert_eq!(verdict, Seen::Accept);
        } else {
            prop_assert_ne!(verdict, Seen::Accept);
            let verdict = admit_from(&mut worker, genuine, peer(1, 5), after(100));
            prop_assert_eq!(verdict, Seen::Accept, "it was used up");
        }
    }
}

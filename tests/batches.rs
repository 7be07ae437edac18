//! A batch is judged as its datagrams are one after the other, however they are mixed.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use dtls_session::admission::AbortReason;
use dtls_session::client::{ClientHelloParams, FirstFlight};
use dtls_session::schedule::{CipherSuite, EarlyRecord, HashAlgorithm, Transcript};
use dtls_session::wire::{AlertDescription, ClientHello, HandshakeType};
use dtls_session::{BATCH_MAX, Datagram, Engine, Verdict, Worker};

const SUITES: [CipherSuite; 3] = [
    CipherSuite::Aes128GcmSha256,
    CipherSuite::Aes256GcmSha384,
    CipherSuite::Chacha20Poly1305Sha256,
];

/// The flight of a client with a ticket of `suite`, its ClientHello longer by `padding` bytes.
fn padded_flight(worker: &mut Worker, suite: CipherSuite, padding: usize) -> FirstFlight {
    let ticket = ticket_for(worker, &session(suite, NOW), NOW);
    let long = vec![b'x'; padding.clamp(1, 255)];
    let alpn: &[&[u8]] = if padding == 0 {
        &[ALPN]
    } else {
        &[ALPN, &long]
    };
    let shares = [(29, [7; 32].as_slice()), (0x11ec, &vec![9; padding])];
    let params = ClientHelloParams {
        alpn,
        key_shares: &shares[..if padding > 200 { 2 } else { 1 }],
        ..params(1)
    };
    flight(
        &params,
        client_session(suite, &ticket, NOW)
            .offer(after(10))
            .unwrap(),
    )
}

/// What the host needs of an accepted flight is what the client has: its early data opens, and
/// the transcripts are the same.
fn check_accepted(verdict: Verdict<'_>, flight: &FirstFlight, case: &str) {
    let Verdict::AcceptEarlyData(resumed) = verdict else {
        panic!("{case}: {verdict:?}")
    };
    let mut record = flight.datagrams[1].clone();
    let opened = resumed
        .early_data()
        .unwrap()
        .open(&mut record, 0, after(20));
    assert!(
        matches!(opened, Ok(EarlyRecord::ApplicationData(data)) if data == EARLY),
        "{case}: {opened:?}"
    );
    check_transcript(&resumed.transcript(), resumed.suite.hash(), flight, case);
}

fn check_transcript(ours: &Transcript, hash: HashAlgorithm, flight: &FirstFlight, case: &str) {
    let mut expected = Transcript::new(hash);
    expected.add(HandshakeType::CLIENT_HELLO, &flight.client_hello);
    assert_eq!(ours.digest(), expected.digest(), "{case}");
}

#[test]
fn batches_of_all_sizes_lengths_and_suites() {
    let random = Seeded::new(7);
    for len in (1..=20).chain([31, 32, 33, 47, 48, 49, 63, BATCH_MAX]) {
        let mut worker = worker(Engine::builder());
        let flights: Vec<_> = (0..len)
            .map(|_| {
                let suite = SUITES[random.below(6).saturating_sub(3) as usize];
                let padding = [0, random.below(100), random.below(300)][random.below(3) as usize];
                padded_flight(&mut worker, suite, padding as usize)
            })
            .collect();
        // Some have a binder of somebody who has only seen the ticket, and some repeat another.
        let spoilt: Vec<_> = (0..len).map(|_| random.below(4) == 0).collect();
        let hellos: Vec<_> = flights
            .iter()
            .zip(&spoilt)
            .map(|(flight, spoilt)| {
                let mut datagram = flight.datagrams[0].clone();
                assert!(ClientHello::parse(&flight.client_hello).is_ok());
                *datagram.last_mut().unwrap() ^= u8::from(*spoilt);
                datagram
            })
            .collect();
        let batch: Vec<_> = (hellos.iter())
            .map(|bytes| Datagram {
                bytes,
                peer: client_address(),
            })
            .collect();
        let admitted = worker.admit(&batch, after(20)).unwrap();
        for (i, (_, verdict)) in admitted.iter().enumerate() {
            let case = format!("{i} of {len}");
            if spoilt[i] {
                let bad = Seen::Abort(AlertDescription::DECRYPT_ERROR, AbortReason::BadBinder);
                assert_eq!(seen(verdict), bad, "{case}");
            } else {
                check_accepted(verdict, &flights[i], &case);
            }
        }
    }
}

#[test]
fn one_flight_many_times_in_a_batch_is_accepted_once() {
    let mut worker = worker(Engine::builder());
    let flight = padded_flight(&mut worker, SUITES[0], 0);
    let batch: Vec<_> = (0..BATCH_MAX)
        .map(|n| Datagram {
            bytes: &flight.datagrams[0],
            peer: peer(1, n as u16),
        })
        .collect();
    let admitted = worker.admit(&batch, after(20)).unwrap();
    let mut verdicts = admitted.iter().map(|(_, verdict)| verdict);
    check_accepted(verdicts.next().unwrap(), &flight, "the first");
    for verdict in verdicts {
        let Verdict::Resume(resumed, _) = verdict else {
            panic!("{verdict:?}")
        };
        // The resumption goes on, with the same transcript and no secret.
        assert!(resumed.client_early_traffic_secret().is_none());
        check_transcript(
            &resumed.transcript(),
            resumed.suite.hash(),
            &flight,
            "a copy",
        );
    }
}

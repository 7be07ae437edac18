//! The sessions that a gateway resumes: what it opens is gone with the batch.

use dtls_session::schedule::{CipherSuite, EarlyRecord};
use dtls_session::{Datagram, Engine, NewSession, ResumptionSecret, Verdict, Worker};

use crate::child::from_name;
use crate::common::*;
use crate::needles::{Needles, of_child, to_hex};
use crate::scan::{Scanner, deep};

const SUITES: [&str; 3] = ["aes128", "aes256", "chacha20"];

/// Issues a ticket for the session whose secrets are `needles`.
fn issue(worker: &mut Worker, suite: CipherSuite, needles: &Needles) -> Vec<u8> {
    needles.with("master", |master| {
        let session = NewSession {
            secret: ResumptionSecret::Master {
                secret: master,
                ticket_nonce: &[0],
            },
            ..session(suite, NOW)
        };
        deep(|| ticket_for(worker, &session, NOW))
    })
}

#[test]
fn a_session_leaves_nothing_in_memory_when_its_batch_is_over() {
    let scanner = Scanner::new();
    for name in SUITES {
        let suite = from_name(name);
        let session = of_child(&format!("session {name}"));
        let mut worker = worker(Engine::builder());
        // Given a ticket, of whose secrets nothing stays,
        let ticket = issue(&mut worker, suite, &session);
        scanner.assert_gone(&session);
        let flight = of_child(&format!("flights {name} {}", to_hex(&ticket)));
        let all = session.and(&flight);
        let batch = [Datagram {
            bytes: flight.public("hello0"),
            peer: client_address(),
        }];
        // when its flight is accepted, then the verdict has the secrets that go on,
        let admitted = deep(|| worker.admit(&batch, after(100)).unwrap());
        scanner.assert_there(&all.of(&["early", "traffic"]));
        scanner.assert_gone(&all.of(&["master", "input", "words", "records"]));
        // and so has what opens the early data;
        let (_, verdict) = admitted.iter().next().unwrap();
        let Verdict::AcceptEarlyData(resumed) = verdict else {
            panic!("{verdict:?}")
        };
        let mut opener = deep(|| resumed.early_data().unwrap());
        let mut record = flight.public("early0").to_vec();
        let opened = deep(|| opener.open(&mut record, 0, after(100)).unwrap());
        assert_eq!(opened, EarlyRecord::ApplicationData(EARLY));
        scanner.assert_there(&all.of(&["records"]));
        // when the host has looked at the early secret, then no more of it is left than before,
        let before = scanner.count(&all.of(&["early"]));
        deep(|| assert!(resumed.early_secret().is_some()));
        assert!(scanner.count(&all.of(&["early"])) <= before);
        // when the verdicts are dropped, only what opens the early data is left,
        drop(admitted);
        scanner.assert_gone(&all.of(&["traffic", "master", "input", "words"]));
        scanner.assert_there(&all.of(&["records"]));
        // when that is dropped, the ticket's plaintext only,
        drop(opener);
        scanner.assert_gone(&all.of(&["traffic", "records"]));
        // and when the next batch comes, or none any more, nothing.
        if name == "aes256" {
            drop(worker);
        } else {
            deep(|| worker.admit(&[], after(200)).map(drop)).unwrap();
        }
        scanner.assert_gone(&all);
    }
}

#[test]
fn a_small_batch_wipes_what_a_large_one_opened() {
    let scanner = Scanner::new();
    let session = of_child("session aes128");
    let mut worker = worker(Engine::builder());
    let ticket = issue(&mut worker, from_name("aes128"), &session);
    let flight = of_child(&format!("flights aes128 {}", to_hex(&ticket)));
    let other = Datagram {
        bytes: b"no DTLS",
        peer: client_address(),
    };
    let genuine = Datagram {
        bytes: flight.public("hello0"),
        ..other
    };
    for (large, small) in [([other, other, genuine], 1), ([genuine, other, other], 2)] {
        deep(|| worker.admit(&large, after(100)).map(drop)).unwrap();
        scanner.assert_there(&session.of(&["early"]));
        deep(|| worker.admit(&[other; 2][..small], after(100)).map(drop)).unwrap();
        scanner.assert_gone(&session);
    }
}

#[test]
fn a_large_batch_leaves_nothing_in_memory() {
    let scanner = Scanner::new();
    // More flights than are hashed at once.
    const FLIGHTS: usize = 20;
    for name in ["aes128", "aes256"] {
        let session = of_child(&format!("session {name}"));
        let mut worker = worker(Engine::builder());
        let tickets: Vec<_> = (0..FLIGHTS)
            .map(|_| to_hex(&issue(&mut worker, from_name(name), &session)))
            .collect();
        let flights = of_child(&format!("flights {name} {}", tickets.join(" ")));
        let all = session.and(&flights);
        let hellos: Vec<_> = (0..FLIGHTS).map(|n| format!("hello{n}")).collect();
        let datagram = |hello: &String| Datagram {
            bytes: flights.public(hello),
            peer: client_address(),
        };
        let batch: Vec<_> = hellos.iter().map(datagram).collect();
        let admitted = deep(|| worker.admit(&batch, after(100)).unwrap());
        let verdicts = admitted.iter().map(|(_, verdict)| seen(verdict));
        assert_eq!(
            verdicts.filter(|seen| *seen == Seen::Accept).count(),
            FLIGHTS
        );
        scanner.assert_there(&all.of(&["early", "traffic"]));
        scanner.assert_gone(&all.of(&["master", "input", "words", "records"]));
        drop(admitted);
        scanner.assert_gone(&all.of(&["traffic"]));
        deep(|| worker.admit(&[], after(200)).map(drop)).unwrap();
        scanner.assert_gone(&all);
    }
}

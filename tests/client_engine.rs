//! The two sides of the library meet: what the engine issues, the client keeps and offers; what the
//! client sends, the engine judges.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;

use common::*;
use dtls_session::client::{
    ClientHelloParams, Endpoint, FirstFlight, Framing, SessionStore, StoreConfig,
};
use dtls_session::schedule::{CipherSuite, EarlyRecord, EarlySecret, LabelPrefix};
use dtls_session::wire::ServerHello;
use dtls_session::{Datagram, Engine, NewSession, UnixMillis, Verdict, Worker};

/// When the client comes back.
const T1: UnixMillis = UnixMillis(NOW.0 + 61_234);

fn gateway() -> Endpoint {
    Endpoint::new(SocketAddr::from(([192, 0, 2, 2], 5684)), Some(SNI))
}

/// A worker, and a client's store with a ticket that it issued under `suite`.
fn ticket_issued(suite: CipherSuite) -> (Worker, SessionStore) {
    let mut worker = worker(Engine::builder());
    let issued = NewSession {
        host_data: b"host",
        ..session(suite, NOW)
    };
    let ticket = ticket_for(&mut worker, &issued, NOW);
    let store = SessionStore::new(StoreConfig::default()).unwrap();
    let session = client_session(suite, &ticket, NOW);
    store.store(gateway(), session, NOW).unwrap();
    (worker, store)
}

const SUITES: [CipherSuite; 3] = [
    CipherSuite::Aes128GcmSha256,
    CipherSuite::Aes256GcmSha384,
    CipherSuite::Chacha20Poly1305Sha256,
];

#[test]
fn a_first_flight_is_accepted_and_its_early_data_opened() {
    for suite in SUITES {
        // Given a client with a ticket, and a first flight with early data in two records
        let (mut worker, store) = ticket_issued(suite);
        let mut offer = store.take(&gateway(), T1).unwrap().offer(T1).unwrap();
        let framing = Framing {
            max_datagram_len: 200, // so that the ClientHello is in fragments
            ..Framing::default()
        };
        let early = [EARLY, b"more"];
        let flight = FirstFlight::new(&params(9), Some(&mut offer), &framing, &early).unwrap();
        let hello_datagrams = flight.datagrams.len() - early.len();
        assert!(hello_datagrams > 1);

        // When its datagrams come, the last of the ClientHello is the one that is judged,
        for (i, bytes) in flight.datagrams[..hello_datagrams].iter().enumerate() {
            let peer = client_address();
            let admitted = worker.admit(&[Datagram { bytes, peer }], T1).unwrap();
            let (_, verdict) = admitted.iter().next().unwrap();
            if i + 1 < hello_datagrams {
                assert!(matches!(verdict, Verdict::Incomplete), "{verdict:?}");
                continue;
            }
            // then it is accepted, both sides have the same secrets, and the early data opens.
            let Verdict::AcceptEarlyData(resumed) = verdict else {
                panic!("{suite:?}: {verdict:?}");
            };
            assert_eq!(resumed.suite, suite);
            assert_eq!(resumed.session.host_data, b"host");
            let derived = |early: &EarlySecret| early.derived(LabelPrefix::Dtls13);
            assert_eq!(
                derived(&resumed.early_secret().unwrap()).as_bytes(),
                derived(offer.session().early_secret()).as_bytes()
            );
            let transcript = flight.transcript.as_ref().unwrap().digest();
            assert_eq!(
                resumed.transcript().digest().as_bytes(),
                transcript.as_bytes()
            );
            let mut opener = resumed.early_data().unwrap();
            for (datagram, plaintext) in flight.datagrams[hello_datagrams..].iter().zip(early) {
                let mut record = datagram.clone();
                let opened = opener.open(&mut record, 0, T1).unwrap();
                assert_eq!(opened, EarlyRecord::ApplicationData(plaintext));
            }
        }
    }
}

#[test]
fn trap_39_after_a_retry_the_second_flight_resumes_and_has_no_early_data() {
    for suite in SUITES {
        let (mut worker, store) = ticket_issued(suite);
        let mut offer = store.take(&gateway(), T1).unwrap().offer(T1).unwrap();
        let framing = Framing::default();
        let first = FirstFlight::new(&params(9), Some(&mut offer), &framing, &[EARLY]).unwrap();

        // Given a client at another address than its ticket's, which is asked for a cookie,
        let peer = SocketAddr::from(([198, 51, 100, 1], 1));
        let bytes = &first.datagrams[0];
        let (verdict, retry) = ask_for_a_cookie(&mut worker, bytes, peer, suite, T1);
        assert!(matches!(verdict, Seen::Resume(_)), "{verdict:?}");

        // when it sends a second ClientHello with that cookie a moment later,
        let later = UnixMillis(T1.0 + 150);
        let retried = offer.retry(&first.client_hello, &retry, later);
        let mut offer = retried.unwrap().unwrap();
        let answer = ServerHello::parse(&retry).unwrap();
        let params = ClientHelloParams {
            cookie: answer.cookie,
            ..params(9)
        };
        let second = FirstFlight::new(&params, Some(&mut offer), &second(), &[]).unwrap();

        // then it resumes without early data, and its one datagram is the ClientHello.
        assert_eq!(second.datagrams.len(), 1);
        let bytes = &second.datagrams[0];
        let admitted = worker.admit(&[Datagram { bytes, peer }], later).unwrap();
        let (arrival, verdict) = admitted.iter().next().unwrap();
        let Verdict::Resume(resumed, _) = verdict else {
            panic!("{suite:?}: {verdict:?}");
        };
        assert!(arrival.address_verified);
        assert!(resumed.early_data().is_none());
        let transcript = second.transcript.as_ref().unwrap().digest();
        assert_eq!(
            resumed.transcript().digest().as_bytes(),
            transcript.as_bytes()
        );
    }
}

//! The client's sessions: what is stored, offered and sent with is gone when it is dropped.

use dtls_session::client::{
    ClientSession, Endpoint, FirstFlight, Framing, SessionStore, StoreConfig,
};

use crate::child::from_name;
use crate::common::*;
use crate::needles::{Needles, of_child, to_hex};
use crate::scan::{Scanner, deep};

/// The session whose secrets and NewSessionTicket the child knows.
fn keep(name: &str, needles: &Needles) -> ClientSession {
    needles.with("master", |master| {
        deep(|| {
            ClientSession::from_new_session_ticket(
                needles.public("ticket"),
                from_name(name),
                master,
                Some(ALPN),
                NOW,
            )
            .unwrap()
        })
    })
}

/// What a session of this suite has: keys of HMAC, but for an early secret of SHA-384.
fn held(suite: &str) -> &'static [&'static str] {
    match suite {
        "aes256" => &["early/kept", "words"],
        _ => &["words"],
    }
}

#[test]
fn an_offered_session_leaves_nothing_in_memory_when_it_is_dropped() {
    let scanner = Scanner::new();
    for name in ["aes128", "aes256", "chacha20"] {
        // Given a session in the store,
        let session = of_child(&format!("ticket {name}"));
        let store = SessionStore::new(StoreConfig::default()).unwrap();
        let server = Endpoint::new(peer(9, 5_684), Some(SNI));
        let kept = keep(name, &session);
        deep(|| store.store(server.clone(), kept, NOW)).unwrap();
        scanner.assert_there(&session.of(held(name)));
        scanner.assert_gone(&session.of(&["master", "input"]));
        // when it is offered, with early data,
        let mut offer = deep(|| {
            store
                .take(&server, after(100))
                .unwrap()
                .offer(after(100))
                .unwrap()
        });
        let flight = deep(|| {
            FirstFlight::new(&params(1), Some(&mut offer), &Framing::default(), &[EARLY]).unwrap()
        });
        let hello = format!("hello {name} {}", to_hex(&flight.client_hello));
        let all = session.and(&of_child(&hello));
        scanner.assert_there(&all.of(&[held(name), &["records"]].concat()));
        scanner.assert_gone(&all.of(&["traffic", "input", "master"]));
        {
            let hello = offer.bind(&mut flight.client_hello.clone()).unwrap();
            let _secret = deep(|| offer.client_early_traffic_secret(&hello));
            scanner.assert_there(&all.of(&["traffic"]));
        }
        scanner.assert_gone(&all.of(&["traffic", "input", "master"]));
        // then dropping both leaves nothing.
        drop(offer);
        scanner.assert_gone(&all.of(&["early", "words"]));
        scanner.assert_there(&all.of(&["records"]));
        drop(flight);
        scanner.assert_gone(&all);
    }
}

#[test]
fn a_session_that_leaves_the_store_leaves_nothing_in_memory() {
    let scanner = Scanner::new();
    let session = of_child("ticket aes128");
    let server = Endpoint::new(peer(9, 5_684), Some(SNI));
    type Leave = fn(SessionStore, &Endpoint) -> Option<SessionStore>;
    let ways: [Leave; 4] = [
        |store, server| {
            store.remove(server);
            Some(store)
        },
        |store, _| {
            store.prune(after(1 << 40));
            Some(store)
        },
        |store, server| {
            // The only place is taken by another.
            let other = Endpoint::new(peer(9, 9), None);
            let ticket = ticket(&mut worker(dtls_session::Engine::builder()), NOW);
            let suite = from_name("aes128");
            store
                .store(other, client_session(suite, &ticket, NOW), NOW)
                .unwrap();
            assert!(store.get(server, NOW).is_none());
            Some(store)
        },
        |_, _| None,
    ];
    for leave in ways {
        let config = StoreConfig {
            max_sessions: 1,
            ..StoreConfig::default()
        };
        let store = SessionStore::new(config).unwrap();
        let kept = keep("aes128", &session);
        deep(|| store.store(server.clone(), kept, NOW)).unwrap();
        scanner.assert_there(&session.of(held("aes128")));
        let _store = deep(|| leave(store, &server));
        scanner.assert_gone(&session);
    }
}

//! NewSessionTickets as a client gets them from any server: read, kept, offered. What is written
//! again is the same.
#![no_main]

use std::time::Duration;

use dtls_session::UnixMillis;
use dtls_session::client::{
    ClientHelloParams, ClientSession, Endpoint, FirstFlight, Framing, SessionStore, StoreConfig,
};

use dtls_session::wire::{ClientHello, NewSessionTicket};
use dtls_session_fuzz::SUITES;
use dtls_session_fuzz::common::{MASTER, NOW, client_address};
use dtls_session_fuzz::script::Script;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let suite = SUITES[script.one_of(SUITES.len())];
    let age = u64::from(script.u32());
    let master = &MASTER[..suite.hash().output_len()];
    let body = script.rest();
    let parsed = NewSessionTicket::parse(body);
    let session = ClientSession::from_new_session_ticket(body, suite, master, None, NOW);
    let Ok(message) = parsed else {
        assert!(session.is_err());
        return;
    };

    // Unknown extensions are not kept; all else is.
    let mut written = vec![0; body.len() + 16];
    let len = message.write(&mut written).expect("it fits");
    assert!(len <= body.len());
    assert!(NewSessionTicket::parse(&written[..len]) == Ok(message));

    let Ok(session) = session else {
        assert_eq!(message.ticket_lifetime, 0);
        return;
    };
    let info = session.info().clone();
    let lifetime = Duration::from_secs(message.ticket_lifetime.into());
    assert_eq!(info.expires, NOW.saturating_add(lifetime));
    assert_eq!(session.ticket(), message.ticket);

    // In a small store it is kept if it fits and is not over, and comes out once.
    let now = UnixMillis(NOW.0 + age);
    let store = SessionStore::new(StoreConfig {
        max_sessions: 1,
        max_session_bytes: 300,
        ..StoreConfig::default()
    })
    .expect("the limits make sense");
    let endpoint = Endpoint::new(client_address(), None);
    let kept = store.store(endpoint.clone(), session, now);
    let fits = message.ticket.len() <= 300 && now < info.expires;
    assert_eq!(kept.is_ok(), fits);
    let Some(session) = store.take(&endpoint, now) else {
        assert!(!fits);
        return;
    };
    assert!(store.take(&endpoint, now).is_none());

    let mut offer = session.offer(now).expect("it has not expired");
    let age = message.ticket_age_add.wrapping_add(age as u32);
    assert_eq!(offer.obfuscated_ticket_age(), age);
    let allows = offer.allows_early_data();
    assert_eq!(allows, message.max_early_data_size.unwrap_or(0) > 0);
    let params = ClientHelloParams {
        supported_groups: &[29],
        key_shares: &[(29, &[7; 32])],
        early_data: true,
        ..ClientHelloParams::new([1; 32])
    };
    let early: &[&[u8]] = if allows { &[b"x"] } else { &[] };
    let flight = FirstFlight::new(&params, Some(&mut offer), &Framing::default(), early)
        .expect("a short ticket makes a flight");
    let hello = ClientHello::parse(&flight.client_hello).expect("ours parses");
    let offered = hello.pre_shared_keys().expect("it offers the session");
    let identity = offered.identities().next().expect("one identity");
    assert_eq!(identity.identity, message.ticket);
    assert_eq!(identity.obfuscated_ticket_age, age);
    assert_eq!(hello.early_data(), allows);
});

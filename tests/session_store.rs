//! The session store against the simplest store that could be written.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};

use dtls_session::UnixMillis;
use dtls_session::client::{ClientSession, Endpoint, SessionStore, StoreConfig};
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::NewSessionTicket;
use proptest::prelude::*;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn endpoint(port: u16) -> Endpoint {
    Endpoint::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), None)
}

fn store(max_sessions: usize, sessions_per_endpoint: usize) -> SessionStore {
    SessionStore::new(StoreConfig {
        max_sessions,
        sessions_per_endpoint,
        ..StoreConfig::default()
    })
    .unwrap()
}

fn session(ticket: &[u8], received: u64, lifetime: u32) -> ClientSession {
    let message = NewSessionTicket {
        ticket_lifetime: lifetime,
        ticket_age_add: 1,
        ticket_nonce: &[],
        ticket,
        max_early_data_size: None,
    };
    let suite = CipherSuite::Aes128GcmSha256;
    ClientSession::from_psk(&message, suite, &[7; 32], None, UnixMillis(received)).unwrap()
}

/// What a store should do, said as simply as can be: per server, oldest first, the ticket (they are
/// counted) and when it expires.
#[derive(Default)]
struct Oracle(HashMap<u16, Vec<(u32, u64)>>);

impl Oracle {
    fn store(
        &mut self,
        server: u16,
        ticket: u32,
        expires: u64,
        now: u64,
        (max, per_endpoint): (usize, usize),
    ) {
        if expires <= now {
            return;
        }
        let len = self.len();
        let held = self.0.entry(server).or_default();
        let place = held.iter().position(|held| held.1 <= now);
        if let Some(place) = place {
            held.remove(place);
        } else if held.len() == per_endpoint {
            held.remove(0);
        } else if len == max {
            let all = self.0.values().flatten().copied();
            let first = all.min_by_key(|&(ticket, expires)| (expires, ticket));
            self.0
                .values_mut()
                .for_each(|held| held.retain(|held| Some(*held) != first));
        }
        self.0.entry(server).or_default().push((ticket, expires));
    }

    fn newest(&self, server: u16, now: u64) -> Option<usize> {
        let held = self.0.get(&server)?;
        held.iter().rposition(|held| held.1 > now)
    }

    fn prune(&mut self, now: u64) -> usize {
        let before = self.len();
        self.0
            .values_mut()
            .for_each(|held| held.retain(|held| held.1 > now));
        before - self.len()
    }

    fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Store(u16, u32),
    Take(u16),
    Get(u16),
    Remove(u16),
    Prune,
    /// Seconds, in either direction.
    Clock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let server = 0..4_u16;
    prop_oneof![
        4 => (server.clone(), 1..100_u32).prop_map(|(s, lifetime)| Step::Store(s, lifetime)),
        3 => server.clone().prop_map(Step::Take),
        2 => server.clone().prop_map(Step::Get),
        1 => server.prop_map(Step::Remove),
        1 => Just(Step::Prune),
        3 => (-60..60_i64).prop_map(Step::Clock),
    ]
}

proptest! {
    #[test]
    fn trap_38_the_store_does_what_the_oracle_does_whatever_the_clock_says(
        steps in prop::collection::vec(step(), 1..120),
        max in 1..9_usize,
        per_endpoint in 1..4_usize,
    ) {
        let store = store(max, per_endpoint);
        let mut oracle = Oracle::default();
        let mut handed_out = HashSet::new();
        let mut now = NOW.0;
        for (ticket, step) in (0_u32..).zip(steps) {
            match step {
                Step::Store(server, lifetime) => {
                    let session = session(&ticket.to_be_bytes(), now, lifetime);
                    let expires = session.info().expires.0;
                    store.store(endpoint(server), session, UnixMillis(now)).unwrap();
                    oracle.store(server, ticket, expires, now, (max, per_endpoint));
                }
                Step::Take(server) => {
                    let taken = store.take(&endpoint(server), UnixMillis(now));
                    let expected = oracle.newest(server, now).map(|at| {
                        oracle.0.get_mut(&server).unwrap().remove(at).0.to_be_bytes()
                    });
                    let taken = taken.as_ref().map(ClientSession::ticket);
                    prop_assert_eq!(taken, expected.as_ref().map(|ticket| &ticket[..]));
                    if let Some(taken) = taken {
                        prop_assert!(handed_out.insert(taken.to_vec()));
                    }
                }
                Step::Get(server) => {
                    let info = store.get(&endpoint(server), UnixMillis(now));
                    let expected = oracle.newest(server, now);
                    let expected = expected.map(|at| oracle.0[&server][at].1);
                    prop_assert_eq!(info.map(|info| info.expires.0), expected);
                }
                Step::Remove(server) => {
                    let removed = oracle.0.remove(&server).map_or(0, |held| held.len());
                    prop_assert_eq!(store.remove(&endpoint(server)), removed);
                }
                Step::Prune => {
                    prop_assert_eq!(store.prune(UnixMillis(now)), oracle.prune(now));
                }
                Step::Clock(seconds) => now = now.saturating_add_signed(1000 * seconds),
            }
            prop_assert_eq!(store.len(), oracle.len());
        }
    }
}

#[test]
fn a_full_store_keeps_the_newest_however_many_endpoints_came_before() {
    const MAX: u16 = 256;
    // Given a store that was filled fifty times with sessions of ever new endpoints, as long-lived
    // as each other,
    let store = store(MAX.into(), 1);
    let mut now = NOW;
    for port in 0..50 * MAX {
        now.0 += 1;
        let session = session(b"ticket", now.0, 3600);
        store.store(endpoint(port), session, now).unwrap();
    }
    // then it has the last that it had room for.
    let kept = |port: &u16| store.take(&endpoint(*port), now).is_some();
    assert!((0..50 * MAX).filter(kept).eq(49 * MAX..50 * MAX));
    assert!(store.is_empty());
}

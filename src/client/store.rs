//! The sessions that a client can resume, by server.

use dashmap::DashMap;
use std::fmt;

use super::endpoint::Endpoint;
use super::session::{ClientSession, SECRETS_LEN, SessionInfo};
use crate::Error;
use crate::sync::{AtomicUsize, Ordering};
use crate::time::UnixMillis;

/// How much a [`SessionStore`] holds.
#[derive(Clone, Copy, Debug)]
pub struct StoreConfig {
    /// Sessions in all. Default 4096.
    pub max_sessions: usize,
    /// Sessions of one endpoint. Default 1: a newer one takes the place of the older.
    pub sessions_per_endpoint: usize,
    /// Bytes of ticket, application protocol and server name that a session may have together;
    /// a longer one is not kept. Default 1024.
    pub max_session_bytes: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            max_sessions: 4096,
            sessions_per_endpoint: 1,
            max_session_bytes: 1024,
        }
    }
}

/// Sessions by [`Endpoint`], for any number of threads.
///
/// A session leaves the store to be offered ([`take`](Self::take)), so no ticket is offered twice.
/// A server may retransmit its NewSessionTicket: hand each message in once. The time may step: a
/// session is expired if the clock says so at that moment.
pub struct SessionStore {
    // A list is never empty while nobody works on it; the newest session is last.
    map: DashMap<Endpoint, Vec<ClientSession>>,
    // Sessions in the map, and room that is reserved for those about to come.
    reserved: AtomicUsize,
    config: StoreConfig,
}

impl SessionStore {
    /// An empty store.
    ///
    /// # Errors
    /// [`Error::Config`] if a limit is zero or their product beyond what can be counted.
    pub fn new(config: StoreConfig) -> Result<Self, Error> {
        if config.max_sessions == 0 || config.sessions_per_endpoint == 0 {
            return Err(Error::Config("a session store for no sessions"));
        }
        if memory_limit(&config).is_none() {
            return Err(Error::Config("session store limits"));
        }
        Ok(Self {
            map: DashMap::with_shard_amount(SHARDS),
            reserved: AtomicUsize::new(0),
            config,
        })
    }

    /// Keeps `session` for `endpoint`. It takes the place of the endpoint's oldest if that has as
    /// many as it may.
    ///
    /// # Errors
    /// [`NotStored`]: the session is dropped, which costs a full handshake at most.
    pub fn store(
        &self,
        endpoint: Endpoint,
        session: ClientSession,
        now: UnixMillis,
    ) -> Result<(), NotStored> {
        let name_len = endpoint.server_name.as_ref().map_or(0, |name| name.len());
        if session.variable_len().saturating_add(name_len) > self.config.max_session_bytes {
            return Err(NotStored::TooLong);
        }
        if session.info().is_expired(now) {
            return Err(NotStored::Expired);
        }
        // A session that takes the place of another needs no room, so nobody else's is given up.
        let session = match self.map.get_mut(&endpoint) {
            Some(mut held) => match self.replace(&mut held, session, now) {
                None => return Ok(()),
                Some(session) => session,
            },
            None => session,
        };
        if !self.reserve() && !self.evict_one() {
            return Err(NotStored::Full);
        }
        let mut held = self.map.entry(endpoint).or_default();
        match self.replace(&mut held, session, now) {
            None => self.release(1),
            Some(session) => {
                held.reserve_exact(1);
                held.push(session);
            }
        }
        Ok(())
    }

    /// What the newest session of `endpoint` would offer. The session itself stays.
    #[must_use]
    pub fn get(&self, endpoint: &Endpoint, now: UnixMillis) -> Option<SessionInfo> {
        let held = self.map.get(endpoint)?;
        let mut newest_first = held.iter().rev().map(ClientSession::info);
        newest_first.find(|info| !info.is_expired(now)).cloned()
    }

    /// Hands out the newest session of `endpoint`, once.
    #[must_use]
    pub fn take(&self, endpoint: &Endpoint, now: UnixMillis) -> Option<ClientSession> {
        let (taken, left) = {
            let mut held = self.map.get_mut(endpoint)?;
            let newest = held.iter().rposition(|held| !held.info().is_expired(now));
            (newest.map(|at| held.remove(at)), held.len())
        };
        if taken.is_some() {
            self.release(1);
        }
        if left == 0 {
            self.map.remove_if(endpoint, |_, held| held.is_empty());
        }
        taken
    }

    /// Drops all sessions of `endpoint` and returns how many they were. To be called when the
    /// server refused a ticket by a full handshake, say, or when its certificate has changed.
    pub fn remove(&self, endpoint: &Endpoint) -> usize {
        let removed = self.map.remove(endpoint).map_or(0, |(_, held)| held.len());
        self.release(removed);
        removed
    }

    /// Drops all sessions that are expired and returns how many they were. It walks through the
    /// whole store, one shard locked at a time. To be called now and then; nothing depends on it
    /// but the room that expired sessions take.
    pub fn prune(&self, now: UnixMillis) -> usize {
        let mut pruned = 0;
        self.map.retain(|_, held| {
            let before = held.len();
            held.retain(|session| !session.info().is_expired(now));
            pruned += before - held.len();
            !held.is_empty()
        });
        self.release(pruned);
        pruned
    }

    /// How many sessions it holds, expired ones that were not pruned yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most bytes that it will ever take.
    #[must_use]
    pub fn memory_limit(&self) -> usize {
        // Counted when it was built.
        memory_limit(&self.config).unwrap_or(usize::MAX)
    }

    /// Puts `session` in the place of the same ticket, of an expired session, or of the oldest if
    /// there are as many as may be; else gives it back.
    fn replace(
        &self,
        held: &mut Vec<ClientSession>,
        session: ClientSession,
        now: UnixMillis,
    ) -> Option<ClientSession> {
        let same = |held: &ClientSession| held.ticket() == session.ticket();
        let expired = |held: &ClientSession| held.info().is_expired(now);
        let full = held.len() >= self.config.sessions_per_endpoint;
        let place = held.iter().position(same);
        let place = place.or_else(|| held.iter().position(expired));
        let Some(place) = place.or(full.then_some(0)) else {
            return Some(session);
        };
        held.remove(place);
        held.push(session);
        None
    }

    fn reserve(&self) -> bool {
        let more = |len| (len < self.config.max_sessions).then_some(len + 1);
        self.reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn release(&self, sessions: usize) {
        self.reserved.fetch_sub(sessions, Ordering::Relaxed);
    }

    /// Gives up the session that expires first among a few, and leaves its room reserved.
    ///
    /// A full store does not refuse, since what a client has learned last it needs first; it does
    /// not look for the very first to expire either, since that takes a walk through everything
    /// under locks. The map's order follows a random key, so any few will do.
    fn evict_one(&self) -> bool {
        for _ in 0..EVICTION_TRIES {
            let first_to_expire = self
                .map
                .iter()
                .take(EVICTION_PROBE)
                .filter_map(|held| Some((held.iter().map(expires).min()?, held.key().clone())))
                .min_by_key(|&(expires, _)| expires);
            // No lock is held here, so the session may be gone: then another try.
            let Some((expiry, endpoint)) = first_to_expire else {
                return false;
            };
            let mut evicted = false;
            self.map.remove_if_mut(&endpoint, |_, held| {
                if let Some(place) = held.iter().position(|held| expires(held) == expiry) {
                    held.remove(place);
                    evicted = true;
                }
                held.is_empty()
            });
            if evicted {
                return true;
            }
        }
        false
    }
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore")
            .field("len", &self.len())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Why a session was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotStored {
    /// It is expired.
    Expired,
    /// Ticket, application protocol and server name are longer than a session may be.
    TooLong,
    /// The store is full, and other threads fill it faster than room can be made.
    Full,
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the session is expired",
            Self::TooLong => "the session is longer than the store keeps",
            Self::Full => "the store is full",
        })
    }
}

impl std::error::Error for NotStored {}

/// A few times the cores of a client. Fixed, so that the memory limit is the same everywhere.
const SHARDS: usize = 16;
const EVICTION_PROBE: usize = 16;
const EVICTION_TRIES: usize = 4;

fn expires(session: &ClientSession) -> UnixMillis {
    session.info().expires
}

/// Sessions at their longest, each the only one of its endpoint, and the shards' tables.
///
/// Endpoints fall into shards by a random key. A shard gets its share and, but for a chance of
/// less than 2^-50, not 10 standard deviations more. Its table is a power of two of slots, at most
/// 7/8 full and at most doubled by what was removed, and is copied to grow.
fn memory_limit(config: &StoreConfig) -> Option<usize> {
    let share = config.max_sessions.div_ceil(SHARDS);
    let fullest = share
        .checked_add(share.isqrt().checked_mul(10)?)?
        .checked_add(16)?;
    let slots = fullest
        .checked_mul(8)?
        .div_ceil(7)
        .checked_next_power_of_two()?;
    let slot = size_of::<(Endpoint, Vec<ClientSession>)>() + 1;
    let tables = slots.checked_mul(3)?.checked_mul(SHARDS * slot)?;
    // What an allocator adds to each of up to five pieces: list, secrets, ticket, protocol, name.
    // A list keeps the room of the most sessions that it ever had.
    let list = size_of::<ClientSession>().checked_mul(config.sessions_per_endpoint)?;
    let session = list
        .checked_add(SECRETS_LEN + 5 * 16)?
        .checked_add(config.max_session_bytes)?;
    let fixed = size_of::<SessionStore>() + SHARDS * 256;
    tables
        .checked_add(config.max_sessions.checked_mul(session)?)?
        .checked_add(fixed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::session::tests::session;
    use super::*;
    use std::collections::HashSet;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::atomic::AtomicBool;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn endpoint(port: u16, name: Option<&str>) -> Endpoint {
        Endpoint::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), name)
    }

    fn store(max_sessions: usize, sessions_per_endpoint: usize) -> SessionStore {
        let config = StoreConfig {
            max_sessions,
            sessions_per_endpoint,
            ..StoreConfig::default()
        };
        SessionStore::new(config).unwrap()
    }

    fn put(store: &SessionStore, endpoint: &Endpoint, ticket: &[u8]) {
        let session = session(ticket, NOW.0, 3600);
        store.store(endpoint.clone(), session, NOW).unwrap();
    }

    fn take(store: &SessionStore, endpoint: &Endpoint) -> Option<Vec<u8>> {
        let taken = store.take(endpoint, NOW);
        taken.map(|session| session.ticket().to_vec())
    }

    #[test]
    fn trap_38_another_port_or_server_name_does_not_get_the_ticket() {
        let store = store(8, 1);
        let ours = endpoint(5684, Some("a.example"));
        put(&store, &ours, b"ours");
        for other in [
            endpoint(5685, Some("a.example")),
            endpoint(5684, Some("b.example")),
            endpoint(5684, None),
            Endpoint::new("[::1]:5684".parse().unwrap(), Some("a.example")),
        ] {
            assert!(store.get(&other, NOW).is_none(), "{other:?}");
            assert!(take(&store, &other).is_none(), "{other:?}");
            assert_eq!(store.remove(&other), 0);
        }
        assert_eq!(take(&store, &ours).unwrap(), b"ours");
    }

    #[test]
    fn trap_38_a_ticket_is_handed_out_once() {
        let store = store(8, 3);
        let server = endpoint(1, None);
        put(&store, &server, b"ticket");
        // The same ticket once more, as a server retransmits it, is no second one.
        put(&store, &server, b"ticket");
        assert_eq!(store.len(), 1);
        assert!(store.get(&server, NOW).is_some());
        assert_eq!(take(&store, &server).unwrap(), b"ticket");
        assert!(take(&store, &server).is_none());
        assert!(store.get(&server, NOW).is_none());
        assert!(store.is_empty());
    }

    #[test]
    fn trap_38_many_threads_take_and_each_ticket_goes_to_one() {
        // Given room for all, so that none is given up,
        const TICKETS: usize = 2000;
        let store = store(TICKETS, TICKETS);
        let servers: Vec<_> = (0..4).map(|port| endpoint(port, None)).collect();
        let all_stored = AtomicBool::new(false);
        let take_all = || {
            let mut taken = Vec::new();
            loop {
                let last_round = all_stored.load(Ordering::SeqCst);
                let before = taken.len();
                taken.extend(servers.iter().filter_map(|server| take(&store, server)));
                if last_round && taken.len() == before {
                    return taken;
                }
            }
        };
        // when tickets come and go at once, so that endpoints are emptied while they are filled,
        let taken: Vec<_> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4).map(|_| scope.spawn(take_all)).collect();
            for ticket in 0..TICKETS {
                put(&store, &servers[ticket % 4], &ticket.to_be_bytes());
            }
            all_stored.store(true, Ordering::SeqCst);
            let taken = takers.into_iter().map(|taker| taker.join().unwrap());
            taken.flatten().collect()
        });
        // then each was handed out, and none twice.
        assert_eq!(taken.len(), TICKETS);
        assert_eq!(taken.iter().collect::<HashSet<_>>().len(), TICKETS);
        assert!(store.is_empty() && store.map.is_empty());
    }

    #[test]
    fn many_threads_do_not_bring_in_more_sessions_than_the_limit() {
        const LIMIT: usize = 20;
        let store = store(LIMIT, 2);
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let store = &store;
                scope.spawn(move || {
                    for i in 0..1000_u32 {
                        let server = endpoint((i * (thread + 3) % 50) as u16, None);
                        let session = session(&(i * 4 + thread).to_be_bytes(), NOW.0, 3600);
                        let stored = store.store(server.clone(), session, NOW);
                        assert!(matches!(stored, Ok(()) | Err(NotStored::Full)));
                        if i % 7 == 0 {
                            let _ = take(store, &server);
                        }
                        assert!(store.len() <= LIMIT);
                    }
                });
            }
        });
        let held: usize = store.map.iter().map(|held| held.len()).sum();
        assert_eq!(store.len(), held);
        assert!(held <= LIMIT && store.map.iter().all(|held| !held.is_empty()));
    }

    #[test]
    fn threads_that_meet_at_one_endpoint_leave_no_room_reserved() {
        let store = store(1000, 1);
        let server = endpoint(1, None);
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let (store, server) = (&store, &server);
                scope.spawn(move || {
                    for i in 0..6000_u32 {
                        put(store, server, &(i * 4 + thread).to_be_bytes());
                        let _ = take(store, server);
                    }
                });
            }
        });
        assert!(store.is_empty() && store.map.is_empty(), "{store:?}");
    }

    #[test]
    fn a_newer_session_takes_the_place_of_the_older_and_more_are_newest_first() {
        let server = endpoint(1, None);
        let one = store(8, 1);
        put(&one, &server, b"older");
        put(&one, &server, b"newer");
        assert_eq!(one.len(), 1);
        assert_eq!(take(&one, &server).unwrap(), b"newer");
        assert!(take(&one, &server).is_none());

        let two = store(8, 2);
        for ticket in [b"1", b"2", b"3"] {
            put(&two, &server, ticket);
        }
        assert_eq!(two.len(), 2);
        assert_eq!(take(&two, &server).unwrap(), b"3");
        assert_eq!(take(&two, &server).unwrap(), b"2");
        assert!(take(&two, &server).is_none());
    }

    #[test]
    fn an_expired_session_is_never_returned_and_pruned() {
        let store = store(8, 1);
        let server = endpoint(1, None);
        let end = UnixMillis(NOW.0 + 3_600_000);
        put(&store, &server, b"t");
        assert!(store.get(&server, UnixMillis(end.0 - 1)).is_some());
        assert!(store.get(&server, end).is_none());
        assert!(store.take(&server, end).is_none());
        assert_eq!(store.prune(UnixMillis(end.0 - 1)), 0);
        assert_eq!((store.len(), store.prune(end), store.len()), (1, 1, 0));
        let late = store.store(server, session(b"t", NOW.0, 3600), end);
        assert_eq!(late, Err(NotStored::Expired));
    }

    #[test]
    fn a_full_store_gives_up_the_first_to_expire_for_a_new_endpoint() {
        // Given a full store of as many sessions as are looked at,
        let store = store(EVICTION_PROBE, 1);
        for port in 0..EVICTION_PROBE as u16 {
            let lifetime = if port == 5 { 60 } else { 3600 };
            let session = session(b"t", NOW.0, lifetime);
            store.store(endpoint(port, None), session, NOW).unwrap();
        }
        // when an endpoint that has a session gets a newer one, then none is given up;
        put(&store, &endpoint(3, None), b"newer");
        assert!(store.get(&endpoint(5, None), NOW).is_some());
        // when another endpoint comes, then the one that expires first is.
        put(&store, &endpoint(100, None), b"t");
        assert_eq!(store.len(), EVICTION_PROBE);
        assert!(store.get(&endpoint(5, None), NOW).is_none());
        assert!(store.get(&endpoint(100, None), NOW).is_some());
        assert_eq!(store.map.len(), EVICTION_PROBE);
    }

    #[test]
    fn limits_hold_and_nonsense_is_refused() {
        let store = store(10, 3);
        let many = (0..200_u16).map(|i| (endpoint(i % 50, None), i.to_be_bytes()));
        for (server, ticket) in many {
            put(&store, &server, &ticket);
            let held: usize = store.map.iter().map(|held| held.len()).sum();
            assert!(held <= 10 && store.len() == held);
        }
        let named = endpoint(1, Some("name"));
        let longest = session(&[1; 1020], NOW.0, 3600);
        assert_eq!(store.store(named.clone(), longest, NOW), Ok(()));
        let too_long = session(&[1; 1021], NOW.0, 3600);
        assert_eq!(store.store(named, too_long, NOW), Err(NotStored::TooLong));

        for (max_sessions, sessions_per_endpoint) in [(0, 1), (1, 0), (usize::MAX, 1)] {
            let config = StoreConfig {
                max_sessions,
                sessions_per_endpoint,
                ..StoreConfig::default()
            };
            assert!(matches!(SessionStore::new(config), Err(Error::Config(_))));
        }
    }
}

//! The sessions that a client can resume, by server.

use dashmap::DashMap;
use dashmap::mapref::one::RefMut;
use std::collections::BTreeMap;
use std::fmt;
// A key of a map, which loom's cannot be.
use std::sync::Arc;

use super::endpoint::Endpoint;
use super::session::{ClientSession, SECRETS_LEN, SessionInfo};
use crate::Error;
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, lock};
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
    map: DashMap<Arc<Endpoint>, Vec<Held>>,
    // The same sessions by expiry. One comes and goes here while its list is locked, so that it is
    // in both or in none. Locked after a list, never before one.
    by_expiry: Mutex<BTreeMap<Place, Arc<Endpoint>>>,
    next_serial: AtomicU64,
    // Sessions in the map, and room that is reserved for those about to come.
    reserved: AtomicUsize,
    config: StoreConfig,
}

/// When a session expires, and a serial: of those that expire at once the older one goes first.
type Place = (UnixMillis, u64);

type List<'a> = RefMut<'a, Arc<Endpoint>, Vec<Held>>;

struct Held {
    place: Place,
    session: ClientSession,
}

impl Held {
    fn is_expired(&self, now: UnixMillis) -> bool {
        self.session.info().is_expired(now)
    }
}

impl SessionStore {
    /// An empty store.
    ///
    /// # Errors
    /// [`Error::Config`] if a limit is zero or their product beyond what can be counted.
    pub fn new(config: StoreConfig) -> Result<Self, Error> {
        let limits = [
            config.max_sessions,
            config.sessions_per_endpoint,
            config.max_session_bytes,
        ];
        if limits.contains(&0) {
            return Err(Error::Config("a session store for no sessions"));
        }
        if memory_limit(&config).is_none() {
            return Err(Error::Config("session store limits"));
        }
        Ok(Self {
            map: DashMap::with_shard_amount(SHARDS),
            by_expiry: Mutex::new(BTreeMap::new()),
            next_serial: AtomicU64::new(0),
            reserved: AtomicUsize::new(0),
            config,
        })
    }

    /// Keeps `session` for `endpoint`. It takes the place of the endpoint's oldest if that has as
    /// many as it may; else, in a full store, of the session that expires first.
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
            Some(mut list) => match self.replace(&mut list, session, now) {
                None => return Ok(()),
                Some(session) => session,
            },
            None => session,
        };
        if !self.reserve() && !self.evict_first(|_| true) {
            return Err(NotStored::Full);
        }
        let mut list = self.map.entry(Arc::new(endpoint)).or_default();
        match self.replace(&mut list, session, now) {
            None => self.release(1),
            Some(session) => self.enter(&mut list, session),
        }
        Ok(())
    }

    /// What the newest session of `endpoint` would offer. The session itself stays.
    #[must_use]
    pub fn get(&self, endpoint: &Endpoint, now: UnixMillis) -> Option<SessionInfo> {
        let list = self.map.get(endpoint)?;
        let newest = list.iter().rfind(|held| !held.is_expired(now))?;
        Some(newest.session.info().clone())
    }

    /// Hands out the newest session of `endpoint`, once.
    #[must_use]
    pub fn take(&self, endpoint: &Endpoint, now: UnixMillis) -> Option<ClientSession> {
        let (taken, left) = {
            let mut list = self.map.get_mut(endpoint)?;
            let newest = list.iter().rposition(|held| !held.is_expired(now));
            (newest.map(|at| self.leave(&mut list, at)), list.len())
        };
        if taken.is_some() {
            self.release(1);
        }
        if left == 0 {
            self.map.remove_if(endpoint, |_, list| list.is_empty());
        }
        taken
    }

    /// Drops all sessions of `endpoint` and returns how many they were. To be called when the
    /// server refused a ticket by a full handshake, say, or when its certificate has changed.
    pub fn remove(&self, endpoint: &Endpoint) -> usize {
        let mut removed = 0;
        self.map.remove_if_mut(endpoint, |_, list| {
            removed = list.len();
            (0..removed).rev().for_each(|at| drop(self.leave(list, at)));
            true
        });
        self.release(removed);
        removed
    }

    /// Drops all sessions that are expired and returns how many they were. It looks at no others.
    /// To be called now and then; nothing depends on it but the room that expired sessions take.
    pub fn prune(&self, now: UnixMillis) -> usize {
        let mut pruned = 0;
        while self.evict_first(|expires| now >= expires) {
            self.release(1);
            pruned += 1;
        }
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
        list: &mut List<'_>,
        session: ClientSession,
        now: UnixMillis,
    ) -> Option<ClientSession> {
        let same = |held: &Held| held.session.ticket() == session.ticket();
        let expired = |held: &Held| held.is_expired(now);
        let full = list.len() >= self.config.sessions_per_endpoint;
        let at = list.iter().position(same);
        let at = at.or_else(|| list.iter().position(expired));
        let Some(at) = at.or(full.then_some(0)) else {
            return Some(session);
        };
        self.leave(list, at);
        self.enter(list, session);
        None
    }

    fn enter(&self, list: &mut List<'_>, session: ClientSession) {
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        let place = (session.info().expires, serial);
        lock(&self.by_expiry).insert(place, Arc::clone(list.key()));
        list.reserve_exact(1);
        list.push(Held { place, session });
    }

    fn leave(&self, list: &mut Vec<Held>, at: usize) -> ClientSession {
        let held = list.remove(at);
        lock(&self.by_expiry).remove(&held.place);
        held.session
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

    /// Gives up the session that expires first, if it `may_go` by its expiry, and leaves its room
    /// reserved. A full store does not refuse, since what a client has learned last it needs first.
    fn evict_first(&self, may_go: impl Fn(UnixMillis) -> bool) -> bool {
        loop {
            let first = lock(&self.by_expiry)
                .first_key_value()
                .filter(|((expires, _), _)| may_go(*expires))
                .map(|(place, endpoint)| (*place, Arc::clone(endpoint)));
            let Some((place, endpoint)) = first else {
                return false;
            };
            let mut evicted = None;
            self.map.remove_if_mut(&*endpoint, |_, list| {
                let at = list.iter().position(|held| held.place == place);
                evicted = at.map(|at| self.leave(list, at));
                list.is_empty()
            });
            // No lock was held in between: if another thread was faster, another session is first.
            if evicted.is_some() {
                return true;
            }
        }
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

/// Sessions at their longest, each the only one of its endpoint, the shards' tables, and the nodes
/// of the order of expiry.
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
    let slot = size_of::<(Arc<Endpoint>, Vec<Held>)>() + 1;
    let tables = slots.checked_mul(3)?.checked_mul(SHARDS * slot)?;
    // An endpoint, with the counts of those who share it. What an allocator adds to each of up to
    // six pieces: that, list, secrets, ticket, protocol, name. A list keeps the room of the most
    // sessions that it ever had.
    let list = size_of::<Held>().checked_mul(config.sessions_per_endpoint)?;
    let endpoint = size_of::<Endpoint>() + 2 * size_of::<usize>();
    // A node of a BTreeMap has room for 11 and, but for the root, 5 or more in it. With its links
    // it takes less than four times as many bytes as they.
    let ordered = 4 * size_of::<(Place, Arc<Endpoint>)>();
    let session = list
        .checked_add(endpoint + SECRETS_LEN + 6 * 16 + ordered)?
        .checked_add(config.max_session_bytes)?;
    let fixed = size_of::<SessionStore>() + SHARDS * 256 + 512;
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

    /// While nobody works on it, every session is counted and has its place by expiry, and no list
    /// is empty.
    fn assert_sound(store: &SessionStore) {
        let by_expiry = lock(&store.by_expiry);
        let mut held = 0;
        for list in &store.map {
            assert!(!list.is_empty());
            held += list.len();
            for Held { place, session } in list.value() {
                assert_eq!(place.0, session.info().expires);
                assert!(Arc::ptr_eq(&by_expiry[place], list.key()));
            }
        }
        assert_eq!((store.len(), by_expiry.len()), (held, held));
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
        assert_sound(&store);
        assert!(store.is_empty());
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
                        let session = session(&(i * 4 + thread).to_be_bytes(), NOW.0, 1 + i % 9);
                        let stored = store.store(server.clone(), session, NOW);
                        assert!(matches!(stored, Ok(()) | Err(NotStored::Full)));
                        match i % 35 {
                            0 | 7 | 14 => drop(take(store, &server)),
                            21 => drop(store.remove(&server)),
                            28 => drop(store.prune(UnixMillis(NOW.0 + 3000))),
                            _ => (),
                        }
                        assert!(store.len() <= LIMIT);
                    }
                });
            }
        });
        assert_sound(&store);
        assert!(store.len() <= LIMIT);
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
        assert_sound(&store);
        assert!(store.is_empty());
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
        // Given a full store,
        let store = store(1000, 1);
        for port in 0..1000 {
            let lifetime = if port == 5 { 60 } else { 3600 };
            let session = session(b"t", NOW.0, lifetime);
            store.store(endpoint(port, None), session, NOW).unwrap();
        }
        // when an endpoint that has a session gets a newer one, then none is given up;
        put(&store, &endpoint(3, None), b"newer");
        assert!(store.get(&endpoint(5, None), NOW).is_some());
        // when another endpoint comes, then the one that expires first is.
        put(&store, &endpoint(1000, None), b"t");
        assert_eq!(store.len(), 1000);
        assert!(store.get(&endpoint(5, None), NOW).is_none());
        assert!(store.get(&endpoint(1000, None), NOW).is_some());
        // Of those that expire at once the one that came first goes first, and 3 was renewed.
        for port in 1001..1100 {
            put(&store, &endpoint(port, None), b"t");
        }
        let kept = |port: &u16| store.get(&endpoint(*port, None), NOW).is_some();
        assert!((0..1100).filter(kept).eq([3].into_iter().chain(101..1100)));
        assert_sound(&store);
    }

    #[test]
    fn limits_hold_and_nonsense_is_refused() {
        let store = store(10, 3);
        let many = (0..200_u16).map(|i| (endpoint(i % 50, None), i.to_be_bytes()));
        for (server, ticket) in many {
            put(&store, &server, &ticket);
            assert_sound(&store);
            assert!(store.len() <= 10);
        }
        let named = endpoint(1, Some("name"));
        let longest = session(&[1; 1020], NOW.0, 3600);
        assert_eq!(store.store(named.clone(), longest, NOW), Ok(()));
        let too_long = session(&[1; 1021], NOW.0, 3600);
        assert_eq!(store.store(named, too_long, NOW), Err(NotStored::TooLong));

        for (max_sessions, sessions_per_endpoint, max_session_bytes) in
            [(0, 1, 1), (1, 0, 1), (1, 1, 0), (usize::MAX, 1, 1)]
        {
            let config = StoreConfig {
                max_sessions,
                sessions_per_endpoint,
                max_session_bytes,
            };
            assert!(matches!(SessionStore::new(config), Err(Error::Config(_))));
        }
    }
}

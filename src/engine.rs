//! The engine: what all workers share, and the worker of one core.

use std::hash::{Hash, Hasher};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use siphasher::sip::SipHasher24;
use zeroize::Zeroizing;

use crate::admission::{
    AddressPolicy, Arrival, Birth, Datagram, Flow, Judge, Retransmissions, Rules, Verdict, read,
    write_hello_retry_request,
};
use crate::error::Error;
use crate::keys::{KeyConfig, KeyReader, KeySecret, Maintenance, TicketKeyManager};
use crate::metrics::{Counters, Metrics};
use crate::random::SecureRandom;
use crate::replay::{FreshnessWindow, ReplayCache, ReplayConfig, ReplayProtection};
use crate::schedule::{CipherSuite, Transcript};
use crate::sync::{Arc, Mutex, lock};
use crate::ticket::{IssueRules, NewSession, Scratch, issue};
use crate::time::UnixMillis;
use crate::wire::{HandshakeType, Reassembly};

/// Datagrams in one batch, at most.
pub const BATCH_MAX: usize = 64;

/// Everything that can be set, with its default. See [`Engine::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    keys: KeyConfig,
    first_key: Option<KeySecret>,
    replay: ReplayConfig,
    rules: Rules,
    issue: IssueRules,
    retransmission_window: Duration,
    reassembly_slots: usize,
    client_hello_max: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            keys: KeyConfig::default(),
            first_key: None,
            replay: ReplayConfig::default(),
            rules: Rules {
                freshness: FreshnessWindow::default(),
                address_policy: AddressPolicy::default(),
                groups: vec![0x001d, 0x0017],
                psk_ke: false,
                cookie_lifetime: Duration::from_secs(30),
            },
            issue: IssueRules {
                max_early_data: 16_384,
                session_lifetime: Duration::from_secs(604_800),
            },
            retransmission_window: Duration::from_secs(10),
            reassembly_slots: 64,
            client_hello_max: 8192,
        }
    }
}

impl Builder {
    /// How many workers issue tickets, 1 to 256. Default 1.
    #[must_use]
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.keys.lanes = lanes;
        self
    }

    /// How ticket keys live. Its `lanes` are those of the engine.
    #[must_use]
    pub fn keys(mut self, keys: KeyConfig) -> Self {
        self.keys = keys;
        self
    }

    /// Begins with this key instead of a drawn one: for tickets of before a restart, and for
    /// hosts that share keys.
    #[must_use]
    pub fn ticket_key(mut self, secret: KeySecret) -> Self {
        self.first_key = Some(secret);
        self
    }

    /// How replays are kept out. Default single-use tickets.
    #[must_use]
    pub fn replay_protection(mut self, protection: ReplayProtection) -> Self {
        self.replay.protection = protection;
        self
    }

    /// Bytes for recorded flights; see [`ReplayConfig::recorder_bytes`].
    #[must_use]
    pub fn recorder_bytes(mut self, bytes: usize) -> Self {
        self.replay.recorder_bytes = bytes;
        self
    }

    /// The window of [`ReplayProtection::TimeWindowed`]. Default 10 s.
    #[must_use]
    pub fn time_window(mut self, window: Duration) -> Self {
        self.replay.time_window = window;
        self
    }

    /// When flights may arrive for 0-RTT. Default 10 s late to 10 s early.
    #[must_use]
    pub fn freshness(mut self, window: FreshnessWindow) -> Self {
        self.replay.freshness = window;
        self.rules.freshness = window;
        self
    }

    /// What a client at another address than its ticket's gets. Default: a cookie first.
    #[must_use]
    pub fn address_policy(mut self, policy: AddressPolicy) -> Self {
        self.rules.address_policy = policy;
        self
    }

    /// The named groups in which the host can use a key share. A flight without one needs a
    /// HelloRetryRequest, and so gets no 0-RTT. Default X25519 (0x001d) and P-256 (0x0017).
    #[must_use]
    pub fn groups(mut self, groups: &[u16]) -> Self {
        self.rules.groups = groups.to_vec();
        self
    }

    /// Whether a PSK may be used without (EC)DHE, which gives up forward secrecy. Default no.
    #[must_use]
    pub fn allow_psk_ke(mut self, allow: bool) -> Self {
        self.rules.psk_ke = allow;
        self
    }

    /// How long a cookie is good. Default 30 s.
    #[must_use]
    pub fn cookie_lifetime(mut self, lifetime: Duration) -> Self {
        self.rules.cookie_lifetime = lifetime;
        self
    }

    /// Bytes of early data that a ticket allows; 0: no 0-RTT. Default 16384.
    #[must_use]
    pub fn max_early_data(mut self, bytes: u32) -> Self {
        self.issue.max_early_data = bytes;
        self
    }

    /// How long after its last full handshake a session can be resumed, by however many tickets.
    /// Default 7 days.
    #[must_use]
    pub fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.issue.session_lifetime = lifetime;
        self
    }

    /// For how long the same ClientHello from the same address is a retransmission. Default 10 s.
    #[must_use]
    pub fn retransmission_window(mut self, window: Duration) -> Self {
        self.retransmission_window = window;
        self
    }

    /// How many ClientHellos a worker puts together from fragments at once, and how long each may
    /// be in bytes. Default 64 of 8192.
    #[must_use]
    pub fn reassembly(mut self, slots: usize, client_hello_max: usize) -> Self {
        self.reassembly_slots = slots;
        self.client_hello_max = client_hello_max;
        self
    }

    /// Builds the engine. Draws an issuer, and the ticket keys that were not given.
    pub fn build(self, random: &dyn SecureRandom, now: UnixMillis) -> Result<Engine, Error> {
        let lanes = self.keys.lanes;
        let keys = match &self.first_key {
            Some(secret) => TicketKeyManager::with_key(self.keys, secret, random, now)?,
            None => TicketKeyManager::new(self.keys, random, now)?,
        };
        let mut flow_key = Zeroizing::new([0; 16]);
        random.fill(&mut *flow_key)?;
        // Made once to have its errors here rather than in `worker`.
        Reassembly::new(
            self.reassembly_slots,
            self.client_hello_max,
            REASSEMBLY_TIMEOUT,
        )?;
        Ok(Engine {
            shared: Arc::new(Shared {
                keys,
                replay: ReplayCache::new(&self.replay, lanes, random, now)?,
                rules: self.rules,
                issue: self.issue,
                retransmission_window: self.retransmission_window,
                reassembly_slots: self.reassembly_slots,
                client_hello_max: self.client_hello_max,
                flow_key,
                counters: Mutex::new(Vec::new()),
            }),
        })
    }
}

/// How long fragments of a ClientHello wait for the others: longer than a client's first
/// retransmission (RFC 9147, 5.8.2).
const REASSEMBLY_TIMEOUT: Duration = Duration::from_secs(5);

/// What the workers of a process share. Cheap to clone; clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    keys: TicketKeyManager,
    replay: ReplayCache,
    rules: Rules,
    issue: IssueRules,
    retransmission_window: Duration,
    reassembly_slots: usize,
    client_hello_max: usize,
    flow_key: Zeroizing<[u8; 16]>,
    counters: Mutex<Vec<Arc<Counters>>>,
}

impl Engine {
    /// The way to an engine.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The worker of `lane`, for the calling thread. Several workers of one lane are slower than
    /// each on its own, and no less right.
    pub fn worker(&self, lane: usize) -> Result<Worker, Error> {
        let shared = &self.shared;
        if lane >= shared.keys.config().lanes {
            return Err(Error::NoSuchLane);
        }
        let counters = Arc::new(Counters::new());
        lock(&shared.counters).push(Arc::clone(&counters));
        Ok(Worker {
            lane: u8::try_from(lane).map_err(|_| Error::NoSuchLane)?,
            reader: shared.keys.reader(),
            reassembly: Reassembly::new(
                shared.reassembly_slots,
                shared.client_hello_max,
                REASSEMBLY_TIMEOUT,
            )?,
            retransmissions: Retransmissions::new(
                shared.retransmission_window,
                shared.flow_key.clone(),
            ),
            scratch: (0..BATCH_MAX).map(|_| Scratch::new()).collect(),
            spare: Vec::with_capacity(BATCH_MAX),
            counters,
            engine: self.clone(),
        })
    }

    /// To be called about once a second, by any thread: see [`TicketKeyManager::maintain`].
    pub fn maintain(
        &self,
        now: UnixMillis,
        random: &dyn SecureRandom,
    ) -> Result<Maintenance, Error> {
        self.shared.keys.maintain(now, random)
    }

    /// The ticket keys.
    #[must_use]
    pub fn keys(&self) -> &TicketKeyManager {
        &self.shared.keys
    }

    /// The memory of accepted flights.
    #[must_use]
    pub fn replay(&self) -> &ReplayCache {
        &self.shared.replay
    }

    /// What all workers have counted so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::sum(
            lock(&self.shared.counters)
                .iter()
                .map(|counters| &**counters),
        )
    }
}

/// One core's part of the engine. Not `Send`: make it on the thread that uses it.
pub struct Worker {
    engine: Engine,
    lane: u8,
    reader: KeyReader,
    reassembly: Reassembly,
    retransmissions: Retransmissions,
    scratch: Box<[Scratch]>,
    /// The allocation for the flows of a batch, empty between batches.
    spare: Vec<Flow<'static>>,
    counters: Arc<Counters>,
}

impl Worker {
    /// Judges up to [`BATCH_MAX`] datagrams. All that follows from the verdicts has happened when
    /// this returns: whoever drops an [`Verdict::AcceptEarlyData`] unread has used up a flight.
    pub fn admit<'w>(
        &'w mut self,
        batch: &[Datagram<'w>],
        now: UnixMillis,
    ) -> Result<Admitted<'w>, Error> {
        if batch.len() > BATCH_MAX {
            return Err(Error::Length("more than BATCH_MAX datagrams"));
        }
        let shared = &*self.engine.shared;
        let mut flows: Vec<Flow<'w>> = recycle(mem::take(&mut self.spare));
        flows.extend(batch.iter().map(|datagram| Flow::new(*datagram)));

        self.reassembly.begin_batch();
        let mut slots = [None; BATCH_MAX];
        for (flow, slot) in flows.iter_mut().zip(&mut slots) {
            let peer = flow.arrival.datagram.peer;
            *slot = read(
                flow,
                &mut self.reassembly,
                || flow_key(&shared.flow_key, peer),
                now,
            );
        }
        let reassembly = &self.reassembly;

        let keys = self.reader.snapshot();
        let judge = Judge {
            rules: &shared.rules,
            keys: &keys,
            replay: &shared.replay,
            now,
        };
        let mut births: [Birth<'_>; BATCH_MAX] = [None; BATCH_MAX];
        let places = flows
            .iter_mut()
            .zip(&slots)
            .zip(&mut births)
            .zip(&mut self.scratch);
        for (((flow, slot), birth), scratch) in places {
            // What was opened here for the last batch.
            scratch.wipe();
            if let Some(slot) = slot {
                flow.arrival.hello_body = reassembly.body(*slot);
            }
            if flow.is_pending() {
                *birth = judge.open(flow, scratch);
            }
        }
        for flow in &mut flows {
            judge.verify(flow);
        }
        for (flow, birth) in flows.iter_mut().zip(&births) {
            judge.decide(flow, birth, &mut self.retransmissions);
            self.counters.count(flow.decision());
        }
        Ok(Admitted {
            flows,
            spare: &mut self.spare,
            reader: &self.reader,
            now,
        })
    }

    /// Writes a NewSessionTicket message for `session` to `out`, with its DTLS handshake header,
    /// and returns its length in bytes. To be sent until it is acknowledged, as it is: a further
    /// call makes another ticket.
    pub fn issue(
        &mut self,
        session: &NewSession<'_>,
        peer: IpAddr,
        now: UnixMillis,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let rules = &self.engine.shared.issue;
        let keys = self.reader.snapshot();
        let mut issued = issue(&keys, self.lane, rules, session, peer, now, out);
        if issued == Err(Error::SerialsExhausted) && keys.replace_exhausted(now) {
            drop(keys);
            let keys = self.reader.snapshot();
            issued = issue(&keys, self.lane, rules, session, peer, now, out);
        }
        if issued.is_ok() {
            self.counters.count_issued();
        }
        issued
    }

    /// The engine of this worker.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// A batch with its verdicts, in the order of the datagrams.
pub struct Admitted<'w> {
    flows: Vec<Flow<'w>>,
    spare: &'w mut Vec<Flow<'static>>,
    reader: &'w KeyReader,
    now: UnixMillis,
}

impl<'w> Admitted<'w> {
    /// Each datagram and its verdict.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arrival<'w>, Verdict<'_>)> {
        self.flows
            .iter()
            .map(|flow| (&flow.arrival, flow.verdict()))
    }

    /// Writes to `out` the body of a HelloRetryRequest that answers the ClientHello of `arrival`:
    /// it selects `suite`, asks for a key share of `group` if there is one, and for a cookie by
    /// which [`Worker::admit`] will know the client's address. No state is kept
    /// (RFC 9147, 5.1). Returns its length in bytes, at most 192.
    ///
    /// A ClientHello that was [retried](Arrival::retried) must not be answered so again.
    pub fn hello_retry_request(
        &self,
        arrival: &Arrival<'_>,
        suite: CipherSuite,
        group: Option<u16>,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let mut transcript = Transcript::new(suite.hash());
        transcript.add(HandshakeType::CLIENT_HELLO, arrival.hello_body);
        let keys = self.reader.snapshot();
        let (hello, peer) = (transcript.digest(), arrival.datagram.peer);
        write_hello_retry_request(&keys, &hello, suite, group, peer, self.now, out)
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        *self.spare = recycle(mem::take(&mut self.flows));
    }
}

/// The same allocation for flows of another batch: collecting from a vector's own iterator reuses
/// its memory.
fn recycle<'a, 'b>(mut flows: Vec<Flow<'a>>) -> Vec<Flow<'b>> {
    flows.clear();
    flows
        .into_iter()
        .map(|_| unreachable!("it is empty"))
        .collect()
}

/// Which flow a fragment belongs to: keyed, so that nobody can choose flows that collide.
fn flow_key(key: &[u8; 16], peer: SocketAddr) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    peer.hash(&mut hasher);
    hasher.finish()
}

//! What can be set, and the engine that comes of it.

use std::time::Duration;

use zeroize::Zeroizing;

use super::worker::WorkerRules;
use super::{Engine, Profile, Shared};
use crate::admission::{AddressPolicy, Rules};
use crate::error::Error;
use crate::keys::{KeyConfig, KeySecret, TicketKeyManager};
use crate::random::SecureRandom;
use crate::replay::{FreshnessWindow, ReplayCache, ReplayConfig, ReplayProtection};
use crate::sync::{Arc, AtomicBool, Mutex};
use crate::ticket::IssueRules;
use crate::time::UnixMillis;

/// Everything that can be set, with its default. See [`Engine::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    keys: KeyConfig,
    lanes: Option<usize>,
    first_key: Option<KeySecret>,
    replay: ReplayConfig,
    rules: Rules,
    issue: IssueRules,
    worker: WorkerRules,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            keys: KeyConfig::default(),
            lanes: None,
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
                single_use: true,
                session_lifetime: Duration::from_secs(604_800),
            },
            worker: WorkerRules {
                retransmission_window: Duration::from_secs(10),
                reassembly_slots: 64,
                client_hello_max: 8192,
            },
        }
    }
}

impl Builder {
    /// How many workers issue tickets, 1 to 256. Default 1.
    #[must_use]
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = Some(lanes);
        self
    }

    /// As many lanes as the profile of this machine has workers. The rest of it is for the host's
    /// loop and its sockets.
    #[must_use]
    pub fn profile(self, profile: &Profile) -> Self {
        self.lanes(profile.workers)
    }

    /// How ticket keys live. Its `lanes` count if [`lanes`](Self::lanes) says nothing.
    #[must_use]
    pub fn keys(mut self, keys: KeyConfig) -> Self {
        self.keys = keys;
        self
    }

    /// Begins with this key, which seals at once, instead of a drawn one: for tickets of before a
    /// restart, and for hosts that share keys. With a
    /// [`rotation_interval`](KeyConfig::rotation_interval), drawn keys follow it, which no other
    /// process has: set `None`, and [import](TicketKeyManager::import) the keys that are to follow.
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

    /// The window of [`ReplayProtection::TimeWindowed`], at least 1 s. Default 10 s.
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
    /// HelloRetryRequest, and so gets no 0-RTT, unless the PSK [may be used alone](Self::allow_psk_ke).
    /// Default X25519 (0x001d) and P-256 (0x0017).
    #[must_use]
    pub fn groups(mut self, groups: &[u16]) -> Self {
        self.rules.groups = groups.to_vec();
        self
    }

    /// Whether a PSK may be used without (EC)DHE, which gives up forward secrecy. A host that
    /// allows it must use the PSK alone where a flight whose 0-RTT is accepted has no key share
    /// of its groups. Default no.
    #[must_use]
    pub fn allow_psk_ke(mut self, allow: bool) -> Self {
        self.rules.psk_ke = allow;
        self
    }

    /// How long a cookie is good. Its key is kept as long, but not longer than for a
    /// [ticket](KeyConfig::ticket_lifetime). Default 30 s.
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

    /// For how long the same ClientHello from the same address is a retransmission. Each worker
    /// knows the last few thousand that it accepted: at 4096 a second, a third after a second. One that
    /// is forgotten resumes as [`Replayed`](crate::admission::NoEarlyData::Replayed). Default 10 s.
    #[must_use]
    pub fn retransmission_window(mut self, window: Duration) -> Self {
        self.worker.retransmission_window = window;
        self
    }

    /// How many ClientHellos a worker puts together from fragments at once, and how long each may
    /// be in bytes. Default 64 of 8192.
    #[must_use]
    pub fn reassembly(mut self, slots: usize, client_hello_max: usize) -> Self {
        self.worker.reassembly_slots = slots;
        self.worker.client_hello_max = client_hello_max;
        self
    }

    /// Builds the engine. Draws an issuer, and the ticket keys that were not given.
    ///
    /// A process that forks does so before: with the same issuer in both, nonces would repeat, and
    /// a flight be accepted by each.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that makes no sense, or asks for more memory than there is;
    /// [`Error::RandomUnavailable`].
    pub fn build(self, random: &dyn SecureRandom, now: UnixMillis) -> Result<Engine, Error> {
        let mut keys = self.keys;
        keys.lanes = self.lanes.unwrap_or(keys.lanes);
        let lanes = keys.lanes;
        let keys = match &self.first_key {
            Some(secret) => TicketKeyManager::with_key(keys, secret, random, now)?,
            None => TicketKeyManager::new(keys, random, now)?,
        };
        let mut issue = self.issue;
        issue.single_use = self.replay.protection == ReplayProtection::SingleUseTickets;
        if self.replay.protection == ReplayProtection::Disabled {
            issue.max_early_data = 0;
        }
        let mut flow_key = Zeroizing::new([0; 16]);
        random.fill(&mut *flow_key)?;
        // Made once to have its errors here rather than in `Engine::worker`.
        self.worker.reassembly()?;
        Ok(Engine {
            shared: Arc::new(Shared {
                keys,
                replay: ReplayCache::new(&self.replay, lanes, random, now)?,
                rules: self.rules,
                issue,
                worker: self.worker,
                flow_key,
                counters: Mutex::new(Vec::new()),
                took_over: AtomicBool::new(false),
            }),
        })
    }
}

//! Rotation: which keys exist, who seals, and when a key is forgotten.

use std::fmt;
use std::time::Duration;

use super::array::{Entry, KeyArray, KeyRole};
use super::lane::{Budget, Lane, SERIALS_MAX};
use super::ticket_key::{Household, Issuer, KeyId, KeySecret, TicketKey};
use crate::error::Error;
use crate::random::SecureRandom;
use crate::sync::{
    Arc, AtomicBool, AtomicUsize, EpochCell, EpochReader, Mutex, Ordering, Pinned, lock, seeded,
};
use crate::time::{UnixMillis, millis};

/// The longest lifetime of a ticket (RFC 8446, 4.6.1).
pub const TICKET_LIFETIME_MAX: Duration = Duration::from_secs(604_800);

/// How much longer than its own tickets a host keeps a shared key: other hosts may have sealed
/// with it until their clock or their maintenance caught up.
const FLEET_MARGIN_MS: u64 = 300_000;

/// More than the collector takes to drop one value later.
const COLLECTED_BYTES: usize = 8 * 1024;

/// `activates` of a drawn key: at the next rotation, whenever that is.
const AT_NEXT_ROTATION: u64 = u64::MAX;

/// How ticket keys live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConfig {
    /// How many lanes issue tickets, 1 to 256: one per worker.
    pub lanes: usize,
    /// How long a key seals before a drawn key follows it, which no other host and no later process
    /// has. `None`: keys come by [`TicketKeyManager::import`], which is the way of hosts that share
    /// them, and of those that want to open tickets of before a restart. Default 1 h.
    pub rotation_interval: Option<Duration>,
    /// The longest lifetime of a ticket, at most [`TICKET_LIFETIME_MAX`]. The same on all hosts that
    /// share keys, and over their restarts: a key is kept that long for tickets of others. Default
    /// 24 h.
    pub ticket_lifetime: Duration,
    /// Tickets per lane and key, at most 2^32, the default. Where keys are drawn, rotation comes
    /// early when a lane has used seven eighths of them.
    pub serials_per_lane: u64,
    /// How many keys may exist at once, those included that are retired but still held by a
    /// reader. A rotation beyond is refused. Default 256.
    pub max_keys: usize,
    /// Bytes for the bits of used tickets, over all keys and lanes. Tickets beyond are issued
    /// without 0-RTT. Default 256 MiB: 2^31 tickets, but at least half of that where each lane
    /// issues many under each key. The first 2^15 of a lane take 4 KiB at once.
    pub register_bytes: usize,
}

impl Default for KeyConfig {
    fn default() -> Self {
        Self {
            lanes: 1,
            rotation_interval: Some(Duration::from_secs(3600)),
            ticket_lifetime: Duration::from_secs(86_400),
            serials_per_lane: SERIALS_MAX,
            max_keys: 256,
            register_bytes: 256 << 20,
        }
    }
}

impl KeyConfig {
    fn check(&self) -> Result<(), Error> {
        let lifetime = self.ticket_lifetime;
        if !(1..=256).contains(&self.lanes) {
            Err(Error::Config("lanes: 1 to 256"))
        } else if lifetime > TICKET_LIFETIME_MAX || lifetime < Duration::from_secs(1) {
            Err(Error::Config("ticket_lifetime: 1 to 604800 seconds"))
        } else if !(1..=SERIALS_MAX).contains(&self.serials_per_lane) {
            Err(Error::Config("serials_per_lane: 1 to 2^32"))
        } else if self.max_keys < 3 {
            Err(Error::Config("max_keys: at least 3"))
        } else if self.rotation_interval == Some(Duration::ZERO) {
            Err(Error::Config("rotation_interval: more than zero"))
        } else if self
            .keys_at_once()
            .is_some_and(|keys| keys > self.max_keys as u128)
        {
            Err(Error::Config(
                "max_keys: too few for ticket_lifetime over rotation_interval",
            ))
        } else {
            Ok(())
        }
    }

    /// Keys that are here while drawn ones take turns: those with tickets that have not expired,
    /// the one that seals, and the next.
    fn keys_at_once(&self) -> Option<u128> {
        let interval = self.rotation_interval?.as_nanos();
        Some(self.ticket_lifetime.as_nanos().div_ceil(interval) + 2)
    }
}

/// One key, as people want to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its public name.
    pub id: KeyId,
    /// What it may do now.
    pub role: KeyRole,
    /// Since when it seals, has sealed or is to seal. `None`: it is to follow at the next rotation.
    pub activates: Option<UnixMillis>,
    /// Tickets that this process has sealed with it.
    pub issued: u64,
    /// Tickets that its fullest lane can still seal.
    pub seals_left: u64,
}

/// What [`TicketKeyManager::maintain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Another key seals now.
    pub rotated: bool,
    /// How many keys were retired.
    pub retired: usize,
}

/// Keys that seal and open tickets, and their rotation. Cheap to clone; clones are the same manager.
///
/// Readers take a [`KeySnapshot`] and never wait. Changes go through a lock of their own, which is
/// on the way of no ticket but that for which a lane has no serial left.
#[derive(Clone)]
pub struct TicketKeyManager {
    shared: Arc<Shared>,
}

struct Shared {
    config: KeyConfig,
    household: Household,
    array: Arc<EpochCell<KeyArray>>,
    /// The entries of the array as it is now.
    entries: Mutex<Vec<Entry>>,
    /// A lane of the active key is nearly out of serials.
    rotate_early: AtomicBool,
}

impl TicketKeyManager {
    /// Draws a first key, which seals at once, and the one to follow it.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::RandomUnavailable`].
    pub fn new(
        config: KeyConfig,
        random: &dyn SecureRandom,
        now: UnixMillis,
    ) -> Result<Self, Error> {
        let first = KeySecret::draw(random)?;
        let manager = Self::begin(config, &first, false, random, now)?;
        manager.maintain(now, random)?;
        Ok(manager)
    }

    /// Begins with a given key, which seals at once: the way to open tickets of before a restart,
    /// and those of other hosts.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::RandomUnavailable`].
    pub fn with_key(
        config: KeyConfig,
        secret: &KeySecret,
        random: &dyn SecureRandom,
        now: UnixMillis,
    ) -> Result<Self, Error> {
        Self::begin(config, secret, true, random, now)
    }

    fn begin(
        config: KeyConfig,
        secret: &KeySecret,
        shared: bool,
        random: &dyn SecureRandom,
        now: UnixMillis,
    ) -> Result<Self, Error> {
        config.check()?;
        let household = Household {
            lanes: config.lanes,
            serials_per_lane: config.serials_per_lane,
            budget: Budget::new(config.register_bytes),
            waiting: Arc::new(AtomicUsize::new(0)),
        };
        let first = Entry {
            key: TicketKey::new(secret, draw_issuer(random)?, &household),
            role: KeyRole::Active,
            shared,
            activates: now.0,
            deactivated: u64::MAX,
        };
        let array = KeyArray::new(std::slice::from_ref(&first), 0);
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                household,
                array: EpochCell::new(array),
                entries: Mutex::new(vec![first]),
                rotate_early: AtomicBool::new(false),
            }),
        })
    }

    /// Takes over a key that other hosts have too. It opens tickets at once and seals from
    /// `activates` on: choose that late enough for every host to have the key by then. Before, it
    /// seals only if [`rotate`](Self::rotate) says so, or if a lane has no serial left and no drawn
    /// key is there.
    ///
    /// A key whose time was before that of the key which seals now is there to open only: so
    /// begin, after a restart, with the [key that seals](Self::with_key), and import the others
    /// with the times that they had, all with the `now` by which that one was chosen.
    ///
    /// # Errors
    /// [`Error::DuplicateKey`] if it is here, [`Error::TooManyKeys`],
    /// [`Error::RandomUnavailable`]; nothing has changed then but that keys may be retired.
    pub fn import(
        &self,
        secret: &KeySecret,
        activates: UnixMillis,
        random: &dyn SecureRandom,
        now: UnixMillis,
    ) -> Result<KeyId, Error> {
        let shared = &self.shared;
        let mut entries = lock(&shared.entries);
        shared.retire(&mut entries, now);
        let key = TicketKey::new(secret, draw_issuer(random)?, &shared.household);
        let id = key.id();
        // If that lies ahead, the clock has stepped back since: a key that is due then or later
        // is no key of before.
        let seals_since = entries[active_index(&entries)].activates.min(now.0);
        let added = shared.add_pending(&mut entries, key, Some(activates))?;
        if activates.0 < seals_since {
            entries[added].role = KeyRole::DecryptOnly;
            entries[added].deactivated = now.0;
        }
        shared.activate_due(&mut entries, now);
        shared.publish(&entries);
        Ok(id)
    }

    /// Lets the next key seal from now on: the imported one that is due first, or else a drawn one,
    /// which no other host has. Returns the id of the key that seals.
    ///
    /// # Errors
    /// [`Error::TooManyKeys`], [`Error::RandomUnavailable`]: the same key seals as before.
    pub fn rotate(&self, now: UnixMillis, random: &dyn SecureRandom) -> Result<KeyId, Error> {
        let shared = &self.shared;
        let mut entries = lock(&shared.entries);
        shared.retire(&mut entries, now);
        let next = match next_pending(&entries) {
            Some(next) => next,
            None => shared.draw(&mut entries, random)?,
        };
        shared.activate(&mut entries, next, now);
        if shared.config.rotation_interval.is_some() {
            // The rotation is done: if the key to follow cannot be drawn now, `maintain` says so.
            let _ = shared.drawn(&mut entries, random);
        }
        let id = entries[next].key.id();
        shared.publish(&entries);
        drop(entries);
        shared.array.collect();
        Ok(id)
    }

    /// To be called about once a second: rotates when the interval has passed, when an imported
    /// key is due or when a lane is nearly out of serials; retires keys whose last ticket has
    /// expired; overwrites retired keys that no reader holds any more.
    ///
    /// # Errors
    /// [`Error::TooManyKeys`], [`Error::RandomUnavailable`], where a key cannot be drawn. Everything
    /// that could be done was done, and the rest is tried again by the next call.
    pub fn maintain(
        &self,
        now: UnixMillis,
        random: &dyn SecureRandom,
    ) -> Result<Maintenance, Error> {
        let shared = &self.shared;
        let mut entries = lock(&shared.entries);
        let before = entries.len();
        let mut rotated = shared.activate_due(&mut entries, now);
        let retired = shared.retire(&mut entries, now);
        let mut drawn = Ok(());
        if let Some(interval) = shared.config.rotation_interval {
            let mut next = shared.drawn(&mut entries, random);
            if let Ok(follows) = next
                && shared.is_due(&mut entries, interval, now)
            {
                shared.activate(&mut entries, follows, now);
                rotated = true;
                next = shared.drawn(&mut entries, random);
            }
            drawn = next.map(|_| ());
        }
        if rotated || entries.len() != before - retired {
            shared.publish(&entries);
        }
        drop(entries);
        shared.array.collect();
        drawn.map(|()| Maintenance { rotated, retired })
    }

    /// The calling thread's way to read the keys.
    #[must_use]
    pub fn reader(&self) -> KeyReader {
        KeyReader {
            manager: self.clone(),
            reader: EpochReader::new(&self.shared.array),
        }
    }

    /// Retired keys that are not overwritten yet, since a reader may still use them.
    #[must_use]
    pub fn retired_waiting(&self) -> usize {
        // Acquire: pairs with the Release of a key that is gone.
        self.shared.household.waiting.load(Ordering::Acquire)
    }

    /// All keys, in the order in which they came.
    #[must_use]
    pub fn status(&self) -> Vec<KeyStatus> {
        let entries = lock(&self.shared.entries);
        let status = |entry: &Entry| KeyStatus {
            id: entry.key.id(),
            role: entry.role,
            activates: (entry.activates != AT_NEXT_ROTATION).then_some(UnixMillis(entry.activates)),
            issued: entry.key.lanes().map(Lane::issued).sum(),
            seals_left: entry.key.lanes().map(Lane::left).min().unwrap_or(0),
        };
        entries.iter().map(status).collect()
    }

    /// Bytes in use for the bits of used tickets, and their limit.
    #[must_use]
    pub fn register_bytes(&self) -> (usize, usize) {
        (
            self.shared.household.budget.used(),
            self.shared.household.budget.limit(),
        )
    }

    /// The most bytes that keys and the bits of used tickets will ever take, even if every key
    /// knows all the other issuers that it can and a reader holds on to everything. Lanes that
    /// were taken over from an earlier process come on top, but for their bits, and for each reader
    /// up to 130 KiB in which it collects what rotations have left.
    #[must_use]
    pub fn memory_limit(&self) -> usize {
        let config = &self.shared.config;
        // A key comes, is activated, is succeeded and goes: as many arrays can wait for a reader.
        let arrays = KeyArray::bytes(config.max_keys).saturating_add(COLLECTED_BYTES);
        let arrays = arrays.saturating_mul(4);
        let key = TicketKey::bytes(config.lanes) + size_of::<Entry>();
        config
            .max_keys
            .saturating_mul(key.saturating_add(arrays))
            .saturating_add(config.register_bytes)
    }

    /// How keys live here.
    #[must_use]
    pub fn config(&self) -> &KeyConfig {
        &self.shared.config
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn active(&self) -> KeyId {
        let entries = lock(&self.shared.entries);
        entries[active_index(&entries)].key.id()
    }

    /// All keys that open tickets now.
    pub(crate) fn all(&self) -> Vec<Arc<TicketKey>> {
        lock(&self.shared.entries)
            .iter()
            .map(|entry| Arc::clone(&entry.key))
            .collect()
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.shared.household.budget
    }

    /// A lane of `exhausted` has no serial left: lets the pending key take over at once, without
    /// randomness. `false` if there is none.
    fn replace_exhausted(&self, exhausted: KeyId, now: UnixMillis) -> bool {
        let mut entries = lock(&self.shared.entries);
        let active = entries[active_index(&entries)].key.id();
        if seeded!(active != exhausted, "exhausted key replaced twice" => false) {
            return true;
        }
        let Some(next) = drawn_pending(&entries).or_else(|| next_pending(&entries)) else {
            return false;
        };
        self.shared.activate(&mut entries, next, now);
        self.shared.publish(&entries);
        true
    }
}

impl fmt::Debug for TicketKeyManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeyManager")
            .field("config", self.config())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A drawn key has no time at which it activates: it follows at the next rotation.
    fn add_pending(
        &self,
        entries: &mut Vec<Entry>,
        key: Arc<TicketKey>,
        activates: Option<UnixMillis>,
    ) -> Result<usize, Error> {
        // A key that is here twice would count its serials twice, and so repeat nonces. A drawn
        // key can only be if the random source repeats itself.
        if entries.iter().any(|entry| entry.key.id() == key.id()) {
            return Err(Error::DuplicateKey);
        }
        // Those that a reader holds on to count too, or a stuck one would let them pile up.
        let waiting = self.household.waiting.load(Ordering::Relaxed);
        if entries.len().saturating_add(waiting) >= self.config.max_keys {
            return Err(Error::TooManyKeys);
        }
        entries.push(Entry {
            key,
            role: KeyRole::Pending,
            shared: activates.is_some(),
            activates: activates.map_or(AT_NEXT_ROTATION, |activates| activates.0),
            deactivated: u64::MAX,
        });
        Ok(entries.len() - 1)
    }

    /// Where the drawn key is that waits: the one that is there, or a new one.
    fn drawn(&self, entries: &mut Vec<Entry>, random: &dyn SecureRandom) -> Result<usize, Error> {
        match drawn_pending(entries) {
            Some(drawn) => Ok(drawn),
            None => self.draw(entries, random),
        }
    }

    fn draw(&self, entries: &mut Vec<Entry>, random: &dyn SecureRandom) -> Result<usize, Error> {
        let key = TicketKey::new(
            &KeySecret::draw(random)?,
            draw_issuer(random)?,
            &self.household,
        );
        self.add_pending(entries, key, None)
    }

    /// Activates imported keys whose time has come. The last of them seals.
    fn activate_due(&self, entries: &mut [Entry], now: UnixMillis) -> bool {
        let mut activated = false;
        while let Some(next) = next_pending(entries)
            && entries[next].activates <= now.0
        {
            self.activate(entries, next, now);
            activated = true;
        }
        activated
    }

    /// The pending key `next` becomes the active one.
    fn activate(&self, entries: &mut [Entry], next: usize, now: UnixMillis) {
        let active = active_index(entries);
        entries[active].role = KeyRole::DecryptOnly;
        // Other hosts go on with it until the next one's time has come.
        entries[active].deactivated = match entries[next].shared {
            true => entries[next].activates.max(now.0),
            false => now.0,
        };
        entries[next].role = KeyRole::Active;
        entries[next].activates = now.0;
        // Relaxed: a hint; the worst is a rotation too many or one second too late.
        self.rotate_early.store(false, Ordering::Relaxed);
    }

    fn is_due(&self, entries: &mut [Entry], interval: Duration, now: UnixMillis) -> bool {
        let active = active_index(entries);
        let activated = &mut entries[active].activates;
        // A key activated in the future was activated before the clock stepped back: its interval
        // begins anew, or rotation would stop until the clock has caught up.
        *activated = (*activated).min(now.0);
        // Relaxed: a hint, as above.
        now.0 - *activated >= millis(interval) || self.rotate_early.load(Ordering::Relaxed)
    }

    /// Takes out the keys that no unexpired ticket needs, so that there is room for others.
    fn retire(&self, entries: &mut Vec<Entry>, now: UnixMillis) -> usize {
        // Readers that have left since may have been the last.
        self.array.collect();
        let before = entries.len();
        entries.retain(|entry| {
            let needed = self.is_needed(entry, now);
            if !needed {
                entry.key.retire();
            }
            needed
        });
        let retired = before - entries.len();
        if retired > 0 {
            self.publish(entries);
            self.array.collect();
        }
        retired
    }

    fn is_needed(&self, entry: &Entry, now: UnixMillis) -> bool {
        if entry.role != KeyRole::DecryptOnly {
            return true;
        }
        // Until sealing has certainly ended, a reader of an older array may still seal with it.
        let Some(last_expiry) = entry.key.last_expiry() else {
            return true;
        };
        let elsewhere = match entry.shared {
            false => 0,
            true => entry
                .deactivated
                .saturating_add(millis(self.config.ticket_lifetime))
                .saturating_add(FLEET_MARGIN_MS),
        };
        now.0 < last_expiry.max(elsewhere)
    }

    fn publish(&self, entries: &[Entry]) {
        let sealed_out: Vec<_> = entries
            .iter()
            .filter(|entry| entry.role == KeyRole::DecryptOnly)
            .filter(|entry| entry.key.last_expiry().is_none())
            .map(|entry| Arc::clone(&entry.key))
            .collect();
        seeded!("sealing ended before grace" => sealed_out.iter().for_each(|key| key.end_sealing()));
        let array = KeyArray::new(entries, active_index(entries));
        let end_sealing = move || sealed_out.iter().for_each(|key| key.end_sealing());
        self.array.replace(array, end_sealing);
    }
}

fn draw_issuer(random: &dyn SecureRandom) -> Result<Issuer, Error> {
    let mut issuer = [0; 8];
    random.fill(&mut issuer)?;
    Ok(Issuer(u64::from_be_bytes(issuer)))
}

/// There is always exactly one.
fn active_index(entries: &[Entry]) -> usize {
    entries
        .iter()
        .position(|entry| entry.role == KeyRole::Active)
        .unwrap_or(0)
}

/// The pending key that time alone lets follow.
fn drawn_pending(entries: &[Entry]) -> Option<usize> {
    let is_drawn = |entry: &Entry| entry.role == KeyRole::Pending && !entry.shared;
    entries.iter().position(is_drawn)
}

/// The pending key that is due first: an imported one, or else the drawn one.
fn next_pending(entries: &[Entry]) -> Option<usize> {
    let pending = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.role == KeyRole::Pending);
    pending
        .min_by_key(|(_, entry)| (entry.activates, !entry.shared))
        .map(|(index, _)| index)
}

/// One thread's way to read the keys. Not `Send`: make it on the thread that uses it.
pub struct KeyReader {
    manager: TicketKeyManager,
    reader: EpochReader<KeyArray>,
}

impl KeyReader {
    /// The keys as they are now. They stay the same, and alive, while the snapshot is held: hold
    /// one for a batch, not longer, since it keeps retired keys from being overwritten.
    #[must_use]
    pub fn snapshot(&self) -> KeySnapshot<'_> {
        KeySnapshot {
            array: self.reader.pin(),
            manager: &self.manager,
        }
    }
}

impl fmt::Debug for KeyReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyReader").finish_non_exhaustive()
    }
}

/// The keys at one moment.
pub struct KeySnapshot<'r> {
    array: Pinned<'r, KeyArray>,
    manager: &'r TicketKeyManager,
}

impl KeySnapshot<'_> {
    /// The id of the key that seals.
    #[must_use]
    pub fn active_id(&self) -> KeyId {
        self.active().id()
    }

    /// Whether tickets of this key are opened now.
    #[must_use]
    #[inline]
    pub fn contains(&self, id: KeyId) -> bool {
        self.find(id).is_some()
    }

    pub(crate) fn active(&self) -> &TicketKey {
        self.array.active()
    }

    #[inline]
    pub(crate) fn find(&self, id: KeyId) -> Option<&TicketKey> {
        self.array.find(id)
    }

    pub(crate) fn ticket_lifetime(&self) -> Duration {
        self.manager.config().ticket_lifetime
    }

    /// The next serial of `lane` under the active key, for a ticket that expires at `expiry` (ms).
    /// Asks for rotation when few are left.
    pub(crate) fn take_serial(&self, lane: u8, expiry: u64) -> Result<u32, NoSerial> {
        let serials = self.active().lane(lane).ok_or(NoSerial::NoSuchLane {
            lane: lane.into(),
            lanes: self.manager.config().lanes,
        })?;
        let serial = serials.take_serial(expiry);
        if serials.left() <= self.manager.config().serials_per_lane / 8 {
            // Relaxed: a hint for `maintain`.
            self.manager
                .shared
                .rotate_early
                .store(true, Ordering::Relaxed);
        }
        serial.ok_or(NoSerial::Exhausted)
    }

    /// The active key stays for `time`, for what is made with it now on `lane`; no longer than for a
    /// ticket, since so many keys as that takes are reckoned with.
    pub(crate) fn keep_active_for(&self, time: Duration, lane: u8, now: UnixMillis) {
        if let Some(lane) = self.active().lane(lane) {
            let expiry = now.saturating_add(time.min(self.ticket_lifetime()));
            lane.needed_until(expiry.0);
        }
    }

    /// Lets the pending key take over from the active one of this snapshot, whose lane has no
    /// serial left. After `true`, a new snapshot has serials.
    pub(crate) fn replace_exhausted(&self, now: UnixMillis) -> bool {
        self.manager.replace_exhausted(self.active_id(), now)
    }
}

impl fmt::Debug for KeySnapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySnapshot")
            .field("active", &self.active_id())
            .finish_non_exhaustive()
    }
}

/// Why there is no serial.
pub(crate) enum NoSerial {
    NoSuchLane { lane: usize, lanes: usize },
    Exhausted,
}

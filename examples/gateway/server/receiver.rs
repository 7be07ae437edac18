//! The keys under which one connection receives, by epoch (RFC 9147, 4.2.2 and 6.1).

use std::time::Duration;

use dtls_session::UnixMillis;
use dtls_session::schedule::{
    EARLY_DATA_EPOCH, EarlyDataOpener, EarlyDataRejected, EarlyRecord, Opened, RecordOpener,
};
use dtls_session::wire::AlertDescription;

use super::failure::Failure;

/// The epoch of handshake messages.
pub const HANDSHAKE_EPOCH: u64 = 2;

/// The first epoch of application data.
pub const APPLICATION_EPOCH: u64 = 3;

/// How long early data may still come when the handshake is complete: the network reorders.
const EARLY_DATA_GRACE: Duration = Duration::from_secs(5);

/// How long the network may hold a record back: the maximum segment lifetime.
const SEGMENT_LIFETIME: Duration = Duration::from_secs(120);

/// An authentic record that was not seen before.
pub enum Read<'r> {
    Early(EarlyRecord<'r>),
    Record { epoch: u64, opened: Opened<'r> },
}

/// The receiving half of a connection's record layer.
pub struct Receiver {
    early: Option<EarlyDataOpener>,
    /// When the keys of early data go, if the handshake is complete.
    early_until: Option<UnixMillis>,
    /// By epoch, the newest last; never empty, and no two of them share their low bits.
    keys: Vec<Keys>,
}

/// The keys of an epoch.
struct Keys {
    opener: RecordOpener,
    /// When they go, if the next are used.
    until: Option<UnixMillis>,
}

impl Keys {
    fn new(opener: RecordOpener) -> Self {
        let until = None;
        Self { opener, until }
    }
}

impl Receiver {
    pub fn new(early: Option<EarlyDataOpener>, handshake: RecordOpener) -> Self {
        Self {
            early,
            early_until: None,
            keys: vec![Keys::new(handshake)],
        }
    }

    /// The newest epoch for which there are keys. The client may not use it yet.
    pub fn newest_epoch(&self) -> u64 {
        self.keys.last().map_or(0, |keys| keys.opener.epoch())
    }

    /// The handshake is complete, and application data comes in with `application`.
    pub fn complete(&mut self, application: RecordOpener, now: UnixMillis) {
        if let Some(early) = &mut self.early {
            let until = now.saturating_add(EARLY_DATA_GRACE);
            early.retire_at(until);
            self.early_until = Some(until);
        }
        // So long the client's Finished may come again, to be acknowledged again (RFC 9147, 5.8.1).
        let until = now.saturating_add(2 * SEGMENT_LIFETIME);
        self.keys
            .iter_mut()
            .for_each(|keys| keys.until = Some(until));
        self.keys.push(Keys::new(application));
    }

    /// The client announced keys for the next epoch. Those before stay until it uses them, since the
    /// announcement's ACK may be lost (RFC 9147, 8), and then as long as records may be on their way
    /// (4.2.1).
    pub fn update(&mut self, next: RecordOpener) {
        (self.early, self.early_until) = (None, None);
        self.keys
            .retain(|keys| keys.opener.epoch() + 4 > next.epoch());
        self.keys.push(Keys::new(next));
    }

    /// Opens one whole record in its place. `None`: it is to be dropped in silence.
    pub fn open<'r>(
        &mut self,
        record: &'r mut [u8],
        epoch_bits: u8,
        connection_id_len: usize,
        now: UnixMillis,
    ) -> Result<Option<Read<'r>>, Failure> {
        let has_bits = |epoch: u64| epoch & 3 == u64::from(epoch_bits);
        // After two KeyUpdates, 1 is epoch 5: the keys of early data are gone by then.
        if let Some(early) = self.early.as_mut().filter(|_| has_bits(EARLY_DATA_EPOCH)) {
            return match early.open(record, connection_id_len, now) {
                Ok(read) => Ok(Some(Read::Early(read))),
                Err(EarlyDataRejected::LimitExceeded | EarlyDataRejected::Unexpected(_)) => {
                    Err(Failure(AlertDescription::UNEXPECTED_MESSAGE))
                }
                Err(_) => Ok(None),
            };
        }
        let mut newer_first = self.keys.iter_mut().rev();
        let of_epoch = newer_first.find(|keys| has_bits(keys.opener.epoch()));
        let Some(Keys { opener, .. }) = of_epoch else {
            return Ok(None);
        };
        let epoch = opener.epoch();
        let Ok(opened) = opener.open(record, connection_id_len) else {
            return Ok(None);
        };
        if let Some(before) = newer_first.next() {
            let until = now.saturating_add(SEGMENT_LIFETIME);
            before.until.get_or_insert(until);
        }
        Ok(Some(Read::Record { epoch, opened }))
    }

    /// When keys are next to be dropped.
    pub fn due(&self) -> Option<UnixMillis> {
        let keys = self.keys.iter().filter_map(|keys| keys.until);
        keys.chain(self.early_until).min()
    }

    /// Drops the keys whose time is over.
    pub fn on_timeout(&mut self, now: UnixMillis) {
        if self.early_until.is_some_and(|until| now >= until) {
            (self.early, self.early_until) = (None, None);
        }
        self.keys
            .retain(|keys| keys.until.is_none_or(|until| now < until));
    }
}

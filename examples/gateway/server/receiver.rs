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

/// How long the client's Finished may come again, to be acknowledged again: twice the maximum
/// segment lifetime (RFC 9147, 5.8.1).
const FINISHED_GRACE: Duration = Duration::from_secs(240);

/// An authentic record that was not seen before.
pub enum Read<'r> {
    Early(EarlyRecord<'r>),
    Record { epoch: u64, opened: Opened<'r> },
}

/// The receiving half of a connection's record layer.
pub struct Receiver {
    early: Option<EarlyDataOpener>,
    /// By epoch, the newest last; never empty, and no two of them share their low bits.
    openers: Vec<RecordOpener>,
    /// When the keys of early data and of the handshake go, if it is complete.
    early_until: Option<UnixMillis>,
    finished_until: Option<UnixMillis>,
}

impl Receiver {
    pub fn new(early: Option<EarlyDataOpener>, handshake: RecordOpener) -> Self {
        Self {
            early,
            openers: vec![handshake],
            early_until: None,
            finished_until: None,
        }
    }

    /// The newest epoch for which there are keys. The client may not use it yet.
    pub fn newest_epoch(&self) -> u64 {
        self.openers.last().map_or(0, RecordOpener::epoch)
    }

    /// The handshake is complete, and application data comes in with `application`.
    pub fn complete(&mut self, application: RecordOpener, now: UnixMillis) {
        if let Some(early) = &mut self.early {
            let until = now.saturating_add(EARLY_DATA_GRACE);
            early.retire_at(until);
            self.early_until = Some(until);
        }
        self.finished_until = Some(now.saturating_add(FINISHED_GRACE));
        self.openers.push(application);
    }

    /// The client announced keys for the next epoch. The older ones stay until it uses them: the
    /// announcement's ACK may be lost (RFC 9147, 8).
    pub fn update(&mut self, next: RecordOpener) {
        self.early = None;
        (self.early_until, self.finished_until) = (None, None);
        self.openers
            .retain(|opener| opener.epoch() + 1 >= next.epoch());
        self.openers.push(next);
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
        let opener = self.openers.iter_mut().find(|o| has_bits(o.epoch()));
        let Some(opener) = opener else {
            return Ok(None);
        };
        let epoch = opener.epoch();
        let opened = opener.open(record, connection_id_len).ok();
        Ok(opened.map(|opened| Read::Record { epoch, opened }))
    }

    /// When keys are next to be dropped.
    pub fn due(&self) -> Option<UnixMillis> {
        self.early_until
            .into_iter()
            .chain(self.finished_until)
            .min()
    }

    /// Drops the keys whose time is over.
    pub fn on_timeout(&mut self, now: UnixMillis) {
        if self.early_until.is_some_and(|until| now >= until) {
            (self.early, self.early_until) = (None, None);
        }
        if self.finished_until.is_some_and(|until| now >= until) {
            self.finished_until = None;
            self.openers
                .retain(|opener| opener.epoch() != HANDSHAKE_EPOCH);
        }
    }
}

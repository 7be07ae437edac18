//! Anti-replay (RFC 8446, 8): each flight of early data is accepted at most once.

mod freshness;
mod recorder;

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

pub use freshness::{Freshness, FreshnessWindow, expected_arrival};
use recorder::SLICE_MIN_MS;
pub(crate) use recorder::{Recorded, Recorder};

use crate::error::Error;
use crate::keys::{BirthPlace, Place};
use crate::random::SecureRandom;
use crate::ticket::{OpenedTicket, Origin};
use crate::time::{UnixMillis, millis};

/// How replays of early data are kept out. Under all of them a flight is accepted at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplayProtection {
    /// A ticket gets 0-RTT once (RFC 8446, 8.1): one bit per ticket, exact.
    SingleUseTickets,
    /// A ticket gets 0-RTT once in each window of time, for clients that use tickets again. Windows
    /// follow one another from a fixed time on, and a flight belongs to that in which it is
    /// expected: the last use in one window and the first in the next can be close together.
    TimeWindowed,
    /// Each ClientHello gets 0-RTT once (RFC 8446, 8.2), however often its ticket is used.
    ClientHelloRecording,
    /// Nothing is remembered, and so no early data is accepted.
    Disabled,
}

/// The answer to a flight that would otherwise be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strike {
    /// Never seen before, and remembered from now on: accept it.
    First,
    /// Seen before: refuse the 0-RTT.
    Replayed,
    /// Nobody here can know: issued by another process, or without memory. Refuse the 0-RTT.
    Unknown,
    /// There is no room to remember it: refuse the 0-RTT.
    Full,
    /// Its slice of time is forgotten: refuse the 0-RTT.
    OutOfTime,
    /// Early data is refused altogether.
    Disabled,
}

/// The kind and size of a [`ReplayCache`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayConfig {
    /// Which flights count as the same. Default single use.
    pub protection: ReplayProtection,
    /// When flights may arrive.
    pub freshness: FreshnessWindow,
    /// The window of [`ReplayProtection::TimeWindowed`], at least 1 s. Default 10 s.
    pub time_window: Duration,
    /// Bytes for recorded flights, over all lanes. Default 64 MiB: some 4 million flights in one
    /// window. Single use needs none: its bits belong to the ticket keys.
    pub recorder_bytes: usize,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        Self {
            protection: ReplayProtection::SingleUseTickets,
            freshness: FreshnessWindow::default(),
            time_window: Duration::from_secs(10),
            recorder_bytes: 64 << 20,
        }
    }
}

/// Remembers which 0-RTT flights were accepted. Any thread may ask.
pub struct ReplayCache {
    protection: ReplayProtection,
    memory: Memory,
}

enum Memory {
    /// The bits of the ticket keys.
    Bits,
    Recorder(Recorder),
    /// No early data is accepted.
    None,
}

impl fmt::Debug for ReplayCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayCache")
            .field("protection", &self.protection)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl ReplayCache {
    /// A cache for the tickets of `lanes` lanes.
    ///
    /// # Errors
    /// [`Error::Config`] if the window is too short, or [`ReplayConfig::recorder_bytes`] too few for it
    /// or more than there are; [`Error::RandomUnavailable`].
    pub fn new(
        config: &ReplayConfig,
        lanes: usize,
        random: &dyn SecureRandom,
        now: UnixMillis,
    ) -> Result<Self, Error> {
        let span = config.freshness.span();
        let recorder = |slice| {
            let mut key = Zeroizing::new([0; 16]);
            random.fill(&mut *key)?;
            let recorder =
                Recorder::new(config.recorder_bytes, lanes.max(1), slice, span, key, now);
            let too_few = Error::Config("recorder_bytes: too few for the window, or too many");
            recorder.map(Memory::Recorder).ok_or(too_few)
        };
        let memory = match config.protection {
            ReplayProtection::SingleUseTickets => Memory::Bits,
            ReplayProtection::Disabled => Memory::None,
            // An eighth of the window: little memory stands by for slices on their way out.
            ReplayProtection::ClientHelloRecording => recorder((span / 8).max(SLICE_MIN_MS))?,
            ReplayProtection::TimeWindowed => match millis(config.time_window) {
                ..SLICE_MIN_MS => return Err(Error::Config("time_window: at least 1 s")),
                slice => recorder(slice)?,
            },
        };
        Ok(Self {
            protection: config.protection,
            memory,
        })
    }

    /// Is this the first time? And if so, never again.
    ///
    /// Only for a flight whose binder is valid and that will be accepted if the answer is
    /// [`Strike::First`]: who asks earlier lets anybody who saw a ticket use it up. `binder` is
    /// the binder that was verified, and `expected_arrival` the function of that name, for a
    /// flight that [`FreshnessWindow::check`] called fresh.
    #[must_use]
    #[inline]
    pub fn check_and_record(
        &self,
        ticket: &OpenedTicket<'_, '_>,
        binder: &[u8],
        expected_arrival: UnixMillis,
    ) -> Strike {
        self.check_and_record_of(&ticket.origin, binder, expected_arrival)
    }

    /// The same, for a ticket of this origin.
    #[inline]
    pub(crate) fn check_and_record_of(
        &self,
        origin: &Origin<'_>,
        binder: &[u8],
        expected_arrival: UnixMillis,
    ) -> Strike {
        match &self.memory {
            Memory::Bits => match origin.place.map(Place::strike) {
                Some(true) => Strike::First,
                Some(false) => Strike::Replayed,
                None => Strike::Unknown,
            },
            Memory::Recorder(recorder) => self.record(recorder, origin, binder, expected_arrival),
            Memory::None => Strike::Disabled,
        }
    }

    fn record(
        &self,
        recorder: &Recorder,
        &Origin { key, birth, .. }: &Origin<'_>,
        binder: &[u8],
        expected_arrival: UnixMillis,
    ) -> Strike {
        // What another process accepted, this one cannot know.
        if birth.issuer != key.issuer() {
            return Strike::Unknown;
        }
        let recorded = if self.protection == ReplayProtection::TimeWindowed {
            let mut identity = [0; 21];
            identity[..8].copy_from_slice(&key.id().0.to_be_bytes());
            identity[8..16].copy_from_slice(&birth.issuer.0.to_be_bytes());
            identity[16..].copy_from_slice(&BirthPlace::bytes(birth.lane(), birth.serial()));
            recorder.record(birth.lane(), expected_arrival, &identity)
        } else {
            recorder.record(birth.lane(), expected_arrival, binder)
        };
        match recorded {
            Recorded::First => Strike::First,
            Recorded::Replayed => Strike::Replayed,
            Recorded::Full => Strike::Full,
            Recorded::OutOfTime => Strike::OutOfTime,
        }
    }

    /// Fetches the memory of a single-use ticket, for [`check_and_record`](Self::check_and_record)
    /// to find it near. For a batch of tickets, when they were opened: it changes nothing.
    #[inline]
    pub fn prefetch(&self, ticket: &OpenedTicket<'_, '_>) {
        ticket.origin.prefetch();
    }

    /// Which flights count as the same.
    #[must_use]
    pub fn protection(&self) -> ReplayProtection {
        self.protection
    }

    /// Bytes of the table of recorded flights.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.memory {
            Memory::Recorder(recorder) => recorder.bytes(),
            Memory::Bits | Memory::None => 0,
        }
    }
}

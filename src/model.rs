//! Handles by which the model checks reach what is private here. They have no logic of their own.
#![allow(missing_docs, missing_debug_implementations)]

use std::ops::Deref;

use zeroize::Zeroizing;

use crate::engine::Engine;
use crate::keys::{self, KeyId, KeySecret, Place};
use crate::sync::{self, Arc, AtomicUsize, Ordering};
use crate::ticket::OpenedTicket;
use crate::time::UnixMillis;
use crate::{metrics, replay};

pub struct OnceBox<T>(sync::OnceBox<T>);

impl<T> OnceBox<T> {
    pub fn new() -> Self {
        Self(sync::OnceBox::new())
    }

    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }

    pub fn set(&self, value: T) -> (&T, bool) {
        self.0.set(Box::new(value))
    }
}

impl<T> Default for OnceBox<T> {
    fn default() -> Self {
        Self::new()
    }
}

pub struct EpochCell<T>(Arc<sync::EpochCell<T>>);

pub struct EpochReader<T>(sync::EpochReader<T>);

impl<T: Send + Sync + 'static> EpochCell<T> {
    pub fn new(value: T) -> Self {
        Self(sync::EpochCell::new(value))
    }

    pub fn reader(&self) -> EpochReader<T> {
        EpochReader(sync::EpochReader::new(&self.0))
    }

    pub fn replace(&self, next: T, then: impl FnOnce() + Send + 'static) {
        self.0.replace(next, then);
    }

    pub fn collect(&self) {
        self.0.collect();
    }
}

impl<T: Send + Sync + 'static> EpochReader<T> {
    pub fn pin(&self) -> impl Deref<Target = T> {
        self.0.pin()
    }
}

#[derive(Clone)]
pub struct Budget(Arc<keys::Budget>);

impl Budget {
    pub fn new(limit: usize) -> Self {
        Self(keys::Budget::new(limit))
    }

    pub fn used(&self) -> usize {
        self.0.used()
    }
}

pub struct Lane(keys::Lane);

impl Lane {
    pub fn new(limit: u64, budget: &Budget) -> Self {
        Self(keys::Lane::new(limit, &budget.0))
    }

    pub fn take_serial(&self, expiry: u64) -> Option<u32> {
        self.0.take_serial(expiry)
    }

    pub fn remember(&self, serial: u32) -> bool {
        self.0.remember(serial)
    }

    pub fn strike(&self, serial: u32) -> Option<bool> {
        self.0.place(serial).map(Place::strike)
    }

    pub fn hand_over(&self, budget: &Budget) -> Option<AdoptedLane> {
        keys::AdoptedLane::new(&self.0.hand_over(), &budget.0).map(AdoptedLane)
    }
}

pub struct AdoptedLane(keys::AdoptedLane);

impl AdoptedLane {
    pub fn strike(&self, serial: u32) -> Option<bool> {
        self.0.place(serial).map(Place::strike)
    }
}

pub struct Recorder(replay::Recorder);

impl Recorder {
    pub fn new(bytes: usize, slice_ms: u64, span_ms: u64, now: UnixMillis) -> Option<Self> {
        let key = Zeroizing::new([7; 16]);
        replay::Recorder::new(bytes, 1, slice_ms, span_ms, key, now).map(Self)
    }

    /// Whether the flight was recorded just now.
    pub fn record(&self, expected_arrival: UnixMillis, identity: &[u8]) -> bool {
        self.0.record(0, expected_arrival, identity) == replay::Recorded::First
    }
}

pub struct Counters(Arc<metrics::Counters>);

impl Counters {
    pub fn new() -> Self {
        Self(Arc::new(metrics::Counters::new()))
    }

    pub fn of_next_worker(engine: &Engine) -> Self {
        Self(engine.counters())
    }

    pub fn count_issued(&self) {
        self.0.count_issued();
    }

    pub fn sum(&self) -> metrics::Metrics {
        metrics::Metrics::sum([&*self.0].into_iter())
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

/// What ticket keys have in common.
pub struct Household(keys::Household);

impl Household {
    pub fn new(lanes: usize) -> Self {
        Self(keys::Household {
            lanes,
            serials_per_lane: u64::MAX,
            budget: keys::Budget::new(usize::MAX),
            waiting: Arc::new(AtomicUsize::new(0)),
        })
    }

    pub fn key(&self, secret: [u8; 32]) -> TicketKey {
        let issuer = keys::Issuer(1);
        TicketKey(keys::TicketKey::new(
            &KeySecret::new(secret),
            issuer,
            &self.0,
        ))
    }

    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
pub struct TicketKey(Arc<keys::TicketKey>);

impl TicketKey {
    pub fn take_serial(&self, lane: u8, expiry: u64) -> Option<u32> {
        self.0.lane(lane)?.take_serial(expiry)
    }

    pub fn end_sealing(&self) {
        self.0.end_sealing();
    }

    pub fn last_expiry(&self) -> Option<u64> {
        self.0.last_expiry()
    }

    pub fn retire(&self) {
        self.0.retire();
    }
}

/// Key, lane and serial.
pub fn birth(ticket: &OpenedTicket<'_, '_>) -> (KeyId, u8, u32) {
    (
        ticket.key_id(),
        ticket.origin.birth.lane(),
        ticket.origin.birth.serial(),
    )
}

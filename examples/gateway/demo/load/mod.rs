//! The traffic: clients with their 0-RTT flights, and those who copy and forge them.

mod client;
mod flight;
mod ledger;
mod originals;
mod ports;
mod replays;
mod sessions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub(crate) use ledger::{Kind, Ledger};

use crate::Failure;
use client::Client;

/// Traffic that runs.
pub(crate) struct Load {
    begun: Instant,
    threads: Vec<JoinHandle<Result<Ledger, Failure>>>,
    progress: Arc<Progress>,
}

/// What all threads have offered so far.
#[derive(Default)]
struct Progress {
    offered: AtomicU64,
    accepted: AtomicU64,
}

impl Load {
    /// Sends traffic to `target` from `threads` threads for `duration`.
    pub(crate) fn start(
        target: SocketAddr,
        threads: usize,
        duration: Duration,
    ) -> Result<Self, Failure> {
        let mut load = Self {
            begun: Instant::now(),
            threads: Vec::new(),
            progress: Arc::default(),
        };
        let end = load.begun + duration;
        for id in 0..threads {
            let progress = Arc::clone(&load.progress);
            let thread = thread::Builder::new().name(format!("load {id}"));
            let thread = thread.spawn(move || send(id, target, end, &progress))?;
            load.threads.push(thread);
        }
        Ok(load)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Flights offered so far, and accepted.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let Progress { offered, accepted } = &*self.progress;
        (offered.load(Relaxed), accepted.load(Relaxed))
    }

    /// Waits for all threads. Returns their books, and how long it took.
    pub(crate) fn finish(self) -> Result<(Ledger, Duration), Failure> {
        let mut ledger = Ledger::default();
        for thread in self.threads {
            ledger.add(&thread.join().map_err(|_| "a load thread panicked")??);
        }
        Ok((ledger, self.begun.elapsed()))
    }
}

fn send(
    id: usize,
    target: SocketAddr,
    end: Instant,
    progress: &Progress,
) -> Result<Ledger, Failure> {
    let mut client = Client::new(id, target)?;
    let (mut offered, mut accepted) = (0, 0);
    while Instant::now() < end {
        client.round()?;
        let ledger = client.ledger();
        let (before, accepted_before) = (offered, accepted);
        (offered, accepted) = (ledger.offered(), ledger.accepted());
        progress.offered.fetch_add(offered - before, Relaxed);
        progress
            .accepted
            .fetch_add(accepted - accepted_before, Relaxed);
    }
    Ok(client.into_ledger())
}

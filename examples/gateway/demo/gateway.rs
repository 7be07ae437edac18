//! The gateway around the engine: sockets, pinned workers, and the thread that keeps the keys.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dtls_session::keys::KeyConfig;
use dtls_session::replay::FreshnessWindow;
use dtls_session::{Engine, Error, Metrics, Profile};
use ring::rand::SystemRandom;

use super::protocol;
use super::worker::{self, WorkerStats};
use crate::{Failure, sockets};

/// A gateway that runs.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    engine: Engine,
    workers: Vec<Arc<WorkerStats>>,
    upkeep: Arc<Upkeep>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<(), Failure>>>,
}

#[derive(Default)]
struct Upkeep {
    rotations: AtomicU64,
    retired: AtomicU64,
}

/// What a gateway has done so far.
pub(crate) struct Figures {
    pub(crate) workers: usize,
    /// ClientHellos judged.
    pub(crate) flights: u64,
    /// Time in which they were judged, over all workers.
    pub(crate) admit_ns: u64,
    pub(crate) batches: u64,
    pub(crate) rotations: u64,
    pub(crate) retired: u64,
    /// Keys that are there now.
    pub(crate) keys: usize,
    pub(crate) metrics: Metrics,
}

impl Gateway {
    /// Listens on `listen` with one socket per worker, between which the kernel distributes the
    /// clients. Tickets and keys are short-lived.
    pub(crate) fn start(listen: SocketAddr, workers: usize) -> Result<Self, Failure> {
        let engine = engine(workers)?;
        let sockets = sockets::bind(listen, workers, &Profile::default())
            .map_err(|why| format!("{listen}: {why}"))?;
        let mut gateway = Self {
            address: sockets[0].local_addr()?,
            engine,
            workers: Vec::new(),
            upkeep: Arc::default(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let mut cores = core_affinity::get_core_ids()
            .unwrap_or_default()
            .into_iter();
        for (lane, socket) in sockets.into_iter().enumerate() {
            let (engine, stop) = (gateway.engine.clone(), Arc::clone(&gateway.stop));
            let stats = Arc::new(WorkerStats::default());
            gateway.workers.push(Arc::clone(&stats));
            let core = cores.next();
            gateway.spawn(format!("worker {lane}"), move || {
                // More workers than cores, or a system that does not say, are for its scheduler.
                core.map(core_affinity::set_for_current);
                worker::run(&engine, lane, &socket, &stats, &stop)
            })?;
        }
        let (engine, stop) = (gateway.engine.clone(), Arc::clone(&gateway.stop));
        let upkeep = Arc::clone(&gateway.upkeep);
        gateway.spawn("keys".into(), move || maintain(&engine, &upkeep, &stop))?;
        Ok(gateway)
    }

    fn spawn(
        &mut self,
        name: String,
        run: impl FnOnce() -> Result<(), Failure> + Send + 'static,
    ) -> io::Result<()> {
        let thread = thread::Builder::new().name(name).spawn(run)?;
        self.threads.push(thread);
        Ok(())
    }

    pub(crate) fn figures(&self) -> Figures {
        let sum = |of: fn(&WorkerStats) -> &AtomicU64| {
            self.workers
                .iter()
                .map(|stats| of(stats).load(Relaxed))
                .sum()
        };
        Figures {
            workers: self.workers.len(),
            flights: sum(|stats| &stats.flights),
            admit_ns: sum(|stats| &stats.admit_ns),
            batches: sum(|stats| &stats.batches),
            rotations: self.upkeep.rotations.load(Relaxed),
            retired: self.upkeep.retired.load(Relaxed),
            keys: self.engine.keys().status().len(),
            metrics: self.engine.metrics(),
        }
    }

    /// Whether a thread has ended, which none does before [`stop`](Self::stop).
    pub(crate) fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends all threads. An error is that of the first which failed.
    pub(crate) fn stop(mut self) -> Result<Figures, Failure> {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(self.figures())
    }
}

fn engine(workers: usize) -> Result<Engine, Error> {
    Engine::builder()
        .lanes(workers)
        .keys(KeyConfig {
            lanes: workers,
            rotation_interval: Some(protocol::ROTATION_INTERVAL),
            ticket_lifetime: protocol::TICKET_LIFETIME,
            ..KeyConfig::default()
        })
        .freshness(FreshnessWindow {
            late: protocol::FRESHNESS,
            early: protocol::FRESHNESS,
        })
        .retransmission_window(protocol::RETRANSMISSION_WINDOW)
        .build(&SystemRandom::new(), protocol::now())
}

/// Rotates and retires keys when they are due.
fn maintain(engine: &Engine, upkeep: &Upkeep, stop: &AtomicBool) -> Result<(), Failure> {
    let random = SystemRandom::new();
    while !stop.load(Relaxed) {
        match engine.maintain(protocol::now(), &random) {
            Ok(done) => {
                upkeep.rotations.fetch_add(done.rotated.into(), Relaxed);
                upkeep.retired.fetch_add(done.retired as u64, Relaxed);
            }
            // The next call tries again, and until then the keys that are there are good.
            Err(why) => eprintln!("gateway: ticket keys: {why}"),
        }
        // Once a second is enough for keys that live for hours.
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

//! `gateway serve`: the server on every core, until a signal ends it.
//!
//! `worker` is one core: socket, server, nothing shared but counters. This file starts them, keeps
//! the ticket keys, and does what signals say: SIGHUP rotates the keys, SIGTERM and SIGINT let
//! handshakes end and say good-bye, and do not wait a second time.

mod clock;
mod config;
mod metrics;
mod scrape;
mod stats;
#[cfg(test)]
mod tests;
mod ticket_key;
mod worker;

use std::io::IsTerminal;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dtls_session::keys::KeyConfig;
use dtls_session::{Engine, UnixMillis};
use ring::rand::SystemRandom;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{debug, error, info, warn};

use crate::Failure;
use crate::server::{Identity, Settings};
use crate::sockets::bind;
use clock::Clock;
pub(crate) use config::{Config, value};
use metrics::Scraped;
use stats::Stats;
use worker::{Control, Handover};

/// How long handshakes that are under way may take when the gateway ends.
const DRAIN: Duration = Duration::from_secs(5);

/// How often keys are looked after.
const UPKEEP: Duration = Duration::from_secs(1);

/// How long a new ticket key of several gateways opens only: until all of them have it.
const UNTIL_KEYS_ARE_EVERYWHERE: Duration = Duration::from_secs(60);

/// Datagrams of clients that have moved, which wait for the worker that knows them. Beyond that
/// they are lost, as datagrams are: anybody can send what looks like one of them.
const HANDOVER_MAX: usize = 256;

/// Serves until a signal ends it.
pub(crate) fn serve(config: &Config) -> Result<bool, Failure> {
    start_log();
    // Before any thread: all of them leave the signals to this one.
    let signals = signals()?;
    let gateway = Gateway::start(config)?;
    println!(
        "listening on {}, {} workers",
        gateway.scraped.address, config.workers
    );
    if let Some(address) = gateway.metrics {
        println!("metrics on http://{address}/metrics");
    }
    gateway.run(&signals)?;
    Ok(true)
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Fails if there is a log already, which then goes on.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}

/// The signals that come, from a thread that waits for them.
fn signals() -> Result<Receiver<i32>, Failure> {
    let mut signals = Signals::new([SIGHUP, SIGTERM, SIGINT])?;
    let (send, receive) = channel();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if send.send(signal).is_err() {
                    return;
                }
            }
        })?;
    Ok(receive)
}

struct Gateway {
    engine: Engine,
    scraped: Arc<Scraped>,
    /// Where the metrics are.
    metrics: Option<SocketAddr>,
    /// The file with the ticket keys, if they are not drawn.
    ticket_key: Option<PathBuf>,
    controls: Vec<Control>,
    /// The workers, which return their sockets.
    threads: Vec<JoinHandle<Result<UdpSocket, Failure>>>,
    /// Datagrams that a worker takes at once.
    batch: usize,
    clock: Clock,
    random: SystemRandom,
}

impl Gateway {
    fn start(config: &Config) -> Result<Self, Failure> {
        let settings = Arc::new(settings(config)?);
        let (clock, random) = (Clock::new(), SystemRandom::new());
        let mut engine = settings.engine();
        let mut others = Vec::new();
        if let Some(path) = &config.ticket_key {
            let first;
            (first, others) = ticket_key::read(path)?;
            engine = engine.ticket_key(first);
        }
        let engine = engine
            .lanes(config.workers)
            .keys(KeyConfig {
                rotation_interval: match config.ticket_key {
                    Some(_) => None,
                    None => Some(config.rotation_interval()),
                },
                ticket_lifetime: config.ticket_lifetime(),
                ..KeyConfig::default()
            })
            .max_early_data(config.max_early_data)
            .build(&random, clock.now())?;
        for other in &others {
            let long_ago = UnixMillis(0);
            (engine.keys()).import(other, long_ago, &random, clock.now())?;
        }

        let sockets = bind(config.listen, config.workers, &config.machine)
            .map_err(|why| format!("{}: {why}", config.listen))?;
        let scraped = Arc::new(Scraped {
            address: sockets[0].local_addr()?,
            engine: engine.clone(),
            workers: sockets.iter().map(|_| Arc::<Stats>::default()).collect(),
            associations_max: settings.associations_max,
            clock,
            begun: Instant::now(),
        });
        let metrics = match config.metrics {
            None => None,
            Some(address) => {
                let started = scrape::start(address, Arc::clone(&scraped));
                Some(started.map_err(|why| format!("--metrics {address}: {why}"))?)
            }
        };

        let mut gateway = Self {
            engine,
            scraped,
            metrics,
            ticket_key: config.ticket_key.clone(),
            controls: Vec::new(),
            threads: Vec::new(),
            batch: config.machine.batch,
            clock,
            random,
        };
        gateway.start_workers(sockets, &settings)?;
        info!(address = %gateway.scraped.address, workers = config.workers, "serving");
        Ok(gateway)
    }

    fn start_workers(
        &mut self,
        sockets: Vec<UdpSocket>,
        settings: &Arc<Settings>,
    ) -> Result<(), Failure> {
        let mut polls = Vec::new();
        let mut handovers = Vec::new();
        let mut inlets = Vec::new();
        for _ in &sockets {
            let (poll, control) = Control::new()?;
            let (send, receive) = sync_channel(HANDOVER_MAX);
            handovers.push(Handover::new(send, &control));
            inlets.push(receive);
            self.controls.push(control);
            polls.push(poll);
        }
        let mut cores = core_affinity::get_core_ids()
            .unwrap_or_default()
            .into_iter();
        let each = sockets.into_iter().zip(polls).zip(inlets).enumerate();
        for (lane, ((socket, poll), inlet)) in each {
            let core = cores.next();
            let context = worker::Context {
                lane,
                clock: self.clock,
                engine: self.engine.clone(),
                settings: Arc::clone(settings),
                stats: Arc::clone(&self.scraped.workers[lane]),
                control: self.controls[lane].clone(),
                others: handovers.clone(),
                batch: self.batch,
            };
            let run = move || {
                // More workers than cores, or a system that does not say, are for its scheduler.
                core.map(core_affinity::set_for_current);
                worker::run(context, socket, poll, &inlet)
            };
            let name = format!("worker {lane}");
            self.threads
                .push(thread::Builder::new().name(name).spawn(run)?);
        }
        Ok(())
    }

    /// Keeps the keys, and does what signals say until one ends it.
    fn run(self, signals: &Receiver<i32>) -> Result<(), Failure> {
        let mut end = None;
        let mut upkeep = Instant::now();
        loop {
            let ended = self.threads.iter().filter(|thread| thread.is_finished());
            // None ends by itself, and when all shall, each takes its time.
            let (ended, is_ending) = (ended.count(), end.is_some());
            if ended == self.threads.len() || (ended > 0 && !is_ending) {
                break;
            }
            match signals.recv_timeout(UPKEEP.saturating_sub(upkeep.elapsed())) {
                Ok(SIGHUP) => self.rotate(),
                Ok(signal) if end.is_none() => {
                    info!(signal, "ending when the handshakes under way are over");
                    end = Some(Instant::now() + DRAIN);
                    self.controls.iter().for_each(Control::drain);
                }
                Ok(_) => end = Some(Instant::now()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("signals: lost".into()),
            }
            if upkeep.elapsed() >= UPKEEP {
                upkeep = Instant::now();
                self.maintain();
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                self.controls.iter().for_each(Control::stop);
                break;
            }
        }
        // One that has ended before its time takes the others with it.
        self.controls.iter().for_each(Control::stop);
        // All of them, before the first socket closes or the first error is told.
        let ends: Vec<_> = self.threads.into_iter().map(JoinHandle::join).collect();
        for end in ends {
            end.map_err(|_| "a worker panicked")??;
        }
        info!("ended");
        Ok(())
    }

    /// The next drawn key seals from now on, or the one that was written to the file soon does.
    fn rotate(&self) {
        let (keys, now) = (self.engine.keys(), self.clock.now());
        let rotated = match &self.ticket_key {
            None => keys.rotate(now, &self.random).map_err(Failure::from),
            Some(path) => ticket_key::read(path)
                .map_err(Failure::from)
                .and_then(|(key, _)| {
                    let everywhere = now.saturating_add(UNTIL_KEYS_ARE_EVERYWHERE);
                    Ok(keys.import(&key, everywhere, &self.random, now)?)
                }),
        };
        match rotated {
            Ok(key) => info!(%key, "a ticket key"),
            Err(why) => error!(%why, "ticket keys could not be rotated"),
        }
    }

    fn maintain(&self) {
        match self.engine.maintain(self.clock.now(), &self.random) {
            Ok(done) if done.rotated || done.retired > 0 => {
                info!(
                    rotated = done.rotated,
                    retired = done.retired,
                    "ticket keys"
                );
            }
            Ok(_) => debug!("ticket keys looked after"),
            // The next call tries again, and until then the keys that are there are good.
            Err(why) => warn!(%why, "ticket keys"),
        }
    }
}

fn settings(config: &Config) -> Result<Settings, Failure> {
    let identity = match (&config.cert, &config.key) {
        (Some(chain), Some(key)) => Identity::from_pem(&read(chain)?, &read(key)?)?,
        _ => {
            warn!("no certificate given: a self-signed one, which no client has a reason to trust");
            Identity::self_signed("localhost")?
        }
    };
    Ok(Settings {
        tickets: config.tickets,
        psk_ke: config.psk_ke,
        mtu: config.mtu,
        ..Settings::new(identity)
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|why| format!("{}: {why}", path.display()))
}

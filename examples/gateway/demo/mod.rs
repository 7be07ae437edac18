//! The main job: a gateway and the traffic that tries it, for some seconds, in one process or in two.
//!
//! `worker` is the least that embedding the engine takes; `load` is its clients and those who attack
//! it, and keeps the books by which the run is judged. They speak `protocol` where a gateway would
//! go on with a handshake.

mod gateway;
mod load;
mod protocol;
mod report;
mod worker;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::args::{Load as LoadOptions, Run, ServeDemo};
use gateway::Gateway;
use load::Load;
use report::{Live, Summary};

/// Gateway and traffic. `true` if every flight got the verdict that it should.
pub(crate) fn both(options: &Run) -> Result<bool, Failure> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let gateway = Gateway::start(loopback, options.workers)?;
    println!(
        "gateway on {} with {} workers, a new ticket key every second, for {} s",
        gateway.address, options.workers, options.seconds
    );
    let duration = Duration::from_secs(options.seconds);
    let load = Load::start(gateway.address, options.workers, duration)?;
    let mut live = Live::new();
    each_second(&load, || println!("{}", live.line(&gateway.figures())));
    let (ledger, took) = load.finish()?;
    let figures = gateway.stop()?;
    Ok(Summary::new(&ledger, Some(&figures), took).print(options.json))
}

/// The gateway alone.
pub(crate) fn serve(options: &ServeDemo) -> Result<bool, Failure> {
    let gateway = Gateway::start(options.listen, options.workers)?;
    println!(
        "listening on {}, {} workers",
        gateway.address, options.workers
    );
    let end = options.seconds.map(Duration::from_secs);
    let mut live = Live::new();
    while end.is_none_or(|end| live.begun().elapsed() < end) && !gateway.has_failed() {
        thread::sleep(Duration::from_secs(1));
        println!("{}", live.line(&gateway.figures()));
    }
    gateway.stop()?;
    Ok(true)
}

/// The traffic alone, against a gateway elsewhere. `true` as above, as far as it can be told from
/// without.
pub(crate) fn load(options: &LoadOptions) -> Result<bool, Failure> {
    println!("traffic to {} for {} s", options.target, options.seconds);
    let duration = Duration::from_secs(options.seconds);
    let load = Load::start(options.target, options.threads, duration)?;
    let mut before = (0, 0);
    let mut second = 0;
    each_second(&load, || {
        let (offered, accepted) = load.progress();
        second += 1;
        println!(
            "{second:3} s  {:>8} flights/s  {:>8} accepted/s",
            offered - before.0,
            accepted - before.1
        );
        before = (offered, accepted);
    });
    let (ledger, took) = load.finish()?;
    Ok(Summary::new(&ledger, None, took).print(options.json))
}

/// Calls `print` every second until the load is finished.
fn each_second(load: &Load, mut print: impl FnMut()) {
    let mut next = Instant::now() + Duration::from_secs(1);
    while !load.is_finished() {
        thread::sleep(Duration::from_millis(20));
        if Instant::now() >= next {
            print();
            next += Duration::from_secs(1);
        }
    }
}

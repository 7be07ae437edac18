//! Runs of some seconds: both halves in one process, or the traffic alone.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::args::{Load as LoadOptions, Run};
use crate::gateway::Gateway;
use crate::load::Load;
use crate::report::{Live, Summary};

/// Gateway and traffic. `true` if every flight got the verdict that it should.
pub(crate) fn both(options: &Run) -> Result<bool, Failure> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let gateway = Gateway::start(loopback, options.workers, true)?;
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

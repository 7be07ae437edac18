//! `gateway serve --demo`: the gateway of the main job alone.

use std::thread;
use std::time::Duration;

use crate::Failure;
use crate::args::ServeDemo;
use crate::gateway::Gateway;
use crate::report::Live;

pub(crate) fn serve(options: &ServeDemo) -> Result<bool, Failure> {
    let gateway = Gateway::start(options.listen, options.workers, true)?;
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

//! From the ClientHello to the echo of its early data, one client at a time, while keys rotate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dtls_session::schedule::CipherSuite;
use dtls_session_peers::Result;

use crate::ROUND;
use crate::load::Load;
use crate::servers::{Kind, Server};

/// How often the gateway takes up a new key.
const ROTATE_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn measure(rounds: u32) -> Result<()> {
    println!("echo of early data, one client, microseconds: p50, p99, p99.9");
    let names = ["steady", "rotating", "wolfSSL"];
    let servers = [Server::gateway()?, Server::gateway()?, Server::wolfssl()?];
    let mut loads = Vec::new();
    for server in &servers {
        loads.push(Load::new(server.address, CipherSuite::Aes128GcmSha256, 1)?);
    }
    let mut latencies = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        for (index, load) in loads.iter_mut().enumerate() {
            let mut round = || load.run(ROUND);
            let outcome = match names[index] {
                "rotating" => rotating(&servers[index], round),
                _ => round(),
            };
            latencies[index].append(&mut outcome?.latencies);
        }
    }
    let shown = latencies.map(quantiles);
    for (name, [p50, p99, p999]) in names.into_iter().zip(shown) {
        println!("  {name:8} {p50:>8.0} {p99:>8.0} {p999:>8.0}");
    }
    let [steady, rotating, wolfssl] = shown;
    for (name, to) in [("steady", steady), ("wolfSSL", wolfssl)] {
        let [p50, p99, p999] = [0, 1, 2].map(|index| rotating[index] / to[index]);
        println!("  rotating / {name:8} {p50:.2} {p99:.2} {p999:.2}");
    }
    println!("  rotating: a new key every {ROTATE_EVERY:?}");
    Ok(())
}

/// In microseconds: 50, 99 and 99.9 of 100 are at most that.
fn quantiles(mut latencies: Vec<Duration>) -> [f64; 3] {
    latencies.sort_unstable();
    [0.5, 0.99, 0.999].map(|quantile| {
        let index = (latencies.len() as f64 * quantile) as usize;
        let latency = latencies.get(index).copied().unwrap_or_default();
        latency.as_secs_f64() * 1e6
    })
}

/// Does `round`, while `server` takes up one key after the other.
fn rotating<T>(server: &Server, round: impl FnOnce() -> Result<T>) -> Result<T> {
    let Kind::Gateway(gateway) = &server.kind else {
        return round();
    };
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let rotation = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                thread::sleep(ROTATE_EVERY);
                gateway.ask_to_rotate()?;
            }
            Result::Ok(())
        });
        let result = round();
        is_over.store(true, Ordering::Relaxed);
        let rotated = rotation.join();
        rotated.unwrap_or_else(|_| Err("the rotation panicked".into()))?;
        result
    })
}

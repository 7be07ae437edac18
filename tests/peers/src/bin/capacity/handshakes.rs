//! Resumed handshakes with 0-RTT for each second of a server's CPU time.

use std::time::Duration;

use dtls_session::schedule::CipherSuite;
use dtls_session_peers::Result;

use crate::load::Load;
use crate::servers::Server;
use crate::{ROUND, process};

/// Clients that are connecting at the same time.
const CLIENTS: usize = 32;

pub(crate) fn measure(suite: CipherSuite, rounds: u32) -> Result<()> {
    println!("{suite:?}, X25519: resumed handshakes with 0-RTT and an echo, {CLIENTS} clients");
    let servers = [Server::gateway()?, Server::wolfssl()?];
    let mut loads = Vec::new();
    for server in &servers {
        loads.push(Load::new(server.address, suite, CLIENTS)?);
    }
    let mut figures = [(0, 0, Duration::ZERO); 2];
    for _ in 0..rounds {
        // In turns, so that what else the machine does meets both.
        for ((server, load), figures) in servers.iter().zip(&mut loads).zip(&mut figures) {
            let before = process::cpu_time(server.process)?;
            let outcome = load.run(ROUND)?;
            figures.0 += outcome.accepted;
            figures.1 += outcome.others;
            figures.2 += process::cpu_time(server.process)?.saturating_sub(before);
        }
    }
    let mut rates = Vec::new();
    for (server, (accepted, others, cpu)) in servers.iter().zip(figures) {
        let rate = accepted as f64 / cpu.as_secs_f64();
        let busy = cpu.as_secs_f64() / (rounds * ROUND).as_secs_f64();
        println!(
            "  {:8} {rate:>8.0} for each second of one core ({accepted} in all, {others} without \
             0-RTT, {:.0}% busy)",
            server.name,
            100.0 * busy
        );
        rates.push(rate);
    }
    println!("  ratio    {:>8.2}\n", rates[0] / rates[1]);
    Ok(())
}

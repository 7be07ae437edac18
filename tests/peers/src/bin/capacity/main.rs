//! What the gateway can do, next to a wolfSSL server on the same machine, under the same load, in
//! the same run: what counts is the ratio of two figures.
//!
//! ```text
//! cargo run --release --bin capacity [-- --rounds N]
//! ```

use std::time::Duration;

use dtls_session::schedule::CipherSuite;
use dtls_session_peers::{Result, wolfssl_server};

mod handshakes;
mod latency;
mod load;
mod memory;
mod process;
mod servers;

use servers::{Core, WOLFSSL_SERVER, pin};

/// How long each server is under load in a round.
const ROUND: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [WOLFSSL_SERVER, address] => {
            pin(Core::First)?;
            wolfssl_server::serve(address.parse().map_err(|why| format!("{address}: {why}"))?)
        }
        [] => measure(5),
        ["--rounds", rounds] => measure(rounds.parse().map_err(|why| format!("{rounds}: {why}"))?),
        _ => Err("usage: capacity [--rounds N]".into()),
    }
}

fn measure(rounds: u32) -> Result<()> {
    pin(Core::Last)?;
    for suite in [
        CipherSuite::Aes128GcmSha256,
        CipherSuite::Chacha20Poly1305Sha256,
    ] {
        handshakes::measure(suite, rounds)?;
    }
    memory::measure()?;
    latency::measure(rounds)
}

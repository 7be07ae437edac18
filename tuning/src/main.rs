//! Measures this machine, the library on it, and its peers beside it.
//!
//!     cargo run --release -p dtls-session-tuning -- [--quick] [--json]
//!
//! `--quick` ends within 50 s. `--json` prints one JSON object with every figure as the last line.

// What cannot be measured is not worked around.
#![allow(clippy::expect_used)]

mod budget;
// What it measures is what the benches measure.
#[allow(dead_code)]
#[path = "../../benches/common/mod.rs"]
mod common;
mod cores;
mod figures;
mod machine;
mod measure;

use std::time::Duration;

use figures::Figures;
use machine::Machine;

/// How long it may take.
#[derive(Clone, Copy)]
struct Effort {
    /// Interleaved rounds of each race.
    rounds: usize,
    /// Tickets that are out while tickets are struck and flights admitted.
    tickets: usize,
    /// How long getting so many may take, for the library and for a peer. Fewer have to do then.
    patience: Duration,
}

const QUICK: Effort = Effort {
    rounds: 100,
    tickets: 64 << 20,
    patience: Duration::from_secs(12),
};

const THOROUGH: Effort = Effort {
    rounds: 400,
    tickets: 64 << 20,
    patience: Duration::MAX,
};

fn main() -> Result<(), String> {
    let (mut json, mut effort) = (false, THOROUGH);
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--json" => json = true,
            "--quick" => effort = QUICK,
            _ => {
                return Err(format!(
                    "unknown argument {arg}: --quick and --json are known"
                ));
            }
        }
    }
    let machine = Machine::look();
    print!("{machine}");
    let mut figures = Figures::default();
    let tickets = machine.tickets_that_fit(effort.tickets);
    measure::run(tickets, effort, &mut figures);
    cores::run(effort.rounds, &mut figures);
    print!("{figures}");
    if json {
        println!("{}", figures.json());
    }
    Ok(())
}

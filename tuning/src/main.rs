//! Measures this machine, the library on it, and its peers beside it.
//!
//! ```console
//! cargo run --release -p dtls-session-tuning -- [--quick] [--json] [--readme] \
//!     [--plots DIR] [--profile FILE]
//! ```
//!
//! `--quick` ends within 50 s; without it, huge pages are measured, too. `--json` prints one JSON
//! object with every figure as the last line, `--readme` the tables of the README. `--plots` writes
//! charts in SVG, which takes a minute more; `--profile` writes what is best for this machine, and
//! what was measured, in TOML.

// What cannot be measured is not worked around.
#![allow(clippy::expect_used)]

mod batches;
mod budget;
// What it measures is what the benches measure.
#[allow(dead_code)]
#[path = "../../benches/common/mod.rs"]
mod common;
mod figures;
mod machine;
mod measure;
mod memory;
mod plot;
mod plots;
mod profile;
mod readme;
mod rotation;
mod scaling;
mod socket;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use core_affinity::CoreId;
use figures::Figures;
use machine::Machine;
use profile::Profile;

/// How long it may take.
#[derive(Clone, Copy)]
struct Effort {
    /// Interleaved rounds of each race.
    rounds: usize,
    /// Whether to measure what takes long.
    all: bool,
    /// Tickets that are out while tickets are struck and flights admitted.
    tickets: usize,
    /// How long getting so many may take, for the library and then a peer. Fewer have to do then.
    patience: Duration,
}

const QUICK: Effort = Effort {
    rounds: 80,
    all: false,
    tickets: 64 << 20,
    patience: Duration::from_secs(15),
};

const THOROUGH: Effort = Effort {
    rounds: 400,
    all: true,
    tickets: 64 << 20,
    patience: Duration::MAX,
};

struct Options {
    effort: Effort,
    json: bool,
    readme: bool,
    plots: Option<PathBuf>,
    profile: Option<PathBuf>,
}

fn main() -> Result<(), String> {
    let options = options()?;
    cores();
    let effort = options.effort;
    let machine = Machine::look();
    print!("{machine}");
    let mut figures = Figures::default();
    let tickets = machine.tickets_that_fit(effort.tickets);
    measure::run(tickets, effort, &mut figures);
    let batches = measure::batches(effort, &mut figures);
    let workers = measure::workers(machine.cores, effort, &mut figures);
    let rotation = measure::rotation(effort, &mut figures);
    measure::socket(effort, &mut figures).map_err(|why| format!("a UDP socket: {why}"))?;
    if effort.all {
        measure::pages(tickets, effort, &mut figures);
    }
    print!("{figures}");

    if let Some(path) = &options.profile {
        let profile = Profile {
            machine: &machine,
            figures: &figures,
            batch: batches::sufficient(&batches),
            throughput: workers[0].1,
        };
        let written = std::fs::write(path, profile.to_string());
        written.map_err(|why| format!("{}: {why}", path.display()))?;
    }
    if options.readme {
        println!("\n{}", readme::tables(&machine, &figures));
    }
    if options.json {
        println!("{}", figures.json());
    }
    if let Some(directory) = &options.plots {
        let findings = plots::Findings {
            batches: &batches,
            admit_naive_ns: figures.get("admit_naive_ns"),
            workers: &workers,
            rotation: &rotation,
            tickets,
        };
        let written = plots::write(directory, &findings, effort.rounds);
        written.map_err(|why| format!("{}: {why}", directory.display()))?;
    }
    Ok(())
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        effort: THOROUGH,
        json: false,
        readme: false,
        plots: None,
        profile: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut path = || {
            args.next()
                .map(PathBuf::from)
                .ok_or(format!("{arg} needs a path"))
        };
        match arg.as_str() {
            "--quick" => options.effort = QUICK,
            "--json" => options.json = true,
            "--readme" => options.readme = true,
            "--plots" => options.plots = Some(path()?),
            "--profile" => options.profile = Some(path()?),
            _ => return Err(format!("unexpected argument: {arg}")),
        }
    }
    Ok(options)
}

/// The cores that this process may use. Asked for before the first thread is kept on one of them:
/// the system tells a thread, and those that it starts, of no other.
fn cores() -> &'static [CoreId] {
    static CORES: OnceLock<Vec<CoreId>> = OnceLock::new();
    CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default())
}

/// Keeps the calling thread on a core, if the system lets it.
fn pin(core: usize) {
    if let Some(core) = cores().get(core) {
        core_affinity::set_for_current(*core);
    }
}

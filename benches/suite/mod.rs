//! A bench binary: criterion's report of each contestant, then their ratios from interleaved
//! rounds, which other work on the machine cannot tilt.

// Not every bench uses all of it.
#![allow(unreachable_pub, dead_code)]

use std::time::Duration;

use criterion::{Criterion, Throughput};

use crate::common::contest::{Entrant, race};

/// Interleaved rounds for the ratios.
const ROUNDS: usize = 200;

pub struct Suite {
    criterion: Criterion,
    /// `cargo bench -- --test`: everything once, to see that it works.
    pub smoke: bool,
}

impl Suite {
    pub fn from_args() -> Self {
        Self {
            criterion: Criterion::default()
                .warm_up_time(Duration::from_millis(300))
                .measurement_time(Duration::from_secs(1))
                .sample_size(20)
                .configure_from_args(),
            smoke: std::env::args().any(|arg| arg == "--test"),
        }
    }

    /// `full`, or little enough for a look whether it works.
    pub fn size(&self, full: usize) -> usize {
        if self.smoke { full.min(1 << 12) } else { full }
    }

    /// Measures `contestants`. The last column says how many times the first one's time each needs.
    pub fn group(&mut self, name: &str, mut contestants: Vec<Entrant<'_>>) {
        let mut group = self.criterion.benchmark_group(name);
        for contestant in &mut contestants {
            group.throughput(Throughput::Elements(contestant.ops.into()));
            group.bench_function(contestant.name, |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| contestant.round()).sum());
            });
        }
        group.finish();
        let rounds = if self.smoke { 1 } else { ROUNDS };
        let laps = race(&mut contestants, rounds);
        println!("\n{name}: best of {rounds} interleaved rounds");
        for lap in &laps {
            let times = lap.ns / laps[0].ns;
            println!("    {:<44} {:>9.1} ns {times:>9.2}", lap.name, lap.ns);
        }
        println!();
    }

    pub fn finish(self) {
        self.criterion.final_summary();
    }
}

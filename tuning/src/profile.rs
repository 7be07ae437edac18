//! A profile of a machine, in TOML: what `gateway serve --config` reads, and what it comes from.

use std::fmt;

use crate::figures::Figures;
use crate::machine::Machine;

/// How long a worker may be away without that datagrams are lost: a scheduler's slice or two.
const ABSENCE_SECONDS: f64 = 0.010;

/// What the kernel counts for a datagram of a first flight in a receive buffer.
const BYTES_PER_DATAGRAM: f64 = 1280.0;

pub(crate) struct Profile<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) figures: &'a Figures,
    /// Datagrams in one batch.
    pub(crate) batch: usize,
    /// Flights per second of one worker.
    pub(crate) throughput: f64,
}

impl Profile<'_> {
    fn receive_buffer(&self) -> u64 {
        let wanted = (self.throughput * ABSENCE_SECONDS * BYTES_PER_DATAGRAM) as u64;
        let wanted = wanted.next_power_of_two();
        self.machine
            .receive_buffer_max()
            .map_or(wanted, |most| wanted.min(most))
    }
}

impl fmt::Display for Profile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            cpu,
            cores,
            kernel,
            huge_pages,
            wide_hashing,
            ..
        } = self.machine;
        writeln!(
            f,
            "# Written by dtls-session-tuning. `gateway serve --config` reads it.\n"
        )?;
        writeln!(f, "workers = {cores}")?;
        writeln!(f, "batch = {}", self.batch)?;
        writeln!(f, "receive-buffer = {}", self.receive_buffer())?;
        writeln!(f, "\n[machine]")?;
        writeln!(f, "cpu = {cpu:?}")?;
        for (name, size) in &self.machine.caches {
            writeln!(f, "{} = {size:?}", name.to_lowercase().replace(' ', "-"))?;
        }
        writeln!(f, "avx512 = {wide_hashing}")?;
        writeln!(f, "huge-pages = {huge_pages:?}")?;
        writeln!(f, "linux = {kernel:?}")?;
        for (name, value) in &self.machine.network {
            writeln!(f, "{} = {value:?}", name.replace('_', "-"))?;
        }
        writeln!(f, "\n[measured]")?;
        for (name, value) in self.figures.iter() {
            writeln!(f, "{name} = {value:.3}")?;
        }
        Ok(())
    }
}

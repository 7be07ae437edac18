//! A profile of a machine, in TOML: what [`dtls_session::Profile`] reads, and what it comes from.

use std::fmt;

use crate::figures::Figures;
use crate::machine::{Cache, Machine};
use crate::socket::BUSY_POLL;

/// How long a worker may be away without that datagrams are lost: a scheduler's slice or two.
const ABSENCE_SECONDS: f64 = 0.010;

/// What the kernel counts for a datagram of a first flight in a receive buffer.
const BYTES_PER_DATAGRAM: f64 = 1280.0;

/// Busy polling is worth a core if datagrams arrive in so much of the time.
const HELPS: f64 = 0.8;

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

    /// Only where it helps: it keeps a core busy.
    fn busy_poll(&self) -> u32 {
        let (asleep, polling) = ("wait_asleep_us", "wait_polling_us");
        let helps = self.figures.get(polling) < HELPS * self.figures.get(asleep);
        if helps { BUSY_POLL } else { 0 }
    }
}

impl fmt::Display for Profile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            cpu,
            cores,
            kernel,
            huge_pages,
            ..
        } = self.machine;
        writeln!(
            f,
            "# Written by dtls-session-tuning, for `Builder::profile` and `gateway serve --profile`.\n"
        )?;
        writeln!(f, "workers = {cores}")?;
        writeln!(f, "batch = {}", self.batch)?;
        writeln!(f, "receive-buffer = {}", self.receive_buffer())?;
        writeln!(f, "busy-poll = {}", self.busy_poll())?;
        writeln!(f, "\n[machine]")?;
        writeln!(f, "cpu = {cpu:?}")?;
        writeln!(f, "cores = {cores}")?;
        for Cache { name, size, cores } in &self.machine.caches {
            let name = name.to_lowercase().replace(' ', "-");
            writeln!(f, "{name} = \"{size} of cores {cores}\"")?;
        }
        writeln!(f, "instructions = {:?}", self.machine.features)?;
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_profiles_that_lie_here_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        let mut read = 0;
        for entry in fs::read_dir(folder).expect("there is this folder") {
            let path = entry.expect("readable").path();
            let text = fs::read_to_string(&path).expect("readable");
            let profile = dtls_session::Profile::parse(&text);
            assert!(profile.is_ok(), "{}: {profile:?}", path.display());
            read += 1;
        }
        assert!(read > 0);
    }
}

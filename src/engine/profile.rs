//! The sizes that suit a machine, as the `tuning` crate measures and writes them.

use crate::engine::BATCH_MAX;
use crate::error::Error;

/// Sizes for one machine: what [`Builder::profile`](super::Builder::profile) and the loop around
/// [`Worker::admit`](super::Worker::admit) take from a measurement. None of them changes a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Workers, each with a core, a lane and a socket of its own, 1 to 256. Default 1.
    pub workers: usize,
    /// Datagrams in a batch, 1 to [`BATCH_MAX`]: stages fetch memory a batch ahead, and a larger
    /// batch makes its first datagram wait. Default 32.
    pub batch: usize,
    /// Bytes for the receive buffer of a socket (`SO_RCVBUF`). Default 4 MiB.
    pub receive_buffer: usize,
    /// How long a system call that finds nothing polls the device, in microseconds
    /// (`SO_BUSY_POLL`). Default 0.
    pub busy_poll: u32,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            workers: 1,
            batch: 32,
            receive_buffer: 4 << 20,
            busy_poll: 0,
        }
    }
}

impl Profile {
    /// Reads a profile: lines `name = number` in TOML, comments, and from the first table on what
    /// people may want to know. What it does not say has its default.
    ///
    /// # Errors
    /// [`Error::Config`] if a line is another, or a number out of range.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut profile = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.starts_with('[') {
                break;
            }
            if line.is_empty() {
                continue;
            }
            let (name, number) = line
                .split_once('=')
                .ok_or(Error::Config("profile: a line without ="))?;
            let number: u32 = number
                .trim()
                .parse()
                .map_err(|_| Error::Config("profile: not a number, or too large"))?;
            let size = number as usize;
            match name.trim() {
                "workers" => profile.workers = size,
                "batch" => profile.batch = size,
                "receive-buffer" => profile.receive_buffer = size,
                "busy-poll" => profile.busy_poll = number,
                _ => return Err(Error::Config("profile: an unknown name")),
            }
        }
        if !(1..=256).contains(&profile.workers) {
            return Err(Error::Config("profile: workers not in 1 to 256"));
        }
        if !(1..=BATCH_MAX).contains(&profile.batch) {
            return Err(Error::Config("profile: batch not in 1 to 64"));
        }
        Ok(profile)
    }
}

#[cfg(all(test, not(dtls_session_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_counts_and_the_rest_is_default() {
        let text = "# of a machine\n\nworkers = 8\nbatch=16 # nearly the best\nbusy-poll = 50\n\
                    [measured]\nadmit_ns = 355.1\nworkers = \"x\"\n";
        let expected = Profile {
            workers: 8,
            batch: 16,
            busy_poll: 50,
            ..Profile::default()
        };
        assert_eq!(Profile::parse(text), Ok(expected));
        assert_eq!(Profile::parse(""), Ok(Profile::default()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "workers",
            "workers = many",
            "workers = -1",
            "workers = 0",
            "workers = 257",
            "batch = 0",
            "batch = 65",
            "receive-buffer = 99999999999",
            "retransmissions = 1",
        ] {
            assert!(Profile::parse(text).is_err(), "{text}");
        }
    }
}

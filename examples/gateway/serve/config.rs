//! What `serve` is told: by flags, by a TOML file with the same names, or by default. A flag
//! counts before the file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// What was given. All of it may be missing.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Options {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) workers: Option<usize>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) ticket_key: Option<PathBuf>,
    pub(crate) tickets: Option<u8>,
    pub(crate) rotate: Option<u64>,
    pub(crate) max_early_data: Option<u32>,
    pub(crate) metrics: Option<SocketAddr>,
}

/// What is done.
#[derive(Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) workers: usize,
    /// The PEM files of the certificate chain and its key; `None`: self-signed.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// The file with the first ticket key; `None`: one is drawn.
    pub(crate) ticket_key: Option<PathBuf>,
    /// Tickets for each client after a handshake.
    pub(crate) tickets: u8,
    /// How long a ticket key seals.
    pub(crate) rotate: Duration,
    /// How long a ticket can be used.
    pub(crate) ticket_lifetime: Duration,
    /// Bytes that a ticket allows; 0: no 0-RTT.
    pub(crate) max_early_data: u32,
    pub(crate) metrics: Option<SocketAddr>,
}

/// Tickets that a client gets at once, at most: what it has no use for costs both sides.
const TICKETS_MAX: u8 = 16;

/// The longest lifetime of a ticket.
const TICKET_LIFETIME: Duration = Duration::from_secs(86_400);

/// A key lives as long as its last ticket, and so many keys may live at once: who rotates faster
/// has tickets that live shorter.
const KEYS_MAX: u32 = 200;

impl Options {
    /// What a file says.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let of = |why: &dyn std::fmt::Display| format!("--config {}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|why| of(&why))?;
        toml::from_str(&text).map_err(|why| of(&why))
    }

    /// What is given here, and where nothing is, what is given there.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            workers: self.workers.or(other.workers),
            cert: self.cert.or(other.cert),
            key: self.key.or(other.key),
            ticket_key: self.ticket_key.or(other.ticket_key),
            tickets: self.tickets.or(other.tickets),
            rotate: self.rotate.or(other.rotate),
            max_early_data: self.max_early_data.or(other.max_early_data),
            metrics: self.metrics.or(other.metrics),
        }
    }

    /// Fills in the defaults, or says what makes no sense.
    pub(crate) fn check(self, cores: usize) -> Result<Config, String> {
        let in_range = |name: &str, value: u64, range: &std::ops::RangeInclusive<u64>| {
            let (least, most) = (range.start(), range.end());
            match range.contains(&value) {
                true => Ok(()),
                false => Err(format!("{name} {value}: not in {least} to {most}")),
            }
        };
        let workers = self.workers.unwrap_or(cores);
        let tickets = self.tickets.unwrap_or(1);
        let rotate = self.rotate.unwrap_or(3600);
        in_range("workers", workers as u64, &(1..=256))?;
        in_range("tickets", tickets.into(), &(0..=TICKETS_MAX.into()))?;
        in_range("rotate", rotate, &(1..=604_800))?;
        let rotate = Duration::from_secs(rotate);
        let identity = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err("cert and key go together".into()),
        };
        Ok(Config {
            listen: self
                .listen
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 5684))),
            workers,
            identity,
            ticket_key: self.ticket_key,
            tickets,
            rotate,
            ticket_lifetime: TICKET_LIFETIME.min(rotate * KEYS_MAX),
            max_early_data: self.max_early_data.unwrap_or(16_384),
            metrics: self.metrics,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_counts_before_the_file_and_the_file_before_the_default() {
        let file: Options = toml::from_str(
            "listen = \"[::1]:1\"\nmax-early-data = 5\ncert = \"c.pem\"\nkey = \"k.pem\"\n",
        )
        .unwrap();
        let flags = Options {
            max_early_data: Some(7),
            ..Options::default()
        };
        let config = flags.or(file).check(4).unwrap();
        assert_eq!(config.listen, "[::1]:1".parse().unwrap());
        assert_eq!(
            (config.max_early_data, config.workers, config.tickets),
            (7, 4, 1)
        );
        assert_eq!(config.identity, Some(("c.pem".into(), "k.pem".into())));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let refused = |text: &str| match toml::from_str::<Options>(text) {
            Ok(options) => options.check(1).unwrap_err(),
            Err(why) => why.to_string(),
        };
        assert!(refused("port = 5").contains("unknown field `port`"));
        assert!(refused("workers = 0").contains("workers 0: not in 1 to 256"));
        assert!(refused("rotate = 0").contains("rotate 0: not in"));
        assert!(refused("tickets = 17").contains("tickets 17"));
        assert!(refused("cert = \"c.pem\"").contains("go together"));
    }
}

//! What `serve` is told: by flags, by a TOML file with the same names, or by default. A flag
//! counts before the file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dtls_session::Profile;
use serde::Deserialize;
use toml::{Table, Value};

/// What an operator can set; the README says it again for operators. Whatever is added here has its
/// flag and its key in the file.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    /// Threads, each with a core and a socket of its own.
    pub(crate) workers: usize,
    /// The PEM files of the certificate chain and its key, both or none.
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// The file with the ticket keys; `None`: they are drawn.
    pub(crate) ticket_key: Option<PathBuf>,
    /// Tickets for each client after a handshake.
    pub(crate) tickets: u8,
    /// How long a ticket key seals, in seconds.
    pub(crate) rotate: u64,
    /// Bytes that a ticket allows; 0: no 0-RTT.
    pub(crate) max_early_data: u32,
    /// Whether a ticket may be used without a key exchange.
    pub(crate) psk_ke: bool,
    /// The longest datagram for handshake messages, in bytes of UDP payload.
    pub(crate) mtu: usize,
    /// Where /metrics is served.
    pub(crate) metrics: Option<SocketAddr>,
    /// The file with the profile of the machine, as the `tuning` crate writes it.
    pub(crate) profile: Option<PathBuf>,
    /// What it says. Its `workers` count where no others are said.
    #[serde(skip)]
    pub(crate) machine: Profile,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5684)),
            workers: crate::args::cores(),
            cert: None,
            key: None,
            ticket_key: None,
            tickets: 1,
            rotate: 3600,
            max_early_data: 16_384,
            psk_ke: false,
            mtu: 1200,
            metrics: None,
            profile: None,
            machine: Profile::default(),
        }
    }
}

/// Tickets that a client gets at once, at most: what it has no use for costs both sides.
const TICKETS_MAX: u8 = 16;

/// The longest lifetime of a ticket.
const TICKET_LIFETIME: Duration = Duration::from_secs(86_400);

/// A key lives as long as its last ticket, and so many keys may live at once: who rotates faster
/// has tickets that live shorter.
const KEYS_MAX: u32 = 200;

impl Config {
    /// The defaults, what the file at `path` says, and before both what flags say.
    pub(crate) fn new(path: Option<&Path>, flags: Table) -> Result<Self, String> {
        let mut table = match path {
            Some(path) => {
                read(path).map_err(|why| format!("--config {}: {why}", path.display()))?
            }
            None => Table::new(),
        };
        table.extend(flags);
        let says_workers = table.contains_key("workers");
        let mut config: Self = table.try_into().map_err(said)?;
        if let Some(path) = &config.profile {
            config.machine =
                machine(path).map_err(|why| format!("--profile {}: {why}", path.display()))?;
            if !says_workers {
                config.workers = config.machine.workers;
            }
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let in_range =
            |name: &str, value: u64, least: u64, most: u64| match (least..=most).contains(&value) {
                true => Ok(()),
                false => Err(format!("{name} {value}: not in {least} to {most}")),
            };
        in_range("workers", self.workers as u64, 1, 256)?;
        in_range("tickets", self.tickets.into(), 0, TICKETS_MAX.into())?;
        in_range("rotate", self.rotate, 1, 604_800)?;
        in_range("mtu", self.mtu as u64, 256, 65_507)?;
        match (&self.cert, &self.key) {
            (Some(_), None) | (None, Some(_)) => Err("cert and key go together".into()),
            _ => Ok(()),
        }
    }

    /// How long a ticket key seals.
    pub(crate) fn rotation_interval(&self) -> Duration {
        Duration::from_secs(self.rotate)
    }

    /// How long a ticket can be used.
    pub(crate) fn ticket_lifetime(&self) -> Duration {
        TICKET_LIFETIME.min(self.rotation_interval() * KEYS_MAX)
    }
}

/// A file, if all that it says is known.
fn read(path: &Path) -> Result<Table, String> {
    let text = std::fs::read_to_string(path).map_err(|why| why.to_string())?;
    let _: Config = toml::from_str(&text).map_err(said)?;
    toml::from_str(&text).map_err(said)
}

fn machine(path: &Path) -> Result<Profile, String> {
    let text = std::fs::read_to_string(path).map_err(|why| why.to_string())?;
    Profile::parse(&text).map_err(|why| why.to_string())
}

fn said(why: toml::de::Error) -> String {
    why.to_string().trim_end().to_owned()
}

/// What stands behind a flag, as it would stand in the file.
pub(crate) fn value(text: &str) -> Value {
    match (text.parse(), text.parse()) {
        (Ok(number), _) => Value::Integer(number),
        (_, Ok(flag)) => Value::Boolean(flag),
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn flags(pairs: &[(&str, &str)]) -> Table {
        let pairs = pairs.iter().copied();
        pairs
            .map(|(name, text)| (name.to_owned(), value(text)))
            .collect()
    }

    #[test]
    fn a_flag_counts_before_the_file_and_the_file_before_the_default() {
        let path = std::env::temp_dir().join(format!("gateway-{}.toml", std::process::id()));
        let text = "listen = \"[::1]:1\"\nmax-early-data = 5\npsk-ke = true\n\
                    cert = \"c.pem\"\nkey = \"k.pem\"\n";
        std::fs::write(&path, text).unwrap();
        let config = Config::new(Some(&path), flags(&[("max-early-data", "7")])).unwrap();
        std::fs::remove_file(&path).unwrap();
        let expected = Config {
            listen: "[::1]:1".parse().unwrap(),
            max_early_data: 7,
            psk_ke: true,
            cert: Some("c.pem".into()),
            key: Some("k.pem".into()),
            ..Config::default()
        };
        assert_eq!(config, expected);
        assert!(
            Config::new(Some(&path), Table::new()).is_err(),
            "it is gone"
        );
    }

    #[test]
    fn a_profile_says_how_many_workers_unless_the_operator_does() {
        let path = std::env::temp_dir().join(format!("profile-{}.toml", std::process::id()));
        std::fs::write(
            &path,
            "workers = 3\nbatch = 16\n[measured]\nadmit_ns = 1.5\n",
        )
        .unwrap();
        let profile = ("profile", path.to_str().unwrap());
        let alone = Config::new(None, flags(&[profile])).unwrap();
        let overruled = Config::new(None, flags(&[profile, ("workers", "2")])).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((alone.workers, alone.machine.batch), (3, 16));
        assert_eq!((overruled.workers, overruled.machine.batch), (2, 16));
        let gone = Config::new(None, flags(&[profile])).unwrap_err();
        assert!(gone.starts_with("--profile "), "{gone}");
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let refused =
            |name: &str, text: &str| Config::new(None, flags(&[(name, text)])).unwrap_err();
        assert!(refused("port", "5").contains("unknown field `port`"));
        assert!(refused("workers", "0").contains("workers 0: not in 1 to 256"));
        assert!(refused("workers", "some").contains("invalid type: string \"some\""));
        assert!(refused("rotate", "0").contains("rotate 0: not in"));
        assert!(refused("tickets", "17").contains("tickets 17"));
        assert!(refused("mtu", "255").contains("mtu 255"));
        assert!(refused("cert", "c.pem").contains("go together"));
    }

    #[test]
    fn who_rotates_fast_has_tickets_that_live_shorter() {
        let lifetime = |rotate| {
            Config {
                rotate,
                ..Config::default()
            }
            .ticket_lifetime()
        };
        assert_eq!(lifetime(3600), TICKET_LIFETIME);
        assert_eq!(lifetime(60), Duration::from_secs(12_000));
    }
}

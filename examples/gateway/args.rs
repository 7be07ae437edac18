//! The command line.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;

use toml::{Table, Value};

use crate::serve;

pub(crate) const USAGE: &str = "\
usage: gateway [--seconds N] [--workers N] [--json]
           the gateway and its traffic, on loopback sockets of one process
       gateway serve [--listen ADDR] [--workers N] [--cert FILE --key FILE] [--ticket-key FILE]
               [--tickets N] [--rotate SECONDS] [--max-early-data BYTES] [--psk-ke] [--mtu BYTES]
               [--metrics ADDR] [--profile FILE] [--config FILE]
           the gateway alone, for DTLS 1.3 clients: it echoes what they send
       gateway serve --demo [--listen ADDR] [--workers N] [--seconds N]
           the gateway of the first form alone: it gives tickets to whoever asks
       gateway load --target ADDR [--seconds N] [--threads N] [--json]
           the traffic alone, against a gateway that serves with --demo

  --seconds N    how long to run; 10, but `serve --demo` runs until it is killed
  --workers N    gateway threads, each with its own core and socket; one per core
  --threads N    threads that send traffic; one per core
  --listen ADDR  where to listen; 127.0.0.1:5684
  --cert, --key  PEM files: a certificate chain, and its PKCS#8 key, ECDSA P-256 or Ed25519;
                 without them a self-signed certificate
  --ticket-key FILE
                 32 random bytes for each ticket key: one that seals, and behind it those of
                 before, which open; for tickets of before a restart, and for gateways that
                 share keys; without it they are drawn
  --tickets N    tickets for a client after its handshake; 1
  --rotate N     seconds until another drawn ticket key seals; 3600
  --max-early-data N
                 bytes of early data that a ticket allows; 16384, 0 for no 0-RTT
  --psk-ke       let tickets be used without a key exchange, and so without forward secrecy
  --mtu N        bytes of UDP payload in the longest datagram for handshake messages; 1200
  --metrics ADDR where to serve /metrics for Prometheus over HTTP; nowhere
  --profile FILE what the tuning crate wrote of this machine; none
  --config FILE  a TOML file with the names above, without dashes in front; flags count first
  --target ADDR  where the gateway listens
  --json         print a JSON object as the last line
  --help         print this";

pub(crate) enum Command {
    Help,
    Run(Run),
    Serve(serve::Config),
    ServeDemo(ServeDemo),
    Load(Load),
}

pub(crate) struct Run {
    pub(crate) seconds: u64,
    pub(crate) workers: usize,
    pub(crate) json: bool,
}

pub(crate) struct ServeDemo {
    pub(crate) listen: SocketAddr,
    pub(crate) workers: usize,
    pub(crate) seconds: Option<u64>,
}

pub(crate) struct Load {
    pub(crate) target: SocketAddr,
    pub(crate) seconds: u64,
    pub(crate) threads: usize,
    pub(crate) json: bool,
}

const SECONDS: u64 = 10;
const SECONDS_RANGE: RangeInclusive<u64> = 1..=86_400;
/// Lanes of an engine, at most.
const WORKERS_RANGE: RangeInclusive<usize> = 1..=256;

/// Reads the arguments behind the program's name, or says what is wrong with them.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut flags = Flags(args.collect());
    if flags.take("--help") || flags.take("-h") {
        return Ok(Command::Help);
    }
    let subcommand = flags.0.first().filter(|arg| !arg.starts_with('-')).cloned();
    if subcommand.is_some() {
        flags.0.remove(0);
    }
    let command = match subcommand.as_deref() {
        None => Command::Run(Run {
            seconds: flags.seconds()?.unwrap_or(SECONDS),
            workers: flags.per_core("--workers")?,
            json: flags.take("--json"),
        }),
        Some("serve") if flags.take("--demo") => Command::ServeDemo(ServeDemo {
            listen: match flags.value("--listen")? {
                Some(listen) => listen,
                None => SocketAddr::from(([127, 0, 0, 1], 5684)),
            },
            workers: flags.per_core("--workers")?,
            seconds: flags.seconds()?,
        }),
        Some("serve") => Command::Serve(flags.serve()?),
        Some("load") => Command::Load(Load {
            target: flags.value("--target")?.ok_or("load needs --target ADDR")?,
            seconds: flags.seconds()?.unwrap_or(SECONDS),
            threads: flags.per_core("--threads")?,
            json: flags.take("--json"),
        }),
        Some(other) => return Err(format!("no such command: {other}")),
    };
    if let Some(unknown) = flags.0.first() {
        return Err(format!("unexpected argument: {unknown}"));
    }
    match &command {
        // Whoever asks gets tickets and names their secret: nothing to do in a network.
        Command::ServeDemo(serve) if !serve.listen.ip().is_loopback() => {
            Err("--demo is for loopback addresses only".into())
        }
        Command::Load(load) if !load.target.ip().is_loopback() => {
            Err("--target has to be a loopback address".into())
        }
        _ => Ok(command),
    }
}

/// The arguments that nobody has asked for yet.
struct Flags(Vec<String>);

impl Flags {
    fn take(&mut self, name: &str) -> bool {
        let place = self.0.iter().position(|arg| arg == name);
        place.map(|at| self.0.remove(at)).is_some()
    }

    fn value<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(at) = self.0.iter().position(|arg| arg == name) else {
            return Ok(None);
        };
        if at + 1 == self.0.len() {
            return Err(format!("{name} needs a value"));
        }
        let value = self.0.drain(at..at + 2).nth(1).unwrap_or_default();
        let parsed = value.parse().map(Some);
        parsed.map_err(|why| format!("{name} {value}: {why}"))
    }

    fn number<T>(&mut self, name: &str, range: RangeInclusive<T>) -> Result<Option<T>, String>
    where
        T: FromStr<Err: Display> + PartialOrd + Display,
    {
        match self.value(name)? {
            Some(number) if !range.contains(&number) => {
                let (least, most) = range.into_inner();
                Err(format!("{name} {number}: not in {least} to {most}"))
            }
            number => Ok(number),
        }
    }

    fn seconds(&mut self) -> Result<Option<u64>, String> {
        self.number("--seconds", SECONDS_RANGE)
    }

    /// All that is left, but for the file, as the file would say it.
    fn serve(&mut self) -> Result<serve::Config, String> {
        let path = self.value::<PathBuf>("--config")?;
        let mut given = Table::new();
        let mut rest = std::mem::take(&mut self.0).into_iter().peekable();
        while let Some(flag) = rest.next() {
            let Some(name) = flag.strip_prefix("--") else {
                return Err(format!("unexpected argument: {flag}"));
            };
            let value = match rest.next_if(|text| !text.starts_with("--")) {
                Some(text) => serve::value(&text),
                None => Value::Boolean(true),
            };
            given.insert(name.to_owned(), value);
        }
        serve::Config::new(path.as_deref(), given)
    }

    fn per_core(&mut self, name: &str) -> Result<usize, String> {
        let given = self.number(name, WORKERS_RANGE)?;
        Ok(given.unwrap_or(cores()))
    }
}

pub(crate) fn cores() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.min(*WORKERS_RANGE.end())
}

//! `gateway serve` in a process of its own.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Result;
use crate::folder::Folder;
use crate::killed::Killed;

/// How long the gateway may take to start, or for something to show in its metrics.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often to look.
const TICK: Duration = Duration::from_millis(5);

/// Counts the ticket keys that can be used.
const KEYS: &str = "gateway_ticket_keys";

const EARLY_DATA_BYTES: &str = "gateway_early_data_bytes_total";

/// A gateway, until it is dropped.
pub struct Gateway {
    process: Killed,
    /// Where clients find it.
    pub address: SocketAddr,
    metrics: SocketAddr,
    args: Vec<String>,
    folder: Folder,
}

impl Gateway {
    /// Starts a gateway with so many workers and what `args` say.
    pub fn start(workers: usize, args: &[&str]) -> Result<Self> {
        let any = "127.0.0.1:0";
        let fixed =
            ["serve", "--workers", &workers.to_string(), "--metrics", any].map(String::from);
        let given = args.iter().map(|arg| String::from(*arg));
        let args: Vec<String> = fixed.into_iter().chain(given).collect();
        let folder = Folder::new()?;
        let (process, address, metrics) = start(&args, any, &folder)?;
        Ok(Self {
            process,
            address,
            metrics,
            args,
            folder,
        })
    }

    /// Kills the process, and starts another one with the same arguments and address.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        let address = self.address.to_string();
        (self.process, self.address, self.metrics) = start(&self.args, &address, &self.folder)?;
        Ok(())
    }

    /// Has the gateway take up a new ticket key.
    pub fn rotate(&self) -> Result<()> {
        let before = self.metric(KEYS)?;
        self.ask_to_rotate()?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if self.metric(KEYS)? > before {
                return Ok(());
            }
            std::thread::sleep(TICK);
        }
        Err("no new key comes".into())
    }

    /// The same, without waiting for it.
    pub fn ask_to_rotate(&self) -> Result<()> {
        self.process.signal(Signal::HUP)
    }

    /// Tells the gateway to end in good order, and waits for it. `true` if its exit code says so.
    pub fn drain(&mut self) -> Result<bool> {
        self.process.signal(Signal::TERM)?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.process.ended()? {
                return Ok(status.success());
            }
            std::thread::sleep(TICK);
        }
        Err("the gateway does not end".into())
    }

    /// Bytes of early data that the application was given.
    pub fn early_data_bytes(&self) -> Result<u64> {
        self.metric(EARLY_DATA_BYTES)
    }

    /// All metrics, each summed over its labels.
    pub fn metrics(&self) -> Result<HashMap<String, f64>> {
        let mut metrics = HashMap::new();
        for line in self.scrape()?.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let name = name.split('{').next().unwrap_or(name);
            let value: f64 = value.parse().map_err(|why| format!("{line}: {why}"))?;
            *metrics.entry(name.into()).or_default() += value;
        }
        Ok(metrics)
    }

    /// The id of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    fn metric(&self, name: &str) -> Result<u64> {
        let metric = self.metrics()?.get(name).copied();
        metric
            .map(|value| value as u64)
            .ok_or_else(|| format!("no metric {name}"))
    }

    fn scrape(&self) -> Result<String> {
        let scrape = || {
            let mut stream = TcpStream::connect_timeout(&self.metrics, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(
                b"GET /metrics HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n",
            )?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            std::io::Result::Ok(text)
        };
        let text = scrape().map_err(|why| format!("the gateway's metrics: {why}"))?;
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.into());
        body.ok_or_else(|| format!("not an answer: {text}"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", log(&self.folder));
        }
    }
}

/// Where a gateway's output goes, and its log.
const OUTPUT: &str = "output";
const LOG: &str = "log";

/// Starts a gateway at `listen`. Returns where it listens, and where its metrics are.
fn start(
    args: &[String],
    listen: &str,
    folder: &Folder,
) -> Result<(Killed, SocketAddr, SocketAddr)> {
    let (output, log_file) = (folder.file(OUTPUT), folder.file(LOG));
    let output_file = File::create(&output).map_err(|why| why.to_string())?;
    let log_file = File::options().create(true).append(true).open(log_file);
    let mut command = Command::new(binary());
    command.args(args).args(["--listen", listen]);
    command
        .stdout(output_file)
        .stderr(log_file.map_err(|why| why.to_string())?);
    let mut process = Killed::spawn(&mut command)?;

    let end = Instant::now() + PATIENCE;
    while Instant::now() < end && process.ended()?.is_none() {
        let output = fs::read_to_string(&output).unwrap_or_default();
        let address = said(&output, "listening on ", ',');
        let metrics = said(&output, "metrics on http://", '/');
        if let (Some(address), Some(metrics)) = (address, metrics) {
            return Ok((process, address, metrics));
        }
        std::thread::sleep(TICK);
    }
    Err(format!("the gateway does not start:\n{}", log(folder)))
}

/// The address that `output` names between `before` and `after`.
fn said(output: &str, before: &str, after: char) -> Option<SocketAddr> {
    let (_, rest) = output.split_once(before)?;
    rest.split_once(after)?.0.parse().ok()
}

fn log(folder: &Folder) -> String {
    fs::read_to_string(folder.file(LOG)).unwrap_or_default()
}

/// The example that `run.sh` builds.
fn binary() -> PathBuf {
    match std::env::var_os("GATEWAY") {
        Some(path) => path.into(),
        None => concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../target/release/examples/gateway"
        )
        .into(),
    }
}

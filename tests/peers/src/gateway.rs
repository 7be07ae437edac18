//! `gateway serve` in a process of its own.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::folder::Folder;
use crate::killed::Killed;
use crate::{PATIENCE, Result, patiently};

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
        patiently("no new key comes", || {
            Ok((self.metric(KEYS)? > before).then_some(()))
        })
    }

    /// The same, without waiting for it.
    pub fn ask_to_rotate(&self) -> Result<()> {
        self.process.signal(Signal::HUP)
    }

    /// Tells the gateway to end in good order, and waits for it. `true` if its exit code says so.
    pub fn drain(&mut self) -> Result<bool> {
        self.process.signal(Signal::TERM)?;
        let status = patiently("the gateway does not end", || self.process.ended())?;
        Ok(status.success())
    }

    /// Waits until it has done what was to be done with all that was sent to it: nothing is left in
    /// its sockets, and its workers sleep.
    pub fn settle(&self) -> Result<()> {
        patiently("the gateway does not come to rest", || {
            let is_at_rest = !datagrams_wait(self.address)? && workers_sleep(self.id())?;
            Ok(is_at_rest.then_some(()))
        })
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

    let started = patiently("in time", || {
        if let Some(status) = process.ended()? {
            return Err(status.to_string());
        }
        let output = fs::read_to_string(&output).unwrap_or_default();
        let address = said(&output, "listening on ", ',');
        Ok(address.zip(said(&output, "metrics on http://", '/')))
    });
    match started {
        Ok((address, metrics)) => Ok((process, address, metrics)),
        Err(why) => Err(format!(
            "the gateway does not start: {why}\n{}",
            log(folder)
        )),
    }
}

/// Whether datagrams wait in a socket at `address`.
fn datagrams_wait(address: SocketAddr) -> Result<bool> {
    let sockets = fs::read_to_string("/proc/net/udp").map_err(|why| why.to_string())?;
    let port = format!(":{:04X}", address.port());
    let waits = |line: &str| {
        // Number, local address, remote address, state, and what waits to be sent and received.
        let mut words = line.split_whitespace().skip(1);
        let is_here = words.next().is_some_and(|local| local.ends_with(&port));
        is_here
            && words
                .nth(2)
                .is_some_and(|queues| !queues.ends_with(":00000000"))
    };
    Ok(sockets.lines().any(waits))
}

/// Whether all workers of the gateway with this process id wait for something to happen.
fn workers_sleep(id: u32) -> Result<bool> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).map_err(|why| why.to_string())?;
    let is_busy = |task: &Path| {
        let read = |name| fs::read_to_string(task.join(name)).unwrap_or_default();
        read("comm").starts_with("worker") && !read("status").contains("State:\tS")
    };
    Ok(!tasks.flatten().any(|task| is_busy(&task.path())))
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

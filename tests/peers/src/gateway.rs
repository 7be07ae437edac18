//! `gateway serve` in a process of its own.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::folder::Folder;

/// How long the gateway may take to start, or for something to show in its metrics.
const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway, until it is dropped.
pub struct Gateway {
    child: Child,
    /// Where clients find it.
    pub address: SocketAddr,
    metrics: SocketAddr,
    args: Vec<String>,
    folder: Folder,
}

impl Gateway {
    /// Starts a gateway with so many workers and what `args` say.
    pub fn start(workers: usize, args: &[&str]) -> Result<Self> {
        let address = free_udp_address()?;
        let metrics = free_tcp_address()?;
        let mut all = vec!["serve".into(), "--workers".into(), workers.to_string()];
        all.extend(["--listen".into(), address.to_string()]);
        all.extend(["--metrics".into(), metrics.to_string()]);
        all.extend(args.iter().map(|arg| String::from(*arg)));
        let folder = Folder::new()?;
        let mut gateway = Self {
            child: spawn(&all, &folder.file(LOG))?,
            address,
            metrics,
            args: all,
            folder,
        };
        gateway.await_ready()?;
        Ok(gateway)
    }

    /// Kills the process, and starts another one with the same arguments.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.child = spawn(&self.args, &self.folder.file(LOG))?;
        self.await_ready()
    }

    /// Has the gateway take up a new ticket key.
    pub fn rotate(&self) -> Result<()> {
        let before = self.metric(KEYS)?;
        self.ask_to_rotate()?;
        self.eventually("a new key", || Ok(self.metric(KEYS)? > before))
    }

    /// The same, without waiting for it.
    pub fn ask_to_rotate(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// Tells the gateway to end in good order, and waits for it. `true` if its exit code says so.
    pub fn drain(&mut self) -> Result<bool> {
        self.signal(Signal::TERM)?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let ended = self.child.try_wait().map_err(|why| why.to_string())?;
            if let Some(status) = ended {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("the gateway does not end".into())
    }

    /// Bytes of early data that the application was given.
    pub fn early_data_bytes(&self) -> Result<u64> {
        self.metric(EARLY_DATA_BYTES)
    }

    /// The sum of a metric over all its labels; 0 if it is not there.
    pub fn metric(&self, name: &str) -> Result<u64> {
        Ok(self.metrics()?.get(name).copied().unwrap_or(0.0) as u64)
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
        self.child.id()
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

    fn await_ready(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if self.scrape().is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the gateway ended, {status}:\n{}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("the gateway does not start:\n{}", self.log()))
    }

    fn eventually(&self, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if holds()? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("{what} does not come"))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or("no process id")?;
        kill_process(pid, signal).map_err(|why| format!("{signal:?}: {why}"))
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.file(LOG)).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log());
        }
    }
}

/// Where a gateway's output goes.
const LOG: &str = "log";

/// Counts the ticket keys that can be used.
const KEYS: &str = "gateway_ticket_keys";

const EARLY_DATA_BYTES: &str = "gateway_early_data_bytes_total";

fn spawn(args: &[String], log: &Path) -> Result<Child> {
    let binary = binary();
    let output = File::options().create(true).append(true).open(log);
    let output = output.map_err(|why| format!("{}: {why}", log.display()))?;
    let errors = output.try_clone().map_err(|why| why.to_string())?;
    let mut command = Command::new(&binary);
    command.args(args).stdout(output).stderr(errors);
    let child = command.spawn();
    child.map_err(|why| format!("{} (built by run.sh): {why}", binary.display()))
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

/// An address of loopback at which nobody listens.
pub fn free_udp_address() -> Result<SocketAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    socket
        .and_then(|socket| socket.local_addr())
        .map_err(|why| why.to_string())
}

fn free_tcp_address() -> Result<SocketAddr> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    socket
        .and_then(|socket| socket.local_addr())
        .map_err(|why| why.to_string())
}

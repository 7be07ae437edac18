//! What the machine is, as Linux tells it. Elsewhere less is known.

use std::fmt;
use std::fs;

/// What tickets that are out take in memory: the maps that are the library's peers, mostly.
const BYTES_PER_TICKET: u64 = 60;

pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    /// Level and size, from the first core's nearest on.
    pub(crate) caches: Vec<(String, String)>,
    pub(crate) wide_hashing: bool,
    pub(crate) kernel: String,
    pub(crate) huge_pages: String,
    /// Settings of the kernel that matter to a UDP server.
    pub(crate) network: Vec<(&'static str, String)>,
    available_bytes: Option<u64>,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let setting = |name: &'static str| {
            let value = read(&format!("/proc/sys/net/core/{name}"));
            (name, value)
        };
        Self {
            cpu: field("/proc/cpuinfo", "model name"),
            cores,
            caches: (0..8).map_while(cache).collect(),
            wide_hashing: wide_hashing(),
            kernel: read("/proc/sys/kernel/osrelease"),
            huge_pages: chosen(&read("/sys/kernel/mm/transparent_hugepage/enabled")),
            network: ["rmem_max", "netdev_max_backlog", "busy_read", "busy_poll"]
                .map(setting)
                .into(),
            available_bytes: field("/proc/meminfo", "MemAvailable")
                .split_whitespace()
                .next()
                .and_then(|kib| kib.parse::<u64>().ok())
                .map(|kib| kib * 1024),
        }
    }

    /// The largest receive buffer that the system allows a socket, in bytes.
    pub(crate) fn receive_buffer_max(&self) -> Option<u64> {
        let (_, most) = self.network.iter().find(|(name, _)| *name == "rmem_max")?;
        most.parse().ok()
    }

    /// `tickets`, or as many as leave half of the memory to others.
    pub(crate) fn tickets_that_fit(&self, tickets: usize) -> usize {
        let fits = |bytes: u64| usize::try_from(bytes / 2 / BYTES_PER_TICKET).unwrap_or(tickets);
        self.available_bytes
            .map_or(tickets, |bytes| fits(bytes).min(tickets))
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {} cores", self.cpu, self.cores)?;
        for (level, size) in &self.caches {
            writeln!(f, "    {level:<20} {size}")?;
        }
        let wide = if self.wide_hashing { "yes" } else { "no" };
        writeln!(f, "    {:<20} {wide}", "AVX-512")?;
        writeln!(f, "    {:<20} {}", "huge pages", self.huge_pages)?;
        writeln!(f, "    {:<20} {}", "Linux", self.kernel)?;
        for (name, value) in &self.network {
            writeln!(f, "    {name:<20} {value}")?;
        }
        Ok(())
    }
}

fn cache(index: usize) -> Option<(String, String)> {
    let of = |what: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}");
        fs::read_to_string(path).map(|text| text.trim().to_owned())
    };
    let name = format!("L{} {}", of("level").ok()?, of("type").ok()?);
    Some((name, of("size").ok()?))
}

#[cfg(target_arch = "x86_64")]
fn wide_hashing() -> bool {
    is_x86_feature_detected!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
fn wide_hashing() -> bool {
    false
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The value behind `name:` in a file of such lines.
fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    });
    value.unwrap_or_else(|| "unknown".to_owned())
}

/// The word in brackets.
fn chosen(text: &str) -> String {
    let inner = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    inner.map_or(text, |(word, _)| word).to_owned()
}

//! What the machine is, as Linux tells it. Elsewhere less is known.

use std::fmt;
use std::fs;

/// What tickets that are out take in memory: the maps that are the library's peers, mostly.
const BYTES_PER_TICKET: u64 = 60;

pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    /// Of the first core, from the nearest on.
    pub(crate) caches: Vec<Cache>,
    /// Instructions that the library uses where they are.
    pub(crate) features: Vec<&'static str>,
    pub(crate) kernel: String,
    pub(crate) huge_pages: String,
    /// Settings of the kernel that matter to a UDP server.
    pub(crate) network: Vec<(&'static str, String)>,
    available_bytes: Option<u64>,
}

pub(crate) struct Cache {
    pub(crate) name: String,
    pub(crate) size: String,
    /// The cores that share it.
    pub(crate) cores: String,
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
            features: features(),
            // Behind the version comes the name of a build.
            kernel: read("/proc/sys/kernel/osrelease")
                .split('-')
                .take(1)
                .collect(),
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

    /// What of its instructions matters here.
    pub(crate) fn instructions(&self) -> String {
        match &*self.features {
            [] => "no instructions for it".to_owned(),
            features => features.join(", "),
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
        for Cache { name, size, cores } in &self.caches {
            writeln!(f, "    {name:<20} {size:<8} of cores {cores}")?;
        }
        writeln!(f, "    {:<20} {}", "instructions", self.instructions())?;
        writeln!(f, "    {:<20} {}", "huge pages", self.huge_pages)?;
        writeln!(f, "    {:<20} {}", "Linux", self.kernel)?;
        for (name, value) in &self.network {
            writeln!(f, "    {name:<20} {value}")?;
        }
        Ok(())
    }
}

fn cache(index: usize) -> Option<Cache> {
    let of = |what: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}");
        let text = fs::read_to_string(path).ok()?;
        Some(text.trim().to_owned())
    };
    Some(Cache {
        name: format!("L{} {}", of("level")?, of("type")?),
        size: of("size")?,
        cores: of("shared_cpu_list")?,
    })
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let all = [
        ("AVX-512", is_x86_feature_detected!("avx512bw")),
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("SHA-NI", is_x86_feature_detected!("sha")),
        ("AES-NI", is_x86_feature_detected!("aes")),
        ("VAES", is_x86_feature_detected!("vaes")),
    ];
    let there = all.into_iter().filter(|(_, there)| *there);
    there.map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
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

//! What a process has used, from /proc.

use std::fs;
use std::time::Duration;

use dtls_session_peers::Result;

/// CPU time of all threads of `process`, ended ones not included.
pub(crate) fn cpu_time(process: u32) -> Result<Duration> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).map_err(|why| why.to_string())?;
    let mut nanos = 0;
    for task in tasks.flatten() {
        // The first number: nanoseconds on a CPU.
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanos += first_number(&text);
    }
    Ok(Duration::from_nanos(nanos))
}

/// Bytes of memory that `process` alone has touched: what it shares with others is not counted.
pub(crate) fn memory(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(path).map_err(|why| why.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    Ok(1024 * first_number(line.unwrap_or_default()))
}

fn first_number(text: &str) -> u64 {
    let number = text.split_whitespace().next().map(str::parse);
    number.and_then(std::result::Result::ok).unwrap_or(0)
}

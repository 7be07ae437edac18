//! What is over is gone: after keys, sessions and connections end, none of their secrets is left
//! in the memory of the process; and nothing prints them while they live.
//!
//! The process searches its own memory, so it must not hold what it looks for: a child process
//! works out the secrets and hands them over masked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod printed;

#[cfg(target_os = "linux")]
mod aes;
#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod keys;
#[cfg(target_os = "linux")]
mod needles;
#[cfg(target_os = "linux")]
mod scan;
#[cfg(target_os = "linux")]
mod schedule;
#[cfg(target_os = "linux")]
mod sessions;

#[cfg(not(target_os = "linux"))]
#[test]
fn skipped() {
    println!("skipped: only Linux lets a process read its own memory as a file");
}

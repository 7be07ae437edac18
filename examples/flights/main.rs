//! Checks captured DTLS 1.3 flights against the library: `flights DIR...`, where a DIR is a case
//! with a `vectors.json`, or holds such cases.
//!
//! Prints a line for each check and at last how many passed and failed. Exits with 1 if one
//! failed, or if there was nothing to check.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

mod check;

fn main() -> ExitCode {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if folders.is_empty() {
        eprintln!("usage: flights DIR...");
    }
    let checks: Vec<_> = folders.iter().flat_map(|dir| check::folder(dir)).collect();
    let failed = checks
        .iter()
        .filter(|check| check.failure.is_some())
        .count();
    let passed = checks.len() - failed;

    let mut out = BufWriter::new(io::stdout().lock());
    let printed = checks
        .iter()
        .try_for_each(|check| writeln!(out, "{check}"))
        .and_then(|()| writeln!(out, "{passed} passed, {failed} failed"))
        .and_then(|()| out.flush());
    if failed == 0 && passed > 0 && printed.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

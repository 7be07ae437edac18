//! Recomputes with the library what a folder says about captured flights.
//!
//! The tests run the same checks over the flights that the project keeps.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

mod connection;
mod fields;

use fields::Fields;

/// The outcome of one check.
pub(crate) struct Check {
    case: String,
    conn: String,
    what: String,
    /// Why it failed.
    pub(crate) failure: Option<String>,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.failure.is_some() {
            "FAILED"
        } else {
            "ok"
        };
        write!(f, "{outcome} {} {} {}", self.case, self.conn, self.what)?;
        self.failure.iter().try_for_each(|why| write!(f, ": {why}"))
    }
}

/// Checks the case in `dir`, or else all cases that lie in `dir`. There is at least one check, if
/// only the failed one that there is nothing to check.
pub(crate) fn folder(dir: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    match cases(dir) {
        Ok(cases) => cases.iter().for_each(|case| check_case(case, &mut checks)),
        Err(why) => Report::new(name(dir), &mut checks).check("folder", Err(why)),
    }
    checks
}

/// A case is a folder with vectors; in a parent of cases every visible folder is to be one.
fn cases(dir: &Path) -> Result<Vec<PathBuf>, String> {
    if dir.join("vectors.json").exists() {
        return Ok(vec![dir.to_path_buf()]);
    }
    let mut cases = Vec::new();
    for entry in fs::read_dir(dir).map_err(|why| why.to_string())? {
        let path = entry.map_err(|why| why.to_string())?.path();
        if path.is_dir() && !name(&path).starts_with('.') {
            cases.push(path);
        }
    }
    cases.sort();
    if cases.is_empty() {
        return Err("holds nothing to check".into());
    }
    Ok(cases)
}

fn check_case(dir: &Path, checks: &mut Vec<Check>) {
    let mut report = Report::new(name(dir), checks);
    let before = report.checks.len();
    match read_vectors(dir) {
        Ok(connections) => {
            let key_log = KeyLog::read(dir);
            for (index, value) in connections.iter().enumerate() {
                let connection = Fields(value);
                report.conn = match connection.text("conn") {
                    Ok(Some(name)) => name.to_owned(),
                    _ => format!("#{index}"),
                };
                connection::check(connection, &key_log, &mut report);
            }
        }
        Err(why) => report.check("vectors.json", Err(why)),
    }
    if report.checks.len() == before {
        report.conn = "-".into();
        report.check("vectors.json", Err("holds nothing to check".into()));
    }
}

fn read_vectors(dir: &Path) -> Result<Vec<Value>, String> {
    let text = fs::read_to_string(dir.join("vectors.json")).map_err(|why| why.to_string())?;
    serde_json::from_str(&text).map_err(|why| why.to_string())
}

/// The last part of a path, whatever way it was written.
fn name(path: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = full.file_name().unwrap_or(full.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Collects the checks of one case.
pub(crate) struct Report<'a> {
    case: String,
    conn: String,
    checks: &'a mut Vec<Check>,
}

impl<'a> Report<'a> {
    fn new(case: String, checks: &'a mut Vec<Check>) -> Self {
        let conn = "-".into();
        Self { case, conn, checks }
    }

    fn check(&mut self, what: &str, outcome: Result<(), String>) {
        self.checks.push(Check {
            case: self.case.clone(),
            conn: self.conn.clone(),
            what: what.to_owned(),
            failure: outcome.err(),
        });
    }

    /// Checks that `ours` is what is given; no check if nothing is.
    fn same(&mut self, what: &str, given: Result<Option<Vec<u8>>, String>, ours: &[u8]) {
        match given {
            Ok(None) => {}
            Ok(Some(given)) if given == ours => self.check(what, Ok(())),
            Ok(Some(_)) => self.check(what, Err("differs".into())),
            Err(why) => self.check(what, Err(why)),
        }
    }
}

/// The early traffic secrets of a `keylog.txt`, by client random; none if there is no such file.
pub(crate) struct KeyLog(HashMap<Vec<u8>, Vec<u8>>);

impl KeyLog {
    fn read(dir: &Path) -> Self {
        let text = fs::read_to_string(dir.join("keylog.txt")).unwrap_or_default();
        let secrets = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let label = words.next()?;
            let entry = (fields::unhex(words.next()?)?, fields::unhex(words.next()?)?);
            (label == "CLIENT_EARLY_TRAFFIC_SECRET").then_some(entry)
        });
        Self(secrets.collect())
    }

    fn early_traffic_secret(&self, client_random: &[u8]) -> Option<Vec<u8>> {
        self.0.get(client_random).cloned()
    }
}

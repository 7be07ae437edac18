//! The `gateway` example, as its users start it: its exit code, and what its last line says.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The example, built as this test was.
fn gateway(args: &[&str]) -> Command {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--example", "gateway", "--message-format=json"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        // What cargo says of this test to this test would make it build dependencies anew.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&*name);
            }
        }
        let built = cargo.stderr(Stdio::inherit()).output().unwrap();
        assert!(built.status.success());
        let messages = String::from_utf8(built.stdout).unwrap();
        let mut executables = messages.lines().filter_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let is_it = message["target"]["name"] == "gateway";
            Some(message["executable"].as_str().filter(|_| is_it)?.into())
        });
        executables.next_back().unwrap()
    });
    let mut command = Command::new(path);
    command.args(args);
    command
}

fn last_line(output: &Output) -> Value {
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

fn number(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name}"))
}

/// What holds for every run, whoever has the gateway.
fn check_traffic(report: &Value) {
    let number = |name| number(report, name);
    for name in ["replays_accepted", "forged_accepted", "unexpected_verdicts"] {
        assert_eq!(number(name), 0, "{name}: {report}");
    }
    // A machine may be so slow that a flight is late.
    let (refused, delayed) = (number("genuine_refused"), number("genuine_delayed"));
    assert!(refused <= delayed, "{report}");
    for name in ["genuine_offered", "replays_offered", "forged_offered"] {
        assert!(number(name) > 10, "{name}: {report}");
    }
    assert_eq!(number("early_data_opened"), number("accepted_early_data"));
    let verdicts = [
        "accepted_early_data",
        "resumed",
        "full_handshake",
        "retransmissions",
        "aborted",
        "lost",
    ];
    let verdicts: u64 = verdicts.into_iter().map(number).sum();
    assert_eq!(verdicts, number("offered"), "{report}");
}

#[test]
fn both_halves_in_one_process_give_every_flight_the_verdict_that_it_should_get() {
    // Three workers, so that replays from other ports reach others, on however few cores.
    let args = ["--seconds", "3", "--workers", "3", "--json"];
    let output = gateway(&args).output().unwrap();
    let report = last_line(&output);
    assert!(output.status.success(), "{output:?}");
    check_traffic(&report);
    assert_eq!(number(&report, "workers"), 3);
    for name in [
        "rotations",
        "replays_refused_by_another_worker",
        "retransmissions",
        "ns_per_flight",
        "flights_per_second",
    ] {
        assert!(number(&report, name) > 0, "{name}: {report}");
    }
    if number(&report, "lost") == 0 {
        let accepted = number(&report, "accepted_early_data");
        let refused = number(&report, "genuine_refused");
        assert_eq!(accepted + refused, number(&report, "genuine_offered"));
    }
}

#[test]
fn the_halves_meet_as_two_processes() {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--workers", "2"];
    let mut serve = gateway(&serve);
    let mut serve = serve
        .args(["--demo", "--seconds", "600"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(serve.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let address = line.split([' ', ',']).nth(2).unwrap();

    let args = ["load", "--target", address, "--seconds", "2", "--json"];
    let output = gateway(&args).output();
    serve.kill().unwrap();
    serve.wait().unwrap();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    check_traffic(&last_line(&output));
}

#[test]
fn a_gateway_that_gives_no_tickets_is_an_error_and_senseless_arguments_are_misuse() {
    for (args, code, says) in [
        (&["--bogus"][..], 2, "unexpected argument: --bogus"),
        (&["--seconds", "soon"], 2, "--seconds soon"),
        (&["--workers", "257"], 2, "not in 1 to 256"),
        (&["load"], 2, "load needs --target"),
        (&["load", "--target", "192.0.2.1:1"], 2, "loopback"),
        (&["serve", "--demo", "--listen", "0.0.0.0:0"], 2, "loopback"),
        // Nobody listens on the discard port.
        (&["load", "--target", "127.0.0.1:9"], 1, "gateway: "),
    ] {
        let output = gateway(args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?} {stderr}");
        assert!(stderr.contains(says), "{args:?} {stderr}");
    }
}

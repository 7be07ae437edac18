//! The tables of the README.

use std::fmt::Write;

use crate::budget::STAGES;
use crate::figures::Figures;
use crate::machine::Machine;

/// In Markdown, for the section that names the command.
pub(crate) fn tables(machine: &Machine, figures: &Figures) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, machine, figures);
    out
}

fn write(out: &mut String, machine: &Machine, figures: &Figures) -> std::fmt::Result {
    let of = |name: &str| figures.get(name);
    writeln!(
        out,
        "{}, {} cores, {}:\n",
        machine.cpu,
        machine.cores,
        machine.instructions()
    )?;
    writeln!(out, "| | dtls-session | peer | ratio |")?;
    writeln!(out, "|---|---|---|---|")?;
    let mut row = |what: &str, ours: &str, peer: &str, theirs: &str| {
        let (ours, theirs) = (of(ours), of(theirs));
        let (ours_ns, theirs_ns) = (ns(ours), ns(theirs));
        let ratio = ratio(ours, theirs);
        writeln!(out, "| {what} | {ours_ns} | {peer} {theirs_ns} | {ratio} |")
    };
    row(
        "open a native ticket",
        "open_ns",
        "bare `ring`",
        "open_ring_ns",
    )?;
    row("", "open_ns", "rustls' Ticketer", "open_rustls_ns")?;
    row(
        "seal 128 bytes",
        "seal_ns",
        "rustls' Ticketer",
        "seal_rustls_ns",
    )?;
    let strike = format!("strike, {} M tickets out", millions(of("outstanding")));
    let map = format!("`DashMap` of {} M", millions(of("outstanding_dashmap")));
    row(&strike, "strike_64m_ns", &map, "strike_dashmap_64m_ns")?;
    let admit = "admit a first flight, batches of 32";
    row(admit, "admit_ns", "naive pipeline", "admit_naive_ns")?;
    let open = "opening with bare `ring`";
    for (what, ours) in [
        ("refuse a forged ticket", "reject_forged_ns"),
        ("refuse a ticket of an unknown key", "reject_unknown_key_ns"),
        (
            "refuse a flight with a forged ticket",
            "reject_forged_flight_ns",
        ),
        (
            "refuse a flight of an unknown key",
            "reject_unknown_key_flight_ns",
        ),
    ] {
        row(what, ours, open, "open_ring_ns")?;
    }
    let plain = [
        ("two workers, of one", "scaling_2_workers"),
        (
            "two workers of one engine, of two with an engine each",
            "sharing_2_workers",
        ),
        (
            "throughput at 1000 rotations/s, of that at none",
            "rotation_throughput_ratio",
        ),
        (
            "p99.9 of a batch at 1000 rotations/s, of that at none",
            "batch_p999_rotation_ratio",
        ),
    ];
    for (what, name) in plain {
        writeln!(out, "| {what} | | | {:.2} |", of(name))?;
    }

    writeln!(
        out,
        "\n| stage of an admission | dtls-session | naive pipeline |"
    )?;
    writeln!(out, "|---|---|---|")?;
    for [ours, naive] in STAGES {
        let name = ours.trim_start_matches("stage_").trim_end_matches("_ns");
        let name = name.replace('_', " ");
        writeln!(out, "| {name} | {} | {} |", ns(of(ours)), ns(of(naive)))?;
    }
    writeln!(
        out,
        "| whole | {} | {} |",
        ns(of("admit_ns")),
        ns(of("admit_naive_ns"))
    )
}

/// With as many digits as mean something.
fn ns(value: f64) -> String {
    match value {
        ..9.95 => format!("{value:.1} ns"),
        _ => format!("{value:.0} ns"),
    }
}

fn millions(value: f64) -> String {
    format!("{:.0}", value / f64::from(1 << 20))
}

/// How many times as long ours takes.
fn ratio(ours: f64, theirs: f64) -> String {
    if ours * 1.5 > theirs {
        format!("{:.2}", ours / theirs)
    } else {
        format!("1/{:.1}", theirs / ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_says_how_many_times_as_long_it_takes() {
        assert_eq!(ratio(78.0, 70.0), "1.11");
        assert_eq!(ratio(100.0, 700.0), "1/7.0");
        assert_eq!(ns(7.54), "7.5 ns");
        assert_eq!(ns(703.2), "703 ns");
    }
}

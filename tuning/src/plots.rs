//! The charts of a machine.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use crate::common::admission::Gateway;
use crate::common::contest::race;
use crate::common::replay::{self, Opened, SAMPLES, filled};
use crate::plot::{Axis, Chart, Line, Scale};
use crate::rotation::{Batches, Rotation};

/// Batches that the timeline shows.
const TIMELINE: usize = 400;

/// What the charts show.
pub(crate) struct Findings<'a> {
    pub(crate) batches: &'a [(usize, f64)],
    pub(crate) admit_naive_ns: f64,
    pub(crate) workers: &'a [(usize, f64)],
    pub(crate) rotation: &'a Rotation,
    /// As many as may be out.
    pub(crate) tickets: usize,
}

/// Writes them to `directory`, after measuring what only they show.
pub(crate) fn write(directory: &Path, findings: &Findings<'_>, rounds: usize) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let charts = [
        ("latency", latency(findings.rotation)),
        ("batches", batches(findings)),
        ("workers", workers(findings.workers)),
        ("outstanding", outstanding(findings.tickets, rounds)),
        ("rotation", timeline(findings.rotation)),
    ];
    for (name, chart) in charts {
        fs::write(
            directory.join(name).with_extension("svg"),
            chart.to_string(),
        )?;
    }
    Ok(())
}

fn latency(rotation: &Rotation) -> Chart {
    let percentiles = [50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95];
    // Room by what is left above: 10% to 1% as much as 1% to 0.1%.
    let above = |percentile: f64| 100.0 / (100.0 - percentile);
    let line = |name: &str, batches: &Batches| Line {
        name: name.to_owned(),
        points: percentiles
            .map(|p| (above(p), batches.quantile(p / 100.0)))
            .into(),
    };
    let lines = vec![
        line("keys stay", &rotation.still),
        line("1000 rotations/s", &rotation.rotating),
    ];
    let labelled = [50.0, 90.0, 99.0, 99.9, 99.95].map(|p| (above(p), p.to_string()));
    let all = || lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
    let most = all().fold(0.0, f64::max);
    Chart {
        title: "Time of a batch of 32 first flights".into(),
        x: Axis::new("percentile of batches", Scale::Log, labelled.into()),
        y: Axis::from_zero("microseconds", most),
        lines,
        marks: None,
    }
}

fn batches(findings: &Findings<'_>) -> Chart {
    let per_second = |ns: f64| 1e9 / ns;
    let ours = findings
        .batches
        .iter()
        .map(|(size, ns)| (*size as f64, per_second(*ns)));
    let ours: Vec<_> = ours.collect();
    let naive = per_second(findings.admit_naive_ns);
    let most = ours.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    let ticks = findings
        .batches
        .iter()
        .map(|(size, _)| (*size as f64, size.to_string()));
    Chart {
        title: "Throughput of one worker".into(),
        x: Axis::new("datagrams in a batch", Scale::Log, ticks.collect()),
        y: Axis::from_zero("first flights per second", most),
        lines: vec![
            Line {
                name: "dtls-session".into(),
                points: ours.clone(),
            },
            Line {
                name: "naive pipeline".into(),
                points: ours.iter().map(|(x, _)| (*x, naive)).collect(),
            },
        ],
        marks: None,
    }
}

fn workers(workers: &[(usize, f64)]) -> Chart {
    let points: Vec<_> = workers.iter().map(|(n, y)| (*n as f64, *y)).collect();
    let alone = points.first().map_or(0.0, |(_, y)| *y);
    let most = points
        .iter()
        .map(|(x, y)| y.max(x * alone))
        .fold(0.0, f64::max);
    let ticks = workers.iter().map(|(n, _)| (*n as f64, n.to_string()));
    let ticks = std::iter::once((0.0, "0".into())).chain(ticks).collect();
    Chart {
        title: "Throughput of several workers, which strike each other's tickets".into(),
        x: Axis::new("workers, each on its core", Scale::Linear, ticks),
        y: Axis::from_zero("first flights per second", most),
        lines: vec![
            Line {
                name: "dtls-session".into(),
                points: points.clone(),
            },
            Line {
                name: "one worker's, times n".into(),
                points: points.iter().map(|(n, _)| (*n, n * alone)).collect(),
            },
        ],
        marks: None,
    }
}

/// From 4096 tickets to 64 M, or to as many as may be out.
fn outstanding(tickets: usize, rounds: usize) -> Chart {
    let sizes = (12..=26).step_by(2).map(|power| 1_usize << power);
    let sizes = sizes.take_while(|size| *size <= tickets);
    let (mut ours, mut dash_map) = (Vec::new(), Vec::new());
    for size in sizes {
        let gateway = Gateway::new(size, SAMPLES.min(size / 2));
        let used = Arc::new(filled(size));
        let laps = Opened::of(&gateway, |opened| {
            race(&mut [opened.strikes(), replay::dash_map(&used)], rounds)
        });
        ours.push((size as f64, laps[0].ns));
        dash_map.push((size as f64, laps[1].ns));
    }
    let most = dash_map.iter().map(|(_, ns)| *ns).fold(0.0, f64::max);
    let ticks = [
        (12, "4 k"),
        (16, "64 k"),
        (20, "1 M"),
        (24, "16 M"),
        (26, "64 M"),
    ];
    let ticks = ticks.map(|(power, name)| (f64::from(1 << power), name.to_owned()));
    Chart {
        title: "Striking a used ticket".into(),
        x: Axis::new("tickets that are out", Scale::Log, ticks.into()),
        y: Axis::powers_of_ten("nanoseconds", 1.0, most),
        lines: vec![
            Line {
                name: "dtls-session".into(),
                points: ours,
            },
            Line {
                name: "DashMap".into(),
                points: dash_map,
            },
        ],
        marks: None,
    }
}

fn timeline(rotation: &Rotation) -> Chart {
    let shown = &rotation.rotating.0[..TIMELINE.min(rotation.rotating.0.len())];
    let points: Vec<_> = shown
        .iter()
        .zip(0..)
        .map(|(took, n)| (f64::from(n), took.as_secs_f64() * 1e6))
        .collect();
    let rotated = rotation.rotated_in.iter().filter(|n| **n < shown.len());
    let ticks = (0..=4)
        .map(|n| n * shown.len() / 4)
        .map(|n| (n as f64, n.to_string()));
    // A batch that was interrupted by the system goes beyond the top.
    let most = 3.0 * rotation.rotating.quantile(0.5);
    Chart {
        title: "Batches of 32 first flights while keys rotate 1000 times a second".into(),
        x: Axis::new(
            "batch, in rounds of 64 that begin with cold caches",
            Scale::Linear,
            ticks.collect(),
        ),
        y: Axis::from_zero("microseconds", most),
        lines: vec![Line {
            name: "a batch".into(),
            points,
        }],
        marks: Some(("keys rotated".into(), rotated.map(|n| *n as f64).collect())),
    }
}

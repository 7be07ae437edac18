//! The costs of one core, against the peers.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::common::admission::{Gateway, ROUND, WARM_UP, reject};
use crate::common::contest::{Entrant, Lap, race};
use crate::common::replay::{Opened, dash_map, filled_within};
use crate::common::tickets::{issue, open_native, seal_opaque};
use crate::figures::Figures;
use crate::rotation::Rotation;
use crate::{Effort, batches, budget, memory, rotation, scaling, socket};

/// Admissions need more rounds than the rest to find a quiet one: theirs are longer.
pub(crate) fn run(tickets: usize, effort: Effort, figures: &mut Figures) {
    let rounds = effort.rounds;
    figures.section("Opening and sealing a ticket");
    let [ring, ours, rustls] = laps(open_native(), rounds);
    figures.add("open_ns", ours);
    figures.add("open_ring_ns", ring);
    figures.add("open_rustls_ns", rustls);
    figures.add("open_overhead_ratio", ours / ring);
    let [ours, rustls, ring] = laps(seal_opaque(), rounds);
    figures.add("seal_ns", ours);
    figures.add("seal_ring_ns", ring);
    figures.add("seal_rustls_ns", rustls);
    figures.add("seal_ratio", ours / rustls);
    let [issue, _] = laps(issue(), rounds);
    figures.add("issue_ns", issue);

    eprintln!("issuing {tickets} tickets, and filling a map with as many");
    // As many as the race needs: later ones would have their bits close together.
    let clients = (2 * rounds + 1) * (WARM_UP + ROUND);
    let clients = clients.min(tickets / 2);
    let start = Instant::now();
    let gateway = Gateway::within(tickets, clients, effort.patience / 5 * 3);
    let patience = effort.patience.saturating_sub(start.elapsed());
    let used = Arc::new(filled_within(tickets, patience));
    let issued: u64 = gateway
        .worker
        .engine()
        .keys()
        .status()
        .iter()
        .map(|key| key.issued)
        .sum();

    figures.section("Striking a ticket while so many are out");
    figures.add("outstanding", issued as f64);
    figures.add("outstanding_dashmap", used.len() as f64);
    let [ours, dash_map] = Opened::of(&gateway, |opened| {
        laps(vec![opened.strikes(), dash_map(&used)], rounds)
    });
    figures.add("strike_64m_ns", ours);
    figures.add("strike_dashmap_64m_ns", dash_map);
    figures.add("strike_ratio", ours / dash_map);

    figures.section("The same by how many batches ahead its memory is asked for");
    let [never, one, two, four] = memory::prefetch(&gateway, rounds / 4);
    figures.add("strike_not_prefetched_ns", never);
    figures.add("strike_1_ahead_ns", one);
    figures.add("strike_2_ahead_ns", two);
    figures.add("strike_4_ahead_ns", four);

    figures.section("Admitting a first flight, in batches of 32, stage by stage");
    budget::run(gateway, used, 2 * rounds, figures);

    figures.section("Refusing a ticket, and a flight with such a ticket");
    let [
        ring,
        unknown_flight,
        forged_flight,
        bad_binder,
        unknown,
        forged,
    ] = laps(reject(), rounds);
    figures.add("reject_unknown_key_ns", unknown);
    figures.add("reject_unknown_key_per_open", unknown / ring);
    figures.add("reject_forged_ns", forged);
    figures.add("reject_forged_per_open", forged / ring);
    // With what it takes to find and to read a ClientHello, in batches of 32.
    figures.add("reject_unknown_key_flight_ns", unknown_flight);
    figures.add("reject_forged_flight_ns", forged_flight);
    figures.add("reject_bad_binder_flight_ns", bad_binder);
}

/// Adds what a flight costs in batches of 1 to 64.
pub(crate) fn batches(effort: Effort, figures: &mut Figures) -> Vec<(usize, f64)> {
    const NAMES: [&str; 7] = [
        "admit_batch_1_ns",
        "admit_batch_2_ns",
        "admit_batch_4_ns",
        "admit_batch_8_ns",
        "admit_batch_16_ns",
        "admit_batch_32_ns",
        "admit_batch_64_ns",
    ];
    figures.section("Admitting a first flight, in batches of other sizes, few tickets out");
    let batches = batches::run(effort.rounds);
    for (name, (_, ns)) in NAMES.iter().zip(&batches) {
        figures.add(name, *ns);
    }
    batches
}

/// Adds what several workers do at once.
pub(crate) fn workers(cores: usize, effort: Effort, figures: &mut Figures) -> Vec<(usize, f64)> {
    figures.section("Workers on cores of their own, in flights per second");
    let scaling = scaling::run(cores, effort.rounds / 4);
    let workers = scaling.together;
    let alone = workers[0].1;
    figures.add("flights_per_second_1_worker", alone);
    if let Some((_, two)) = workers.iter().find(|(team, _)| *team == 2) {
        figures.add("flights_per_second_2_workers", *two);
        figures.add("scaling_2_workers", two / alone);
        if let Some(apart) = scaling.two_apart {
            // 1 if they share no cache line that one writes and the other needs.
            figures.add("sharing_2_workers", two / apart);
        }
    }
    if let Some((all, throughput)) = workers.last() {
        figures.add("workers", *all as f64);
        figures.add("flights_per_second", *throughput);
    }
    workers
}

/// Adds what rotation does to a worker.
pub(crate) fn rotation(effort: Effort, figures: &mut Figures) -> Rotation {
    figures.section("Batches of 32 while keys rotate 1000 times a second");
    let rotation = rotation::run(3 * effort.rounds / 2);
    let (still, rotating) = (&rotation.still, &rotation.rotating);
    figures.add("rotations", rotation.rotations as f64);
    figures.add("rotations_per_second", rotation.rotations_per_second());
    figures.add("rotation_throughput_ratio", rotation.throughput_ratio());
    figures.add("batch_p50_us", still.quantile(0.5));
    figures.add("batch_p50_rotating_us", rotating.quantile(0.5));
    figures.add("batch_p999_us", still.quantile(0.999));
    figures.add("batch_p999_rotating_us", rotating.quantile(0.999));
    let tails = rotating.quantile(0.999) / still.quantile(0.999);
    figures.add("batch_p999_rotation_ratio", tails);
    rotation
}

/// Adds what the kernel's socket does.
pub(crate) fn socket(effort: Effort, figures: &mut Figures) -> io::Result<()> {
    figures.section("A UDP socket on loopback");
    let socket = socket::run(effort.rounds)?;
    figures.add("recv_ns", socket.recv_ns);
    figures.add("datagrams_in_default_buffer", socket.burst_default as f64);
    figures.add("datagrams_in_largest_buffer", socket.burst_largest as f64);
    figures.add("wait_asleep_us", socket.asleep_us);
    if let Some(polling) = socket.polling_us {
        figures.add("wait_polling_us", polling);
    }
    figures.add("wait_spinning_us", socket.spinning_us);
    Ok(())
}

/// Adds what huge pages do, which takes long.
pub(crate) fn pages(tickets: usize, effort: Effort, figures: &mut Figures) {
    figures.section("Striking a ticket, by the size of pages");
    if let Some([huge, small]) = memory::pages(tickets, effort.rounds) {
        figures.add("strike_huge_pages_ns", huge);
        figures.add("strike_small_pages_ns", small);
    }
}

/// Nanoseconds of each contestant, in order.
pub(crate) fn laps<const N: usize>(mut contestants: Vec<Entrant<'_>>, rounds: usize) -> [f64; N] {
    let laps = race(&mut contestants, rounds);
    let ns: Vec<f64> = laps.iter().map(|lap: &Lap| lap.ns).collect();
    ns.try_into()
        .unwrap_or_else(|_| unreachable!("as many as were entered"))
}

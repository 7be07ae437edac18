//! The costs of one core, against the peers.

use std::sync::Arc;

use crate::Effort;
use crate::budget;
use crate::common::admission::{Gateway, accept, reject};
use crate::common::contest::{Contestant, Lap, race};
use crate::common::replay::{self, filled_within};
use crate::common::tickets::{issue, open_native, seal_opaque};
use crate::figures::Figures;

/// Clients whose flights are admitted, of all whose tickets are out: more than a race needs.
const CLIENTS: usize = 1 << 17;

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
    let clients = CLIENTS.min(tickets / 2);
    let mut gateway = Gateway::within(tickets, clients, effort.patience);
    let used = Arc::new(filled_within(tickets, effort.patience));
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
    let strikes = vec![replay::ours(&mut gateway), replay::dash_map(&used)];
    let [ours, dash_map] = laps(strikes, rounds);
    figures.add("strike_64m_ns", ours);
    figures.add("strike_dashmap_64m_ns", dash_map);
    figures.add("strike_ratio", ours / dash_map);

    figures.section("Admitting a first flight, in batches of 32");
    let stages = budget::run((ours, dash_map), rounds, figures);
    let [ours, naive] = laps(accept(gateway, used), 2 * rounds);
    figures.add("stage_rest_ns", ours - stages.0);
    figures.add("stage_rest_naive_ns", naive - stages.1);
    figures.add("admit_ns", ours);
    figures.add("admit_naive_ns", naive);
    figures.add("admit_ratio", ours / naive);

    figures.section("Refusing a flight, in batches of 32");
    let [ring, unknown, forged, bad_binder] = laps(reject(), rounds);
    figures.add("reject_unknown_key_ns", unknown);
    figures.add("reject_unknown_key_per_open", unknown / ring);
    figures.add("reject_forged_ns", forged);
    figures.add("reject_forged_per_open", forged / ring);
    figures.add("reject_bad_binder_ns", bad_binder);
}

/// Nanoseconds of each contestant, in order.
pub(crate) fn laps<const N: usize>(mut contestants: Vec<Contestant>, rounds: usize) -> [f64; N] {
    let laps = race(&mut contestants, rounds);
    let ns: Vec<f64> = laps.iter().map(|lap: &Lap| lap.ns).collect();
    ns.try_into()
        .unwrap_or_else(|_| unreachable!("as many as were entered"))
}

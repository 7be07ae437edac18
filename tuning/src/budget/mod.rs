//! Where the time of an admission goes, the library's and the naive pipeline's, stage by stage.
//!
//! A stage costs what a flight costs that is refused right behind it, less one that is refused
//! right before it: it is measured where it is, with all around it, and together the stages are
//! the whole. Where no flight can be refused between two of them, one is timed [alone].

mod alone;
mod ladder;

use std::sync::Arc;

use dashmap::DashMap;

use crate::common::admission::{BATCH, Gateway, NaiveGateway};
use crate::common::contest::race;
use crate::common::replay::Name;
use crate::figures::Figures;
use alone::Alone;
use ladder::Ladder;

/// Figures for each stage, and their peers'.
pub(crate) const STAGES: [[&str; 2]; 12] = [
    // Views and verdicts of a batch, what is wiped before and after it.
    ["stage_batch_ns", "stage_batch_naive_ns"],
    ["stage_clock_ns", "stage_clock_naive_ns"],
    ["stage_parse_ns", "stage_parse_naive_ns"],
    ["stage_key_lookup_ns", "stage_key_lookup_naive_ns"],
    ["stage_open_ns", "stage_open_naive_ns"],
    // What the ticket holds, against what the ClientHello says.
    ["stage_context_ns", "stage_context_naive_ns"],
    ["stage_transcript_ns", "stage_transcript_naive_ns"],
    ["stage_binder_ns", "stage_binder_naive_ns"],
    // Was it judged a moment ago? And whatever else speaks against its early data.
    ["stage_refusal_ns", "stage_refusal_naive_ns"],
    ["stage_freshness_ns", "stage_freshness_naive_ns"],
    ["stage_strike_ns", "stage_strike_naive_ns"],
    ["stage_early_secret_ns", "stage_early_secret_naive_ns"],
];

/// Adds a figure for each stage, and for the whole: the admission of flights whose tickets are of
/// all those that are out from `gateway`, and of naive ones while `used` remembers as many.
pub(crate) fn run(
    gateway: Gateway,
    used: Arc<DashMap<Name, u64>>,
    rounds: usize,
    figures: &mut Figures,
) {
    let mut contestants = ladder::ours(gateway);
    contestants.extend(ladder::naive(NaiveGateway::new(used)));
    contestants.extend(alone::both());
    contestants.push(ladder::repeated());
    let mut laps = race(&mut contestants, rounds).into_iter().map(|lap| lap.ns);
    let ours = Ladder::of(&mut laps);
    let naive = Ladder::of(&mut laps);
    let (our_parts, naive_parts) = Alone::both(&mut laps);

    // The library reads the clock for a batch, the naive pipeline where it has opened a ticket.
    let batch_clock = our_parts.clock / BATCH as f64;
    let ours_by_stage = stages(&ours, &our_parts, [batch_clock, 0.0]);
    let naive_by_stage = stages(&naive, &naive_parts, [0.0, naive_parts.clock]);
    for ((names, ours), naive) in STAGES.iter().zip(ours_by_stage).zip(naive_by_stage) {
        figures.add(names[0], ours);
        figures.add(names[1], naive);
    }
    figures.add("admit_ns", ours.accepted);
    figures.add("admit_naive_ns", naive.accepted);
    figures.add("admit_ratio", ours.accepted / naive.accepted);
    figures.add("retransmission_ns", laps.next().unwrap_or(f64::NAN));
}

/// The costs of [`STAGES`]. Part of the first rung, and of that behind the ticket, is a reading of
/// the clock.
fn stages(rungs: &Ladder, parts: &Alone, [first_clock, ticket_clock]: [f64; 2]) -> [f64; 12] {
    let strike_and_secret = rungs.accepted - rungs.not_fresh;
    [
        rungs.record - first_clock,
        first_clock + ticket_clock,
        rungs.psk_mode - rungs.record,
        rungs.key - rungs.psk_mode,
        rungs.ticket - rungs.key,
        rungs.suites - rungs.ticket - ticket_clock,
        parts.transcript,
        rungs.binder - rungs.suites - parts.transcript,
        rungs.not_fresh - rungs.binder - parts.freshness,
        parts.freshness,
        strike_and_secret - parts.early_secret,
        parts.early_secret,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_are_the_whole() {
        let rungs = Ladder {
            record: 10.0,
            psk_mode: 100.0,
            key: 104.0,
            ticket: 210.0,
            suites: 260.0,
            binder: 400.0,
            not_fresh: 450.0,
            accepted: 600.0,
        };
        let parts = Alone {
            clock: 30.0,
            transcript: 90.0,
            freshness: 2.0,
            early_secret: 120.0,
        };
        for clocks in [[1.0, 0.0], [0.0, 30.0]] {
            let sum: f64 = stages(&rungs, &parts, clocks).iter().sum();
            assert!((sum - rungs.accepted).abs() < 1e-9, "{sum}");
        }
    }
}

//! What people and machines are told.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::gateway::Figures;
use super::load::{Kind, Ledger};
use super::protocol::Outcome;
use dtls_session::admission::NoEarlyData;

/// A line per second, of what has happened since the last.
pub(crate) struct Live {
    begun: Instant,
    last: Instant,
    before: Seen,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    flights: u64,
    admit_ns: u64,
    accepted: u64,
    replayed: u64,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            last: Instant::now(),
            before: Seen::default(),
        }
    }

    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    pub(crate) fn line(&mut self, figures: &Figures) -> String {
        let now = Seen {
            flights: figures.flights,
            admit_ns: figures.admit_ns,
            accepted: figures.metrics.accepted_early_data(),
            replayed: figures.metrics.resumed_because(NoEarlyData::Replayed),
        };
        let before = std::mem::replace(&mut self.before, now);
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        let per_second = |n: u64| (n as f64 / seconds).round() as u64;
        let flights = now.flights - before.flights;
        format!(
            "{:3} s  {:>8} flights/s  {:>8} accepted/s  {:>7} replays refused/s  \
             {:>5} ns/flight  {:>2} keys, {} retired",
            self.begun.elapsed().as_secs(),
            per_second(flights),
            per_second(now.accepted - before.accepted),
            per_second(now.replayed - before.replayed),
            per(now.admit_ns - before.admit_ns, flights),
            figures.keys,
            figures.retired,
        )
    }
}

/// How a run went.
pub(crate) struct Summary<'a> {
    ledger: &'a Ledger,
    /// What the gateway says, if it runs in this process.
    gateway: Option<&'a Figures>,
    took: Duration,
}

impl<'a> Summary<'a> {
    pub(crate) fn new(ledger: &'a Ledger, gateway: Option<&'a Figures>, took: Duration) -> Self {
        Self {
            ledger,
            gateway,
            took,
        }
    }

    /// Prints all, and says whether every flight got the verdict that it should.
    pub(crate) fn print(&self, as_json: bool) -> bool {
        self.print_kinds();
        self.print_reasons();
        self.print_rates();
        let failures = self.failures();
        for failure in &failures {
            println!("FAILED: {failure}");
        }
        if failures.is_empty() {
            println!("\nevery flight got the verdict that it should");
        }
        if as_json {
            println!("{}", self.json());
        }
        failures.is_empty()
    }

    fn print_kinds(&self) {
        println!(
            "\n{:<32}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
            "", "offered", "accepted", "resumed", "full", "retrans.", "aborted"
        );
        for kind in Kind::ALL {
            let verdicts = self.verdicts(|of| of == kind);
            let [accepted, resumed, full, retransmissions, aborted] = verdicts;
            println!(
                "{:<32}{:>9}{accepted:>9}{resumed:>9}{full:>9}{retransmissions:>9}{aborted:>9}",
                kind.name(),
                self.ledger.offered_of(kind),
            );
        }
    }

    fn print_reasons(&self) {
        let mut outcomes: Vec<_> = self.ledger.outcomes().into_iter().collect();
        outcomes.sort_by_key(|(outcome, n)| (outcome.names().0, std::cmp::Reverse(*n)));
        println!();
        for (outcome, n) in outcomes {
            let (verdict, reason) = outcome.names();
            println!("{verdict:<18}{reason:<22}{n:>10}");
        }
    }

    fn print_rates(&self) {
        let ledger = self.ledger;
        println!(
            "\n{} flights/s over {:.1} s, early data of {} flights opened, {} copies refused by \
             another worker than had accepted, {} lost",
            self.flights_per_second(),
            self.took.as_secs_f64(),
            ledger.early_data_opened,
            ledger.refused_elsewhere,
            ledger.lost
        );
        if let Some(gateway) = self.gateway {
            println!(
                "{} ns of engine time per flight, {:.1} flights per batch, {} workers, \
                 {} rotations, {} keys retired, {} tickets issued",
                per(gateway.admit_ns, gateway.flights),
                gateway.flights as f64 / gateway.batches.max(1) as f64,
                gateway.workers,
                gateway.rotations,
                gateway.retired,
                gateway.metrics.issued(),
            );
        }
    }

    /// What should not have happened.
    fn failures(&self) -> Vec<String> {
        let ledger = self.ledger;
        let mut failures = Vec::new();
        let mut none = |n: u64, what: &str| {
            if n > 0 {
                failures.push(format!("{n} {what}"));
            }
        };
        none(ledger.replays_accepted, "replays were accepted");
        none(self.forged_accepted(), "forgeries were accepted");
        none(
            ledger.early_data_stray,
            "records of early data were opened twice, wrong, or of a refused flight",
        );
        for ((kind, outcome), n) in &ledger.unexpected {
            let (verdict, reason) = outcome.names();
            none(
                *n,
                &format!("of kind '{}' got: {verdict} {reason}", kind.name()),
            );
        }
        // On loopback, and with so few on their way at once.
        if ledger.lost > ledger.offered() / 100 {
            failures.push(format!("{} copies were never answered", ledger.lost));
        }
        if ledger.accepted() == 0 {
            failures.push("nothing was accepted".into());
        }
        let [_, _, _, known, _] = self.verdicts(|kind| kind == Kind::Retransmission);
        if ledger.forgotten > known {
            failures.push("most retransmissions were not recognised".into());
        }
        if let Some(gateway) = self.gateway {
            failures.extend(self.disagreements(gateway));
        }
        failures
    }

    /// Where the engine's counters say other things than the books of those who sent. Only if a
    /// datagram was lost may they say less, and only of copies whose reports were lost more.
    fn disagreements(&self, gateway: &Figures) -> Vec<String> {
        let ledger = self.ledger;
        let judged: u64 = gateway.metrics.verdicts().map(|(.., n)| n).sum();
        let sent = ledger.offered() + ledger.records;
        if judged < sent {
            return Vec::new();
        }
        let mut failures = Vec::new();
        let mut same = |what: &str, counted: u64, booked: u64| {
            if counted.abs_diff(booked) > ledger.lost {
                failures.push(format!("{what}: {booked} booked, {counted} counted"));
            }
        };
        let outcomes = ledger.outcomes();
        for (verdict, reason, counted) in gateway.metrics.verdicts() {
            let booked = match (verdict, reason) {
                ("discard", "encrypted") => ledger.records,
                names => outcomes
                    .iter()
                    .filter(|(outcome, _)| outcome.names() == names)
                    .map(|(_, n)| n)
                    .sum(),
            };
            same(&format!("{verdict} {reason}"), counted, booked);
        }
        same("flights", gateway.flights, ledger.offered());
        same(
            "early data opened",
            ledger.early_data_opened,
            ledger.accepted(),
        );
        failures
    }

    /// How many copies of such a kind were accepted, resumed, sent to a full handshake, known as
    /// retransmissions, aborted.
    fn verdicts(&self, of: impl Fn(Kind) -> bool) -> [u64; 5] {
        let count = |such: fn(Outcome) -> bool| {
            let ledger = self.ledger;
            ledger.count(|kind, outcome| of(kind) && such(outcome))
        };
        [
            count(|outcome| outcome == Outcome::Accepted),
            count(|outcome| matches!(outcome, Outcome::Resumed(_))),
            count(|outcome| matches!(outcome, Outcome::FullHandshake(_))),
            count(|outcome| outcome == Outcome::Retransmission),
            count(|outcome| matches!(outcome, Outcome::Aborted(_))),
        ]
    }

    fn forged_accepted(&self) -> u64 {
        self.verdicts(|kind| Kind::FORGERIES.contains(&kind))[0]
    }

    fn flights_per_second(&self) -> u64 {
        (self.ledger.offered() as f64 / self.took.as_secs_f64()) as u64
    }

    fn json(&self) -> Value {
        let ledger = self.ledger;
        let offered =
            |kinds: &[Kind]| -> u64 { kinds.iter().map(|kind| ledger.offered_of(*kind)).sum() };
        let [accepted, resumed, full, retransmissions, aborted] = self.verdicts(|_| true);
        // Of the two copies in a race one is its owner's, and one a replay.
        let races = ledger.offered_of(Kind::Race) / 2;
        let gateway = self.gateway;
        json!({
            "offered": ledger.offered(),
            "accepted_early_data": accepted,
            "resumed": resumed,
            "full_handshake": full,
            "retransmissions": retransmissions,
            "aborted": aborted,
            "lost": ledger.lost,
            "genuine_offered": ledger.offered_of(Kind::Genuine) + races,
            "genuine_refused": ledger.genuine_refused,
            "genuine_delayed": ledger.genuine_delayed,
            "replays_offered": offered(&Kind::REPLAYS) + races,
            "replays_accepted": ledger.replays_accepted,
            "replays_refused_by_another_worker": ledger.refused_elsewhere,
            "forged_offered": offered(&Kind::FORGERIES),
            "forged_accepted": self.forged_accepted(),
            "unexpected_verdicts": ledger.unexpected.values().sum::<u64>(),
            "early_data_opened": ledger.early_data_opened,
            "flights_per_second": self.flights_per_second(),
            "seconds": self.took.as_secs_f64(),
            "workers": gateway.map(|figures| figures.workers),
            "rotations": gateway.map(|figures| figures.rotations),
            "keys_retired": gateway.map(|figures| figures.retired),
            "tickets_issued": gateway.map(|figures| figures.metrics.issued()),
            "ns_per_flight": gateway.map(|figures| per(figures.admit_ns, figures.flights)),
        })
    }
}

fn per(sum: u64, n: u64) -> u64 {
    sum.checked_div(n).unwrap_or(0)
}

//! The gateway's figures in the text format of Prometheus.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use dtls_session::Engine;
use dtls_session::keys::KeyRole;

use super::clock::Clock;
use super::stats::{CLOSED, Counter, Counters, Histogram, Stats};

/// Where the figures come from.
pub(super) struct Scraped {
    pub(super) address: SocketAddr,
    pub(super) engine: Engine,
    pub(super) workers: Vec<Arc<Stats>>,
    /// For each worker.
    pub(super) associations_max: usize,
    pub(super) clock: Clock,
    pub(super) begun: Instant,
}

impl Scraped {
    /// The figures as they are now.
    pub(super) fn text(&self) -> String {
        let mut page = Page(String::new());
        let uptime = self.begun.elapsed().as_secs_f64();
        page.gauge("gateway_uptime_seconds", "Since the start.", uptime);
        page.gauge("gateway_workers", "Worker threads.", self.workers.len());
        self.engine(&mut page);
        self.keys(&mut page);
        self.connections(&mut page);
        self.flight_times(&mut page);
        page.0
    }

    fn engine(&self, page: &mut Page) {
        let metrics = self.engine.metrics();
        let name = "gateway_verdicts_total";
        page.head(
            name,
            "counter",
            "The engine's verdicts on datagrams, by reason.",
        );
        for (verdict, reason, count) in metrics.verdicts() {
            page.sample(name, &[("verdict", verdict), ("reason", reason)], count);
        }
        let issued = metrics.issued();
        page.counter("gateway_tickets_issued_total", "Tickets issued.", issued);
        let help = "Bytes of the memory of accepted flights, apart from the register of tickets.";
        page.gauge("gateway_replay_bytes", help, self.engine.replay().bytes());
    }

    fn keys(&self, page: &mut Page) {
        let keys = self.engine.keys();
        let status = keys.status();
        let outstanding: u64 = status.iter().map(|key| key.issued).sum();
        let help = "Tickets issued under keys that still open them.";
        page.gauge("gateway_tickets_outstanding", help, outstanding);

        let name = "gateway_ticket_keys";
        page.head(name, "gauge", "Ticket keys by what they do.");
        for (role, text) in [
            (KeyRole::Pending, "pending"),
            (KeyRole::Active, "active"),
            (KeyRole::DecryptOnly, "decrypt_only"),
        ] {
            let count = status.iter().filter(|key| key.role == role).count();
            page.sample(name, &[("role", text)], count);
        }
        let help = "Retired ticket keys that are not overwritten yet.";
        page.gauge(
            "gateway_ticket_keys_retired_waiting",
            help,
            keys.retired_waiting(),
        );

        if let Some(active) = status.iter().find(|key| key.role == KeyRole::Active) {
            let since = active.activates.unwrap_or_default();
            let age = self.clock.now().saturating_since(since);
            let help = "Since when the key that seals does so.";
            page.gauge("gateway_ticket_key_age_seconds", help, age.as_secs_f64());
            let help = "Tickets that the key that seals has left, in its fullest lane.";
            page.gauge("gateway_ticket_key_seals_left", help, active.seals_left);
        }
        let (used, limit) = keys.register_bytes();
        let help = "Bytes of the register of used tickets.";
        page.gauge("gateway_register_bytes", help, used);
        page.gauge("gateway_register_bytes_limit", "The limit of that.", limit);
    }

    fn connections(&self, page: &mut Page) {
        let name = "gateway_handshakes_total";
        page.head(name, "counter", "Handshakes completed.");
        let kinds: [(_, Of); 2] = [
            ("full", |stats| &stats.full_handshakes),
            ("resumed", |stats| &stats.resumptions),
        ];
        for (kind, of) in kinds {
            page.sample(name, &[("kind", kind)], self.sum(of));
        }
        let counters: [(&str, &str, Of); 8] = [
            (
                "early_data_records_total",
                "Records of early data delivered.",
                |s| &s.early_records,
            ),
            (
                "early_data_bytes_total",
                "Bytes of early data delivered.",
                |s| &s.early_bytes,
            ),
            ("data_bytes_total", "Bytes of other data delivered.", |s| {
                &s.data_bytes
            }),
            ("datagrams_received_total", "Datagrams received.", |s| {
                &s.received
            }),
            ("datagrams_sent_total", "Datagrams sent.", |s| &s.sent),
            (
                "datagrams_unsent_total",
                "Datagrams that the socket did not take.",
                |s| &s.unsent,
            ),
            (
                "associations_refused_total",
                "ClientHellos not answered for want of room.",
                |s| &s.refused_full,
            ),
            ("associations", "Associations.", |s| &s.associations),
        ];
        for (name, help, of) in counters {
            let kind = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            let name = format!("gateway_{name}");
            page.head(&name, kind, help);
            page.sample(&name, &[], self.sum(of));
        }
        let limit = self.associations_max * self.workers.len();
        page.gauge("gateway_associations_limit", "The limit of that.", limit);

        let name = "gateway_closed_total";
        page.head(name, "counter", "Associations that have ended, by reason.");
        for (index, reason) in CLOSED.iter().enumerate() {
            let closed = self.workers.iter().map(|stats| stats.closed[index].get());
            page.sample(name, &[("reason", reason)], closed.sum::<u64>());
        }
    }

    fn flight_times(&self, page: &mut Page) {
        let name = "gateway_flight_nanoseconds";
        let help = "The engine's time for one ClientHello, as its batch took on average.";
        page.head(name, "histogram", help);
        let each: Vec<_> = self
            .workers
            .iter()
            .map(|stats| stats.flight_ns.read())
            .collect();
        let mut count = 0;
        let bounds = Histogram::bounds().map(|bound| bound.to_string());
        for (index, bound) in bounds.chain(["+Inf".to_owned()]).enumerate() {
            count += each.iter().map(|(counts, _)| counts[index]).sum::<u64>();
            page.sample(&format!("{name}_bucket"), &[("le", &bound)], count);
        }
        let sum: u64 = each.iter().map(|(_, sum)| sum).sum();
        page.sample(&format!("{name}_sum"), &[], sum);
        page.sample(&format!("{name}_count"), &[], count);
    }

    fn sum(&self, of: Of) -> u64 {
        self.workers.iter().map(|stats| of(stats).get()).sum()
    }
}

type Of = fn(&Counters) -> &Counter;

/// The text as it grows. Names and labels are all of this file's, so that nothing is escaped.
struct Page(String);

impl Page {
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        self.sample(name, &[], value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
        let _ = match labels.is_empty() {
            true => writeln!(self.0, "{name} {value}"),
            false => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
        };
    }
}

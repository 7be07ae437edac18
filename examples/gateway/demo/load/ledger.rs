//! The books: what was offered, what became of it, and what should have.

use std::collections::HashMap;

use dtls_session::admission::{AbortReason, NoEarlyData, NoResumption};

use super::super::protocol::Outcome;
use super::flight::Flight;

/// Why a copy of a flight is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Genuine,
    Race,
    Retransmission,
    ReplaySamePort,
    ReplayOtherPort,
    ReplayOld,
    Expired,
    Stale,
    Forged,
    Truncated,
    UnknownKey,
    BadBinder,
}

impl Kind {
    pub(crate) const ALL: [Self; 12] = [
        Self::Genuine,
        Self::Race,
        Self::Retransmission,
        Self::ReplaySamePort,
        Self::ReplayOtherPort,
        Self::ReplayOld,
        Self::Expired,
        Self::Stale,
        Self::Forged,
        Self::Truncated,
        Self::UnknownKey,
        Self::BadBinder,
    ];
    /// Sent by somebody who has not the secret of the ticket.
    pub(crate) const FORGERIES: [Self; 4] = [
        Self::Forged,
        Self::Truncated,
        Self::UnknownKey,
        Self::BadBinder,
    ];
    /// Sent once more by somebody who saw it, after it was accepted.
    pub(crate) const REPLAYS: [Self; 3] =
        [Self::ReplaySamePort, Self::ReplayOtherPort, Self::ReplayOld];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Genuine => "genuine 0-RTT",
            Self::Race => "the same from two ports at once",
            Self::Retransmission => "retransmission",
            Self::ReplaySamePort => "replay, same port",
            Self::ReplayOtherPort => "replay, other port",
            Self::ReplayOld => "replay after seconds",
            Self::Expired => "expired ticket",
            Self::Stale => "age off",
            Self::Forged => "forged ticket",
            Self::Truncated => "truncated ticket",
            Self::UnknownKey => "unknown key",
            Self::BadBinder => "bad binder",
        }
    }

    /// Whether a copy may get this verdict. A `delayed` flight has its age against it.
    fn expects(self, outcome: Outcome, delayed: bool) -> bool {
        use Outcome::{Aborted, Accepted, FullHandshake, Resumed};
        let too_old = matches!(
            outcome,
            Resumed(NoEarlyData::Late)
                | FullHandshake(NoResumption::TicketExpired | NoResumption::UnknownKey)
        );
        let replayed = outcome == Resumed(NoEarlyData::Replayed);
        let expected = match self {
            Self::Genuine => outcome == Accepted,
            Self::Race => outcome == Accepted || replayed,
            // The memory for retransmissions is small: what it forgets is a replay. And a replay
            // is a retransmission if there was one a moment ago.
            Self::Retransmission | Self::ReplaySamePort => {
                outcome == Outcome::Retransmission || replayed
            }
            Self::ReplayOtherPort => replayed,
            Self::ReplayOld => too_old,
            // Its key is retired when it has sealed nothing but expired tickets.
            Self::Expired => matches!(
                outcome,
                FullHandshake(NoResumption::TicketExpired | NoResumption::UnknownKey)
            ),
            Self::Stale => {
                matches!(outcome, Resumed(NoEarlyData::Late | NoEarlyData::Early))
            }
            Self::Forged => outcome == FullHandshake(NoResumption::ForgedTicket),
            Self::Truncated => matches!(
                outcome,
                FullHandshake(NoResumption::MalformedTicket | NoResumption::ForgedTicket)
            ),
            Self::UnknownKey => outcome == FullHandshake(NoResumption::UnknownKey),
            Self::BadBinder => outcome == Aborted(AbortReason::BadBinder),
        };
        expected || delayed && too_old
    }
}

#[derive(Default)]
pub(crate) struct Ledger {
    offered: HashMap<Kind, u64>,
    verdicts: HashMap<(Kind, Outcome), u64>,
    /// Verdicts that a copy of its kind should not get.
    pub(crate) unexpected: HashMap<(Kind, Outcome), u64>,
    /// Copies of which nothing was heard.
    pub(crate) lost: u64,
    /// Datagrams that held early data alone.
    pub(crate) records: u64,
    /// Flights of their owners of which no copy was accepted.
    pub(crate) genuine_refused: u64,
    /// Copies of them that were judged too late to expect anything else.
    pub(crate) genuine_delayed: u64,
    /// Retransmissions that came in time and were not known as such.
    pub(crate) forgotten: u64,
    /// Acceptances of a flight but the first.
    pub(crate) replays_accepted: u64,
    /// Refused copies of a flight that another worker had accepted.
    pub(crate) refused_elsewhere: u64,
    /// Accepted flights whose early data was opened as it was sent.
    pub(crate) early_data_opened: u64,
    /// Early data that was opened a second time, or of a flight that was not accepted.
    pub(crate) early_data_stray: u64,
}

impl Ledger {
    /// Enters a copy that was sent, in so many datagrams.
    pub(crate) fn offer(&mut self, kind: Kind, datagrams: usize) {
        *self.offered.entry(kind).or_default() += 1;
        self.records += datagrams as u64 - 1;
    }

    /// Enters the verdict of the worker of `lane` on a copy.
    pub(crate) fn judge(
        &mut self,
        kind: Kind,
        flight: &Flight,
        outcome: Outcome,
        lane: u8,
        delayed: bool,
    ) {
        *self.verdicts.entry((kind, outcome)).or_default() += 1;
        if !kind.expects(outcome, delayed) {
            *self.unexpected.entry((kind, outcome)).or_default() += 1;
        }
        match kind {
            Kind::Genuine | Kind::Race => self.genuine_delayed += u64::from(delayed),
            Kind::Retransmission if outcome != Outcome::Retransmission && !delayed => {
                self.forgotten += 1;
            }
            _ => {}
        }
        match (flight.accepted_on.get(), outcome) {
            (None, Outcome::Accepted) => flight.accepted_on.set(Some(lane)),
            (Some(_), Outcome::Accepted) => self.replays_accepted += 1,
            (Some(other), _) if other != lane => self.refused_elsewhere += 1,
            _ => {}
        }
    }

    /// Takes over what the ledger of another thread says.
    pub(crate) fn add(&mut self, other: &Self) {
        add_all(&mut self.offered, &other.offered);
        add_all(&mut self.verdicts, &other.verdicts);
        add_all(&mut self.unexpected, &other.unexpected);
        self.lost += other.lost;
        self.records += other.records;
        self.genuine_refused += other.genuine_refused;
        self.genuine_delayed += other.genuine_delayed;
        self.forgotten += other.forgotten;
        self.replays_accepted += other.replays_accepted;
        self.refused_elsewhere += other.refused_elsewhere;
        self.early_data_opened += other.early_data_opened;
        self.early_data_stray += other.early_data_stray;
    }

    pub(crate) fn offered(&self) -> u64 {
        self.offered.values().sum()
    }

    pub(crate) fn offered_of(&self, kind: Kind) -> u64 {
        self.offered.get(&kind).copied().unwrap_or(0)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.count(|_, outcome| outcome == Outcome::Accepted)
    }

    /// How many copies got such a verdict.
    pub(crate) fn count(&self, such: impl Fn(Kind, Outcome) -> bool) -> u64 {
        let counted = self.verdicts.iter();
        let counted = counted.filter(|((kind, outcome), _)| such(*kind, *outcome));
        counted.map(|(_, n)| n).sum()
    }

    /// All verdicts that were given.
    pub(crate) fn outcomes(&self) -> HashMap<Outcome, u64> {
        let mut outcomes = HashMap::new();
        for ((_, outcome), n) in &self.verdicts {
            *outcomes.entry(*outcome).or_default() += n;
        }
        outcomes
    }
}

fn add_all<K: Copy + Eq + std::hash::Hash>(to: &mut HashMap<K, u64>, from: &HashMap<K, u64>) {
    for (key, n) in from {
        *to.entry(*key).or_default() += n;
    }
}

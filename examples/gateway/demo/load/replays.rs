//! Flights that were accepted and are sent again: by clients that heard no answer, and by whoever
//! recorded them.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::protocol::{FRESHNESS, MARGIN, RETRANSMISSION_WINDOW, TICKET_LIFETIME};
use super::flight::{Dice, Flight};
use super::ledger::Kind;
use super::ports::PORTS;

/// A flight, and the port that it came from.
pub(crate) type Seen = (Rc<Flight>, usize);

pub(crate) struct Replays {
    /// Accepted in the last round.
    recent: Vec<Seen>,
    /// Accepted before, to be sent again when they are no longer a retransmission,
    forgotten: Shelf,
    /// when they are no longer fresh,
    late: Shelf,
    /// and when their tickets are expired.
    expired: Shelf,
}

impl Replays {
    /// How many flights of a round are recorded.
    const RECORDED: usize = 4;

    pub(crate) fn new() -> Self {
        Self {
            recent: Vec::new(),
            forgotten: Shelf::new(RETRANSMISSION_WINDOW + MARGIN),
            late: Shelf::new(FRESHNESS + MARGIN),
            expired: Shelf::new(TICKET_LIFETIME + MARGIN),
        }
    }

    /// These flights were accepted in the round that is over.
    pub(crate) fn record(&mut self, mut accepted: Vec<Seen>) {
        let recorded = accepted.len().min(Self::RECORDED);
        for seen in accepted.drain(..recorded) {
            self.forgotten.put(seen);
        }
        self.recent = accepted;
    }

    /// The next to be sent again for `kind`, from its port or another; `None` if there is none
    /// yet.
    pub(crate) fn next(&mut self, kind: Kind, dice: &mut Dice) -> Option<Seen> {
        match kind {
            Kind::Retransmission => self.recent.pop(),
            Kind::ReplayOtherPort => self.recent.pop().map(|seen| moved(seen, dice)),
            Kind::ReplaySamePort => {
                let seen = self.forgotten.take()?;
                self.late.put(seen.clone());
                Some(seen)
            }
            Kind::ReplayOld => {
                if let Some(seen) = self.expired.take() {
                    return Some(moved(seen, dice));
                }
                let seen = self.late.take()?;
                self.expired.put(seen.clone());
                Some(moved(seen, dice))
            }
            _ => None,
        }
    }
}

fn moved((flight, port): Seen, dice: &mut Dice) -> Seen {
    (flight, other_port(port, dice))
}

pub(crate) fn other_port(port: usize, dice: &mut Dice) -> usize {
    (port + 1 + dice.below(PORTS - 1)) % PORTS
}

/// Flights that wait, each as long.
struct Shelf {
    delay: Duration,
    waiting: VecDeque<(Instant, Seen)>,
}

impl Shelf {
    const CAPACITY: usize = 4096;

    fn new(delay: Duration) -> Self {
        let waiting = VecDeque::new();
        Self { delay, waiting }
    }

    /// Unless it is full.
    fn put(&mut self, seen: Seen) {
        if self.waiting.len() < Self::CAPACITY {
            self.waiting.push_back((Instant::now() + self.delay, seen));
        }
    }

    fn take(&mut self) -> Option<Seen> {
        let (due, _) = self.waiting.front()?;
        if *due > Instant::now() {
            return None;
        }
        self.waiting.pop_front().map(|(_, seen)| seen)
    }
}

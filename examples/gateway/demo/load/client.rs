//! A load thread: rounds of flights, whose verdicts it waits for before the next.
//!
//! So nothing is lost for want of room, every verdict belongs to one copy of one flight, and a
//! replay is sent when its flight is known to have been accepted.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::super::protocol::{self, Event, Outcome, Report};
use super::flight::{Dice, EARLY_DATA_LEN, Flight};
use super::ledger::{Kind, Ledger};
use super::originals::Originals;
use super::ports::{PORTS, Ports};
use super::replays::{Replays, other_port};
use crate::Failure;

/// How many flights of each kind make a round.
const MIX: [(Kind, usize); 12] = [
    (Kind::BadBinder, 2),
    (Kind::Genuine, 20),
    (Kind::Race, 2),
    (Kind::Retransmission, 4),
    (Kind::ReplayOtherPort, 6),
    (Kind::ReplaySamePort, 4),
    (Kind::ReplayOld, 2),
    (Kind::Expired, 1),
    (Kind::Stale, 2),
    (Kind::Forged, 2),
    (Kind::Truncated, 1),
    (Kind::UnknownKey, 1),
];

/// A flight that is judged later than this has its age against it, and be it for a slow machine.
const DELAY: Duration = Duration::from_secs(1);

pub(crate) struct Client {
    ports: Ports,
    dice: Dice,
    originals: Originals,
    replays: Replays,
    ledger: Ledger,
}

/// A copy of a flight that was sent.
struct Sent {
    kind: Kind,
    flight: Rc<Flight>,
    port: usize,
    verdict: Option<Judged>,
    early_data: bool,
}

struct Judged {
    outcome: Outcome,
    lane: u8,
    delayed: bool,
}

impl Sent {
    fn is_accepted(&self) -> bool {
        let verdict = self.verdict.as_ref();
        verdict.is_some_and(|judged| judged.outcome == Outcome::Accepted)
    }

    /// All has happened that should.
    fn is_settled(&self) -> bool {
        self.verdict.is_some() && self.early_data == self.is_accepted()
    }
}

impl Client {
    pub(crate) fn new(id: usize, target: SocketAddr) -> Result<Self, Failure> {
        Ok(Self {
            ports: Ports::new(target)?,
            dice: Dice::new()?,
            originals: Originals::new(id)?,
            replays: Replays::new(),
            ledger: Ledger::default(),
        })
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn into_ledger(self) -> Ledger {
        self.ledger
    }

    /// Sends some flights of each kind, and books what becomes of them.
    pub(crate) fn round(&mut self) -> Result<(), Failure> {
        self.originals.prepare(&mut self.ports, &mut self.dice)?;
        let mut round = Vec::new();
        for (kind, flights) in MIX {
            for _ in 0..flights {
                self.write(kind, &mut round)?;
            }
        }
        for sent in &round {
            self.send(sent)?;
        }
        for port in 0..PORTS {
            if !self.hear(port, &mut round)? {
                break;
            }
        }
        self.book(&round);
        Ok(())
    }

    /// Puts the next flight of `kind` into the round, if there is one.
    fn write(&mut self, kind: Kind, round: &mut Vec<Sent>) -> Result<(), Failure> {
        let dice = &mut self.dice;
        let (flight, port) = if let Some(replay) = self.replays.next(kind, dice) {
            replay
        } else if let Some(original) = self.originals.next(kind, dice)? {
            (original, dice.below(PORTS))
        } else {
            return Ok(());
        };
        let mut sent = |flight, port| {
            round.push(Sent {
                kind,
                flight,
                port,
                verdict: None,
                early_data: false,
            });
        };
        if kind == Kind::Race {
            sent(Rc::clone(&flight), other_port(port, dice));
        }
        sent(flight, port);
        Ok(())
    }

    fn send(&mut self, sent: &Sent) -> Result<(), Failure> {
        let datagrams = &sent.flight.datagrams;
        for datagram in datagrams {
            self.ports.send(sent.port, datagram)?;
        }
        self.ledger.offer(sent.kind, datagrams.len());
        Ok(())
    }

    /// Waits for what the gateway says of the copies that were sent from `port`. `false` if it says
    /// nothing.
    fn hear(&mut self, port: usize, round: &mut [Sent]) -> Result<bool, Failure> {
        let waits = |sent: &Sent| sent.port == port && !sent.is_settled();
        while round.iter().any(waits) {
            let Some(datagram) = self.ports.receive(port)? else {
                return Ok(false);
            };
            let Some((lane, events)) = Report::parse(datagram) else {
                continue;
            };
            let now = protocol::now();
            for (tag, event) in events {
                let is_it = |sent: &&mut Sent| sent.port == port && sent.flight.tag == tag;
                let sent = round.iter_mut().find(is_it);
                match (sent, event) {
                    (Some(sent), Event::Judged(outcome)) => {
                        let delayed = now.saturating_since(sent.flight.written) > DELAY;
                        sent.verdict = Some(Judged {
                            outcome,
                            lane,
                            delayed,
                        });
                    }
                    (Some(sent), Event::EarlyData(EARLY_DATA_LEN))
                        if sent.is_accepted() && !sent.early_data =>
                    {
                        sent.early_data = true;
                    }
                    (_, Event::EarlyData(_)) => self.ledger.early_data_stray += 1,
                    // Of a round that did not wait so long.
                    (None, Event::Judged(_)) => {}
                }
            }
        }
        Ok(true)
    }

    fn book(&mut self, round: &[Sent]) {
        for copies in round.chunk_by(|a, b| Rc::ptr_eq(&a.flight, &b.flight)) {
            // The accepted copy first, so that the others are known to be replays.
            let (accepted, others): (Vec<_>, Vec<_>) =
                copies.iter().partition(|sent| sent.is_accepted());
            for sent in accepted.iter().chain(&others) {
                self.book_one(sent);
            }
            if accepted.is_empty() && others.iter().all(|sent| sent.verdict.is_some()) {
                let genuine = matches!(copies[0].kind, Kind::Genuine | Kind::Race);
                self.ledger.genuine_refused += u64::from(genuine);
            }
        }
        let accepted = round.iter();
        let accepted = accepted.filter(|sent| sent.kind == Kind::Genuine && sent.is_accepted());
        let seen = accepted.map(|sent| (Rc::clone(&sent.flight), sent.port));
        self.replays.record(seen.collect());
    }

    fn book_one(&mut self, sent: &Sent) {
        match &sent.verdict {
            Some(judged) => {
                self.ledger.judge(
                    sent.kind,
                    &sent.flight,
                    judged.outcome,
                    judged.lane,
                    judged.delayed,
                );
                self.ledger.early_data_opened += u64::from(sent.early_data);
            }
            None => self.ledger.lost += 1,
        }
    }
}

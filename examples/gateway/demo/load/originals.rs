//! Flights that were not sent before: of clients, and of those who forge.

use std::rc::Rc;
use std::time::Duration;

use dtls_session::{Error, UnixMillis};

use super::super::protocol::{self, FRESHNESS, MARGIN, TICKET_LIFETIME};
use super::flight::{Author, Dice, Flight, stolen};
use super::ledger::Kind;
use super::ports::Ports;
use super::sessions::{Sessions, Stranger};
use crate::Failure;

pub(crate) struct Originals {
    author: Author,
    fresh: Sessions,
    /// With tickets that were long on their way.
    late: Sessions,
    expired: Sessions,
    stranger: Stranger,
    /// Written, and seen by somebody before they were sent.
    seen: Vec<Rc<Flight>>,
}

impl Originals {
    /// Of the thread `id`.
    pub(crate) fn new(id: usize) -> Result<Self, Error> {
        Ok(Self {
            author: Author::new(id),
            fresh: Sessions::new(Duration::ZERO, 32, 1024),
            late: Sessions::new(FRESHNESS + MARGIN, 2, 2),
            expired: Sessions::new(TICKET_LIFETIME + MARGIN, 1, 1),
            stranger: Stranger::new()?,
            seen: Vec::new(),
        })
    }

    /// Gets the sessions that a round needs.
    pub(crate) fn prepare(&mut self, ports: &mut Ports, dice: &mut Dice) -> Result<(), Failure> {
        for sessions in [&mut self.fresh, &mut self.late, &mut self.expired] {
            sessions.refill(ports, dice)?;
        }
        Ok(())
    }

    /// The next of `kind`, if that is one of these, and there is a session for it.
    pub(crate) fn next(
        &mut self,
        kind: Kind,
        dice: &mut Dice,
    ) -> Result<Option<Rc<Flight>>, Failure> {
        if kind == Kind::Genuine && !self.seen.is_empty() {
            return Ok(self.seen.pop());
        }
        // The clients whose clocks run ahead are as many as those whose tickets were late.
        let runs_ahead = kind == Kind::Stale && dice.below(2) == 0;
        let session = match kind {
            Kind::Stale if !runs_ahead => self.late.take(),
            Kind::Expired => self.expired.take(),
            Kind::UnknownKey => Some(self.stranger.session(dice)?),
            Kind::Genuine | Kind::Race | Kind::Stale => self.fresh.take(),
            _ if Kind::FORGERIES.contains(&kind) => self.fresh.take(),
            _ => None,
        };
        let Some(mut session) = session else {
            return Ok(None);
        };
        let now = protocol::now();
        if matches!(kind, Kind::Forged | Kind::Truncated) {
            // Somebody saw the ticket, and makes something of it. Its owner uses it afterwards.
            let ticket = spoilt(session.ticket(), kind, dice);
            let forged = stolen(&ticket, session.info().suite, now, dice)?;
            self.fresh.put_back(session);
            session = forged;
        }
        // Any further ahead, and the ticket would have expired for the client.
        let ahead = UnixMillis(session.info().expires.0 - 1);
        let clock = if runs_ahead { ahead } else { now };
        let flight = self.author.write(session, clock, now, dice)?;
        if kind == Kind::BadBinder {
            // Somebody is faster than the client whose flight he saw, and changes it. That must
            // not cost the client anything.
            let changed = self.author.change(&flight);
            self.seen.push(Rc::new(flight));
            return Ok(Some(Rc::new(changed)));
        }
        Ok(Some(Rc::new(flight)))
    }
}

fn spoilt(ticket: &[u8], kind: Kind, dice: &mut Dice) -> Vec<u8> {
    let mut ticket = ticket.to_vec();
    if kind == Kind::Truncated {
        ticket.truncate(1 + dice.below(ticket.len() - 1));
    } else {
        // Anything but the key's name, which would make it one of an unknown key.
        let bit = 64 + dice.below(8 * (ticket.len() - 8));
        ticket[bit / 8] ^= 1 << (bit % 8);
    }
    ticket
}

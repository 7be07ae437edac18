//! The sessions of a load thread, which are worth a flight each.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use dtls_session::client::ClientSession;
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::fragments;
use dtls_session::{Engine, Error, NewSession, ResumptionSecret, UnixMillis, Worker};
use ring::rand::SystemRandom;

use super::super::protocol::{ALPN, SERVER_NAME, TICKETS_MAX, TicketRequest, Tickets, now};
use super::flight::Dice;
use super::ports::{PORTS, Ports};
use crate::Failure;

/// Older ones are dropped unused: what becomes of a flight is to be decided by the gateway's rules,
/// and not by a slow machine.
const AGE_MAX: Duration = Duration::from_secs(1);

/// Most clients take the first suite. Each suite gets its share of requests.
const SUITES: [CipherSuite; 8] = {
    let mut suites = [CipherSuite::Aes128GcmSha256; 8];
    suites[3] = CipherSuite::Chacha20Poly1305Sha256;
    suites[7] = CipherSuite::Aes256GcmSha384;
    suites
};

/// Sessions with tickets of one age, used in the order in which they came: while some wait, the
/// key that sealed them is followed by another.
pub(crate) struct Sessions {
    /// How long before they came their tickets were issued.
    ticket_age: Duration,
    /// How many a round needs.
    least: usize,
    /// How many are to be there if there is time.
    stock: usize,
    held: VecDeque<ClientSession>,
}

impl Sessions {
    pub(crate) fn new(ticket_age: Duration, least: usize, stock: usize) -> Self {
        Self {
            ticket_age,
            least,
            stock,
            held: VecDeque::new(),
        }
    }

    /// Asks for as many as a round needs, and for some more as long as the stock is not full.
    pub(crate) fn refill(&mut self, ports: &mut Ports, dice: &mut Dice) -> Result<(), Failure> {
        self.drop_old();
        if self.held.len() < self.stock {
            self.request(ports, dice)?;
        }
        while self.held.len() < self.least {
            self.request(ports, dice)?;
        }
        Ok(())
    }

    /// The oldest session that is not too old.
    pub(crate) fn take(&mut self) -> Option<ClientSession> {
        self.drop_old();
        self.held.pop_front()
    }

    /// Takes back a session that was not offered. It is the next to be taken.
    pub(crate) fn put_back(&mut self, session: ClientSession) {
        self.held.push_front(session);
    }

    fn drop_old(&mut self) {
        let now = now();
        let is_old =
            |session: &ClientSession| now.saturating_since(session.info().received) > AGE_MAX;
        while self.held.front().is_some_and(is_old) {
            self.held.pop_front();
        }
    }

    /// Asks two workers, or one of them twice.
    fn request(&mut self, ports: &mut Ports, dice: &mut Dice) -> Result<(), Failure> {
        let suite = SUITES[dice.below(SUITES.len())];
        let secret: [u8; 48] = dice.bytes();
        let secret = &secret[..suite.hash().output_len()];
        let request = TicketRequest {
            count: TICKETS_MAX,
            age_ms: u32::try_from(self.ticket_age.as_millis())?,
            suite,
            resumption_master_secret: secret,
        };
        let port = dice.below(PORTS);
        let two = [port, (port + 1) % PORTS];
        for port in two {
            ports.send(port, &request.write())?;
        }
        for port in two {
            self.receive(port, ports, suite, secret)?;
        }
        Ok(())
    }

    fn receive(
        &mut self,
        port: usize,
        ports: &mut Ports,
        suite: CipherSuite,
        secret: &[u8],
    ) -> Result<(), Failure> {
        while let Some(datagram) = ports.receive(port)? {
            // A report that was given up may be before the tickets.
            let Some(messages) = Tickets::parse(datagram) else {
                continue;
            };
            let received = now();
            for message in messages {
                self.held
                    .push_back(session(message, suite, secret, received)?);
            }
            return Ok(());
        }
        Err("no tickets: does the gateway serve with --demo?".into())
    }
}

/// The session of a NewSessionTicket message with its handshake header.
fn session(
    message: &[u8],
    suite: CipherSuite,
    secret: &[u8],
    received: UnixMillis,
) -> Result<ClientSession, Failure> {
    let message = fragments(message).next().ok_or("an empty message")?;
    let body = message.map_err(|why| format!("{why:?}"))?.body;
    let session =
        ClientSession::from_new_session_ticket(body, suite, secret, Some(ALPN), received)?;
    Ok(session)
}

/// Another gateway, with keys of its own.
pub(crate) struct Stranger(Worker);

impl Stranger {
    pub(crate) fn new() -> Result<Self, Error> {
        let engine = Engine::builder().build(&SystemRandom::new(), now())?;
        engine.worker(0).map(Self)
    }

    /// A session with it, to be offered to a gateway that does not know it.
    pub(crate) fn session(&mut self, dice: &mut Dice) -> Result<ClientSession, Failure> {
        let (suite, now) = (SUITES[0], now());
        let secret: [u8; 32] = dice.bytes();
        let ticket = NewSession {
            suite,
            secret: ResumptionSecret::Master {
                secret: &secret,
                ticket_nonce: &[0],
            },
            server_name: Some(SERVER_NAME.as_bytes()),
            alpn: Some(ALPN),
            authenticated: now,
            host_data: b"",
            message_seq: 4,
        };
        let mut message = [0; 1024];
        let peer = Ipv4Addr::LOCALHOST.into();
        let len = self.0.issue(&ticket, peer, now, &mut message)?;
        session(&message[..len], suite, &secret, now)
    }
}

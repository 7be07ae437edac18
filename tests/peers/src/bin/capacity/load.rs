//! Clients that resume again and again with early data, so many at a time, in one thread.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dtls_session::schedule::CipherSuite;
use dtls_session_peers::Result;
use dtls_session_peers::client::{EarlyData, Own, Read, Settings, Socket, Stack, group};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What each client asks for, and gets back as an echo.
const REQUEST: [u8; 64] = [0x2a; 64];

/// A client that waits longer has been forgotten.
const PATIENCE: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Resumed handshakes, each with an echo of its early data and a new ticket.
    pub(crate) accepted: u64,
    /// Handshakes whose early data was refused, or that came to nothing.
    pub(crate) others: u64,
    /// From the ClientHello to the echo of the early data.
    pub(crate) latencies: Vec<Duration>,
}

/// A client, and the session with which it began.
struct Client {
    stack: Own,
    began: Instant,
    is_resuming: bool,
    is_answered: bool,
}

/// The clients of one server.
pub(crate) struct Load {
    server: SocketAddr,
    settings: Settings,
    clients: Vec<Client>,
}

impl Load {
    /// `clients` of `server`, which have nothing to resume yet.
    pub(crate) fn new(server: SocketAddr, suite: CipherSuite, clients: usize) -> Result<Self> {
        let settings = Settings {
            suite: Some(suite),
            groups: vec![group::X25519],
            ..Settings::default()
        };
        let mut load = Self {
            server,
            settings,
            clients: Vec::new(),
        };
        for _ in 0..clients {
            load.clients.push(load.connect(None)?);
        }
        Ok(load)
    }

    /// Lets them resume, and resume what that brings, for `time`.
    pub(crate) fn run(&mut self, time: Duration) -> Result<Outcome> {
        let end = Instant::now() + time;
        let mut outcome = Outcome::default();
        while Instant::now() < end {
            self.wait()?;
            for index in 0..self.clients.len() {
                self.step(index, &mut outcome)?;
            }
        }
        Ok(outcome)
    }

    fn wait(&self) -> Result<()> {
        let tick = Timespec::try_from(Duration::from_millis(20)).map_err(|why| why.to_string())?;
        let sockets = self.clients.iter().map(|client| client.stack.socket());
        let fd = |socket| PollFd::new(socket, PollFlags::IN);
        let mut fds: Vec<PollFd<'_>> = sockets.map(|socket: &Socket| fd(socket)).collect();
        poll(&mut fds, Some(&tick))
            .map(drop)
            .map_err(|why| why.to_string())
    }

    fn step(&mut self, index: usize, outcome: &mut Outcome) -> Result<()> {
        let client = &mut self.clients[index];
        let mut data = [0; 2048];
        let is_over = match client.stack.handshake() {
            Ok(false) => false,
            Ok(true) => {
                while let Read::Data(len) = client.stack.read(&mut data)? {
                    if !client.is_answered && data[..len] == REQUEST {
                        client.is_answered = true;
                        outcome.latencies.push(client.began.elapsed());
                    }
                }
                let agreed = client.stack.agreed()?;
                let waits_for_echo = agreed.early_data == EarlyData::Accepted;
                client.stack.ticket().is_some() && (client.is_answered || !waits_for_echo)
            }
            Err(_) => true,
        };
        if !is_over && client.began.elapsed() < PATIENCE {
            return Ok(());
        }
        if client.is_answered {
            outcome.accepted += 1;
        } else if client.is_resuming {
            outcome.others += 1;
        }
        client.stack.close();
        let session = client.stack.ticket();
        self.clients[index] = self.connect(session.as_ref())?;
        Ok(())
    }

    fn connect(&self, session: Option<&<Own as Stack>::Session>) -> Result<Client> {
        let mut stack = Own::new(self.server, &self.settings, session)?;
        let began = Instant::now();
        if session.is_some() {
            stack.write_early(&REQUEST)?;
        } else {
            stack.handshake()?;
        }
        Ok(Client {
            stack,
            began,
            is_resuming: session.is_some(),
            is_answered: false,
        })
    }
}

//! One client connection of a real stack, driven over a UDP socket.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dtls_session::schedule::CipherSuite;

use crate::{PATIENCE, Result};

mod boringssl;
mod own;
mod socket;
mod wolfssl;

pub use boringssl::BoringSsl;
pub use own::{InTranscript, Own};
pub use socket::Socket;
pub use wolfssl::WolfSsl;

/// When a client first sends again what was not answered: sooner than in a real network, so that
/// a lossy test is short.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(120);

/// A client waits so many times as long as at first before it sends something for the nth time, and
/// no longer, so that it does so often enough in any network that is not dead.
const RETRANSMIT_AFTER_MAX: u32 = 8;

/// Named groups by their codes.
pub mod group {
    /// secp256r1
    pub const P256: u16 = 23;
    /// secp384r1, which the gateway does not take
    pub const P384: u16 = 24;
    /// x25519
    pub const X25519: u16 = 29;
}

/// What a client wants.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The only one that is offered; `None`: the stack's own choice.
    pub suite: Option<CipherSuite>,
    /// By preference; the first gets the only key share. Empty: the stack's own choice.
    pub groups: Vec<u16>,
    /// For the server_name extension.
    pub server_name: Option<String>,
    /// The certificate, in DER, that the server has to have; `None`: any.
    pub trust: Option<Vec<u8>>,
    /// The PSK is to be used without a key exchange.
    pub psk_alone: bool,
    /// It wants to find a connection ID in what it receives.
    pub connection_id: bool,
    /// It knows nothing newer than DTLS 1.2.
    pub old_version: bool,
}

/// What became of early data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyData {
    /// There was none.
    NotSent,
    /// The server refused it.
    Rejected,
    /// The server took it.
    Accepted,
}

/// What a complete handshake agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The cipher suite.
    pub suite: CipherSuite,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// What became of early data.
    pub early_data: EarlyData,
}

/// What came of reading.
pub enum Read {
    /// So many bytes.
    Data(usize),
    /// Nothing yet.
    Nothing,
    /// The server closed the connection.
    Closed,
}

/// What a stack can do with one connection without waiting. Errors are for good.
pub trait Stack: Sized {
    /// What a later connection can resume.
    type Session;

    /// A connection to `server`, with nothing sent yet.
    fn new(
        server: SocketAddr,
        settings: &Settings,
        session: Option<&Self::Session>,
    ) -> Result<Self>;
    /// The socket that it reads and writes.
    fn socket(&self) -> &Socket;
    /// Sends early data, behind the ClientHello.
    fn write_early(&mut self, data: &[u8]) -> Result<()>;
    /// Goes on with the handshake. `true`: it is complete.
    fn handshake(&mut self) -> Result<bool>;
    /// What a complete handshake agreed upon.
    fn agreed(&self) -> Result<Agreed>;
    /// Reads application data, and whatever else has come.
    fn read(&mut self, out: &mut [u8]) -> Result<Read>;
    /// Sends application data in one datagram.
    fn write(&mut self, data: &[u8]) -> Result<()>;
    /// The session with the newest ticket that this connection brought.
    fn ticket(&self) -> Option<Self::Session>;
    /// How long to wait before [`on_timer`](Self::on_timer), from now.
    fn timer(&self) -> Option<Duration>;
    /// Nothing came for as long as [`timer`](Self::timer) said.
    fn on_timer(&mut self) -> Result<()>;
    /// Goes on with its next keys, and wants the server to do so, too.
    fn update_keys(&mut self) -> Result<()>;
    /// Sends close_notify.
    fn close(&mut self);
}

/// One client connection.
pub struct Connection<S> {
    stack: S,
    timer: Option<Instant>,
}

impl<S: Stack> Connection<S> {
    /// Sends the first flight: the ClientHello, which offers `session`, and the early data, one
    /// datagram each.
    pub fn start(
        server: SocketAddr,
        settings: &Settings,
        session: Option<&S::Session>,
        early_data: &[&[u8]],
    ) -> Result<Self> {
        let mut stack = S::new(server, settings, session)?;
        for data in early_data {
            stack.write_early(data)?;
        }
        if early_data.is_empty() {
            stack.handshake()?;
        }
        let timer = stack.timer().map(|timer| Instant::now() + timer);
        Ok(Self { stack, timer })
    }

    /// Completes the handshake.
    pub fn complete(&mut self) -> Result<Agreed> {
        self.until(PATIENCE, |stack| Ok(stack.handshake()?.then_some(())))?
            .ok_or("the handshake takes too long")?;
        self.stack.agreed()
    }

    /// [Starts](Self::start) and [completes](Self::complete) a connection.
    pub fn connect(
        server: SocketAddr,
        settings: &Settings,
        session: Option<&S::Session>,
        early_data: &[&[u8]],
    ) -> Result<(Self, Agreed)> {
        let mut connection = Self::start(server, settings, session, early_data)?;
        let agreed = connection.complete()?;
        Ok((connection, agreed))
    }

    /// Sends `data` in one datagram.
    pub fn send(&mut self, data: &[u8]) -> Result<()> {
        self.stack.write(data)
    }

    /// The next application data.
    pub fn receive_next(&mut self) -> Result<Vec<u8>> {
        self.receive(PATIENCE)?.ok_or_else(|| "no data came".into())
    }

    /// The next application data, if some comes within `patience`.
    pub fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>> {
        let mut data = vec![0; 1 << 14];
        let len = self.until(patience, |stack| match stack.read(&mut data)? {
            Read::Data(len) => Ok(Some(len)),
            Read::Nothing => Ok(None),
            Read::Closed => Err("the server closed the connection".into()),
        })?;
        Ok(len.map(|len| {
            data.truncate(len);
            data
        }))
    }

    /// Sends `data`, again and again if need be, until the gateway has echoed it.
    pub fn echo(&mut self, data: &[u8]) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            self.send(data)?;
            let again = Instant::now() + 4 * RETRANSMIT_AFTER;
            while let Some(came) = self.receive(again.saturating_duration_since(Instant::now()))? {
                if came == data {
                    return Ok(());
                }
            }
        }
        Err("no echo".into())
    }

    /// Waits for a ticket. The session that it makes can be resumed.
    pub fn session(&mut self) -> Result<S::Session> {
        let mut data = vec![0; 1 << 14];
        let session = self.until(PATIENCE, |stack| {
            // Application data that comes meanwhile is nothing that a test still waits for.
            while let Read::Data(_) = stack.read(&mut data)? {}
            Ok(stack.ticket())
        })?;
        session.ok_or_else(|| "no ticket came".into())
    }

    /// The stack behind it.
    pub const fn stack(&mut self) -> &mut S {
        &mut self.stack
    }

    /// Closes the connection.
    pub fn close(mut self) {
        self.stack.close();
    }

    /// Does `step` until it has a result, for `patience` at most, and waits for the socket or the
    /// stack's timer between.
    fn until<T>(
        &mut self,
        patience: Duration,
        mut step: impl FnMut(&mut S) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let end = Instant::now() + patience;
        loop {
            if let Some(result) = step(&mut self.stack)? {
                return Ok(Some(result));
            }
            let now = Instant::now();
            if now >= end {
                return Ok(None);
            }
            let wake = self.timer.map_or(end, |timer| timer.min(end));
            let came = self
                .stack
                .socket()
                .wait(wake.saturating_duration_since(now))?;
            let is_due = self.timer.is_some_and(|timer| Instant::now() >= timer);
            if is_due && !came {
                self.stack.on_timer()?;
            }
            if is_due || came {
                self.timer = self.stack.timer().map(|timer| Instant::now() + timer);
            }
        }
    }
}

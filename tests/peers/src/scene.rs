//! A gateway, a proxy before it, and clients that come through the proxy.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::client::{Agreed, Connection, Settings, Stack, group};
use crate::gateway::Gateway;
use crate::proxy::{Proxy, Treatment};

/// Two pieces of early data. Their lengths tell which of them the gateway delivered, and how often:
/// no other numbers of deliveries, up to many, have the same sum.
pub const EARLY: [&[u8]; 2] = [b"GET /1 for early data", &[b'2'; 1000]];

/// Of the gateway: flights from different ports meet different ones.
const WORKERS: usize = 2;

/// A gateway, and a proxy before it.
pub struct Scene {
    /// What is tested.
    pub gateway: Gateway,
    /// Where its clients connect.
    pub proxy: Proxy,
}

/// How often each piece of [`EARLY`] was delivered.
pub type Deliveries = [u64; 2];

impl Scene {
    /// A gateway that listens to `args`, and a proxy that does nothing but record.
    pub fn new(args: &[&str]) -> Result<Self> {
        Self::with(args, Treatment::default())
    }

    /// A gateway that listens to `args`, and a proxy with a `treatment` for all that goes through.
    pub fn with(args: &[&str], treatment: Treatment) -> Result<Self> {
        let gateway = Gateway::start(WORKERS, args)?;
        let proxy = Proxy::start(gateway.address, treatment)?;
        Ok(Self { gateway, proxy })
    }

    /// Connects without early data, and offers `session` if there is one.
    pub fn connect<S: Stack>(
        &self,
        settings: &Settings,
        session: Option<&S::Session>,
    ) -> Result<(Connection<S>, Agreed)> {
        Connection::connect(self.proxy.address(), settings, session, &[])
    }

    /// Connects with [`EARLY`] data.
    pub fn connect_early<S: Stack>(
        &self,
        settings: &Settings,
        session: &S::Session,
    ) -> Result<(Connection<S>, Agreed)> {
        Connection::connect(self.proxy.address(), settings, Some(session), &EARLY)
    }

    /// A full handshake, an echo, a ticket, and the end of the connection.
    pub fn session<S: Stack>(&self, settings: &Settings) -> Result<S::Session> {
        let (mut connection, _) = self.connect::<S>(settings, None)?;
        connection.echo(b"hello")?;
        let session = connection.session()?;
        connection.close();
        Ok(session)
    }

    /// Waits until all that was sent to the gateway has had its effect.
    pub fn settle(&self) -> Result<()> {
        self.proxy.settle()?;
        self.gateway.settle()
    }

    /// What the gateway has delivered of [`EARLY`] data, once all that is under way has arrived.
    pub fn deliveries(&self) -> Result<Deliveries> {
        self.settle()?;
        let bytes = self.gateway.early_data_bytes()?;
        let [first, second] = EARLY.map(|data| data.len() as u64);
        let rest = bytes % second;
        if rest % first != 0 {
            return Err(format!("{bytes} bytes of early data are not of ours"));
        }
        Ok([rest / first, bytes / second])
    }

    /// The newest connection through the proxy.
    #[must_use]
    pub fn newest(&self) -> usize {
        self.proxy.clients().saturating_sub(1)
    }
}

/// A client with one key share, of X25519.
#[must_use]
pub fn x25519() -> Settings {
    Settings {
        groups: vec![group::X25519],
        ..Settings::default()
    }
}

/// Sends `datagrams` to `server` from so many new ports, all at the same time.
pub fn send_from_ports(server: SocketAddr, ports: usize, datagrams: &[Vec<u8>]) -> Result<()> {
    let start = Instant::now() + Duration::from_millis(5);
    let attack = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        while Instant::now() < start {
            std::hint::spin_loop();
        }
        datagrams
            .iter()
            .try_for_each(|datagram| socket.send(datagram).map(drop))
    };
    thread::scope(|scope| {
        let attacks: Vec<_> = (0..ports).map(|_| scope.spawn(attack)).collect();
        attacks
            .into_iter()
            .try_for_each(|attack| match attack.join() {
                Ok(sent) => sent.map_err(|why| why.to_string()),
                Err(_) => Err("an attacker panicked".into()),
            })
    })
}

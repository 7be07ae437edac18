//! A proxy between clients and the gateway, on loopback.
//!
//! It gives each client a port of its own towards the server, and records what goes through.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::{Result, patiently};

mod faults;
mod hello;
mod record;
mod relay;

pub use faults::Faults;
pub use record::{From, Recorded};

/// How a proxy treats what goes through it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Treatment {
    /// What happens to datagrams.
    pub faults: Faults,
    /// So many more times each datagram of a first flight is sent from the client's port, at once.
    pub repeats: usize,
    /// From so many other ports each datagram of a first flight is sent as well, at once.
    pub mirrors: usize,
    /// What comes from the server and is longer is lost.
    pub longest: Option<usize>,
}

/// A running proxy. It ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    /// How often somebody has asked whether nothing is under way, and which of these questions the
    /// proxy has last answered with yes.
    asked: AtomicU64,
    answered: AtomicU64,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    recorded: Vec<Recorded>,
    /// By client: the port that stands for it towards the server.
    ports: Vec<Arc<UdpSocket>>,
    /// Clients that are to get another port.
    moving: Vec<usize>,
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// Starts a proxy before `server`.
    pub fn start(server: SocketAddr, treatment: Treatment) -> Result<Self> {
        let front = loopback_socket().map_err(|why| format!("the proxy's socket: {why}"))?;
        let address = front.local_addr().map_err(|why| why.to_string())?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || relay::relay(&front, server, &treatment, &theirs));
        Ok(Self {
            address,
            shared,
            thread: Some(thread),
        })
    }

    /// Where clients find it.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until all that was sent has been passed on, if it was not lost.
    pub fn settle(&self) -> Result<()> {
        let question = self.shared.asked.fetch_add(1, Ordering::SeqCst) + 1;
        patiently("the proxy does not come to rest", || {
            Ok((self.shared.answered.load(Ordering::SeqCst) >= question).then_some(()))
        })
    }

    /// How many clients it has had.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.shared.log().ports.len()
    }

    /// All that came in of the `client`th connection, counted from 0.
    #[must_use]
    pub fn recorded(&self, client: usize) -> Vec<Recorded> {
        let log = self.shared.log();
        let of_client = log.recorded.iter().filter(|of| of.client == client);
        of_client.cloned().collect()
    }

    /// What the `client`th connection began with: its ClientHello and its early data.
    #[must_use]
    pub fn first_flight(&self, client: usize) -> Vec<Vec<u8>> {
        self.recorded(client)
            .into_iter()
            .filter(|recorded| recorded.from == From::Client)
            .map(|recorded| recorded.datagram)
            .take_while(|datagram| record::is_first_flight(datagram))
            .collect()
    }

    /// The same, once so many datagrams of it have come.
    pub fn first_flight_of(&self, client: usize, datagrams: usize) -> Result<Vec<Vec<u8>>> {
        patiently("the first flight does not come", || {
            let mut flight = self.first_flight(client);
            // What comes behind them was sent again.
            let is_whole = flight.len() >= datagrams;
            flight.truncate(datagrams);
            Ok(is_whole.then_some(flight))
        })
    }

    /// The bodies of the hellos that came from this side of the `client`th connection, each once:
    /// ClientHellos, or ServerHellos and HelloRetryRequests.
    #[must_use]
    pub fn hellos(&self, client: usize, from: From) -> Vec<Vec<u8>> {
        let recorded = self.recorded(client).into_iter();
        let from_there = recorded.filter(|recorded| recorded.from == from);
        hello::hellos(from_there.map(|recorded| recorded.datagram))
    }

    /// Gives the `client`th connection another port towards the server, as a NAT does that has
    /// forgotten it.
    pub fn rebind(&self, client: usize) -> Result<()> {
        self.shared.log().moving.push(client);
        patiently("the client is not moved", || {
            Ok(self.shared.log().moving.is_empty().then_some(()))
        })
    }

    /// Sends datagrams to the server from the port of the `client`th connection.
    pub fn send_as(&self, client: usize, datagrams: &[Vec<u8>]) -> Result<()> {
        let port = self.shared.log().ports.get(client).cloned();
        let port = port.ok_or_else(|| format!("there was no client {client}"))?;
        for datagram in datagrams {
            port.send(datagram).map_err(|why| why.to_string())?;
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn loopback_socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

//! What the proxy's thread does.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::faults::Line;
use super::record::{From, Recorded, is_first_flight};
use super::{Shared, Treatment, loopback_socket};

/// How long it may take to notice that the proxy is to end.
const TICK: Duration = Duration::from_millis(20);

/// Connections, at most: more are not served.
const CLIENTS_MAX: usize = 1024;

const DATAGRAM_MAX: usize = 1 << 16;

struct Client {
    address: SocketAddr,
    port: Arc<UdpSocket>,
    mirrors: Vec<UdpSocket>,
}

struct Relay<'a> {
    front: &'a UdpSocket,
    server: SocketAddr,
    treatment: &'a Treatment,
    shared: &'a Shared,
    clients: Vec<Client>,
    by_address: HashMap<SocketAddr, usize>,
    /// Which client's, and the datagram.
    to_server: Line<(usize, Vec<u8>)>,
    to_client: Line<(usize, Vec<u8>)>,
}

/// Passes datagrams on until it is told to end.
pub(super) fn relay(front: &UdpSocket, server: SocketAddr, treatment: &Treatment, shared: &Shared) {
    let mut relay = Relay {
        front,
        server,
        treatment,
        shared,
        clients: Vec::new(),
        by_address: HashMap::new(),
        to_server: Line::new(treatment.faults, 0),
        to_client: Line::new(treatment.faults, 1),
    };
    while !shared.ends.load(Ordering::Relaxed) {
        relay.wait();
        relay.rebind();
        let asked = shared.asked.load(Ordering::SeqCst);
        let came = relay.receive(Instant::now());
        relay.pass_on(Instant::now());
        if !came && relay.is_empty() {
            shared.answered.store(asked, Ordering::SeqCst);
        }
    }
}

impl Relay<'_> {
    /// Waits for a datagram, or until one is due.
    fn wait(&self) {
        let dues = self
            .to_server
            .next_due()
            .into_iter()
            .chain(self.to_client.next_due());
        let now = Instant::now();
        let left = dues.map(|due| due.saturating_duration_since(now)).min();
        let timeout = Timespec::try_from(left.unwrap_or(TICK).min(TICK)).unwrap_or_default();
        let ports = self
            .clients
            .iter()
            .flat_map(|client| std::iter::once(&*client.port).chain(&client.mirrors));
        let mut fds: Vec<PollFd<'_>> = std::iter::once(self.front)
            .chain(ports)
            .map(|socket| PollFd::new(socket, PollFlags::IN))
            .collect();
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, Some(&timeout));
    }

    /// Whether nothing is under way.
    fn is_empty(&self) -> bool {
        self.to_server.next_due().is_none() && self.to_client.next_due().is_none()
    }

    /// Takes in what has come. `false`: nothing has.
    fn receive(&mut self, now: Instant) -> bool {
        let mut came = false;
        let mut buffer = vec![0; DATAGRAM_MAX];
        while let Some((len, address)) = received(self.front.recv_from(&mut buffer)) {
            came = true;
            if let Some(client) = self.client(address) {
                let datagram = buffer[..len].to_vec();
                self.record(client, From::Client, &datagram);
                self.to_server.enter((client, datagram), now);
            }
        }
        for client in 0..self.clients.len() {
            while let Some(len) = received(self.clients[client].port.recv(&mut buffer)) {
                came = true;
                let datagram = buffer[..len].to_vec();
                self.record(client, From::Server, &datagram);
                if self.treatment.longest.is_none_or(|longest| len <= longest) {
                    self.to_client.enter((client, datagram), now);
                }
            }
            // Who mirrors cannot read the answers, and need not.
            for mirror in &self.clients[client].mirrors {
                while received(mirror.recv(&mut buffer)).is_some() {}
            }
        }
        came
    }

    fn pass_on(&mut self, now: Instant) {
        while let Some((client, datagram)) = self.to_server.leave(now) {
            let Client { port, mirrors, .. } = &self.clients[client];
            let is_attacked = is_first_flight(&datagram);
            let (before, after) = mirrors.split_at(mirrors.len() / 2);
            let repeats = if is_attacked {
                self.treatment.repeats
            } else {
                0
            };
            for mirror in before.iter().filter(|_| is_attacked) {
                let _ = mirror.send(&datagram);
            }
            for _ in 0..=repeats {
                let _ = port.send(&datagram);
            }
            for mirror in after.iter().filter(|_| is_attacked) {
                let _ = mirror.send(&datagram);
            }
        }
        while let Some((client, datagram)) = self.to_client.leave(now) {
            let _ = self.front.send_to(&datagram, self.clients[client].address);
        }
    }

    /// The client at `address`, which may be a new one.
    fn client(&mut self, address: SocketAddr) -> Option<usize> {
        if let Some(client) = self.by_address.get(&address) {
            return Some(*client);
        }
        if self.clients.len() == CLIENTS_MAX {
            return None;
        }
        let mirrors = (0..self.treatment.mirrors).map(|_| self.port()).collect();
        let (Ok(port), Ok(mirrors)) = (self.port(), mirrors) else {
            return None;
        };
        let port = Arc::new(port);
        self.shared.log().ports.push(Arc::clone(&port));
        self.clients.push(Client {
            address,
            port,
            mirrors,
        });
        self.by_address.insert(address, self.clients.len() - 1);
        Some(self.clients.len() - 1)
    }

    /// A new port towards the server.
    fn port(&self) -> io::Result<UdpSocket> {
        let socket = loopback_socket()?;
        socket.connect(self.server)?;
        Ok(socket)
    }

    /// Gives other ports to those who shall have some.
    fn rebind(&mut self) {
        let moving = self.shared.log().moving.clone();
        for client in moving {
            if let (Ok(port), Some(moved)) = (self.port(), self.clients.get_mut(client)) {
                moved.port = Arc::new(port);
                self.shared.log().ports[client] = Arc::clone(&moved.port);
            }
        }
        self.shared.log().moving.clear();
    }

    fn record(&self, client: usize, from: From, datagram: &[u8]) {
        self.shared.log().recorded.push(Recorded {
            client,
            from,
            datagram: datagram.to_vec(),
        });
    }
}

/// What was received, if something was. Errors of a socket tell of datagrams that nobody took.
fn received<T>(result: io::Result<T>) -> Option<T> {
    result.ok()
}

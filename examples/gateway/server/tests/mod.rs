//! Stories of the server and a small client, without sockets and with our own time.
#![allow(clippy::unwrap_used, clippy::panic)]

mod acks;
mod addresses;
pub(crate) mod client;
mod early_data;
mod handshakes;
mod limits;
mod losses;
mod refusals;
mod updates;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dtls_session::{Engine, UnixMillis};
use ring::rand::SystemRandom;

use super::{Closed, Event, Identity, Outbox, Packet, Server, Settings};
use client::{Client, Profile};

pub const START: UnixMillis = UnixMillis(1_790_000_000_000);

/// An event, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    EarlyData(u16, Vec<u8>),
    Established(u16, bool),
    Data(u16, Vec<u8>),
    Closed(u16, Closed),
}

/// A server and its surroundings. It echoes everything, early data too.
pub struct World {
    pub engine: Engine,
    pub server: Server,
    pub now: UnixMillis,
    pub seen: Vec<Seen>,
    out: Outbox,
}

/// A certificate is slow to make, so that the stories share one.
pub fn settings() -> Settings {
    Settings::new(Identity::self_signed("gateway.example").unwrap())
}

impl World {
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: Settings) -> Self {
        let engine = settings.engine().build(&SystemRandom::new(), START);
        Self::of(settings, &engine.unwrap())
    }

    pub fn of(settings: Settings, engine: &Engine) -> Self {
        let out = Outbox::new(settings.mtu);
        Self {
            engine: engine.clone(),
            server: Server::new(
                Arc::new(settings),
                engine.worker(0).unwrap(),
                3,
                Instant::now,
            ),
            now: START,
            seen: Vec::new(),
            out,
        }
    }

    /// What the server sends when this batch comes in, and to whom.
    pub fn receive(&mut self, batch: &mut [Packet<'_>]) -> Vec<(SocketAddr, Vec<u8>)> {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let mut app = app(&seen);
        let received = self
            .server
            .receive(batch, self.now, &mut self.out, &mut app);
        received.unwrap();
        self.seen.append(&mut seen.borrow_mut());
        self.sent()
    }

    /// The datagrams come from one address, in one batch, and all answers go there.
    pub fn send(&mut self, from: SocketAddr, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let answers = self.send_any(from, datagrams).into_iter();
        let to_sender = answers.map(|(to, datagram)| {
            assert_eq!(to, from);
            datagram
        });
        to_sender.collect()
    }

    pub fn send_any(
        &mut self,
        peer: SocketAddr,
        datagrams: &[Vec<u8>],
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut datagrams = datagrams.to_vec();
        let packet = |bytes| Packet { bytes, peer };
        let mut batch: Vec<_> = datagrams.iter_mut().map(|d| packet(&mut d[..])).collect();
        self.receive(&mut batch)
    }

    /// The server's datagrams reach the client.
    pub fn exchange(&mut self, client: &mut Client, datagrams: &[Vec<u8>]) {
        for datagram in self.send(client.address, datagrams) {
            client.receive(&datagram, self.now);
        }
    }

    /// Time passes, in steps as long as nothing is due. Returns what the server sends meanwhile,
    /// and when.
    pub fn pass(&mut self, time: Duration) -> Vec<(u64, Vec<u8>)> {
        let end = self.now.saturating_add(time);
        let mut sent = Vec::new();
        while let Some(due) = self.server.timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let seen = Rc::new(RefCell::new(Vec::new()));
            self.server
                .on_timeout(self.now, &mut self.out, &mut app(&seen));
            self.seen.append(&mut seen.borrow_mut());
            let at = self.now.0 - START.0;
            sent.extend(self.sent().into_iter().map(|(_, datagram)| (at, datagram)));
        }
        self.now = end;
        sent
    }

    fn sent(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let datagrams = self.out.datagrams();
        let sent = datagrams
            .map(|(peer, datagram)| (peer, datagram.to_vec()))
            .collect();
        self.out.clear();
        sent
    }

    /// The server ends. Returns what it sends.
    pub fn close(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let seen = Rc::new(RefCell::new(Vec::new()));
        self.server.close(self.now, &mut self.out, &mut app(&seen));
        self.seen.append(&mut seen.borrow_mut());
        self.sent()
    }

    /// A full handshake, cookie and all, up to the acknowledged tickets.
    pub fn connect(&mut self, client: &mut Client) {
        self.begin(client);
        self.finish(client);
    }

    /// Its ClientHellos, cookie and all, up to the server's flight.
    pub fn begin(&mut self, client: &mut Client) {
        let hello = client.hello(&[]);
        self.exchange(client, &hello);
        if client.retry_request.is_some() {
            let hello = client.hello(&[]);
            self.exchange(client, &hello);
        }
    }

    /// The client's Finished, and its ACK of the tickets.
    pub fn finish(&mut self, client: &mut Client) {
        assert!(client.is_complete, "no server flight: {:?}", client.alerts);
        let finished = client.finished(1);
        self.exchange(client, &[finished]);
        if !client.later.is_empty() {
            let ack = client.ack();
            self.exchange(client, &[ack]);
        }
    }

    /// A client that has connected and got its tickets.
    pub fn connected(&mut self, port: u16, profile: Profile) -> Client {
        let mut client = Client::new(port, profile);
        self.connect(&mut client);
        client
    }

    pub fn early_data(&self) -> Vec<&[u8]> {
        let early = self.seen.iter().filter_map(|seen| match seen {
            Seen::EarlyData(_, data) => Some(data.as_slice()),
            _ => None,
        });
        early.collect()
    }
}

fn app(seen: &Rc<RefCell<Vec<Seen>>>) -> impl FnMut(Event<'_>, &mut super::Reply<'_>) + use<> {
    let seen = Rc::clone(seen);
    move |event, reply| {
        let port = reply.peer().port();
        seen.borrow_mut().push(match event {
            Event::EarlyData(data) => {
                reply.send(&[b"early:", data].concat());
                Seen::EarlyData(port, data.to_vec())
            }
            Event::Data(data) => {
                reply.send(data);
                Seen::Data(port, data.to_vec())
            }
            Event::Established { is_resumption } => Seen::Established(port, is_resumption),
            Event::Closed(why) => Seen::Closed(port, why),
        });
    }
}

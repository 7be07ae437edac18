//! Datagrams in and out of a socket, in batches.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::net::UdpSocket;

use crate::server::{Outbox, Packet};

/// Datagrams that are taken from the socket at once. The engine hides memory latency behind a
/// batch; a larger one makes the last of it wait.
const BATCH: usize = 32;

/// The longest payload of a UDP datagram.
const DATAGRAM_MAX: usize = 65_535;

/// The datagrams of a batch, in buffers that are used again and again.
pub(crate) struct Inbox {
    buffers: Vec<Vec<u8>>,
    received: Vec<(usize, SocketAddr)>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            buffers: vec![vec![0; DATAGRAM_MAX]; BATCH],
            received: Vec::with_capacity(BATCH),
        }
    }

    /// Takes what waits at the socket, up to a batch. `false`: nothing waits.
    pub(crate) fn fill(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        self.received.clear();
        for buffer in &mut self.buffers {
            match socket.recv_from(buffer) {
                Ok(received) => self.received.push(received),
                Err(why) => match why.kind() {
                    ErrorKind::WouldBlock => break,
                    // An ICMP message about an earlier datagram of ours: that peer is gone.
                    ErrorKind::ConnectionRefused | ErrorKind::Interrupted => {}
                    _ => return Err(why),
                },
            }
        }
        Ok(!self.received.is_empty())
    }

    pub(crate) fn packets(&mut self) -> impl Iterator<Item = Packet<'_>> {
        let buffers = self.buffers.iter_mut().zip(&self.received);
        buffers.map(|(buffer, &(len, peer))| Packet {
            bytes: &mut buffer[..len],
            peer,
        })
    }
}

/// Sends all that waits, and returns how many datagrams were lost: what the socket does not take
/// now is sent again when it is missed, as on any network.
pub(crate) fn flush(out: &mut Outbox, socket: &UdpSocket) -> (u64, u64) {
    let (mut sent, mut lost) = (0, 0);
    for (peer, datagram) in out.datagrams() {
        match socket.send_to(datagram, peer) {
            Ok(_) => sent += 1,
            Err(_) => lost += 1,
        }
    }
    out.clear();
    (sent, lost)
}

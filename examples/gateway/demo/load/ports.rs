//! The source ports of a load thread: one socket each, which the kernel takes to one worker each.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Enough for every worker of two or four to have some of them.
pub(crate) const PORTS: usize = 8;

/// A datagram that is not there by then was lost, which is rare on loopback: a machine that has a lot
/// to do takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Ports {
    sockets: Vec<UdpSocket>,
    buffer: Box<[u8; 65_536]>,
}

impl Ports {
    /// Sockets that talk to `target`.
    pub(crate) fn new(target: SocketAddr) -> io::Result<Self> {
        let local: SocketAddr = match target {
            SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
        };
        let socket = |_| {
            let socket = UdpSocket::bind(local)?;
            socket.connect(target)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        Ok(Self {
            sockets: (0..PORTS).map(socket).collect::<io::Result<_>>()?,
            buffer: Box::new([0; 65_536]),
        })
    }

    pub(crate) fn send(&self, port: usize, datagram: &[u8]) -> io::Result<()> {
        self.sockets[port].send(datagram).map(drop)
    }

    /// The next datagram for this port; `None` if there is none for a while.
    pub(crate) fn receive(&mut self, port: usize) -> io::Result<Option<&[u8]>> {
        match self.sockets[port].recv(&mut *self.buffer) {
            Ok(len) => Ok(Some(&self.buffer[..len])),
            Err(why) => match why.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(None),
                _ => Err(why),
            },
        }
    }
}

//! The socket of one client.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Result;

/// A UDP socket that talks to one server and never blocks.
pub struct Socket(UdpSocket);

impl Socket {
    /// A socket with a port of its own.
    pub fn connect(server: SocketAddr) -> Result<Self> {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            io::Result::Ok(socket)
        };
        socket().map(Self).map_err(|why| format!("a socket: {why}"))
    }

    /// Reads a datagram into `out`, if one has come.
    pub fn receive(&self, out: &mut [u8]) -> Option<usize> {
        self.0.recv(out).ok()
    }

    /// Sends a datagram. That nobody listens is loss like any other.
    pub fn send(&self, datagram: &[u8]) {
        let _ = self.0.send(datagram);
    }

    /// Waits until a datagram has come. `false`: none did, for `patience`.
    pub fn wait(&self, patience: Duration) -> Result<bool> {
        let patience = Timespec::try_from(patience).map_err(|why| why.to_string())?;
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut fds, Some(&patience)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(why) => Err(format!("poll: {why}")),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

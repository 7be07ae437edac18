//! Datagrams in and out with a system call for each, for systems that have no other.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};

use super::DATAGRAM_MAX;

/// Takes what waits at `socket`, as many datagrams as `bytes` has room for, and writes down their
/// lengths and senders.
pub(crate) fn receive(
    socket: &UdpSocket,
    bytes: &mut [u8],
    received: &mut Vec<(usize, SocketAddr)>,
) -> io::Result<()> {
    for buffer in bytes.chunks_exact_mut(DATAGRAM_MAX) {
        match socket.recv_from(buffer) {
            Ok(datagram) => received.push(datagram),
            Err(why) if why.kind() == ErrorKind::WouldBlock && !received.is_empty() => break,
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// Other systems have nothing of the kind.
#[cfg(not(target_os = "linux"))]
pub(super) fn busy_poll(_: &socket2::Socket, _microseconds: u32) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Sends `datagrams`. Returns how many went and how many did not: what the socket does not take now
/// is sent again when it is missed, as on any network.
pub(crate) fn send<'d>(
    socket: &UdpSocket,
    datagrams: impl Iterator<Item = (SocketAddr, &'d [u8])>,
) -> (u64, u64) {
    let (mut sent, mut unsent) = (0, 0);
    for (peer, datagram) in datagrams {
        match socket.send_to(datagram, peer) {
            Ok(_) => sent += 1,
            Err(_) => unsent += 1,
        }
    }
    (sent, unsent)
}

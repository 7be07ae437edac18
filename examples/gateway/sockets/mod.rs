//! The sockets of a gateway: one for each worker on one address, and datagrams in and out of them
//! in batches.

#[cfg(target_os = "linux")]
mod batch;
#[cfg(any(test, not(target_os = "linux")))]
mod one_by_one;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};

use dtls_session::Profile;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

#[cfg(target_os = "linux")]
pub(crate) use batch::send;
#[cfg(target_os = "linux")]
use batch::{busy_poll, receive};
#[cfg(not(target_os = "linux"))]
pub(crate) use one_by_one::send;
#[cfg(not(target_os = "linux"))]
use one_by_one::{busy_poll, receive};

/// The longest payload of a UDP datagram.
const DATAGRAM_MAX: usize = 65_535;

/// One socket per worker on one address, between which the kernel distributes the clients; none of
/// them blocks. All are bound before the first is read: the kernel distributes anew when one is
/// added.
pub(crate) fn bind(
    listen: SocketAddr,
    workers: usize,
    machine: &Profile,
) -> io::Result<Vec<UdpSocket>> {
    let (domain, protocol) = (Domain::for_address(listen), Protocol::UDP);
    let mut address = listen;
    let mut sockets = Vec::new();
    for _ in 0..workers {
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
        // For bursts. The system grants what it allows, silently.
        socket.set_recv_buffer_size(machine.receive_buffer)?;
        let is_first = sockets.is_empty();
        if machine.busy_poll > 0
            && let Err(why) = busy_poll(&socket, machine.busy_poll)
            && is_first
        {
            // It takes a privilege on Linux, and is not to be had elsewhere.
            warn!(%why, "no busy polling");
        }
        socket.set_nonblocking(true)?;
        // The first takes the port for itself, and then lets the others in: two gateways of one
        // user would share a port, unnoticed, be it that both name it or that the system picks it.
        socket.set_reuse_port(!is_first)?;
        socket.bind(&address.into())?;
        socket.set_reuse_port(true)?;
        let socket = UdpSocket::from(socket);
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// The datagrams of a batch, in buffers that are used again and again.
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// Of each its length and its sender.
    received: Vec<(usize, SocketAddr)>,
}

impl Inbox {
    /// For up to `batch` datagrams at once. The engine hides memory latency behind a batch; a
    /// larger one makes the last of it wait.
    pub(crate) fn new(batch: usize) -> Self {
        Self {
            bytes: vec![0; batch * DATAGRAM_MAX],
            received: Vec::with_capacity(batch),
        }
    }

    /// Takes what waits at the socket, up to a batch. `false`: nothing more waits.
    pub(crate) fn fill(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        self.received.clear();
        match receive(socket, &mut self.bytes, &mut self.received) {
            Ok(()) => Ok(self.received.len() == self.batch()),
            Err(why) if why.kind() == ErrorKind::WouldBlock => Ok(false),
            // An ICMP message about an earlier datagram of ours: that peer is gone. Others wait.
            Err(why) if why.kind() == ErrorKind::ConnectionRefused => Ok(true),
            Err(why) if why.kind() == ErrorKind::Interrupted => Ok(true),
            Err(why) => Err(why),
        }
    }

    fn batch(&self) -> usize {
        self.bytes.len() / DATAGRAM_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// The datagrams, each with its sender.
    pub(crate) fn datagrams(&mut self) -> impl Iterator<Item = (&mut [u8], SocketAddr)> {
        let buffers = self.bytes.chunks_exact_mut(DATAGRAM_MAX);
        buffers
            .zip(&self.received)
            .map(|(buffer, &(len, peer))| (&mut buffer[..len], peer))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    type Receive = fn(&UdpSocket, &mut [u8], &mut Vec<(usize, SocketAddr)>) -> io::Result<()>;
    type Datagrams<'d> = std::vec::IntoIter<(SocketAddr, &'d [u8])>;
    type Send = fn(&UdpSocket, Datagrams<'_>) -> (u64, u64);

    fn socket() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[test]
    fn no_two_gateways_listen_on_one_port() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let gateways: Vec<_> = (0..450)
            .map(|_| bind(any, 1, &Profile::default()).unwrap())
            .collect();
        let ports: HashSet<_> = gateways
            .iter()
            .map(|sockets| sockets[0].local_addr().unwrap().port())
            .collect();
        assert_eq!(ports.len(), gateways.len());
        let taken = gateways[0][0].local_addr().unwrap();
        let why = bind(taken, 2, &Profile::default()).unwrap_err();
        assert_eq!(why.kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn busy_polling_that_is_refused_is_gone_without() {
        let machine = Profile {
            // As many microseconds as a system takes for a negative number.
            busy_poll: u32::MAX,
            ..Profile::default()
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(bind(any, 2, &machine).unwrap().len(), 2);
    }

    #[test]
    fn the_clients_of_an_address_are_distributed_over_its_workers() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let sockets = bind(any, 2, &Profile::default()).unwrap();
        let address = sockets[0].local_addr().unwrap();
        for _ in 0..64 {
            socket().0.send_to(b"hello", address).unwrap();
        }
        for socket in &sockets {
            let mut inbox = Inbox::new(32);
            let end = Instant::now() + Duration::from_secs(60);
            while !inbox.fill(socket).unwrap() && inbox.is_empty() {
                assert!(Instant::now() < end, "nothing for one of two");
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// More than a batch goes to two sockets, and comes out of them as it went in.
    fn pass(send: Send, receive: Receive) {
        let [(sender, from), (one, to_one), (two, to_two)] = [(); 3].map(|()| socket());
        let datagrams: Vec<Vec<u8>> = (0..80).map(|n| vec![n; usize::from(n) * 20]).collect();
        let to = |n: usize| if n.is_multiple_of(2) { to_one } else { to_two };
        let addressed: Vec<_> = (0..)
            .map(to)
            .zip(datagrams.iter().map(Vec::as_slice))
            .collect();
        assert_eq!(send(&sender, addressed.into_iter()), (80, 0));

        let end = Instant::now() + Duration::from_secs(60);
        for (socket, first) in [(&one, 0), (&two, 1)] {
            let mut inbox = Inbox::new(32);
            let mut came = Vec::new();
            while came.len() < 40 {
                assert!(Instant::now() < end, "{} of 40", came.len());
                inbox.received.clear();
                if receive(socket, &mut inbox.bytes, &mut inbox.received).is_err() {
                    thread::sleep(Duration::from_millis(1));
                }
                assert!(inbox.received.len() <= 32);
                for (datagram, peer) in inbox.datagrams() {
                    assert_eq!(peer, from);
                    came.push(datagram.to_vec());
                }
            }
            assert!(came.iter().eq(datagrams.iter().skip(first).step_by(2)));
        }
    }

    #[test]
    fn datagrams_pass_through_in_order_and_unharmed() {
        pass(|socket, all| send(socket, all), receive);
        pass(
            |socket, all| one_by_one::send(socket, all),
            one_by_one::receive,
        );
    }

    #[test]
    fn a_datagram_that_cannot_be_sent_does_not_hold_up_those_behind_it() {
        let (socket, good) = socket();
        // Not of this socket's family.
        let bad = SocketAddr::from(([0x20; 16], 9));
        let datagrams: [(_, &[u8]); 3] = [(good, b"one"), (bad, b"lost"), (good, b"two")];
        assert_eq!(send(&socket, datagrams.into_iter()), (2, 1));
        assert_eq!(one_by_one::send(&socket, datagrams.into_iter()), (2, 1));
    }

    #[test]
    fn a_socket_says_when_nothing_more_waits() {
        let (socket, address) = socket();
        let mut inbox = Inbox::new(32);
        assert!(!inbox.fill(&socket).unwrap() && inbox.is_empty());
        let datagrams = [(address, &b"hello"[..]); 33];
        assert_eq!(send(&socket, datagrams.into_iter()).0, 33);
        assert!(inbox.fill(&socket).unwrap());
        assert!(!inbox.fill(&socket).unwrap());
        assert_eq!(inbox.datagrams().count(), 1);
    }
}

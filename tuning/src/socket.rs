//! What the kernel's UDP socket costs and holds, on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use socket2::{Domain, Socket, Type};

/// As long as a first flight.
const DATAGRAM: [u8; 431] = [0x5a; 431];

/// Datagrams in one round: fewer than any receive buffer holds.
const ROUND: usize = 64;

pub(crate) struct Findings {
    /// Nanoseconds of one `recv_from`, when datagrams wait for it.
    pub(crate) recv_ns: f64,
    /// Datagrams that wait in a socket at most, with the buffer that it has by default.
    pub(crate) burst_default: usize,
    /// The same with the largest buffer that the system allows.
    pub(crate) burst_largest: usize,
}

pub(crate) fn run(rounds: usize) -> io::Result<Findings> {
    Ok(Findings {
        recv_ns: recv_ns(rounds)?,
        burst_default: burst(None)?,
        burst_largest: burst(Some(1 << 30))?,
    })
}

fn recv_ns(rounds: usize) -> io::Result<f64> {
    let (receiver, sender) = pair(None)?;
    let mut buffer = [0; 2048];
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        for _ in 0..ROUND {
            sender.send(&DATAGRAM)?;
        }
        let start = Instant::now();
        for _ in 0..ROUND {
            receiver.recv_from(&mut buffer)?;
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / ROUND as f64);
    }
    Ok(best)
}

/// Sends until the receiver has lost some, then counts what it has.
fn burst(receive_buffer: Option<usize>) -> io::Result<usize> {
    let (receiver, sender) = pair(receive_buffer)?;
    receiver.set_nonblocking(true)?;
    let mut buffer = [0; 2048];
    let mut sent = 1 << 10;
    loop {
        for _ in 0..sent {
            sender.send(&DATAGRAM)?;
        }
        let received = std::iter::from_fn(|| receiver.recv_from(&mut buffer).ok()).count();
        if received < sent {
            return Ok(received);
        }
        sent *= 2;
    }
}

fn pair(receive_buffer: Option<usize>) -> io::Result<(UdpSocket, UdpSocket)> {
    let receiver = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    if let Some(bytes) = receive_buffer {
        receiver.set_recv_buffer_size(bytes)?;
    }
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    receiver.bind(&any.into())?;
    let receiver = UdpSocket::from(receiver);
    let sender = UdpSocket::bind(any)?;
    sender.connect(receiver.local_addr()?)?;
    Ok((receiver, sender))
}

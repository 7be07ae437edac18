//! What the kernel's UDP socket costs and holds, on loopback.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::pin;

/// As long as a first flight.
const DATAGRAM: [u8; 431] = [0x5a; 431];

/// Datagrams in one round: fewer than any receive buffer holds.
const ROUND: usize = 64;

/// How long a call polls the device that is to poll, in microseconds.
pub(crate) const BUSY_POLL: u32 = 50;

pub(crate) struct Findings {
    /// Nanoseconds of one `recv_from`, when datagrams wait for it.
    pub(crate) recv_ns: f64,
    /// Datagrams that wait in a socket at most, with the buffer that it has by default.
    pub(crate) burst_default: usize,
    /// The same with the largest buffer that the system allows.
    pub(crate) burst_largest: usize,
    /// Microseconds from a datagram's sending to its arrival at a thread that waits for it, half
    /// of the time to an answer: asleep in the kernel, in the kernel that polls the device first
    /// (if it may), and asking again and again.
    pub(crate) asleep_us: f64,
    pub(crate) polling_us: Option<f64>,
    pub(crate) spinning_us: f64,
}

pub(crate) fn run(rounds: usize) -> io::Result<Findings> {
    Ok(Findings {
        recv_ns: recv_ns(rounds)?,
        burst_default: burst(None)?,
        burst_largest: burst(Some(1 << 30))?,
        asleep_us: wait(rounds, Waiting::Asleep)?,
        polling_us: wait(rounds, Waiting::Polling).ok(),
        spinning_us: wait(rounds, Waiting::Spinning)?,
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Asleep,
    Polling,
    Spinning,
}

/// Two threads on cores of their own throw a datagram to and fro.
fn wait(rounds: usize, waiting: Waiting) -> io::Result<f64> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (here, there) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
    here.connect(there.local_addr()?)?;
    there.connect(here.local_addr()?)?;
    for socket in [&here, &there] {
        match waiting {
            Waiting::Asleep => {}
            Waiting::Polling => busy_poll(socket)?,
            Waiting::Spinning => socket.set_nonblocking(true)?,
        }
        // Loopback loses nothing, and if it does this does not wait for ever.
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    }
    let times = 20 * rounds;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            pin(1);
            (0..times).try_for_each(|_| {
                receive(&there)?;
                there.send(&DATAGRAM).map(drop)
            })
        });
        pin(0);
        let mut took = Vec::with_capacity(times);
        for _ in 0..times {
            let start = Instant::now();
            here.send(&DATAGRAM)?;
            receive(&here)?;
            took.push(start.elapsed());
        }
        other.join().unwrap_or(Ok(()))?;
        took.sort_unstable();
        Ok(took[times / 2].as_secs_f64() * 1e6 / 2.0)
    })
}

fn receive(socket: &UdpSocket) -> io::Result<usize> {
    let mut buffer = [0; 2048];
    let start = Instant::now();
    loop {
        match socket.recv(&mut buffer) {
            Err(why) if why.kind() == ErrorKind::WouldBlock => {
                if start.elapsed() > Duration::from_secs(5) {
                    return Err(why);
                }
            }
            done => return done,
        }
    }
}

#[cfg(target_os = "linux")]
fn busy_poll(socket: &UdpSocket) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let value = std::ptr::from_ref(&BUSY_POLL).cast();
    let (level, option, len) = (libc::SOL_SOCKET, libc::SO_BUSY_POLL, size_of::<u32>());
    // SAFETY: the value is as long as is said, and is read only.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, len as u32) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
fn busy_poll(_: &UdpSocket) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
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

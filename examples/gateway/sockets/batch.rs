//! Datagrams in and out with a system call for a batch.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use dtls_session::BATCH_MAX;
use socket2::{SockAddr, SockAddrStorage, Socket};

use super::DATAGRAM_MAX;

/// Fewer than are received at once: most batches are small, and each call begins with empty headers.
const SENT_AT_ONCE: usize = 8;

const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// Takes what waits at `socket`, as many datagrams as `bytes` has room for, and writes down their
/// lengths and senders.
pub(super) fn receive(
    socket: &UdpSocket,
    bytes: &mut [u8],
    received: &mut Vec<(usize, SocketAddr)>,
) -> io::Result<()> {
    let mut senders: [_; BATCH_MAX] = std::array::from_fn(|_| SockAddrStorage::zeroed());
    let mut buffers = [NO_BYTES; BATCH_MAX];
    let mut headers = [NO_HEADER; BATCH_MAX];
    let room = bytes.chunks_exact_mut(DATAGRAM_MAX).zip(&mut buffers);
    let mut count = 0;
    for ((room, sender), header) in room.zip(&mut senders).zip(&mut headers) {
        let (bytes, buffer) = room;
        *buffer = iovec(bytes.as_mut_ptr(), bytes.len());
        header.msg_hdr.msg_name = ptr::from_mut(sender).cast();
        header.msg_hdr.msg_namelen = sender.size_of();
        header.msg_hdr.msg_iov = buffer;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: there are `count` headers, and each has room for a datagram and for its sender's
    // address, of the lengths that it says, which nobody else uses meanwhile.
    let came = unsafe {
        let (fd, no_timeout) = (socket.as_raw_fd(), ptr::null_mut());
        libc::recvmmsg(fd, headers.as_mut_ptr(), count, 0, no_timeout)
    };
    let came = usize::try_from(came).map_err(|_| io::Error::last_os_error())?;
    for (header, sender) in headers.iter().zip(senders).take(came) {
        // SAFETY: the system has written an address of this length.
        let sender = unsafe { SockAddr::new(sender, header.msg_hdr.msg_namelen) };
        // All are of the families of IP.
        let sender = sender.as_socket().unwrap_or(NOBODY);
        received.push((header.msg_len as usize, sender));
    }
    Ok(())
}

/// Lets system calls that find nothing at `socket` poll its device for so many microseconds.
pub(super) fn busy_poll(socket: &Socket, microseconds: u32) -> io::Result<()> {
    let (value, len) = (ptr::from_ref(&microseconds).cast(), size_of::<u32>());
    let (level, option) = (libc::SOL_SOCKET, libc::SO_BUSY_POLL);
    // SAFETY: the value is as long as is said, and is read only.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, len as u32) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends `datagrams`. Returns how many went and how many did not: what the socket does not take now
/// is sent again when it is missed, as on any network.
pub(crate) fn send<'d>(
    socket: &UdpSocket,
    mut datagrams: impl Iterator<Item = (SocketAddr, &'d [u8])>,
) -> (u64, u64) {
    let (mut sent, mut unsent) = (0, 0);
    loop {
        let mut peers = [const { None }; SENT_AT_ONCE];
        let mut buffers = [NO_BYTES; SENT_AT_ONCE];
        let mut headers = [NO_HEADER; SENT_AT_ONCE];
        let mut count = 0;
        for ((peer, buffer), header) in peers.iter_mut().zip(&mut buffers).zip(&mut headers) {
            let Some((to, bytes)) = datagrams.next() else {
                break;
            };
            let peer = peer.insert(SockAddr::from(to));
            *buffer = iovec(bytes.as_ptr().cast_mut(), bytes.len());
            header.msg_hdr.msg_name = peer.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = peer.len();
            header.msg_hdr.msg_iov = buffer;
            header.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        if count == 0 {
            return (sent, unsent);
        }
        let mut rest = &mut headers[..count];
        while !rest.is_empty() {
            // SAFETY: so many headers are there, and each has a datagram and an address of the
            // lengths that it says. The system only reads them.
            let went = unsafe {
                let (fd, len) = (socket.as_raw_fd(), rest.len() as u32);
                libc::sendmmsg(fd, rest.as_mut_ptr(), len, 0)
            };
            // An error is that of the first datagram.
            let done = usize::try_from(went).unwrap_or(0);
            sent += done as u64;
            unsent += u64::from(done == 0);
            rest = &mut rest[done.max(1)..];
        }
    }
}

fn iovec(bytes: *mut u8, len: usize) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.cast(),
        iov_len: len,
    }
}

const NO_BYTES: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

const NO_HEADER: libc::mmsghdr = {
    // SAFETY: no address, no buffers, nothing beside them. There may be padding, which has no names.
    unsafe { std::mem::zeroed() }
};

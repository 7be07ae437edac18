//! Datagrams on their way out. Records for the same peer share a datagram while they fit.

use std::net::SocketAddr;
use std::ops::Range;

use dtls_session::Error;

/// What the connections of a worker have to send, in one allocation that is used again and again:
/// the I/O takes it from here in batches.
pub struct Outbox {
    bytes: Vec<u8>,
    datagrams: Vec<(SocketAddr, Range<usize>)>,
    mtu: usize,
    /// The next record may join the last datagram.
    is_open: bool,
}

impl Outbox {
    /// Datagrams get no longer than `mtu` bytes, unless a single record is.
    pub fn new(mtu: usize) -> Self {
        Self {
            bytes: Vec::new(),
            datagrams: Vec::new(),
            mtu,
            is_open: false,
        }
    }

    /// Adds a record of at most `len_max` bytes, which `write` writes and tells the length of.
    pub fn record(
        &mut self,
        peer: SocketAddr,
        len_max: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, Error>,
    ) -> Result<usize, Error> {
        let start = self.bytes.len();
        self.bytes.resize(start + len_max, 0);
        let written = write(&mut self.bytes[start..]);
        let end = start + written.unwrap_or(0);
        self.bytes.truncate(end);
        let len = written?;
        match self.datagrams.last_mut() {
            Some((to, range)) if self.is_open && *to == peer && range.len() + len <= self.mtu => {
                range.end = end;
            }
            _ => self.datagrams.push((peer, start..end)),
        }
        self.is_open = true;
        Ok(len)
    }

    /// What is added next begins a datagram of its own.
    pub fn end_datagram(&mut self) {
        self.is_open = false;
    }

    /// The datagrams, in the order in which they are to be sent.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = (SocketAddr, &[u8])> {
        let datagram = |(peer, range): &(SocketAddr, Range<usize>)| (*peer, range.clone());
        self.datagrams
            .iter()
            .map(datagram)
            .map(|(peer, range)| (peer, &self.bytes[range]))
    }

    /// Forgets the datagrams, which have been sent.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
        self.is_open = false;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn add(out: &mut Outbox, port: u16, len: usize) {
        let write = |room: &mut [u8]| {
            room[..len].fill(len as u8);
            Ok(len)
        };
        let peer = SocketAddr::from(([192, 0, 2, 1], port));
        out.record(peer, len + 20, write).unwrap();
    }

    fn shapes(out: &Outbox) -> Vec<(u16, usize)> {
        out.datagrams()
            .map(|(to, d)| (to.port(), d.len()))
            .collect()
    }

    #[test]
    fn records_share_a_datagram_up_to_the_mtu_and_never_with_another_peer() {
        let mut out = Outbox::new(100);
        for (port, len) in [(1, 40), (1, 60), (1, 1), (2, 5), (1, 5)] {
            add(&mut out, port, len);
        }
        out.end_datagram();
        add(&mut out, 1, 5);
        add(&mut out, 1, 150);
        let expected = [(1, 100), (1, 1), (2, 5), (1, 5), (1, 5), (1, 150)];
        assert_eq!(shapes(&out), expected);
        let (_, first) = out.datagrams().next().unwrap();
        assert_eq!(first, [[40; 40].as_slice(), &[60; 60]].concat());
        out.clear();
        assert_eq!(out.datagrams().len(), 0);
    }

    #[test]
    fn a_record_that_could_not_be_written_leaves_nothing() {
        let mut out = Outbox::new(100);
        let peer = SocketAddr::from(([192, 0, 2, 1], 1));
        let failed = out.record(peer, 10, |_| Err(Error::KeyExhausted));
        assert_eq!(failed, Err(Error::KeyExhausted));
        add(&mut out, 1, 3);
        assert_eq!(shapes(&out), [(1, 3)]);
    }
}

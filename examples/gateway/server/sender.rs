//! What one connection sends: records under the right keys, as many bytes as its path may get.

use std::net::SocketAddr;

use dtls_session::Error;
use dtls_session::schedule::{RECORD_OVERHEAD_LEN, RecordSealer};
use dtls_session::wire::{ContentType, MAX_PLAINTEXT_LEN, PLAINTEXT_HEADER_LEN, plaintext_header};

use super::ack::RecordNumber;
use super::outbox::Outbox;

/// Which keys a record is sent under. Epochs are not chosen: a level has one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Epoch 0: no keys.
    Plaintext,
    /// Epoch 2.
    Handshake,
    /// Epoch 3, and on after a KeyUpdate.
    Application,
}

/// Where the peer is, and how much it may be sent.
pub struct Path {
    pub peer: SocketAddr,
    /// Bytes that may still be sent to an address at which nobody was seen to receive: three times
    /// as many as came from there (RFC 9147, 5.1). `None`: it is verified.
    credit: Option<usize>,
}

impl Path {
    /// With the `credit` of what has come from there already.
    pub fn new(peer: SocketAddr, credit: Option<usize>) -> Self {
        Self { peer, credit }
    }

    /// A path to an address from which `len` bytes came, and nothing is known of it.
    pub fn unverified(peer: SocketAddr, len: usize) -> Self {
        Self::new(peer, Some(len.saturating_mul(3)))
    }

    /// So many bytes came from the peer.
    pub fn received(&mut self, len: usize) {
        if let Some(credit) = &mut self.credit {
            *credit = credit.saturating_add(len.saturating_mul(3));
        }
    }

    /// The peer has answered something that only somebody at this address has received.
    pub fn verify(&mut self) {
        self.credit = None;
    }

    fn spend(&mut self, len: usize) -> bool {
        match &mut self.credit {
            None => true,
            Some(credit) => match credit.checked_sub(len) {
                Some(left) => {
                    *credit = left;
                    true
                }
                None => false,
            },
        }
    }
}

/// UDP payload that every host takes: of 576 bytes with the headers of IP and UDP (RFC 1122, 3.3.2).
const NARROW: usize = 548;

/// The least handshake bytes in a record, however much of a short datagram the peer's connection ID
/// takes: the longest of these records is still shorter than [`NARROW`].
const ROOM_MIN: usize = 128;

/// The sending half of a connection's record layer.
pub struct Sender {
    pub path: Path,
    /// The longest datagram for handshake messages, in bytes.
    mtu: usize,
    /// Longer ones than [`NARROW`] do not seem to arrive.
    is_narrow: bool,
    next_plaintext: u64,
    handshake: Option<RecordSealer>,
    application: Option<RecordSealer>,
    /// What the peer wants to find in encrypted records; empty for nothing.
    connection_id: Box<[u8]>,
}

impl Sender {
    /// Plaintext records are numbered from `first_plaintext` on.
    pub fn new(path: Path, mtu: usize, first_plaintext: u64, connection_id: &[u8]) -> Self {
        Self {
            path,
            mtu,
            is_narrow: false,
            next_plaintext: first_plaintext,
            handshake: None,
            application: None,
            connection_id: connection_id.into(),
        }
    }

    /// From now on `level` is sealed with `sealer`; `None`: nothing is sent at that level.
    pub fn set_sealer(&mut self, level: Level, sealer: Option<RecordSealer>) {
        match level {
            Level::Plaintext => {}
            Level::Handshake => self.handshake = sealer,
            Level::Application => self.application = sealer,
        }
    }

    pub fn set_connection_id(&mut self, connection_id: &[u8]) {
        self.connection_id = connection_id.into();
    }

    /// The peer wants to find a connection ID in records.
    pub fn has_connection_id(&self) -> bool {
        !self.connection_id.is_empty()
    }

    /// How many more records of application data the keys may seal.
    pub fn records_left(&self) -> u64 {
        self.application
            .as_ref()
            .map_or(0, RecordSealer::records_left)
    }

    /// The epoch of application data.
    pub fn application_epoch(&self) -> Option<u64> {
        self.application.as_ref().map(RecordSealer::epoch)
    }

    /// The most handshake bytes that fit into a record that the path takes.
    pub fn room(&self, level: Level) -> usize {
        let room = self.mtu.saturating_sub(self.overhead(level));
        room.clamp(ROOM_MIN, MAX_PLAINTEXT_LEN)
    }

    /// So many bytes at once were sent in vain: if the path may not take them, from now on each
    /// record goes in a datagram of its own, of a length that every host takes (RFC 9147, 4.4).
    /// `false`: nothing changes.
    pub fn narrow(&mut self, len: usize) -> bool {
        let changes = !self.is_narrow && len.min(self.mtu) > NARROW;
        if changes {
            self.is_narrow = true;
            self.mtu = NARROW;
        }
        changes
    }

    fn overhead(&self, level: Level) -> usize {
        match level {
            Level::Plaintext => PLAINTEXT_HEADER_LEN,
            _ => RECORD_OVERHEAD_LEN + self.connection_id.len(),
        }
    }

    /// Sends one record. `None` if it was not sent: the path may not get as much yet, or there are
    /// no keys (any more). All that needs to arrive is sent again, and what need not is lost as
    /// datagrams are.
    pub fn send(
        &mut self,
        level: Level,
        content_type: ContentType,
        plaintext: &[u8],
        out: &mut Outbox,
    ) -> Option<RecordNumber> {
        let len = self.overhead(level) + plaintext.len();
        let peer = self.path.peer;
        let sealer = match level {
            Level::Plaintext => None,
            Level::Handshake => Some(self.handshake.as_mut()?),
            Level::Application => Some(self.application.as_mut()?),
        };
        if !self.path.spend(len) {
            return None;
        }
        let number = match &sealer {
            None => RecordNumber {
                epoch: 0,
                sequence_number: self.next_plaintext,
            },
            Some(sealer) => RecordNumber {
                epoch: sealer.epoch(),
                sequence_number: sealer.next_sequence_number(),
            },
        };
        let write = |room: &mut [u8]| match sealer {
            Some(sealer) => sealer.seal(&self.connection_id, content_type, plaintext, room),
            None => write_plaintext(number.sequence_number, content_type, plaintext, room),
        };
        if self.is_narrow {
            out.end_datagram();
        }
        out.record(peer, len, write).ok()?;
        if level == Level::Plaintext {
            self.next_plaintext += 1;
        }
        Some(number)
    }
}

/// Writes a whole plaintext record and returns its length in bytes.
pub fn write_plaintext(
    sequence_number: u64,
    content_type: ContentType,
    fragment: &[u8],
    out: &mut [u8],
) -> Result<usize, Error> {
    let len = u16::try_from(fragment.len()).map_err(|_| Error::Length("plaintext record"))?;
    let needed = PLAINTEXT_HEADER_LEN + fragment.len();
    let out = out
        .get_mut(..needed)
        .ok_or(Error::BufferTooSmall { needed })?;
    let (header, body) = out.split_at_mut(PLAINTEXT_HEADER_LEN);
    header.copy_from_slice(&plaintext_header(content_type, sequence_number, len));
    body.copy_from_slice(fragment);
    Ok(needed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bytes(out: &Outbox) -> usize {
        out.datagrams().map(|(_, datagram)| datagram.len()).sum()
    }

    #[test]
    fn trap_35_an_unverified_address_gets_three_times_what_it_sent_and_no_more() {
        let peer = SocketAddr::from(([192, 0, 2, 1], 1));
        let mut out = Outbox::new(1200);
        let mut sender = Sender::new(Path::unverified(peer, 0), 1200, 0, b"");
        // Given 100 bytes from an address, when records of 63 bytes are sent to it,
        sender.path.received(100);
        let send = |sender: &mut Sender, out: &mut Outbox| {
            sender.send(Level::Plaintext, ContentType::HANDSHAKE, &[0; 50], out)
        };
        let sent = (0..10)
            .filter(|_| send(&mut sender, &mut out).is_some())
            .count();
        // then four of them go, as long as it is not verified.
        assert_eq!((sent, bytes(&out)), (4, 4 * 63));
        sender.path.verify();
        assert!(send(&mut sender, &mut out).is_some());
    }

    #[test]
    fn plaintext_records_are_numbered_on() {
        let peer = SocketAddr::from(([192, 0, 2, 1], 1));
        let mut out = Outbox::new(1200);
        let mut sender = Sender::new(Path::new(peer, None), 1200, 7, b"");
        for number in [7, 8] {
            let sent = sender.send(Level::Plaintext, ContentType::ALERT, &[2, 40], &mut out);
            assert_eq!(sent.unwrap().sequence_number, number);
        }
        let none = sender.send(Level::Handshake, ContentType::ALERT, &[2, 40], &mut out);
        assert!(none.is_none(), "there are no keys yet");
    }
}

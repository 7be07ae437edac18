//! What went through a proxy.

/// Where a datagram came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum From {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// A datagram as it came in, before anything happened to it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Which connection's: they are counted by the client's ports, in the order of their first
    /// datagrams.
    pub client: usize,
    /// Its sender.
    pub from: From,
    /// Its bytes.
    pub datagram: Vec<u8>,
}

/// Whether `datagram` is of a client's first flight: its first ClientHello, or early data.
pub(super) fn is_first_flight(datagram: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    // RFC 9147, 4: a ciphertext is 001 and five bits, of which the last two are of the epoch.
    const FIXED_AND_EPOCH: u8 = 0b1110_0011;
    const EARLY_DATA: u8 = 0b0010_0001;
    // Behind the record's header, and the message's type and length.
    const MESSAGE_SEQ: std::ops::Range<usize> = 17..19;
    match datagram.first() {
        Some(&HANDSHAKE) => datagram.get(MESSAGE_SEQ) == Some(&[0, 0]),
        Some(first) => first & FIXED_AND_EPOCH == EARLY_DATA,
        None => false,
    }
}

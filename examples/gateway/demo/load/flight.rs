//! First flights: a ClientHello that offers a session, and early data.

use std::cell::Cell;

use dtls_session::client::{ClientHelloParams, ClientSession, FirstFlight, Framing, TicketRefused};
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::{HANDSHAKE_HEADER_LEN, NewSessionTicket, PLAINTEXT_HEADER_LEN};
use dtls_session::{Error, SecureRandom, UnixMillis};
use ring::rand::SystemRandom;

use super::super::protocol::{ALPN, SERVER_NAME};

/// Bytes of early data in a flight. They begin with its tag.
pub(crate) const EARLY_DATA_LEN: u8 = 48;

/// A flight as it is sent, and may be sent again.
pub(crate) struct Flight {
    /// Which of all flights it is.
    pub(crate) tag: [u8; 8],
    /// When it was written.
    pub(crate) written: UnixMillis,
    pub(crate) datagrams: Vec<Vec<u8>>,
    /// The lane that has accepted it, once one has.
    pub(crate) accepted_on: Cell<Option<u8>>,
}

/// Writes the flights of a thread, and numbers them.
pub(crate) struct Author {
    thread: u8,
    written: u64,
}

impl Author {
    pub(crate) fn new(thread: usize) -> Self {
        Self {
            thread: thread as u8,
            written: 0,
        }
    }

    /// The first flight of a client that believes the time to be `clock`. Its early data goes in
    /// the datagram of the ClientHello or in the next.
    pub(crate) fn write(
        &mut self,
        session: ClientSession,
        clock: UnixMillis,
        written: UnixMillis,
        dice: &mut Dice,
    ) -> Result<Flight, Error> {
        let tag = self.tag();
        let mut random: [u8; 32] = dice.bytes();
        random[..8].copy_from_slice(&tag);
        let mut early_data = [b'.'; EARLY_DATA_LEN as usize];
        early_data[..8].copy_from_slice(&tag);
        let params = ClientHelloParams {
            server_name: Some(SERVER_NAME),
            alpn: &[ALPN],
            supported_groups: &[X25519],
            key_shares: &[(X25519, &dice.bytes::<32>())],
            early_data: true,
            ..ClientHelloParams::new(random)
        };
        let mut offer = session.offer(clock);
        let framing = Framing::default();
        let flight = FirstFlight::new(&params, offer.as_mut(), &framing, &[&early_data])?;
        let mut datagrams = flight.datagrams;
        if dice.below(2) == 0 {
            datagrams = vec![datagrams.concat()];
        }
        Ok(Flight {
            tag,
            written,
            datagrams,
            accepted_on: Cell::default(),
        })
    }

    /// The flight with another ClientHello.random, which its binder does not cover.
    pub(crate) fn change(&mut self, flight: &Flight) -> Flight {
        const RANDOM: usize = PLAINTEXT_HEADER_LEN + HANDSHAKE_HEADER_LEN + 2;
        let tag = self.tag();
        let mut datagrams = flight.datagrams.clone();
        datagrams[0][RANDOM..][..tag.len()].copy_from_slice(&tag);
        Flight {
            tag,
            written: flight.written,
            datagrams,
            accepted_on: Cell::default(),
        }
    }

    fn tag(&mut self) -> [u8; 8] {
        let mut tag = self.written.to_be_bytes();
        tag[0] = self.thread;
        self.written += 1;
        tag
    }
}

const X25519: u16 = 29;

/// The session that somebody makes up for `ticket`, whose secret he does not have.
pub(crate) fn stolen(
    ticket: &[u8],
    suite: CipherSuite,
    now: UnixMillis,
    dice: &mut Dice,
) -> Result<ClientSession, TicketRefused> {
    let ticket = NewSessionTicket {
        ticket_lifetime: 5,
        ticket_age_add: 0,
        ticket_nonce: &[],
        ticket,
        max_early_data_size: Some(16_384),
    };
    let psk: [u8; 48] = dice.bytes();
    let psk = &psk[..suite.hash().output_len()];
    ClientSession::from_psk(&ticket, suite, psk, Some(ALPN), now)
}

/// SplitMix64: cheap numbers for traffic that has no secrets to keep.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut seed = [0; 8];
        SystemRandom::new().fill(&mut seed)?;
        Ok(Self(u64::from_be_bytes(seed)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
        bytes
    }
}

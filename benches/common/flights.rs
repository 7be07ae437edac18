//! First flights as clients send them: one datagram with a ClientHello that offers a ticket and
//! announces early data. They are wolfSSL's in what they hold, some 400 bytes with a native ticket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use dtls_session::client::{ClientHelloParams, ClientSession, FirstFlight, Framing};
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::NewSessionTicket;
use dtls_session::{Datagram, UnixMillis};

use super::contest::Shuffler;

pub const SUITE: CipherSuite = CipherSuite::Aes128GcmSha256;
pub const SERVER_NAME: &str = "gateway.example";
pub const ALPN: &[u8] = b"coap";
pub const X25519: u16 = 29;
pub const P256: u16 = 23;

pub fn now() -> UnixMillis {
    SystemTime::now().into()
}

/// A client that was issued a ticket.
pub struct Client {
    pub address: SocketAddr,
    session: ClientSession,
}

/// A first flight on its way.
#[derive(Clone)]
pub struct Flight {
    pub bytes: Vec<u8>,
    pub peer: SocketAddr,
}

impl Flight {
    pub fn datagram(&self) -> Datagram<'_> {
        Datagram {
            bytes: &self.bytes,
            peer: self.peer,
        }
    }
}

/// What clients send besides what is theirs alone.
#[derive(Clone, Copy)]
pub enum Kind {
    /// All of them the same.
    Same,
    /// Each offers a further protocol, which nobody else does.
    EachItsOwn,
}

/// Clients one after the other, each with an address and a PSK of its own.
pub struct Clients(Shuffler);

impl Clients {
    pub fn new(seed: u64) -> Self {
        Self(Shuffler(seed))
    }

    /// The next client's address and PSK.
    pub fn next(&mut self) -> (SocketAddr, [u8; 32]) {
        let [a, b, c, d, e, f, ..] = self.0.next().to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(10, a, b, c));
        let port = 1024 | u16::from_be_bytes([d, e]) | u16::from(f & 1);
        (SocketAddr::new(address, port), self.0.bytes())
    }
}

impl Client {
    /// It receives its ticket when that is issued.
    pub fn new(
        address: SocketAddr,
        psk: &[u8; 32],
        ticket: &NewSessionTicket<'_>,
        issued: UnixMillis,
    ) -> Self {
        let session = ClientSession::from_psk(ticket, SUITE, psk, Some(ALPN), issued);
        let session = session.expect("a ticket that can be kept");
        Self { address, session }
    }

    /// The ClientHello that uses the ticket up, sent when the client's clock says `sent`.
    pub fn first_flight(self, kind: Kind, random: &mut Shuffler, sent: UnixMillis) -> Flight {
        let public_key: [u8; 32] = random.bytes();
        let further: [u8; 4] = random.bytes();
        let alpn = [ALPN, &further];
        let alpn = match kind {
            Kind::Same => &alpn[..1],
            Kind::EachItsOwn => &alpn,
        };
        let params = ClientHelloParams {
            cipher_suites: &[SUITE, CipherSuite::Aes256GcmSha384],
            server_name: Some(SERVER_NAME),
            alpn,
            supported_groups: &[X25519, P256],
            key_shares: &[(X25519, &public_key)],
            early_data: true,
            ..ClientHelloParams::new(random.bytes())
        };
        let mut offer = self.session.offer(sent).expect("it has not expired");
        let flight = FirstFlight::new(&params, Some(&mut offer), &Framing::default(), &[]);
        let datagrams = flight.expect("it fits").datagrams;
        Flight {
            bytes: received(&datagrams[0]),
            peer: self.address,
        }
    }
}

/// As what has just arrived lies there: in a buffer for any datagram, beside those of others.
fn received(datagram: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(2048);
    buffer.extend(datagram);
    buffer
}

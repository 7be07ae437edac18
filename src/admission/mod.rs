//! From datagrams to verdicts.

mod cookie;
mod flow;
mod judge;
mod read;
mod retransmission;
mod verdict;

use std::net::SocketAddr;

pub use verdict::{AbortReason, Discarded, NoEarlyData, NoResumption, Verdict};

pub(crate) use cookie::write as write_hello_retry_request;
pub(crate) use flow::{Decision, Flow};
pub(crate) use judge::{Judge, Names, Rules};
pub(crate) use read::read;
pub(crate) use retransmission::Retransmissions;

use crate::schedule::{
    CipherSuite, EarlyDataOpener, EarlySecret, HashAlgorithm, LabelPrefix, Secret, TrafficKeys,
    Transcript,
};
use crate::ticket::SessionState;
use crate::wipe::scrubbed;
use crate::wire::{ClientHello, HandshakeType};

/// A datagram, and who it says has sent it.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Its payload.
    pub bytes: &'a [u8],
    /// Its source. A spoofed one, perhaps: see [`Arrival::address_verified`].
    pub peer: SocketAddr,
}

/// What a client from another address than its ticket's gets.
///
/// UDP sources can be spoofed, and an answer to one goes to a third party (RFC 9147, 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddressPolicy {
    /// No 0-RTT: it has to echo a cookie first.
    #[default]
    CookieFirst,
    /// 0-RTT, for clients that roam: the host answers with at most [`Arrival::send_limit`] bytes
    /// until the handshake is complete.
    LimitAmplification,
}

/// A datagram that was looked at.
#[derive(Clone, Debug)]
pub struct Arrival<'a> {
    /// The datagram.
    pub datagram: Datagram<'a>,
    /// The ClientHello that it completes, if it does and if that parses.
    pub hello: Option<ClientHello<'a>>,
    /// The body of that ClientHello, from the datagram or put together from several.
    pub hello_body: &'a [u8],
    /// The handshake message number of the ClientHello: 0, or 1 behind a HelloRetryRequest.
    pub message_seq: u16,
    /// What follows the ClientHello in the datagram: records of early data, perhaps.
    pub rest: &'a [u8],
    /// The peer was seen to receive at its address: it echoed a cookie, or its ticket was issued
    /// there and nothing says that the flight was recorded and sent again: it is fresh, and was
    /// not accepted before, but as a [retransmission](Verdict::Retransmission). Otherwise ask for
    /// a cookie ([`Admitted::hello_retry_request`](crate::Admitted::hello_retry_request)), or send
    /// no more than [`send_limit`](Self::send_limit).
    pub address_verified: bool,
    /// What came before the ClientHello, if it echoes a good cookie.
    pub retried: Option<Retried<'a>>,
}

/// The HelloRetryRequest that a second ClientHello answers. The cookie tells all of it, so that
/// nothing was kept.
#[derive(Clone, Copy)]
pub struct Retried<'a> {
    /// The suite that it selected, and that the ServerHello has to select too
    /// (RFC 8446, 4.1.4).
    pub suite: CipherSuite,
    /// The group that it asked a key share of, if it did. The client has to have sent that share
    /// and no other.
    pub group: Option<u16>,
    cookie: &'a [u8],
}

impl std::fmt::Debug for Retried<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retried")
            .field("suite", &self.suite)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl Arrival<'_> {
    /// How many bytes may be sent to the peer for the ClientHello, before its address is verified
    /// (RFC 9147, 5.1): three times what came from there. `None`: no limit, it is verified.
    ///
    /// The [`rest`](Self::rest) of the datagram allows nothing yet: it counts where its records are
    /// received, and once.
    #[must_use]
    pub fn send_limit(&self) -> Option<usize> {
        // The fragments of a ClientHello came from one address, or they would not be put together.
        let of_datagram = self.datagram.bytes.len().saturating_sub(self.rest.len());
        let received = of_datagram.max(self.hello_body.len());
        (!self.address_verified).then(|| received.saturating_mul(3))
    }

    /// The transcript up to and with the ClientHello, for a full handshake; a resumption has its
    /// own ([`Resumed::transcript`]). `None` if `hash` is not that of the suite which a
    /// HelloRetryRequest selected before.
    #[must_use]
    pub fn transcript(&self, hash: HashAlgorithm) -> Option<Transcript> {
        let mut transcript = Transcript::new(hash);
        if let Some(retried) = &self.retried {
            retried.begin(&mut transcript)?;
        }
        if transcript.hash() != hash {
            return None;
        }
        transcript.add(HandshakeType::CLIENT_HELLO, self.hello_body);
        Some(transcript)
    }
}

/// A session that is resumed: its binder was verified.
pub struct Resumed<'a> {
    /// What the ticket says. Its secrets are borrowed from the worker, for this batch.
    pub session: SessionState<'a>,
    /// The suite to select: the session's, or another with its hash.
    pub suite: CipherSuite,
    /// The position of the identity to select.
    pub selected_identity: u16,
    /// The session's protocol, if the client offers it again. With 0-RTT it is the one to select.
    pub alpn: Option<&'a [u8]>,
    transcript: &'a mut Transcript,
    early_traffic: Option<Secret>,
}

impl<'a> Resumed<'a> {
    /// The secret with which the key schedule goes on (RFC 8446, 7.1).
    #[must_use]
    pub fn early_secret(&self) -> Option<EarlySecret> {
        scrubbed(|| EarlySecret::from_kept(self.suite.hash(), self.session.early_secret))
    }

    /// The transcript up to and with the ClientHello.
    #[must_use]
    pub fn transcript(&self) -> Transcript {
        self.transcript.clone()
    }

    /// `client_early_traffic_secret`, if the early data is accepted.
    #[must_use]
    pub fn client_early_traffic_secret(&self) -> Option<&Secret> {
        self.early_traffic.as_ref()
    }

    /// What opens the records of early data, up to the number of bytes that the ticket allows.
    /// `None` if it was not accepted.
    #[must_use]
    pub fn early_data(&self) -> Option<EarlyDataOpener> {
        let secret = self.early_traffic.as_ref()?;
        scrubbed(|| {
            let keys = TrafficKeys::derive(LabelPrefix::Dtls13, self.suite, secret).ok()?;
            EarlyDataOpener::new(&keys, self.session.max_early_data).ok()
        })
    }
}

impl std::fmt::Debug for Resumed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resumed")
            .field("session", &self.session)
            .field("suite", &self.suite)
            .field("early_data", &self.early_traffic.is_some())
            .finish_non_exhaustive()
    }
}

//! A client on top of the library: for what real stacks do not do, and light enough for load.
//!
//! It does not look at certificates, and knows X25519 only.

use std::collections::VecDeque;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use dtls_session::UnixMillis;
use dtls_session::client::{ClientHelloParams, ClientSession, FirstFlight, Framing, Offer};
use dtls_session::schedule::{CipherSuite, LabelPrefix, RecordSealer, Secret, Transcript};
use dtls_session::wire::{ContentType, HandshakeType, dtls_header};
use ring::agreement::{EphemeralPrivateKey, X25519};
use ring::rand::{SecureRandom, SystemRandom};

use super::{
    Agreed, EarlyData, RETRANSMIT_AFTER, RETRANSMIT_AFTER_MAX, Read, Settings, Socket, Stack, group,
};
use crate::Result;
use records::Records;

mod handshake;
mod keys;
mod records;

const EARLY_DATA_EPOCH: u64 = 1;

/// A connection of the library's own client.
pub struct Own {
    socket: Socket,
    records: Records,
    settings: Settings,
    random: [u8; 32],
    private: Option<EphemeralPrivateKey>,
    offer: Option<Offer>,
    hello: Option<Hello>,
    early: Option<RecordSealer>,
    early_data: EarlyData,
    end_of_early_data: Option<InTranscript>,
    handshake: Option<handshake::Keys>,
    agreed: Option<Agreed>,
    /// The Finished, until the server has acknowledged it.
    finished: Option<Vec<u8>>,
    resumption_master_secret: Option<Secret>,
    ticket: Option<Session>,
    data: VecDeque<Vec<u8>>,
    is_closed: bool,
    timeouts: u32,
}

/// The newest ClientHello.
struct Hello {
    body: Vec<u8>,
    datagrams: Vec<Vec<u8>>,
    message_seq: u16,
    /// What the transcript holds before it.
    before: Option<Transcript>,
}

/// Whether a client that sends EndOfEarlyData lets it enter the transcript, as TLS does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InTranscript {
    /// It does.
    Yes,
    /// It does not, as DTLS 1.3 has it.
    No,
}

/// A session of the library's own client.
#[derive(Clone)]
pub struct Session {
    new_session_ticket: Vec<u8>,
    suite: CipherSuite,
    resumption_master_secret: Secret,
    received: UnixMillis,
}

impl Session {
    fn offer(&self) -> Result<Offer> {
        let session = ClientSession::from_new_session_ticket(
            &self.new_session_ticket,
            self.suite,
            self.resumption_master_secret.as_bytes(),
            None,
            self.received,
        );
        let offer = session.map_err(why("a ticket"))?.offer(now());
        offer.ok_or_else(|| "an expired ticket".into())
    }
}

impl Stack for Own {
    type Session = Session;

    fn new(server: SocketAddr, settings: &Settings, session: Option<&Session>) -> Result<Self> {
        if settings.groups.iter().any(|code| *code != group::X25519) {
            return Err("this client knows X25519 only".into());
        }
        let mut random = [0; 32];
        let drawn = SystemRandom::new().fill(&mut random);
        drawn.map_err(why("a random"))?;
        Ok(Self {
            socket: Socket::connect(server)?,
            records: Records::new()?,
            settings: settings.clone(),
            random,
            private: Some(private_key()?),
            offer: session.map(Session::offer).transpose()?,
            hello: None,
            early: None,
            early_data: EarlyData::NotSent,
            end_of_early_data: None,
            handshake: None,
            agreed: None,
            finished: None,
            resumption_master_secret: None,
            ticket: None,
            data: VecDeque::new(),
            is_closed: false,
            timeouts: 0,
        })
    }

    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn write_early(&mut self, data: &[u8]) -> Result<()> {
        if self.hello.is_none() {
            self.early_data = EarlyData::Rejected;
            self.send_hello(None, None)?;
        }
        let sealer = self.early.as_mut().ok_or("no early data here")?;
        let record = records::seal(sealer, ContentType::APPLICATION_DATA, data)?;
        self.socket.send(&record);
        Ok(())
    }

    fn handshake(&mut self) -> Result<bool> {
        if self.hello.is_none() {
            self.send_hello(None, None)?;
        }
        self.receive()?;
        Ok(self.agreed.is_some())
    }

    fn agreed(&self) -> Result<Agreed> {
        self.agreed.ok_or_else(|| "not yet".into())
    }

    fn read(&mut self, out: &mut [u8]) -> Result<Read> {
        self.receive()?;
        match self.data.pop_front() {
            Some(data) => {
                let place = out.get_mut(..data.len()).ok_or("no room for what came")?;
                place.copy_from_slice(&data);
                Ok(Read::Data(data.len()))
            }
            None if self.is_closed => Ok(Read::Closed),
            None => Ok(Read::Nothing),
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.send(ContentType::APPLICATION_DATA, data)
    }

    fn ticket(&self) -> Option<Session> {
        self.ticket.clone()
    }

    fn timer(&self) -> Option<Duration> {
        let waits = self.agreed.is_none() || self.finished.is_some();
        waits.then(|| RETRANSMIT_AFTER * (1 << self.timeouts.min(31)).min(RETRANSMIT_AFTER_MAX))
    }

    fn on_timer(&mut self) -> Result<()> {
        self.timeouts += 1;
        if let Some(finished) = self.finished.clone() {
            return self.send_finished(&finished);
        }
        let datagrams = self.hello.iter().flat_map(|hello| &hello.datagrams);
        datagrams.for_each(|datagram| self.socket.send(datagram));
        Ok(())
    }

    fn update_keys(&mut self) -> Result<()> {
        Err("not in this client".into())
    }

    fn close(&mut self) {
        let _ = self.send(ContentType::ALERT, &[1, 0]);
    }
}

impl Own {
    /// Sends EndOfEarlyData in epoch 1, which DTLS 1.3 omits. To be called before the handshake is
    /// complete.
    pub fn send_end_of_early_data(&mut self, in_transcript: InTranscript) -> Result<()> {
        let message_seq = self.hello.as_ref().map_or(0, |hello| hello.message_seq) + 1;
        let message = dtls_header(HandshakeType::END_OF_EARLY_DATA, 0, message_seq, 0, 0);
        let sealer = self.early.as_mut().ok_or("no early data here")?;
        let record = records::seal(sealer, ContentType::HANDSHAKE, &message)?;
        self.socket.send(&record);
        self.end_of_early_data = Some(in_transcript);
        Ok(())
    }

    /// Sends a ClientHello: the first, or the one that follows a HelloRetryRequest.
    fn send_hello(&mut self, before: Option<Transcript>, cookie: Option<&[u8]>) -> Result<()> {
        let private = self.private.as_ref().ok_or("no key share left")?;
        let public = private.compute_public_key().map_err(why("a key share"))?;
        let suite = self.settings.suite;
        let defaults = ClientHelloParams::new(self.random);
        let params = ClientHelloParams {
            cipher_suites: match &suite {
                Some(suite) => std::slice::from_ref(suite),
                None => defaults.cipher_suites,
            },
            server_name: self.settings.server_name.as_deref(),
            supported_groups: &[group::X25519],
            key_shares: &[(group::X25519, public.as_ref())],
            cookie,
            early_data: self.early_data != EarlyData::NotSent && before.is_none(),
            ..defaults
        };
        let message_seq = self.hello.as_ref().map_or(0, |_| 1);
        let framing = Framing {
            message_seq,
            sequence_number: message_seq.into(),
            ..Framing::default()
        };
        let flight = FirstFlight::new(&params, self.offer.as_mut(), &framing, &[]);
        let flight = flight.map_err(why("a ClientHello"))?;
        self.early = match (&self.offer, &flight.transcript) {
            (Some(offer), Some(transcript)) if params.early_data => {
                let secret = offer.session().early_secret();
                let secret =
                    secret.client_early_traffic_secret(LabelPrefix::Dtls13, &transcript.digest());
                let suite = offer.session().info().suite;
                let sealer = keys::sealer(suite, &secret, EARLY_DATA_EPOCH);
                Some(sealer.map_err(why("early data"))?)
            }
            _ => None,
        };
        flight
            .datagrams
            .iter()
            .for_each(|datagram| self.socket.send(datagram));
        self.hello = Some(Hello {
            body: flight.client_hello,
            datagrams: flight.datagrams,
            message_seq,
            before,
        });
        Ok(())
    }
}

fn private_key() -> Result<EphemeralPrivateKey> {
    EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(why("a private key"))
}

fn now() -> UnixMillis {
    UnixMillis::from(SystemTime::now())
}

/// Says of an error what was not to be had.
fn why<E: Display>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}

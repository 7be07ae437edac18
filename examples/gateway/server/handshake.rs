//! A handshake from the ClientHello to the client's Finished (RFC 8446, 2 and 4.4; RFC 9147, 5.7).

use dtls_session::schedule::{CipherSuite, EarlySecret, HmacKey, RecordOpener, Secret, Transcript};
use dtls_session::wire::{AlertDescription, ClientHello, HandshakeType};
use dtls_session::{Arrival, Resumed, SecureRandom, UnixMillis};
use ring::rand::SystemRandom;

use super::connection::ConnectionId;
use super::failure::Failure;
use super::flight::{Flight, Purpose};
use super::key_schedule::{self, TrafficSecrets};
use super::messages::{self, CERTIFICATE, CERTIFICATE_VERIFY, ServerHello};
use super::negotiation::Choice;
use super::receiver::{APPLICATION_EPOCH, HANDSHAKE_EPOCH, Receiver};
use super::sender::{Level, Sender};
use super::settings::Settings;

/// A ClientHello that is answered with a ServerHello.
pub struct Accepted<'a> {
    pub arrival: &'a Arrival<'a>,
    pub choice: Choice<'a>,
    /// The session that is resumed.
    pub resumed: Option<&'a Resumed<'a>>,
    /// What this server wants to find in the client's records, if the client offers that.
    pub connection_id: Option<ConnectionId>,
}

impl<'a> Accepted<'a> {
    pub fn hello(&self) -> Result<ClientHello<'a>, Failure> {
        self.arrival.hello.ok_or(INTERNAL)
    }
}

const INTERNAL: Failure = Failure(AlertDescription::INTERNAL_ERROR);

/// A handshake that waits for the client's Finished.
pub struct Handshake {
    suite: CipherSuite,
    /// Up to the server's Finished.
    transcript: Transcript,
    client_finished: HmacKey,
    master: Secret,
    session: Session,
    /// The client sent an EndOfEarlyData, which DTLS 1.3 omits.
    pub end_of_early_data: bool,
}

/// What a ticket says about its session.
pub struct Session {
    pub server_name: Option<Box<[u8]>>,
    pub alpn: Option<Box<[u8]>>,
    /// When the certificate was last shown; `None`: in this handshake.
    pub authenticated: Option<UnixMillis>,
    /// The client can use a ticket of this server.
    pub wants_tickets: bool,
}

/// What a complete handshake leaves for tickets.
pub struct Resumption {
    pub suite: CipherSuite,
    pub master_secret: Secret,
    pub session: Session,
}

/// The server's flight, and what is there when it is made.
pub struct Begun {
    pub handshake: Handshake,
    pub flight: Flight,
    pub receiver: Receiver,
    pub application: TrafficSecrets,
    pub next_message: u16,
}

/// Makes the server's flight, and the keys with which `sender` sends it and what follows it.
pub fn begin(
    accepted: &Accepted<'_>,
    settings: &Settings,
    random: &SystemRandom,
    sender: &mut Sender,
) -> Result<Begun, Failure> {
    let Accepted {
        arrival,
        choice,
        resumed,
        connection_id,
    } = accepted;
    let hello = accepted.hello()?;
    let hash = choice.suite.hash();
    let (early, transcript) = match resumed {
        Some(resumed) => (resumed.early_secret(), Some(resumed.transcript())),
        None => (
            Some(EarlySecret::without_psk(hash)),
            arrival.transcript(hash),
        ),
    };
    let (early, transcript) = (early.ok_or(INTERNAL)?, transcript.ok_or(INTERNAL)?);
    let mut writer = Writer {
        transcript,
        flight: Flight::new(Purpose::Handshake, settings.retransmit_after),
        // The ServerHello's number follows the HelloRetryRequest's, as the ClientHellos' do.
        next_message: arrival.message_seq,
        sender,
    };

    let kdf = |shared: Option<&[u8]>| key_schedule::handshake_secret(&early, shared);
    let (public, secret) = match choice.key_share {
        Some((group, client)) => {
            let (public, secret) = group.agree(client, random, |shared| kdf(Some(shared)))?;
            (Some((group.code(), public)), secret)
        }
        None => (None, kdf(None)),
    };
    let mut server_random = [0; 32];
    random.fill(&mut server_random).map_err(|_| INTERNAL)?;
    let server_hello = ServerHello {
        random: server_random,
        cipher_suite: choice.suite.code(),
        key_share: public
            .as_ref()
            .map(|(group, public)| (*group, public.as_slice())),
        selected_identity: resumed.map(|resumed| resumed.selected_identity),
        connection_id: connection_id.as_ref().map(|id| id.as_slice()),
    };
    writer.add(
        Level::Plaintext,
        HandshakeType::SERVER_HELLO,
        &server_hello.write(),
    );

    let traffic = key_schedule::handshake_traffic(&secret, &writer.transcript.digest())?;
    let sealer = key_schedule::sealer(choice.suite, &traffic.server, HANDSHAKE_EPOCH)?;
    writer.sender.set_sealer(Level::Handshake, Some(sealer));

    let early_data = resumed.and_then(|resumed| resumed.early_data());
    let extensions = messages::encrypted_extensions(choice.alpn, early_data.is_some());
    writer.add(
        Level::Handshake,
        HandshakeType::ENCRYPTED_EXTENSIONS,
        &extensions,
    );
    if let Some(scheme) = choice.signature_scheme {
        let identity = &settings.identity;
        writer.add(Level::Handshake, CERTIFICATE, identity.certificate());
        let verify = identity.certificate_verify(scheme, &writer.transcript.digest())?;
        writer.add(Level::Handshake, CERTIFICATE_VERIFY, &verify);
    }
    let finished = key_schedule::finished(&traffic.server);
    let finished = finished.sign(&[writer.transcript.digest().as_bytes()]);
    writer.add(
        Level::Handshake,
        HandshakeType::FINISHED,
        finished.as_bytes(),
    );

    let master = key_schedule::master_secret(&secret)?;
    let application = key_schedule::application_traffic(&master, &writer.transcript.digest())?;
    // The server may send application data from here on.
    let sealer = key_schedule::sealer(choice.suite, &application.server, APPLICATION_EPOCH)?;
    writer.sender.set_sealer(Level::Application, Some(sealer));

    let opener = key_schedule::opener(choice.suite, &traffic.client, HANDSHAKE_EPOCH)?;
    let modes = hello.psk_modes().unwrap_or_default();
    Ok(Begun {
        next_message: writer.next_message,
        flight: writer.flight,
        receiver: Receiver::new(early_data, opener),
        application,
        handshake: Handshake {
            suite: choice.suite,
            transcript: writer.transcript,
            client_finished: key_schedule::finished(&traffic.client),
            master,
            session: Session {
                server_name: hello.server_name().map(Into::into),
                alpn: choice.alpn.map(Into::into),
                authenticated: resumed.map(|resumed| resumed.session.authenticated),
                wants_tickets: modes.psk_dhe_ke || (modes.psk_ke && settings.psk_ke),
            },
            end_of_early_data: false,
        },
    })
}

/// Writes the flight: every message enters the transcript as it is added.
struct Writer<'a> {
    transcript: Transcript,
    flight: Flight,
    next_message: u16,
    sender: &'a mut Sender,
}

impl Writer<'_> {
    fn add(&mut self, level: Level, msg_type: HandshakeType, body: &[u8]) {
        self.transcript.add(msg_type, body);
        let room = self.sender.room(level);
        self.flight
            .push(level, room, msg_type, self.next_message, body);
        self.next_message = self.next_message.wrapping_add(1);
    }
}

impl Handshake {
    /// Verifies the client's Finished. `client` is its first application traffic secret. Returns
    /// what opens its application data, and what tickets are made of.
    pub fn finish(
        mut self,
        verify_data: &[u8],
        client: &Secret,
    ) -> Result<(RecordOpener, Resumption), Failure> {
        let verifies = |transcript: &Transcript| {
            self.client_finished
                .verify(transcript.digest().as_bytes(), verify_data)
        };
        if !verifies(&self.transcript) {
            // Who sends EndOfEarlyData as TLS does puts it into the transcript, too. It has no
            // content that could be forged, so that nothing is lost by following.
            let mut tls = self.transcript.clone();
            tls.add(HandshakeType::END_OF_EARLY_DATA, &[]);
            if !self.end_of_early_data || !verifies(&tls) {
                return Err(Failure(AlertDescription::DECRYPT_ERROR));
            }
            self.transcript = tls;
        }
        self.transcript.add(HandshakeType::FINISHED, verify_data);
        let digest = self.transcript.digest();
        let resumption = Resumption {
            suite: self.suite,
            master_secret: key_schedule::resumption_master_secret(&self.master, &digest)?,
            session: self.session,
        };
        let opener = key_schedule::opener(self.suite, client, APPLICATION_EPOCH)?;
        Ok((opener, resumption))
    }
}

//! A small DTLS 1.3 client for the stories. It sends nothing by itself, so that a story can lose,
//! repeat and reorder what it sends.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use dtls_session::UnixMillis;
use dtls_session::client::{ClientHelloParams, ClientSession, FirstFlight, Framing, Offer};
use dtls_session::schedule::{
    CipherSuite, EarlySecret, LabelPrefix, RecordOpener, RecordSealer, Secret, Transcript,
};
use dtls_session::wire::{
    ContentType, HANDSHAKE_HEADER_LEN, HandshakeType, PskModes, Record, ServerHello, dtls_header,
    fragments, records,
};
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use ring::rand::SystemRandom;

use super::super::ack::{self, Received, RecordNumber};
use super::super::key_exchange::Group;
use super::super::key_schedule::{self as keys, TrafficSecrets};
use super::super::sender::write_plaintext;

/// What a client offers.
#[derive(Clone, Copy)]
pub struct Profile {
    pub suites: &'static [CipherSuite],
    pub groups: &'static [u16],
    pub shares: &'static [Group],
    pub schemes: &'static [u16],
    pub psk_modes: PskModes,
    pub server_name: Option<&'static str>,
    pub alpn: &'static [&'static [u8]],
    pub connection_id: Option<&'static [u8]>,
    pub max_datagram_len: usize,
}

impl Profile {
    pub const DEFAULT: Self = {
        Self {
            suites: &[CipherSuite::Aes128GcmSha256],
            groups: &[0x001d, 0x0017],
            shares: &[Group::X25519],
            schemes: &[0x0403, 0x0807],
            psk_modes: PskModes {
                psk_ke: false,
                psk_dhe_ke: true,
            },
            server_name: Some("gateway.example"),
            alpn: &[],
            connection_id: None,
            max_datagram_len: 1200,
        }
    };
}

impl Default for Profile {
    fn default() -> Self {
        Self::DEFAULT
    }
}

pub struct Client {
    pub address: SocketAddr,
    profile: Profile,
    random: [u8; 32],
    private: Vec<(Group, EphemeralPrivateKey)>,
    offer: Option<Offer>,
    hello: Vec<u8>,
    message_seq: u16,
    record_number: u64,
    before: Option<Transcript>,
    transcript: Option<Transcript>,
    suite: CipherSuite,
    handshake: Option<(Secret, TrafficSecrets)>,
    pub application: Option<TrafficSecrets>,
    openers: Vec<RecordOpener>,
    pub sealers: Vec<RecordSealer>,
    /// What the server wants to find in records.
    pub connection_id: Vec<u8>,
    partial: BTreeMap<u16, (HandshakeType, Vec<Option<u8>>)>,
    next_message: u16,
    received: Received,
    /// The HelloRetryRequest that was received.
    pub retry_request: Option<Vec<u8>>,
    pub resumed: bool,
    pub psk_alone: bool,
    pub early_data_accepted: bool,
    pub alpn: Option<Vec<u8>>,
    pub is_complete: bool,
    /// The bodies of handshake messages behind the server's Finished.
    pub later: Vec<(HandshakeType, Vec<u8>)>,
    pub data: Vec<Vec<u8>>,
    pub alerts: Vec<u8>,
    pub acknowledged: Vec<RecordNumber>,
    /// Epochs and lengths of the records received.
    pub records: Vec<(u64, usize)>,
    resumption: Option<Secret>,
    plaintext: BTreeMap<u64, Vec<u8>>,
}

impl Client {
    pub fn new(port: u16, profile: Profile) -> Self {
        let random = SystemRandom::new();
        let mut client_random = [0; 32];
        ring::rand::SecureRandom::fill(&random, &mut client_random).unwrap();
        let private = |group: &Group| {
            let key = EphemeralPrivateKey::generate(group.algorithm(), &random).unwrap();
            (*group, key)
        };
        Self {
            address: SocketAddr::from(([192, 0, 2, 1], port)),
            random: client_random,
            private: profile.shares.iter().map(private).collect(),
            profile,
            offer: None,
            hello: Vec::new(),
            message_seq: 0,
            record_number: 0,
            before: None,
            transcript: None,
            suite: profile.suites[0],
            handshake: None,
            application: None,
            openers: Vec::new(),
            sealers: Vec::new(),
            connection_id: Vec::new(),
            partial: BTreeMap::new(),
            next_message: 0,
            received: Received::default(),
            retry_request: None,
            resumed: false,
            psk_alone: false,
            early_data_accepted: false,
            alpn: None,
            is_complete: false,
            later: Vec::new(),
            data: Vec::new(),
            alerts: Vec::new(),
            acknowledged: Vec::new(),
            records: Vec::new(),
            resumption: None,
            plaintext: BTreeMap::new(),
        }
    }

    /// It will offer the session of the first ticket that `earlier` got.
    pub fn resuming(mut self, earlier: &Self, now: UnixMillis) -> Self {
        self.offer = earlier.session(0, now).offer(now);
        self
    }

    /// The session of a ticket.
    pub fn session(&self, index: usize, now: UnixMillis) -> ClientSession {
        let tickets =
            |(kind, _): &&(HandshakeType, Vec<u8>)| *kind == HandshakeType::NEW_SESSION_TICKET;
        let (_, body) = self.later.iter().filter(tickets).nth(index).unwrap();
        let master = self.resumption.as_ref().unwrap().as_bytes();
        let alpn = self.alpn.as_deref();
        ClientSession::from_new_session_ticket(body, self.suite, master, alpn, now).unwrap()
    }

    /// The datagrams of its (first or second) ClientHello, and one for each piece of early data.
    pub fn hello(&mut self, early_data: &[&[u8]]) -> Vec<Vec<u8>> {
        let publics: Vec<(u16, Vec<u8>)> = self
            .private
            .iter()
            .map(|(group, key)| {
                let public = key.compute_public_key().unwrap();
                (group.code(), public.as_ref().to_vec())
            })
            .collect();
        let shares: Vec<_> = publics
            .iter()
            .map(|(group, public)| (*group, &public[..]))
            .collect();
        let retry_request = self.retry_request.clone();
        let retry = retry_request
            .as_ref()
            .map(|body| ServerHello::parse(body).unwrap());
        let profile = self.profile;
        let params = ClientHelloParams {
            random: self.random,
            legacy_session_id: &[5; 32],
            cipher_suites: profile.suites,
            server_name: profile.server_name,
            alpn: profile.alpn,
            supported_groups: profile.groups,
            key_shares: &shares,
            signature_algorithms: profile.schemes,
            psk_modes: profile.psk_modes,
            cookie: retry.and_then(|retry| retry.cookie),
            connection_id: profile.connection_id,
            early_data: !early_data.is_empty(),
        };
        let framing = Framing {
            message_seq: self.message_seq,
            sequence_number: self.record_number,
            max_datagram_len: profile.max_datagram_len,
        };
        let flight = FirstFlight::new(&params, self.offer.as_mut(), &framing, early_data).unwrap();
        self.record_number += 10;
        self.hello = flight.client_hello;
        flight.datagrams
    }

    /// Takes in a datagram of the server's.
    pub fn receive(&mut self, datagram: &[u8], now: UnixMillis) {
        let mut rest = datagram.to_vec();
        let id_len = self.profile.connection_id.map_or(0, <[u8]>::len);
        while let Some(Ok(record)) = records(&rest, id_len).next() {
            let (len, content) = match record {
                Record::Plaintext(record) => {
                    let number = RecordNumber {
                        epoch: 0,
                        sequence_number: record.sequence_number,
                    };
                    if self.is_repeated(record.sequence_number, record.fragment) {
                        rest.drain(..13 + record.fragment.len());
                        continue;
                    }
                    let len = 13 + record.fragment.len();
                    (
                        len,
                        Some((number, record.content_type, record.fragment.to_vec())),
                    )
                }
                Record::Ciphertext(record) => {
                    let id = record.connection_id.unwrap_or_default();
                    assert_eq!(id, self.profile.connection_id.unwrap_or_default());
                    (record.bytes.len(), self.open(record.bytes, id_len))
                }
            };
            rest.drain(..len);
            if let Some((number, content_type, plaintext)) = content {
                self.records.push((number.epoch, len));
                self.content(number, content_type, &plaintext, now);
            }
        }
    }

    /// Whether a plaintext record came before, which is then dropped. The network doubles records,
    /// and a server without state answers each copy of a ClientHello, perhaps in another way when
    /// it has more time; but no two records of one association have one number.
    fn is_repeated(&mut self, number: u64, fragment: &[u8]) -> bool {
        const RANDOM: std::ops::Range<usize> = 14..46;
        let Some(earlier) = self.plaintext.get(&number) else {
            self.plaintext.insert(number, fragment.to_vec());
            return false;
        };
        let is_other = earlier.get(RANDOM) != fragment.get(RANDOM);
        let body = earlier.get(HANDSHAKE_HEADER_LEN..);
        let is_retry_request = body.is_some() && body == self.retry_request.as_deref();
        assert!(!is_other || is_retry_request, "two records with one number");
        true
    }

    fn open(
        &mut self,
        record: &[u8],
        id_len: usize,
    ) -> Option<(RecordNumber, ContentType, Vec<u8>)> {
        let mut copy = record.to_vec();
        let bits = u64::from(record[0] & 3);
        let opener = self
            .openers
            .iter_mut()
            .rev()
            .find(|o| o.epoch() & 3 == bits)?;
        let epoch = opener.epoch();
        let opened = opener.open(&mut copy, id_len).ok()?;
        let number = RecordNumber {
            epoch,
            sequence_number: opened.sequence_number,
        };
        Some((number, opened.content_type, opened.plaintext.to_vec()))
    }

    fn content(
        &mut self,
        number: RecordNumber,
        content_type: ContentType,
        plaintext: &[u8],
        now: UnixMillis,
    ) {
        match content_type {
            ContentType::HANDSHAKE => {
                self.received.add(number);
                for fragment in fragments(plaintext) {
                    let fragment = fragment.unwrap();
                    let blank = || (fragment.msg_type, vec![None; fragment.length as usize]);
                    let (_, body) = self
                        .partial
                        .entry(fragment.message_seq)
                        .or_insert_with(blank);
                    let at = fragment.fragment_offset as usize;
                    for (to, from) in body[at..].iter_mut().zip(fragment.body) {
                        *to = Some(*from);
                    }
                }
                while let Some((kind, body)) = self.whole() {
                    self.next_message += 1;
                    self.message(kind, &body, now);
                }
            }
            ContentType::ACK => self.acknowledged.extend(ack::read(plaintext).unwrap()),
            ContentType::ALERT => self.alerts.push(plaintext[1]),
            ContentType::APPLICATION_DATA => self.data.push(plaintext.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    fn whole(&self) -> Option<(HandshakeType, Vec<u8>)> {
        let (kind, body) = self.partial.get(&self.next_message)?;
        let body: Option<Vec<u8>> = body.iter().copied().collect();
        Some((*kind, body?))
    }

    fn message(&mut self, kind: HandshakeType, body: &[u8], now: UnixMillis) {
        match kind {
            HandshakeType::SERVER_HELLO => self.server_hello(body, now),
            _ if self.is_complete => self.later.push((kind, body.to_vec())),
            HandshakeType::FINISHED => self.server_finished(body),
            _ => {
                if kind == HandshakeType::ENCRYPTED_EXTENSIONS {
                    self.early_data_accepted = body.windows(4).any(|ext| ext == [0, 42, 0, 0]);
                    let alpn = body.windows(2).position(|ext| ext == [0, 16]);
                    self.alpn = alpn.map(|at| {
                        let len = usize::from(body[at + 6]);
                        body[at + 7..at + 7 + len].to_vec()
                    });
                }
                self.transcript.as_mut().unwrap().add(kind, body);
            }
        }
    }

    fn server_hello(&mut self, body: &[u8], now: UnixMillis) {
        let hello = ServerHello::parse(body).unwrap();
        assert_eq!(hello.legacy_session_id_echo, b"");
        self.suite = CipherSuite::from_code(hello.cipher_suite).unwrap();
        let hash = self.suite.hash();
        if hello.is_hello_retry_request() {
            assert!(self.retry_request.is_none(), "a second HelloRetryRequest");
            let mut first = Transcript::new(hash);
            first.add(HandshakeType::CLIENT_HELLO, &self.hello);
            let before = Transcript::after_hello_retry_request(&first.digest(), hash, body);
            self.before = Some(before);
            if let Some(offer) = self.offer.take() {
                self.offer = offer.retry(&self.hello, body, now).unwrap();
            }
            if let Some(group) = hello.selected_group {
                let ours = Group::ALL.into_iter().find(|g| g.code() == group);
                self.swap_share(ours.unwrap());
            }
            self.retry_request = Some(body.to_vec());
            self.message_seq = 1;
            return;
        }
        self.connection_id = hello.connection_id.unwrap_or_default().to_vec();
        self.resumed = hello.selected_identity.is_some();
        let early = match (&self.offer, self.resumed) {
            (Some(offer), true) => offer.session().early_secret().clone(),
            _ => EarlySecret::without_psk(hash),
        };
        self.psk_alone = hello.key_share.is_none();
        let secret = match hello.key_share {
            None => keys::handshake_secret(&early, None),
            Some(share) => {
                let mine = self
                    .private
                    .iter()
                    .position(|(g, _)| g.code() == share.group);
                let (group, private) = self.private.remove(mine.unwrap());
                let public = UnparsedPublicKey::new(group.algorithm(), share.key_exchange);
                let kdf = |shared: &[u8]| keys::handshake_secret(&early, Some(shared));
                agreement::agree_ephemeral(private, &public, kdf).unwrap()
            }
        };
        let mut transcript = self.before.take().unwrap_or_else(|| Transcript::new(hash));
        transcript.add(HandshakeType::CLIENT_HELLO, &self.hello);
        transcript.add(HandshakeType::SERVER_HELLO, body);
        let traffic = keys::handshake_traffic(&secret, &transcript.digest()).unwrap();
        self.openers
            .push(keys::opener(self.suite, &traffic.server, 2).unwrap());
        self.sealers
            .push(keys::sealer(self.suite, &traffic.client, 2).unwrap());
        self.handshake = Some((keys::master_secret(&secret).unwrap(), traffic));
        self.transcript = Some(transcript);
    }

    fn server_finished(&mut self, body: &[u8]) {
        let transcript = self.transcript.as_mut().unwrap();
        let (master, traffic) = self.handshake.as_ref().unwrap();
        let key = keys::finished(&traffic.server);
        assert!(key.verify(transcript.digest().as_bytes(), body), "Finished");
        transcript.add(HandshakeType::FINISHED, body);
        let application = keys::application_traffic(master, &transcript.digest()).unwrap();
        self.openers
            .push(keys::opener(self.suite, &application.server, 3).unwrap());
        self.sealers
            .push(keys::sealer(self.suite, &application.client, 3).unwrap());
        self.application = Some(application);
        self.is_complete = true;
        // What was received so far is acknowledged by the client's own flight.
        self.received.take_ack();
    }

    /// Its Finished, as the handshake message `message_seq` after its ClientHello.
    pub fn finished(&mut self, after_hello: u16) -> Vec<u8> {
        let body = self.finished_body();
        self.handshake_message(
            0,
            HandshakeType::FINISHED,
            self.message_seq + after_hello,
            &body,
        )
    }

    pub fn finished_body(&mut self) -> Vec<u8> {
        let (master, traffic) = self.handshake.as_ref().unwrap();
        let transcript = self.transcript.clone().unwrap();
        let mac = keys::finished(&traffic.client).sign(&[transcript.digest().as_bytes()]);
        let mut all = transcript;
        all.add(HandshakeType::FINISHED, mac.as_bytes());
        self.resumption = Some(keys::resumption_master_secret(master, &all.digest()).unwrap());
        mac.as_bytes().to_vec()
    }

    /// EndOfEarlyData enters its transcript, as in TLS 1.3.
    pub fn transcribe_end_of_early_data(&mut self) {
        let transcript = self.transcript.as_mut().unwrap();
        transcript.add(HandshakeType::END_OF_EARLY_DATA, &[]);
    }

    /// A whole handshake message, sealed by the sealer with this index.
    pub fn handshake_message(
        &mut self,
        sealer: usize,
        kind: HandshakeType,
        message_seq: u16,
        body: &[u8],
    ) -> Vec<u8> {
        let len = body.len() as u32;
        let header = dtls_header(kind, len, message_seq, 0, len);
        let message = [&header[..], body].concat();
        self.seal(sealer, ContentType::HANDSHAKE, &message)
    }

    /// The handshake message that is the `number`th after its Finished, from 1, under the newest
    /// keys.
    pub fn message_after_finished(
        &mut self,
        kind: HandshakeType,
        number: u16,
        body: &[u8],
    ) -> Vec<u8> {
        let newest = self.sealers.len() - 1;
        self.handshake_message(newest, kind, self.message_seq + 1 + number, body)
    }

    pub fn seal(&mut self, sealer: usize, content_type: ContentType, plaintext: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plaintext.len() + 64];
        let id = &self.connection_id;
        let len = self.sealers[sealer]
            .seal(id, content_type, plaintext, &mut out)
            .unwrap();
        out.truncate(len);
        out
    }

    /// Application data.
    pub fn data(&mut self, data: &[u8]) -> Vec<u8> {
        let newest = self.sealers.len() - 1;
        self.seal(newest, ContentType::APPLICATION_DATA, data)
    }

    /// The ACK of all handshake records received since the last one.
    pub fn ack(&mut self) -> Vec<u8> {
        let ack = self.received.take_ack().unwrap();
        let newest = self.sealers.len() - 1;
        self.seal(newest, ContentType::ACK, &ack)
    }

    pub fn plaintext(content_type: ContentType, fragment: &[u8]) -> Vec<u8> {
        let mut out = vec![0; fragment.len() + 13];
        write_plaintext(99, content_type, fragment, &mut out).unwrap();
        out
    }

    /// The client goes on with its next keys.
    pub fn update_sealer(&mut self) {
        let epoch = self.sealers.last().unwrap().epoch() + 1;
        let application = self.application.as_mut().unwrap();
        application.client = keys::next_traffic_secret(&application.client).unwrap();
        let sealer = keys::sealer(self.suite, &application.client, epoch).unwrap();
        self.sealers.push(sealer);
    }

    /// It expects the server's next keys.
    pub fn update_opener(&mut self) {
        let epoch = self.openers.last().unwrap().epoch() + 1;
        let application = self.application.as_mut().unwrap();
        application.server = keys::next_traffic_secret(&application.server).unwrap();
        self.openers
            .push(keys::opener(self.suite, &application.server, epoch).unwrap());
    }

    /// Has a key share of this group and of no other.
    pub fn swap_share(&mut self, group: Group) {
        let random = SystemRandom::new();
        let key = EphemeralPrivateKey::generate(group.algorithm(), &random).unwrap();
        self.private = vec![(group, key)];
    }

    /// Wants to find another connection ID from now on.
    pub fn expect_connection_id(&mut self, id: &'static [u8]) {
        self.profile.connection_id = Some(id);
    }

    /// Seals in epoch 1 what is no early data.
    pub fn early_sealer(&self) -> RecordSealer {
        let offer = self.offer.as_ref().unwrap();
        let mut transcript = Transcript::new(self.suite.hash());
        transcript.add(HandshakeType::CLIENT_HELLO, &self.hello);
        let early = offer.session().early_secret();
        let secret = early.client_early_traffic_secret(LabelPrefix::Dtls13, &transcript.digest());
        keys::sealer(self.suite, &secret, 1).unwrap()
    }
}

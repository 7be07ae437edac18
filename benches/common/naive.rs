//! The admission of a ClientHello as a competent engineer writes it with `ring` and `dashmap`,
//! without having measured it: the PSK in the ticket, keys behind a `RwLock`, a random nonce and
//! a `Vec` for each ticket, the clock read for each, used tickets in a `DashMap`.
//!
//! It checks what the engine checks, in the same safe order, but for retransmissions, which it
//! takes for replays. Parsing is the library's own, so that the difference lies elsewhere.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, RwLock};

use dashmap::DashMap;
use dtls_session::wire::{ClientHello, ContentType, Record, fragments, records, tls_header};
use dtls_session::wire::{HandshakeType, NewSessionTicket};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

use super::flights::{ALPN, P256, SERVER_NAME, SUITE, X25519, now};

const NAME: usize = 16;
const NONCE: usize = 12;
const TAG: usize = 16;
const WINDOW_MS: u64 = 10_000;
const LIFETIME_S: u32 = 3600;
const MAX_EARLY_DATA: u32 = 16_384;

pub struct Naive {
    /// Names and keys, the newest first.
    keys: RwLock<Vec<([u8; NAME], LessSafeKey)>>,
    /// The tags of used tickets, and when they expire (ms).
    used: Arc<DashMap<[u8; TAG], u64>>,
    random: SystemRandom,
    zero_salt: Salt,
    empty_hash: digest::Digest,
}

/// What a flight is accepted with.
pub struct Accepted {
    pub early_traffic_secret: [u8; 32],
    pub max_early_data: u32,
}

/// Why a flight gets no early data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Malformed,
    UnknownKey,
    Forged,
    Expired,
    OtherContext,
    NoKeyShare,
    BadBinder,
    NotFresh,
    OtherAddress,
    Replayed,
}

/// What is in a ticket.
pub struct State<'a> {
    pub issued: u64,
    pub lifetime: u32,
    pub age_add: u32,
    pub max_early_data: u32,
    pub suite: u16,
    pub address: Ipv6Addr,
    pub psk: &'a [u8; 32],
    pub server_name: &'a [u8],
    pub alpn: &'a [u8],
}

impl Naive {
    /// Remembers the tickets in `used`.
    pub fn new(used: Arc<DashMap<[u8; TAG], u64>>) -> Self {
        let random = SystemRandom::new();
        let (mut name, mut key) = ([0; NAME], [0; 32]);
        random.fill(&mut name).expect("random numbers");
        random.fill(&mut key).expect("random numbers");
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes"));
        Self {
            keys: RwLock::new(vec![(name, key)]),
            used,
            random,
            zero_salt: Salt::new(HKDF_SHA256, &[0; 32]),
            empty_hash: digest::digest(&digest::SHA256, b""),
        }
    }

    /// Writes the ticket of a session and hands it to `client`.
    pub fn issue<R>(
        &self,
        psk: &[u8; 32],
        peer: IpAddr,
        client: impl FnOnce(&NewSessionTicket<'_>) -> R,
    ) -> R {
        let mut age_add = [0; 4];
        self.random.fill(&mut age_add).expect("random numbers");
        let state = State {
            issued: now().0,
            lifetime: LIFETIME_S,
            age_add: u32::from_be_bytes(age_add),
            max_early_data: MAX_EARLY_DATA,
            suite: SUITE.code(),
            address: mapped(peer),
            psk,
            server_name: SERVER_NAME.as_bytes(),
            alpn: ALPN,
        };
        client(&NewSessionTicket {
            ticket_lifetime: LIFETIME_S,
            ticket_age_add: state.age_add,
            ticket_nonce: &[],
            ticket: &self.seal(&state),
            max_early_data_size: Some(MAX_EARLY_DATA),
        })
    }

    pub fn admit(&self, datagram: &[u8], peer: SocketAddr) -> Result<Accepted, Refused> {
        let body = client_hello(datagram).ok_or(Refused::Malformed)?;
        let hello = ClientHello::parse(body).map_err(|_| Refused::Malformed)?;
        let psks = hello.pre_shared_keys().ok_or(Refused::Malformed)?;
        let identity = psks.identities().next().ok_or(Refused::Malformed)?;
        let binder = psks.binders().next().ok_or(Refused::Malformed)?;
        let offers_dhe = hello.psk_modes().is_some_and(|modes| modes.psk_dhe_ke);
        if !hello.offers_dtls13() || !offers_dhe || !hello.early_data() {
            return Err(Refused::Malformed);
        }

        let opened = self.open(identity.identity)?;
        let state = State::decode(&opened).ok_or(Refused::Malformed)?;
        let now = now().0;
        if state.issued + u64::from(state.lifetime) * 1000 <= now {
            return Err(Refused::Expired);
        }
        check_context(&hello, &state)?;

        let early_secret = self.early_secret(state.psk);
        let mut transcript = digest::Context::new(&digest::SHA256);
        transcript.update(&tls_header(HandshakeType::CLIENT_HELLO, body.len() as u32));
        transcript.update(&body[..psks.truncated_len]);
        let truncated = transcript.clone().finish();
        self.check_binder(&early_secret, truncated.as_ref(), binder)?;

        let age = identity.obfuscated_ticket_age.wrapping_sub(state.age_add);
        if (state.issued + u64::from(age)).abs_diff(now) > WINDOW_MS {
            return Err(Refused::NotFresh);
        }
        if state.address != mapped(peer.ip()) {
            return Err(Refused::OtherAddress);
        }
        let expires = state.issued + u64::from(state.lifetime) * 1000;
        if !self.strike(identity.identity, expires) {
            return Err(Refused::Replayed);
        }

        transcript.update(&body[psks.truncated_len..]);
        let full = transcript.finish();
        Ok(Accepted {
            early_traffic_secret: expand_label(&early_secret, b"c e traffic", full.as_ref()),
            max_early_data: state.max_early_data,
        })
    }

    fn seal(&self, state: &State<'_>) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        self.random.fill(&mut nonce).expect("random numbers");
        let keys = self.keys.read().expect("no panic before");
        let (name, key) = &keys[0];
        let mut ticket = Vec::with_capacity(256);
        ticket.extend(name);
        ticket.extend(nonce);
        state.encode(&mut ticket);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(*name);
        let tag = key.seal_in_place_separate_tag(nonce, aad, &mut ticket[NAME + NONCE..]);
        ticket.extend(tag.expect("it is short").as_ref());
        ticket
    }

    /// What a ticket holds.
    pub fn open(&self, ticket: &[u8]) -> Result<Vec<u8>, Refused> {
        let (name, rest) = ticket.split_first_chunk().ok_or(Refused::Malformed)?;
        let (nonce, sealed) = rest.split_first_chunk().ok_or(Refused::Malformed)?;
        let keys = self.keys.read().expect("no panic before");
        let key = find(&keys, name).ok_or(Refused::UnknownKey)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.open_in_place(nonce, Aad::from(*name), &mut sealed);
        let len = opened.map_err(|_| Refused::Forged)?.len();
        sealed.truncate(len);
        Ok(sealed)
    }

    /// Whether the key of a ticket is here.
    pub fn knows(&self, ticket: &[u8]) -> bool {
        let name = ticket.first_chunk();
        let keys = self.keys.read().expect("no panic before");
        name.is_some_and(|name| find(&keys, name).is_some())
    }

    pub fn check_binder(&self, early: &Prk, hash: &[u8], binder: &[u8]) -> Result<(), Refused> {
        let binder_key = expand_label(early, b"res binder", self.empty_hash.as_ref());
        let binder_key = Prk::new_less_safe(HKDF_SHA256, &binder_key);
        let finished_key = expand_label(&binder_key, b"finished", &[]);
        let finished_key = hmac::Key::new(hmac::HMAC_SHA256, &finished_key);
        hmac::verify(&finished_key, hash, binder).map_err(|_| Refused::BadBinder)
    }

    /// Whether a ticket is used for the first time.
    pub fn strike(&self, ticket: &[u8], expires: u64) -> bool {
        self.used.insert(tag(ticket), expires).is_none()
    }

    pub fn early_secret(&self, psk: &[u8]) -> Prk {
        self.zero_salt.extract(psk)
    }
}

fn find<'k>(keys: &'k [([u8; NAME], LessSafeKey)], name: &[u8; NAME]) -> Option<&'k LessSafeKey> {
    let found = keys.iter().find(|(known, _)| known == name);
    found.map(|(_, key)| key)
}

pub fn check_context(hello: &ClientHello<'_>, state: &State<'_>) -> Result<(), Refused> {
    if hello.server_name().unwrap_or_default() != state.server_name
        || !hello.alpn().any(|protocol| protocol == state.alpn)
        || !hello.cipher_suites().any(|suite| suite == state.suite)
    {
        return Err(Refused::OtherContext);
    }
    if !hello
        .key_shares()
        .any(|share| [X25519, P256].contains(&share.group))
    {
        return Err(Refused::NoKeyShare);
    }
    Ok(())
}

impl<'a> State<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.issued.to_be_bytes());
        out.extend(self.lifetime.to_be_bytes());
        out.extend(self.age_add.to_be_bytes());
        out.extend(self.max_early_data.to_be_bytes());
        out.extend(self.suite.to_be_bytes());
        out.extend(self.address.octets());
        out.extend(self.psk);
        for name in [self.server_name, self.alpn] {
            out.push(name.len() as u8);
            out.extend(name);
        }
    }

    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (issued, rest) = bytes.split_first_chunk()?;
        let (lifetime, rest) = rest.split_first_chunk()?;
        let (age_add, rest) = rest.split_first_chunk()?;
        let (max_early_data, rest) = rest.split_first_chunk()?;
        let (suite, rest) = rest.split_first_chunk()?;
        let (address, rest) = rest.split_first_chunk::<16>()?;
        let (psk, rest) = rest.split_first_chunk()?;
        let (server_name, rest) = rest.split_first()?;
        let (server_name, rest) = rest.split_at_checked((*server_name).into())?;
        let (alpn, rest) = rest.split_first()?;
        Some(Self {
            issued: u64::from_be_bytes(*issued),
            lifetime: u32::from_be_bytes(*lifetime),
            age_add: u32::from_be_bytes(*age_add),
            max_early_data: u32::from_be_bytes(*max_early_data),
            suite: u16::from_be_bytes(*suite),
            address: (*address).into(),
            psk,
            server_name,
            alpn: rest.get(..(*alpn).into())?,
        })
    }
}

/// The body of the ClientHello with which a datagram begins.
pub fn client_hello(datagram: &[u8]) -> Option<&[u8]> {
    let Record::Plaintext(record) = records(datagram, 0).next()?.ok()? else {
        return None;
    };
    let fragment = fragments(record.fragment).next()?.ok()?;
    let is_hello = record.content_type == ContentType::HANDSHAKE
        && fragment.msg_type == HandshakeType::CLIENT_HELLO
        && fragment.is_whole();
    is_hello.then_some(fragment.body)
}

/// HKDF-Expand-Label of DTLS 1.3, for a hash's output.
pub fn expand_label(secret: &Prk, label: &[u8], context: &[u8]) -> [u8; 32] {
    struct Len;
    impl KeyType for Len {
        fn len(&self) -> usize {
            32
        }
    }
    let info = [
        &[0, 32, 6 + label.len() as u8],
        b"dtls13".as_slice(),
        label,
        &[context.len() as u8],
        context,
    ];
    let mut out = [0; 32];
    let expanded = secret.expand(&info, Len).and_then(|okm| okm.fill(&mut out));
    expanded.expect("one block");
    out
}

/// The tag of a ticket tells it from every other.
fn tag(ticket: &[u8]) -> [u8; TAG] {
    *ticket.last_chunk().expect("it was opened")
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

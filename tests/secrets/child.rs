//! The child process: it plays the other side, and works out what this side must not keep.

use dtls_session::schedule::{
    CipherSuite, ClientHelloHash, Digest, EarlySecret, HashAlgorithm, HmacKey, LabelPrefix,
    MAX_MIDSTATES_LEN, Secret, TrafficKeys, Transcript, finished_key, hkdf, resumption_psk,
};
use dtls_session::wire::ClientHello;
use dtls_session::{KeySecret, NewSession, ResumptionSecret, TicketKeyManager};

use crate::aes::round_keys;
use crate::common::*;
use crate::needles::{MASK, REQUEST, from_hex, to_hex};

/// The issuer of the key in these tests, and another that uses the same key.
pub(crate) const ISSUER: [u8; 8] = [0x15; 8];
const FOREIGN_ISSUER: [u8; 8] = [0x16; 8];

#[test]
fn answer() {
    let Ok(request) = std::env::var(REQUEST) else {
        return;
    };
    // libtest has begun a line.
    println!();
    let words: Vec<_> = request.split(' ').collect();
    match words[..] {
        ["planted"] => needle("planted", &secret_of("planted")),
        ["key"] => key(),
        ["session", suite] => session_of(from_name(suite)),
        ["flights", suite, ref tickets @ ..] => {
            for (n, ticket) in tickets.iter().enumerate() {
                flight_of(from_name(suite), &from_hex(ticket), n);
            }
        }
        ["ticket", suite] => ticket_of(from_name(suite)),
        ["hello", suite, body] => hello_of(from_name(suite), &from_hex(body)),
        _ => panic!("{request}"),
    }
}

pub(crate) fn from_name(suite: &str) -> CipherSuite {
    match suite {
        "aes128" => CipherSuite::Aes128GcmSha256,
        "aes256" => CipherSuite::Aes256GcmSha384,
        _ => CipherSuite::Chacha20Poly1305Sha256,
    }
}

fn needle(name: &str, secret: &[u8]) {
    let masked: Vec<_> = secret.iter().map(|byte| byte ^ MASK).collect();
    println!("NEEDLE {name} {}", to_hex(&masked));
}

fn public(name: &str, bytes: &[u8]) {
    println!("PUBLIC {name} {}", to_hex(bytes));
}

/// A secret that nothing else in memory looks like.
fn secret_of(label: &str) -> [u8; 48] {
    let mut secret = [0; 48];
    let made = hkdf::extract(HashAlgorithm::Sha384, b"of the child", label.as_bytes());
    secret.copy_from_slice(made.as_bytes());
    secret
}

/// A ticket key, and everything that is derived from it.
fn key() {
    let secret: [u8; 32] = secret_of("ticket key")[..32].try_into().unwrap();
    needle("secret", &secret);
    let expand = |purpose: &str| {
        let mut out = [0; 32];
        let info = [b"dtls-session v2 ", purpose.as_bytes()].concat();
        hkdf::expand(HashAlgorithm::Sha256, &secret, &info, &mut out).unwrap();
        out
    };
    let derivation = expand("subkeys of issuers");
    needle("input/derivation", &derivation);
    let derivation = HmacKey::new(HashAlgorithm::Sha256, &derivation);
    midstates("kept/derivation", &derivation, false);
    for (name, issuer) in [("home", ISSUER), ("foreign", FOREIGN_ISSUER)] {
        let subkey = derivation.sign(&[&issuer]);
        aes(&format!("{name}/subkey"), subkey.as_bytes());
    }
    let births = derivation.sign(&[&ISSUER, b"births"]);
    needle("kept/births", &births.as_bytes()[..16]);
    needle("kept/context", &expand("contexts")[..16]);
    needle("kept/addresses", &expand("addresses"));
    for purpose in ["cookies", "handed over registers"] {
        let key = expand(purpose);
        let name = purpose.replace(' ', "-");
        needle(&format!("input/{name}"), &key);
        let key = HmacKey::new(HashAlgorithm::Sha256, &key);
        midstates(&format!("kept/{name}"), &key, false);
    }
    // A ticket of the other process, whose subkey this one has to derive.
    let random = |out: &mut [u8]| {
        out.fill(FOREIGN_ISSUER[0]);
        Ok(())
    };
    let config = dtls_session::keys::KeyConfig::default();
    let other = TicketKeyManager::with_key(config, &KeySecret::new(secret), &random, NOW).unwrap();
    let mut ticket = [0; 256];
    let reader = other.reader();
    let keys = reader.snapshot();
    let (len, _) = keys.seal_opaque(0, b"host", 600, NOW, &mut ticket).unwrap();
    public("ticket", &ticket[..len]);
}

/// The secrets of a session that follow from its resumption_master_secret alone.
fn session_of(suite: CipherSuite) {
    let (master, psk, early) = secrets_of(suite);
    needle("master", master.as_bytes());
    needle("input/psk", psk.as_bytes());
    let zero = Secret::zero(suite.hash());
    let bytes = hkdf::extract(suite.hash(), zero.as_bytes(), psk.as_bytes());
    match suite.hash() {
        // All that remains of it is a key of an HMAC.
        hash @ HashAlgorithm::Sha256 => {
            needle("input/early-secret", bytes.as_bytes());
            let key = HmacKey::new(hash, bytes.as_bytes());
            midstates("early/kept", &key, true);
            midstates("words/kept", &key, false);
        }
        HashAlgorithm::Sha384 => needle("early/kept", bytes.as_bytes()),
    }
    let binder = early.resumption_binder_secret(LabelPrefix::Dtls13);
    needle("input/binder-secret", binder.as_bytes());
    let salt = early.derived(LabelPrefix::Dtls13);
    needle("input/derived", salt.as_bytes());
    let finished = finished_key(LabelPrefix::Dtls13, &binder);
    needle("input/finished-key", finished.as_bytes());
    let binder_key = early.binder_key(LabelPrefix::Dtls13);
    midstates("early/binder-key", &binder_key, true);
    midstates("words/binder-key", &binder_key, false);
}

fn secrets_of(suite: CipherSuite) -> (Secret, Secret, EarlySecret) {
    let hash = suite.hash();
    let master = &secret_of("resumption master secret")[..hash.output_len()];
    let master = Secret::from_bytes(hash, master).unwrap();
    let psk = resumption_psk(LabelPrefix::Dtls13, &master, &[0]).unwrap();
    let early = EarlySecret::from_psk(hash, psk.as_bytes());
    (master, psk, early)
}

/// The flight of a client that has this NewSessionTicket, and the secrets of its early data.
fn flight_of(suite: CipherSuite, ticket: &[u8], n: usize) {
    let (master, ..) = secrets_of(suite);
    let session = dtls_session::client::ClientSession::from_new_session_ticket(
        ticket,
        suite,
        master.as_bytes(),
        Some(ALPN),
        NOW,
    );
    let flight = flight(
        &params(n as u8),
        session.unwrap().offer(after(100)).unwrap(),
    );
    public(&format!("hello{n}"), &flight.datagrams[0]);
    public(&format!("early{n}"), &flight.datagrams[1]);
    hello_of(suite, &flight.client_hello);
}

/// The secrets of the early data behind this ClientHello.
fn hello_of(suite: CipherSuite, body: &[u8]) {
    let (.., early) = secrets_of(suite);
    let psks = ClientHello::parse(body).unwrap().pre_shared_keys().unwrap();
    let transcript = Transcript::new(suite.hash());
    let hash = ClientHelloHash::new(transcript, body, psks.truncated_len).unwrap();
    let digest: Digest = hash.full();
    let traffic = early.client_early_traffic_secret(LabelPrefix::Dtls13, &digest);
    needle("traffic/secret", traffic.as_bytes());
    let keys = TrafficKeys::derive(LabelPrefix::Dtls13, suite, &traffic).unwrap();
    for (name, key) in [("records/key", keys.key()), ("records/sn", keys.sn_key())] {
        if suite == CipherSuite::Chacha20Poly1305Sha256 {
            needle(name, key);
        } else {
            aes(name, key);
        }
    }
}

/// A NewSessionTicket of a server for the same session.
fn ticket_of(suite: CipherSuite) {
    let (master, ..) = secrets_of(suite);
    let mut worker = worker(dtls_session::Engine::builder());
    let session = NewSession {
        secret: ResumptionSecret::Master {
            secret: master.as_bytes(),
            ticket_nonce: &[0],
        },
        ..session(suite, NOW)
    };
    public("ticket", &ticket_for(&mut worker, &session, NOW));
    session_of(suite);
}

/// The key, whole and round key by round key.
fn aes(name: &str, key: &[u8]) {
    for (round, key) in round_keys(key).iter().enumerate() {
        needle(&format!("{name}/round-{round}"), key);
    }
}

/// As a ticket carries them, or as the words that the processor works on.
fn midstates(name: &str, key: &HmacKey, carried: bool) {
    let mut bytes = [0; MAX_MIDSTATES_LEN];
    let len = key.to_midstates(&mut bytes).unwrap();
    let bytes = &mut bytes[..len];
    if !carried && cfg!(target_endian = "little") {
        let word = if key.hash() == HashAlgorithm::Sha256 {
            4
        } else {
            8
        };
        bytes.chunks_mut(word).for_each(<[u8]>::reverse);
    }
    needle(name, bytes);
}

//! What is printed by `Debug` tells no secret.

use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

use dtls_session::client::{Endpoint, SessionStore, StoreConfig};
use dtls_session::schedule::{
    CipherSuite, ClientHelloHash, EarlySecret, Hash, HashAlgorithm, HmacKey, LabelPrefix,
    RecordOpener, RecordSealer, Secret, TrafficKeys, Transcript, hkdf, resumption_psk,
};
use dtls_session::ticket::Scratch;
use dtls_session::wire::{Fragment, HandshakeType, NewSessionTicket, Reassembly};
use dtls_session::{
    Datagram, EncryptedTicket, Engine, KeySecret, NewSession, ResumptionSecret, Verdict,
};

use crate::common::*;

/// Four bytes of `secret` in a row, in any of the forms in which `Debug` could print them.
fn tells(printed: &str, secret: &[u8]) -> bool {
    let printed: String = printed.split_whitespace().collect();
    let printed = printed.to_lowercase();
    secret.windows(4).any(|run| {
        let [a, b, c, d] = run.try_into().unwrap();
        let word = u32::from_be_bytes([a, b, c, d]);
        [
            format!("{a},{b},{c},{d}"),
            format!("{a:x},{b:x},{c:x},{d:x}"),
            format!("0x{a:x},0x{b:x}"),
            format!("{word:08x}"),
            word.to_string(),
        ]
        .iter()
        .any(|form| printed.contains(form))
    })
}

#[track_caller]
fn assert_tells_nothing(value: &dyn Debug, secrets: &[&[u8]]) {
    for printed in [
        format!("{value:?}"),
        format!("{value:#?}"),
        format!("{value:x?}"),
    ] {
        for secret in secrets {
            assert!(!tells(&printed, secret), "{printed}");
        }
    }
}

#[test]
fn whoever_prints_a_secret_is_caught() {
    let secret = [201, 17, 5, 99, 250];
    for printed in [
        format!("{secret:?}"),
        format!("{secret:#?}"),
        format!("{secret:x?}"),
        format!("{secret:#x?}"),
        format!("{:?}", u32::from_be_bytes([201, 17, 5, 99])),
        "X(11056 3fac9110563)".to_string(),
    ] {
        assert!(tells(&printed, &secret), "{printed}");
    }
    assert!(!tells("KeySecret(..)", &secret));
}

#[test]
fn nothing_secret_is_printed() {
    let suite = CipherSuite::Aes128GcmSha256;
    let hash = suite.hash();
    let master: Vec<u8> = (100..132).collect();
    let psk = resumption_psk(
        LabelPrefix::Dtls13,
        &Secret::from_bytes(hash, &master).unwrap(),
        &[0],
    )
    .unwrap();
    let early = EarlySecret::from_psk(hash, psk.as_bytes());
    let binder_key = early.binder_key(LabelPrefix::Dtls13);
    let mut midstates = [0; 64];
    binder_key.to_midstates(&mut midstates).unwrap();
    let early_secret = hkdf::extract(hash, Secret::zero(hash).as_bytes(), psk.as_bytes());
    let mut kept = [0; 64];
    early.to_kept(&mut kept).unwrap();
    let mut secrets: Vec<&[u8]> = vec![
        &master,
        psk.as_bytes(),
        early_secret.as_bytes(),
        &kept,
        &midstates,
    ];

    // The server's side.
    let key: [u8; 32] = std::array::from_fn(|n| 200 - n as u8);
    secrets.push(&key);
    let builder = Engine::builder().ticket_key(KeySecret::new(key));
    assert_tells_nothing(&KeySecret::new(key), &secrets);
    assert_tells_nothing(&builder, &secrets);
    let mut worker = worker(builder);
    assert_tells_nothing(&worker.engine().keys().status(), &secrets);
    assert_tells_nothing(&worker.engine().keys().active(), &secrets);
    let session = NewSession {
        secret: ResumptionSecret::Master {
            secret: &master,
            ticket_nonce: &[0],
        },
        host_data: b"\x01\x02\x03\x04 of the host",
        ..session(suite, NOW)
    };
    secrets.push(session.host_data);
    assert_tells_nothing(&session, &secrets);
    assert_tells_nothing(&ResumptionSecret::Psk(&master), &secrets);
    assert_tells_nothing(&worker, &secrets);
    assert_tells_nothing(&worker.engine(), &secrets);
    let body = ticket_for(&mut worker, &session, NOW);
    let message = NewSessionTicket::parse(&body).unwrap();
    let age_add = message.ticket_age_add.to_be_bytes();
    secrets.push(&age_add);
    assert_tells_nothing(&message, &secrets);
    let reader = worker.engine().keys().reader();
    let keys = reader.snapshot();
    assert_tells_nothing(&(&reader, &keys), &secrets);
    let mut scratch = Scratch::new();
    let ticket = EncryptedTicket::parse(message.ticket).unwrap();
    assert_tells_nothing(&ticket, &secrets);
    assert_tells_nothing(&ticket.open(&keys, &mut scratch).unwrap(), &secrets);
    assert_tells_nothing(&scratch, &secrets);
    let mut sealed = [0; 256];
    let opaque = session.host_data;
    let (len, _) = keys.seal_opaque(0, opaque, 60, NOW, &mut sealed).unwrap();
    let ticket = EncryptedTicket::parse(&sealed[..len]).unwrap();
    assert_tells_nothing(&ticket.open(&keys, &mut scratch).unwrap(), &secrets);

    // The client's side.
    let kept = dtls_session::client::ClientSession::from_new_session_ticket(
        &body,
        suite,
        &master,
        Some(ALPN),
        NOW,
    )
    .unwrap();
    assert_tells_nothing(&kept, &secrets);
    let store = SessionStore::new(StoreConfig::default()).unwrap();
    let server = Endpoint::new(client_address(), None);
    store.store(server.clone(), kept, NOW).unwrap();
    assert_tells_nothing(&store, &secrets);
    assert_tells_nothing(&store.get(&server, NOW), &secrets);
    let offer = store.take(&server, NOW).unwrap().offer(NOW).unwrap();
    assert_tells_nothing(&offer, &secrets);
    let flight = flight(&params(1), offer);
    assert_tells_nothing(&flight.early_data, &secrets);

    // The verdict.
    let batch = [Datagram {
        bytes: &flight.datagrams[0],
        peer: client_address(),
    }];
    let admitted = worker.admit(&batch, NOW).unwrap();
    let (_, verdict) = admitted.iter().next().unwrap();
    let Verdict::AcceptEarlyData(resumed) = verdict else {
        panic!("{verdict:?}")
    };
    let traffic = resumed.client_early_traffic_secret().unwrap();
    let traffic_keys = TrafficKeys::derive(LabelPrefix::Dtls13, suite, traffic).unwrap();
    secrets.extend([
        traffic.as_bytes(),
        traffic_keys.key(),
        traffic_keys.iv(),
        traffic_keys.sn_key(),
    ]);
    assert_tells_nothing(&admitted, &secrets);
    assert_tells_nothing(&verdict, &secrets);
    assert_tells_nothing(&resumed.session, &secrets);
    assert_tells_nothing(&resumed.early_secret(), &secrets);
    assert_tells_nothing(&resumed.early_data(), &secrets);

    // The key schedule.
    assert_tells_nothing(&traffic, &secrets);
    assert_tells_nothing(&traffic_keys, &secrets);
    assert_tells_nothing(&RecordSealer::new(&traffic_keys, 1).unwrap(), &secrets);
    assert_tells_nothing(&RecordOpener::new(&traffic_keys, 1).unwrap(), &secrets);
    let mac = HmacKey::new(HashAlgorithm::Sha256, &key);
    assert_tells_nothing(&mac, &secrets);
    let digest = mac.sign(&[b"data"]);
    assert_tells_nothing(&digest, &[digest.as_bytes()]);
    let mut hash = Hash::new(HashAlgorithm::Sha256);
    hash.update(&key);
    assert_tells_nothing(&hash, &secrets);
    let mut transcript = Transcript::new(HashAlgorithm::Sha256);
    transcript.add(HandshakeType::CLIENT_HELLO, &key);
    assert_tells_nothing(&transcript, &secrets);
    let hello = ClientHelloHash::new(transcript, &key, 20).unwrap();
    assert_tells_nothing(&hello, &secrets);

    // Messages that are put together.
    let mut reassembly = Reassembly::new(4, 100, Duration::from_secs(1)).unwrap();
    let fragment = Fragment {
        msg_type: HandshakeType::CLIENT_HELLO,
        length: 100,
        message_seq: 0,
        fragment_offset: 0,
        body: &key,
    };
    let _ = reassembly.insert(1, &fragment, NOW);
    assert_tells_nothing(&reassembly, &secrets);
}

/// What a type is: its attributes and its fields, as the source has them.
fn types_that_derive_debug(source: &str) -> Vec<&str> {
    source
        .split("#[derive(")
        .skip(1)
        .filter(|item| item.split(')').next().is_some_and(|d| d.contains("Debug")))
        .map(|item| &item[..item.find("\n}\n").unwrap_or(item.len())])
        .collect()
}

/// Wiping is done with `Zeroizing` and `ZeroizeOnDrop`: whoever has them has a secret, and
/// `Zeroizing` prints what is in it.
#[test]
fn no_type_with_a_secret_derives_debug() {
    fn check(directory: &Path, checked: &mut usize) {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                check(&path, checked);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            for item in types_that_derive_debug(&source) {
                *checked += 1;
                assert!(!item.contains("Zeroiz"), "{}: {item}", path.display());
            }
        }
    }
    let wiped = "#[derive(Clone, Debug)]\nstruct A {\n    key: Zeroizing<[u8; 32]>,\n}\n";
    assert!(types_that_derive_debug(wiped)[0].contains("Zeroiz"));
    let mut checked = 0;
    check(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut checked,
    );
    assert!(checked > 50, "{checked} types");
}

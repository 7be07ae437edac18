//! The first flights that real stacks sent, read by the wire and compared with what was found in
//! them by other means.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/hex.rs"]
mod hex;

use std::time::Duration;

use dtls_session::UnixMillis;
use dtls_session::wire::{
    ClientHello, ContentType, Fragment, HandshakeType, Outcome, Reassembly, Record, ServerHello,
    fragments, records, tls_header,
};
use hex::hex;
use serde_json::Value;

const NOW: UnixMillis = UnixMillis(1_795_000_000_000);

/// A captured connection's messages, and what is known of them.
struct Connection {
    name: String,
    /// All datagrams of the client, in order.
    datagrams: Vec<Vec<u8>>,
    vectors: Value,
}

fn connections() -> Vec<Connection> {
    let flights = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/flights");
    let mut connections = Vec::new();
    for case in std::fs::read_dir(flights).unwrap() {
        let case = case.unwrap().path();
        let read = |file| std::fs::read_to_string(case.join(file)).unwrap();
        let vectors: Vec<Value> = serde_json::from_str(&read("vectors.json")).unwrap();
        for vectors in vectors {
            let conn = vectors["conn"].as_str().unwrap().to_owned();
            let datagrams = read("dgrams.txt")
                .lines()
                .map(|line| line.split(' ').collect::<Vec<_>>())
                .filter(|fields| fields[0] == conn && fields[2] == ">")
                .map(|fields| hex(fields[4]))
                .collect();
            connections.push(Connection {
                name: format!("{} {conn}", case.file_name().unwrap().display()),
                datagrams,
                vectors,
            });
        }
    }
    assert!(connections.len() >= 14, "{} connections", connections.len());
    connections
}

/// The ClientHello fragments in a client's datagrams.
fn client_hello_fragments(datagrams: &[Vec<u8>]) -> Vec<Fragment<'_>> {
    let mut found = Vec::new();
    for datagram in datagrams {
        for record in records(datagram, 0) {
            match record.unwrap() {
                Record::Plaintext(record) if record.content_type == ContentType::HANDSHAKE => {
                    found.extend(fragments(record.fragment).map(Result::unwrap));
                }
                _ => {}
            }
        }
    }
    found.retain(|fragment| fragment.msg_type == HandshakeType::CLIENT_HELLO);
    found
}

fn reassemble<'a>(fragments: impl IntoIterator<Item = Fragment<'a>>) -> Vec<Vec<u8>> {
    let mut pool = Reassembly::new(4, 2048, Duration::from_secs(5)).unwrap();
    let mut messages = Vec::new();
    for fragment in fragments {
        if let Outcome::Complete(id) = pool.insert(7, &fragment, NOW) {
            let (msg_type, seq) = pool.kind(id).unwrap();
            let body = pool.body(id);
            let message = [&tls_header(msg_type, body.len() as u32), body].concat();
            messages.push((seq, message));
        }
    }
    messages.sort();
    messages.into_iter().map(|(_, message)| message).collect()
}

#[test]
fn trap_29_every_client_hello_reassembles_in_any_order() {
    let mut fragmented = 0;
    for connection in connections() {
        let name = &connection.name;
        let expected: Vec<_> = client_hellos(&connection.vectors)
            .map(|hello| hex(hello["handshake_tls_form"].as_str().unwrap()))
            .collect();
        let fragments = client_hello_fragments(&connection.datagrams);
        let counted: u64 = client_hellos(&connection.vectors)
            .map(|hello| hello["fragments"].as_u64().unwrap())
            .sum();
        assert_eq!(fragments.len() as u64, counted, "{name}");
        fragmented += fragments
            .iter()
            .filter(|fragment| !fragment.is_whole())
            .count();

        assert_eq!(reassemble(fragments.clone()), expected, "{name}");
        assert_eq!(
            reassemble(fragments.iter().rev().copied()),
            expected,
            "{name}"
        );
        let cut_in_two = fragments.iter().flat_map(halves).chain(fragments.clone());
        assert_eq!(reassemble(cut_in_two).first(), expected.first(), "{name}");
    }
    assert!(fragmented >= 9, "{fragmented} fragments");
}

/// The two halves of a fragment, the second first, overlapping by a byte.
fn halves<'a>(fragment: &Fragment<'a>) -> [Fragment<'a>; 2] {
    let middle = fragment.body.len() / 2;
    let second = Fragment {
        fragment_offset: fragment.fragment_offset + middle as u32,
        body: &fragment.body[middle..],
        ..*fragment
    };
    let first = Fragment {
        body: &fragment.body[..=middle],
        ..*fragment
    };
    [second, first]
}

#[test]
fn every_client_hello_says_what_was_found_in_it() {
    let (mut hellos, mut offers, mut session_ids, mut early) = (0, 0, 0, 0);
    for connection in connections() {
        for expected in client_hellos(&connection.vectors) {
            let message = hex(expected["handshake_tls_form"].as_str().unwrap());
            let hello = ClientHello::parse(&message[4..]).expect(&connection.name);
            let bytes = |key: &str| hex(expected[key].as_str().unwrap());
            hellos += 1;

            assert_eq!(hello.random()[..], bytes("random"));
            // Trap 30: wolfSSL's clients send one
            assert_eq!(hello.legacy_session_id(), bytes("session_id"));
            session_ids += usize::from(!hello.legacy_session_id().is_empty());
            assert_eq!(hello.legacy_cookie(), bytes("legacy_cookie"));
            assert_eq!(
                hello.legacy_version().to_be_bytes()[..],
                bytes("legacy_version")
            );
            let suites: Vec<u8> = hello.cipher_suites().flat_map(u16::to_be_bytes).collect();
            assert_eq!(suites, bytes("suites"));
            let order: Vec<u16> = hello.extensions().map(|(code, _)| code).collect();
            assert_eq!(Value::from(order), expected["ext_order"]);
            assert!(hello.offers_dtls13());
            assert!(hello.psk_modes().unwrap().psk_dhe_ke);

            let Some(offered) = hello.pre_shared_keys() else {
                assert!(expected["ticket"].is_null());
                continue;
            };
            offers += 1;
            early += usize::from(hello.early_data());
            assert_eq!(
                Value::from(offered.identities().count()),
                expected["n_identities"]
            );
            let identity = offered.identities().next().unwrap();
            assert_eq!(identity.identity, bytes("ticket"));
            assert_eq!(
                Value::from(identity.obfuscated_ticket_age),
                expected["obfuscated_ticket_age"]
            );
            assert_eq!(offered.binders().next().unwrap(), bytes("binder"));
            // The transcript has the message's type and length before the body
            assert_eq!(
                Value::from(4 + offered.truncated_len),
                expected["truncated_len"]
            );
            assert_eq!(Value::from(hello.early_data()), expected["early_data_ext"]);
        }
    }
    assert!(hellos >= 20 && offers >= 8 && session_ids >= 8 && early >= 6);
}

#[test]
fn server_names_key_shares_and_cookies_are_the_captured_ones() {
    let (mut names, mut cookies) = (0, 0);
    for connection in connections() {
        let retry = connection.vectors["hello_retry_request"].as_str().map(hex);
        let retry = retry
            .as_ref()
            .map(|message| ServerHello::parse(&message[4..]).unwrap());
        for (n, expected) in client_hellos(&connection.vectors).enumerate() {
            let message = hex(expected["handshake_tls_form"].as_str().unwrap());
            let hello = ClientHello::parse(&message[4..]).unwrap();
            if connection.name.contains("sni") {
                assert_eq!(hello.server_name(), Some(&b"gateway.example"[..]));
                names += 1;
            }
            for share in hello.key_shares() {
                assert!(hello.supported_groups().any(|group| group == share.group));
            }
            // What the second hello echoes is what the HelloRetryRequest gave
            if n == 1 {
                let retry = retry.unwrap();
                assert!(retry.is_hello_retry_request());
                assert!(retry.cookie.is_some() && hello.cookie() == retry.cookie);
                if let Some(group) = retry.selected_group {
                    assert!(hello.key_shares().map(|share| share.group).eq([group]));
                }
                cookies += 1;
            } else {
                assert_eq!(hello.cookie(), None);
            }
        }
    }
    assert!(names >= 3 && cookies >= 6);
}

#[test]
fn every_server_hello_says_whether_it_resumes() {
    let mut resumed = 0;
    for connection in connections() {
        let message = hex(connection.vectors["server_hello"].as_str().unwrap());
        let hello = ServerHello::parse(&message[4..]).expect(&connection.name);
        assert!(!hello.is_hello_retry_request());
        assert!(hello.key_share.is_some());
        let selected = hello.selected_identity == Some(0);
        assert_eq!(
            Value::from(selected),
            connection.vectors["server_selected_psk"]
        );
        resumed += usize::from(selected);
    }
    assert!(resumed >= 8);
}

#[test]
fn early_records_are_found_behind_the_hello() {
    let mut found = 0;
    for connection in connections() {
        let Some(expected) = connection.vectors["early_records"].as_array() else {
            continue;
        };
        let raw: Vec<Vec<u8>> = expected
            .iter()
            .map(|record| hex(record["raw"].as_str().unwrap()))
            .collect();
        let flight: Vec<Vec<u8>> = connection.vectors["first_flight"]
            .as_array()
            .unwrap()
            .iter()
            .map(|datagram| hex(datagram.as_str().unwrap()))
            .collect();
        let mut early = Vec::new();
        for datagram in &flight {
            for record in records(datagram, 0) {
                if let Record::Ciphertext(record) = record.unwrap() {
                    assert_eq!(record.epoch_bits, 1);
                    assert_eq!((record.connection_id, record.sequence.len()), (None, 2));
                    assert_eq!(
                        [record.header, record.encrypted_record].concat(),
                        record.bytes
                    );
                    early.push(record.bytes);
                }
            }
        }
        assert_eq!(early, raw, "{}", connection.name);
        found += early.len();
    }
    assert!(found >= 12, "{found} early records");
}

fn client_hellos(vectors: &Value) -> std::slice::Iter<'_, Value> {
    vectors["client_hellos"].as_array().unwrap().iter()
}

//! What real clients sent, written again by ours: from the same ticket, PSK and time, every binder,
//! ticket age and record of early data must come out byte for byte.
#![allow(clippy::unwrap_used)]

#[path = "common/hex.rs"]
mod hex;

use dtls_session::UnixMillis;
use dtls_session::client::{ClientSession, Offer};
use dtls_session::schedule::{
    CipherSuite, EarlySecret, HashAlgorithm, LabelPrefix, RECORD_OVERHEAD_LEN,
};
use dtls_session::wire::NewSessionTicket;
use hex::hex;
use serde_json::Value;

fn bytes(value: &Value) -> Vec<u8> {
    hex(value.as_str().unwrap())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// The connections that resume, with their names.
fn resumptions() -> Vec<(String, Value)> {
    let flights = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/flights");
    let mut found = Vec::new();
    for case in std::fs::read_dir(flights).unwrap() {
        let case = case.unwrap().path();
        let text = std::fs::read_to_string(case.join("vectors.json")).unwrap();
        for connection in serde_json::from_str::<Vec<Value>>(&text).unwrap() {
            if connection["client_hellos"][0]["psk"].is_string() {
                let case = case.file_name().unwrap().display();
                found.push((format!("{case} {}", connection["conn"]), connection));
            }
        }
    }
    assert!(found.len() >= 10, "{} resumptions", found.len());
    found
}

const RECEIVED: UnixMillis = UnixMillis(1_795_000_000_000);

/// The session of the ticket in `hello`, from the NewSessionTicket that brought it where its nonce
/// is known, from the PSK where not.
fn session(hello: &Value) -> ClientSession {
    let suite = u16::from_str_radix(hello["suite"].as_str().unwrap(), 16).unwrap();
    let suite = CipherSuite::from_code(suite).unwrap();
    let nonce = &hello["ticket_nonce"];
    let message = NewSessionTicket {
        ticket_lifetime: 3600,
        ticket_age_add: number(&hello["ticket_age_add"]) as u32,
        ticket_nonce: &nonce.as_str().map_or(Vec::new(), |_| bytes(nonce)),
        ticket: &bytes(&hello["ticket"]),
        max_early_data_size: hello["ticket_max_early_data"]
            .as_u64()
            .map(|max| max as u32),
    };
    let session =
        ClientSession::from_psk(&message, suite, &bytes(&hello["psk"]), None, RECEIVED).unwrap();
    let derived = |early: &EarlySecret| early.derived(LabelPrefix::Dtls13).as_bytes().to_vec();
    let given = EarlySecret::from_bytes(suite.hash(), &bytes(&hello["early_secret"])).unwrap();
    assert_eq!(derived(session.early_secret()), derived(&given));
    if nonce.is_null() {
        return session;
    }
    let mut body = [0; 2048];
    let len = message.write(&mut body).unwrap();
    let (body, rms) = (&body[..len], bytes(&hello["rms"]));
    let parsed = ClientSession::from_new_session_ticket(body, suite, &rms, None, RECEIVED).unwrap();
    assert_eq!(derived(parsed.early_secret()), derived(&given));
    parsed
}

fn sent_at(hello: &Value) -> UnixMillis {
    UnixMillis(RECEIVED.0 + number(&hello["client_age_ms"]))
}

fn body(hello: &Value) -> Vec<u8> {
    bytes(&hello["handshake_tls_form"]).split_off(4)
}

/// Takes the binder out of the captured ClientHello and lets `offer` put its own in; returns the
/// transcript.
fn rebind(offer: &Offer, hello: &Value) -> dtls_session::schedule::Transcript {
    let captured = body(hello);
    let binder = bytes(&hello["binder"]);
    let age = number(&hello["obfuscated_ticket_age"]);
    assert_eq!(u64::from(offer.obfuscated_ticket_age()), age);

    let mut ours = captured.clone();
    let start = ours.len() - binder.len();
    ours[start..].fill(0);
    let transcript = offer.bind(&mut ours).unwrap();
    assert_eq!(ours, captured);

    let mut extension = [0; 2048];
    let len = offer.write_extension(&mut extension).unwrap();
    let before_binder = &extension[..len - binder.len()];
    assert!(captured[..start].ends_with(before_binder));
    transcript
}

#[test]
fn binders_and_ages_of_real_first_client_hellos_come_out_the_same() {
    let mut hashes = Vec::new();
    for (name, connection) in resumptions() {
        println!("{name}");
        let hello = &connection["client_hellos"][0];
        let offer = session(hello).offer(sent_at(hello)).unwrap();
        hashes.push(offer.session().info().suite.hash());

        let transcript = rebind(&offer, hello);

        if hello["client_early_traffic_secret"].is_string() {
            let secret = offer.client_early_traffic_secret(&transcript);
            assert_eq!(
                secret.as_bytes(),
                bytes(&hello["client_early_traffic_secret"])
            );
        }
    }
    assert!(hashes.contains(&HashAlgorithm::Sha256) && hashes.contains(&HashAlgorithm::Sha384));
}

#[test]
fn trap_27_binders_of_real_client_hellos_after_a_retry_come_out_the_same() {
    let mut retries = 0;
    for (name, connection) in resumptions() {
        let hellos = connection["client_hellos"].as_array().unwrap();
        let [first, second] = &hellos[..] else {
            continue;
        };
        println!("{name}");
        let offer = session(first).offer(sent_at(first)).unwrap();
        rebind(&offer, first);

        let retry = bytes(&connection["hello_retry_request"]).split_off(4);
        let retried = offer.retry(&body(first), &retry, sent_at(second));
        let mut offer = retried.unwrap().unwrap();

        let transcript = rebind(&offer, second);
        // And there is no early data any more.
        assert!(!offer.allows_early_data());
        assert!(offer.early_data(&transcript).is_err());
        retries += 1;
    }
    assert!(retries >= 2, "{retries} retries");
}

#[test]
fn early_data_of_real_clients_comes_out_as_the_same_records() {
    let mut suites = Vec::new();
    for (name, connection) in resumptions() {
        let Some(records) = connection["early_records"].as_array() else {
            continue;
        };
        println!("{name}");
        let hello = &connection["client_hellos"][0];
        let mut offer = session(hello).offer(sent_at(hello)).unwrap();
        let transcript = rebind(&offer, hello);
        let mut sealer = offer.early_data(&transcript).unwrap();
        let limit = sealer.left();
        let mut sent = 0;
        for record in records {
            let plaintext = bytes(&record["plaintext"]);
            assert_eq!(number(&record["inner_type"]), 23);
            let mut ours = vec![0; plaintext.len() + RECORD_OVERHEAD_LEN];
            let len = sealer.seal(&plaintext, &mut ours).unwrap();
            assert_eq!(ours[..len], bytes(&record["raw"]));
            sent += plaintext.len() as u32;
        }
        assert_eq!(sealer.left(), limit - sent);
        suites.push(offer.session().info().suite);
    }
    for suite in [0x1301, 0x1302, 0x1303] {
        let suite = CipherSuite::from_code(suite).unwrap();
        assert!(suites.contains(&suite), "{suite:?}");
    }
}

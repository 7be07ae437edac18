//! Flights that real stacks sent, recomputed: the checks of the `flights` example over the
//! project's own copies, and over copies with a fault.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../examples/flights/check/mod.rs"]
mod check;

fn flights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flights")
}

fn failures(dir: &Path) -> Vec<String> {
    let checks = check::folder(dir);
    let failed = checks.iter().filter(|check| check.failure.is_some());
    failed.map(ToString::to_string).collect()
}

/// A folder with `vectors` in place of those of `case`, and its key log.
fn changed(name: &str, case: &str, vectors: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&dir).unwrap();
    fs::copy(
        flights().join(case).join("keylog.txt"),
        dir.join("keylog.txt"),
    )
    .unwrap();
    fs::write(dir.join("vectors.json"), vectors).unwrap();
    dir
}

fn vectors(case: &str) -> String {
    fs::read_to_string(flights().join(case).join("vectors.json")).unwrap()
}

#[test]
fn all_captured_flights_are_as_recomputed() {
    let cases = fs::read_dir(flights()).unwrap().count();
    assert!(cases >= 7, "{cases} cases");
    let checks = check::folder(&flights());
    assert!(checks.len() > 20 * cases, "{} checks", checks.len());
    assert_eq!(failures(&flights()), Vec::<String>::new());
}

#[test]
fn trap_27_the_binder_after_a_hello_retry_request_covers_it_and_the_first_client_hello() {
    // Given the connection with a PSK and a HelloRetryRequest, when a bit of its cookie in the
    // HelloRetryRequest changes, then only what follows from the second transcript does not fit.
    let case = "wolfssl_hrr_cookie_rejects_0rtt";
    let text = vectors(case);
    let at = text.rfind("\"hello_retry_request\"").unwrap();
    let (before, after) = text.split_at(at);
    let end = after.find("\",").unwrap();
    let mut message = after[..end].to_owned();
    let last = message.pop().unwrap();
    message.push(if last == '0' { '1' } else { '0' });
    let text = [before, &message, &after[end..]].concat();
    let failed = failures(&changed("retry", case, &text));
    assert_eq!(failed.len(), 4, "{failed:#?}");
    for failed in failed {
        assert!(failed.contains("conn1 ClientHello 2 "), "{failed}");
    }
}

#[test]
fn every_changed_digit_of_what_is_recomputed_is_noticed() {
    // What nothing else follows from or is compared with: what another stack's ticket holds, and
    // the parts of a ServerHello that only a whole handshake could check.
    const UNCHECKED: [&str; 4] = ["conn", "ticket_format", "ticket_plaintext", "server_hello"];
    for case in ["wolfssl_aes128_x25519", "wolfssl_default_pq_groups"] {
        let text = vectors(case);
        // Nor does anything cover the ClientHellos of the full handshake.
        let mut at = text.find("conn1").unwrap();
        let mut tried = 0;
        while let Some(start) = text[at..].find("\": \"").map(|found| at + found) {
            let name_at = text[..start].rfind('"').unwrap() + 1;
            let value_at = start + 4;
            let len = text[value_at..].find('"').unwrap();
            at = value_at + len;
            if len == 0 || UNCHECKED.contains(&&text[name_at..start]) {
                continue;
            }
            let mut changed_text = text.clone().into_bytes();
            let digit = &mut changed_text[value_at + len / 2];
            *digit = if *digit == b'5' { b'6' } else { b'5' };
            let changed_text = String::from_utf8(changed_text).unwrap();
            let failed = failures(&changed("digit", case, &changed_text));
            assert!(!failed.is_empty(), "{case} {}", &text[name_at..at]);
            tried += 1;
        }
        assert!(tried > 40, "{tried} digits");
    }
}

#[test]
fn an_unknown_psk_leaves_the_early_traffic_secret_to_check_with() {
    // Given flights of which neither PSK nor early secret are known,
    let case = "wolfssl_aes128_x25519";
    let unknown = |names: &[&str]| {
        let mut text = vectors(case);
        for name in names {
            text = text.replace(&format!("\"{name}\":"), &format!("\"not {name}\":"));
        }
        text
    };
    let secretless = ["psk", "early_secret"];
    let keyless = ["psk", "early_secret", "client_early_traffic_secret"];
    // when the early traffic secret is given, in the vectors or in the key log, then records open,
    for (dir, names) in [("given", secretless.as_slice()), ("logged", &keyless)] {
        let dir = changed(dir, case, &unknown(names));
        assert_eq!(failures(&dir), Vec::<String>::new());
        let opened = check::folder(&dir);
        let opened = opened
            .iter()
            .filter(|check| check.to_string().contains("early record"));
        assert_eq!(opened.count(), 4);
    }
    // and when it is wrong, they do not.
    let text = unknown(&secretless).replace("eb04c59a", "eb04c59b");
    assert!(!failures(&changed("wrong", case, &text)).is_empty());
}

#[test]
fn nothing_to_check_is_a_failure() {
    for (name, text) in [
        ("empty", "[]"),
        ("object", "{}"),
        ("cut", "[{"),
        ("fields", "[{}]"),
    ] {
        let dir = changed(name, "wolfssl_sni", text);
        assert_eq!(failures(&dir).len(), 1, "{name}");
    }
    assert_eq!(failures(&flights().join("no such folder")).len(), 1);
    // A folder of folders, one of which holds no vectors.
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("parent");
    fs::create_dir_all(parent.join("no case")).unwrap();
    assert_eq!(failures(&parent).len(), 1);
}

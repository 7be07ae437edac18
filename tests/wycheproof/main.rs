//! Wycheproof's cases for AES-256-GCM, given to `ring` and to the wide opener alike.
#![cfg(feature = "experimental-vaes")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use dtls_session::keys::wide::{Job, OpenKey, SEALED_MAX, open_batch};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    tc_id: u32,
    key: String,
    iv: String,
    aad: String,
    msg: String,
    ct: String,
    tag: String,
    result: String,
}

fn from_hex(hex: &str) -> Vec<u8> {
    let (digits, _) = hex.as_bytes().as_chunks::<2>();
    let byte = |digits: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16);
    digits.iter().map(|digits| byte(digits).unwrap()).collect()
}

#[test]
fn ring_and_the_wide_opener_answer_as_wycheproof_wants_it() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("aes_256_gcm.json")).unwrap();
    assert_eq!(cases.len(), 66);
    let mut too_long = 0;
    for case in cases {
        let key: [u8; 32] = from_hex(&case.key).try_into().unwrap();
        let nonce: [u8; 12] = from_hex(&case.iv).try_into().unwrap();
        let (aad, plaintext) = (from_hex(&case.aad), from_hex(&case.msg));
        let sealed = [from_hex(&case.ct), from_hex(&case.tag)].concat();
        let expected = (case.result == "valid").then_some(&plaintext[..]);

        let ring = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
        let mut place = sealed.clone();
        let nonce_of_ring = Nonce::assume_unique_for_key(nonce);
        let opened = ring.open_in_place(nonce_of_ring, Aad::from(&aad), &mut place);
        assert_eq!(opened.ok().as_deref(), expected, "case {}", case.tc_id);

        let Some(key) = OpenKey::new(&key) else {
            println!("skipped: this CPU has no VAES");
            return;
        };
        // Four at once, so that each place of a group is seen.
        let mut out = [[0xee; SEALED_MAX]; 4];
        let mut opened = [expected.is_none(); 4];
        open_batch(out.iter_mut().zip(&mut opened).map(|(out, opened)| Job {
            key: &key,
            nonce,
            aad: &aad,
            sealed: &sealed,
            out,
            opened,
        }));
        too_long += u32::from(sealed.len() > SEALED_MAX);
        let expected = expected.filter(|_| sealed.len() <= SEALED_MAX);
        for (out, opened) in out.iter().zip(opened) {
            assert_eq!(opened, expected.is_some(), "case {}", case.tc_id);
            match expected {
                Some(plaintext) => assert_eq!(&out[..plaintext.len()], plaintext),
                None => assert_eq!(*out, [0xee; SEALED_MAX]),
            }
        }
    }
    // Longer than any ticket, and refused for that.
    assert_eq!(too_long, 3);
}

//! The resumed 0-RTT handshake of RFC 8448, section 4. It is TLS 1.3, so that only the label prefix
//! differs from what DTLS does: the one published vector for the early key schedule.
#![allow(clippy::unwrap_used)]

#[path = "common/hex.rs"]
mod hex;

use dtls_session::schedule::{
    CipherSuite, ClientHelloHash, EarlySecret, HashAlgorithm, HmacKey, LabelPrefix, Secret,
    TrafficKeys, Transcript, finished_key, hkdf, resumption_psk,
};
use hex::hex;

const SHA256: HashAlgorithm = HashAlgorithm::Sha256;
const TLS13: LabelPrefix = LabelPrefix::Tls13;

/// The binders and their length end the message: 2 bytes, 1 byte, one binder.
const BINDERS_LEN: usize = 2 + 1 + 32;

const CLIENT_HELLO: &str = "\
    010001fc03031bc3ceb6bbe39cff938355b5a50adb6db21b7a6af649d7b4bc419d7876487d9500000613011303 \
    1302010001cd0000000b0009000006736572766572ff01000100000a00140012001d0017001800190100010101 \
    0201030104003300260024001d0020e4ffb68ac05f8d96c99da26698346c6be16482badddafe051a66b4f18d66 \
    8f0b002a0000002b0003020304000d0020001e0403050306030203080408050806040105010601020104020502 \
    06020202002d00020101001c000240010015005700000000000000000000000000000000000000000000000000 \
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000 \
    0000000000000000000000000000000000002900dd00b800b22c035d829359ee5ff7af4ec900000000262a6494 \
    dc486d2c8a34cb33fa90bf1b0070ad3c498883c9367c09a2be785abc55cd226097a3a982117283f82a03a143ef \
    d3ff5dd36d64e861be7fd61d2827db279cce145077d454a3664d4e6da4d29ee03725a6a4dafcd0fc67d2aea705 \
    29513e3da2677fa5906c5b3f7d8f92f228bda40dda721470f9fbf297b5aea617646fac5c03272e970727c621a7 \
    9141ef5f7de6505e5bfbc388e93343694093934ae4d357fad6aacb0021203add4fb2d8fdf822a0ca3cf7678ef5 \
    e88dae990141c5924d57bb6fa31b9e5f9d";

fn secret(text: &str) -> Secret {
    Secret::from_bytes(SHA256, &hex(text)).unwrap()
}

fn early_secret() -> EarlySecret {
    let psk = hex("4ecd0eb6ec3b4d87f5d6028f922ca4c5851a277fd41311c9e62d2c9492e1c4f3");
    EarlySecret::from_psk(SHA256, &psk)
}

fn hashed(message: &[u8]) -> ClientHelloHash<'_> {
    let body = &message[4..];
    ClientHelloHash::new(Transcript::new(SHA256), body, body.len() - BINDERS_LEN).unwrap()
}

#[test]
fn rfc8448_psk_of_the_ticket() {
    let master = secret("7df235f2031d2a051287d02b0241b0bfdaf86cc856231f2d5aba46c434ec196c");
    let psk = resumption_psk(TLS13, &master, &[0, 0]).unwrap();
    assert_eq!(
        psk.as_bytes(),
        hex("4ecd0eb6ec3b4d87f5d6028f922ca4c5851a277fd41311c9e62d2c9492e1c4f3")
    );
}

#[test]
fn rfc8448_early_secret_and_binder() {
    let early = early_secret();
    let published = hex("9b2188e9b2fc6d64d71dc329900e20bb41915000f678aa839cbb797cb7d8332c");
    let published = EarlySecret::from_bytes(SHA256, &published).unwrap();
    assert_eq!(
        early.derived(TLS13).as_bytes(),
        published.derived(TLS13).as_bytes()
    );
    let binder_key = early.resumption_binder_secret(TLS13);
    assert_eq!(
        binder_key.as_bytes(),
        hex("69fe131a3bbad5d63c64eebcc30e395b9d8107726a13d074e389dbc8a4e47256")
    );
    let finished = finished_key(TLS13, &binder_key);
    assert_eq!(
        finished.as_bytes(),
        hex("5588673e72cb59c87d220caffe94f2dea9a3b1609f7d50e90a48227db9ed7eaa")
    );

    let message = hex(CLIENT_HELLO);
    let truncated = hashed(&message).truncated();
    assert_eq!(
        truncated.as_bytes(),
        hex("63224b2e4573f2d3454ca84b9d009a04f6be9e05711a8396473aefa01e924a14")
    );
    let binder = hex("3add4fb2d8fdf822a0ca3cf7678ef5e88dae990141c5924d57bb6fa31b9e5f9d");
    assert_eq!(message[message.len() - 32..], binder);
    assert!(
        early
            .binder_key(TLS13)
            .verify(truncated.as_bytes(), &binder)
    );

    // The same from the midstates, as a ticket carries them.
    let mut midstates = [0; 64];
    early
        .binder_key(TLS13)
        .to_midstates(&mut midstates)
        .unwrap();
    let key = HmacKey::from_midstates(SHA256, &midstates).unwrap();
    assert_eq!(key.sign(&[truncated.as_bytes()]).as_bytes(), binder);
}

#[test]
fn rfc8448_early_traffic_secret_and_keys() {
    let message = hex(CLIENT_HELLO);
    let full = hashed(&message).full();
    assert_eq!(
        full.as_bytes(),
        hex("08ad0fa05d7c7233b1775ba2ff9f4c5b8b59276b7f227f13a976245f5d960913")
    );
    let traffic = early_secret().client_early_traffic_secret(TLS13, &full);
    assert_eq!(
        traffic.as_bytes(),
        hex("3fbbe6a60deb66c30a32795aba0eff7eaa10105586e7be5c09678d63b6caab62")
    );
    let keys = TrafficKeys::derive(TLS13, CipherSuite::Aes128GcmSha256, &traffic).unwrap();
    assert_eq!(keys.key(), hex("920205a5b7bf2115e6fc5c2942834f54"));
    assert_eq!(keys.iv(), &hex("6d475f0993c8e564610db2b9")[..]);
    let exporter = early_secret().early_exporter_master_secret(TLS13, &full);
    assert_eq!(
        exporter.as_bytes(),
        hex("b2026866610937d7423e5be90862ccf24c0e6091186d34f812089ff5be2ef7df")
    );
}

#[test]
fn rfc8448_handshake_secret() {
    let derived = early_secret().derived(TLS13);
    assert_eq!(
        derived.as_bytes(),
        hex("5f1790bbd82c5e7d376ed2e1e52f8e6038c9346db61b43be9a52f77ef3998e80")
    );
    let shared = hex("f44194756ff9ec9d25180635d66ea6824c6ab3bf179977be37f723570e7ccb2e");
    let handshake = hkdf::extract(SHA256, derived.as_bytes(), &shared);
    assert_eq!(
        handshake.as_bytes(),
        hex("005cb112fd8eb4ccc623bb88a07c64b3ede1605363fc7d0df8c7ce4ff0fb4ae6")
    );
}

#[test]
fn trap_25_the_prefix_of_dtls_gives_other_keys_than_that_of_tls() {
    let early = early_secret();
    let tls = early.resumption_binder_secret(TLS13);
    let dtls = early.resumption_binder_secret(LabelPrefix::Dtls13);
    assert_ne!(tls.as_bytes(), dtls.as_bytes());
}

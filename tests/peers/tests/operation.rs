//! The gateway as it is run: with a certificate, with a ticket key, under signals, in the eyes of
//! its metrics.

use dtls_session_peers::Result;
use dtls_session_peers::client::{BoringSsl, Connection, Settings, Stack, WolfSsl};
use dtls_session_peers::folder::Folder;
use dtls_session_peers::scene::{EARLY, Scene, x25519};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

/// A gateway with a new certificate, and the certificate in DER.
fn with_certificate(algorithm: &'static SignatureAlgorithm) -> (Scene, Vec<u8>) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new([String::from("gateway.example")]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let folder = Folder::new().unwrap();
    let cert = folder
        .write("cert.pem", certificate.pem().as_bytes())
        .unwrap();
    let key = folder
        .write("key.pem", key.serialize_pem().as_bytes())
        .unwrap();
    let scene = Scene::new(&["--cert", &cert, "--key", &key]).unwrap();
    (scene, certificate.der().to_vec())
}

fn connect_trusting<S: Stack>(scene: &Scene, trust: &[u8]) -> Result<()> {
    let settings = Settings {
        trust: Some(trust.to_vec()),
        ..x25519()
    };
    let (mut connection, _) = scene.connect::<S>(&settings, None)?;
    connection.echo(b"trusted")
}

#[test]
fn clients_verify_the_certificate_that_the_operator_gave() {
    let (p256, p256_der) = with_certificate(&PKCS_ECDSA_P256_SHA256);
    let (ed25519, ed25519_der) = with_certificate(&PKCS_ED25519);
    connect_trusting::<WolfSsl>(&p256, &p256_der).unwrap();
    connect_trusting::<BoringSsl>(&p256, &p256_der).unwrap();
    // wolfSSL is built without Ed25519 here.
    connect_trusting::<BoringSsl>(&ed25519, &ed25519_der).unwrap();
    // Who trusts somebody else ends the handshake.
    assert!(connect_trusting::<WolfSsl>(&p256, &ed25519_der).is_err());
    assert!(connect_trusting::<BoringSsl>(&p256, &ed25519_der).is_err());
}

#[test]
fn sigterm_says_good_bye_to_clients_and_ends_in_good_order() {
    let mut scene = Scene::new(&[]).unwrap();
    let mut wolfssl = scene.connect::<WolfSsl>(&x25519(), None).unwrap().0;
    let mut boringssl = scene.connect::<BoringSsl>(&x25519(), None).unwrap().0;
    wolfssl.echo(b"hello").unwrap();
    boringssl.echo(b"hello").unwrap();
    assert!(scene.gateway.drain().unwrap());
    assert_closed(&mut wolfssl);
    assert_closed(&mut boringssl);
}

fn assert_closed<S: Stack>(connection: &mut Connection<S>) {
    let why = connection.receive_next().unwrap_err();
    assert!(why.contains("closed"), "{why}");
}

#[test]
fn metrics_tell_what_happened() {
    let scene = Scene::new(&[]).unwrap();
    let session = scene.session::<WolfSsl>(&x25519()).unwrap();
    let (mut connection, _) = scene.connect_early::<WolfSsl>(&x25519(), &session).unwrap();
    connection.session().unwrap();
    scene.settle().unwrap();
    let early_bytes: usize = EARLY.iter().map(|data| data.len()).sum();
    let metrics = scene.gateway.metrics().unwrap();
    for (name, value) in [
        ("gateway_handshakes_total", 2),
        ("gateway_tickets_issued_total", 2),
        ("gateway_tickets_outstanding", 2),
        ("gateway_early_data_records_total", EARLY.len()),
        ("gateway_early_data_bytes_total", early_bytes),
        ("gateway_associations", 1),
        ("gateway_closed_total", 1),
    ] {
        assert_eq!(metrics.get(name), Some(&(value as f64)), "{name}");
    }
    assert!(metrics["gateway_flight_nanoseconds_count"] >= 2.0);
}

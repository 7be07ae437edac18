//! Whole handshakes of real clients, as they come.

use dtls_session::schedule::CipherSuite;
use dtls_session::wire::{ClientHello, ServerHello};
use dtls_session_peers::client::{
    Agreed, BoringSsl, Connection, EarlyData, Own, Settings, Stack, WolfSsl, group,
};
use dtls_session_peers::proxy::{From, Treatment};
use dtls_session_peers::scene::{EARLY, Scene, x25519};

/// Echoes, waits for a ticket, and ends.
fn use_and_close<S: Stack>(mut connection: Connection<S>) -> S::Session {
    connection.echo(b"hello").unwrap();
    let session = connection.session().unwrap();
    connection.close();
    session
}

/// A full handshake and two resumptions, each with the ticket of the one before. Returns what
/// they agreed upon.
fn connect_and_resume<S: Stack>(scene: &Scene, settings: &Settings) -> [Agreed; 3] {
    let (connection, full) = scene.connect::<S>(settings, None).unwrap();
    let mut session = use_and_close(connection);
    let [second, third] = [(); 2].map(|()| {
        let resumption = scene.connect::<S>(settings, Some(&session)).unwrap();
        session = use_and_close(resumption.0);
        resumption.1
    });
    [full, second, third]
}

/// The same, with early data in the resumptions, which is accepted.
fn connect_and_resume_early<S: Stack>(settings: &Settings) -> [Agreed; 3] {
    let scene = Scene::new(&[]).unwrap();
    let (connection, full) = scene.connect::<S>(settings, None).unwrap();
    let mut session = use_and_close(connection);
    let [second, third] = [1, 2].map(|deliveries| {
        let (mut connection, agreed) = scene.connect_early::<S>(settings, &session).unwrap();
        // The gateway echoes early data, too.
        for early in EARLY {
            assert_eq!(connection.receive_next().unwrap(), early);
        }
        session = use_and_close(connection);
        assert_eq!(agreed.early_data, EarlyData::Accepted, "{settings:?}");
        assert_eq!(scene.deliveries().unwrap(), [deliveries; 2]);
        agreed
    });
    [full, second, third]
}

#[test]
fn wolfssl_connects_resumes_and_sends_early_data_with_every_suite_and_group() {
    for suite in [
        CipherSuite::Aes128GcmSha256,
        CipherSuite::Aes256GcmSha384,
        CipherSuite::Chacha20Poly1305Sha256,
    ] {
        for group in [group::X25519, group::P256] {
            let settings = Settings {
                suite: Some(suite),
                groups: vec![group],
                ..Settings::default()
            };
            let agreed = connect_and_resume_early::<WolfSsl>(&settings);
            assert_eq!(agreed.map(|agreed| agreed.resumed), [false, true, true]);
            assert_eq!(agreed.map(|agreed| agreed.suite), [suite; 3]);
        }
    }
}

#[test]
fn answers_to_early_data_come_behind_the_ack_of_the_finished() {
    let scene = Scene::new(&[]).unwrap();
    for _ in 0..8 {
        let session = scene.session::<WolfSsl>(&x25519()).unwrap();
        let early = scene.connect_early::<WolfSsl>(&x25519(), &session);
        let (mut connection, _) = early.unwrap();
        // wolfSSL takes data that comes before it for an error of the handshake.
        assert_eq!(connection.stack().overtook(), 0);
        use_and_close(connection);
    }
}

#[test]
fn our_own_client_does_so_too() {
    connect_and_resume_early::<Own>(&x25519());
}

#[test]
fn boringssl_connects_and_resumes_with_every_group() {
    let scene = Scene::new(&[]).unwrap();
    for group in [group::X25519, group::P256] {
        let settings = Settings {
            groups: vec![group],
            ..Settings::default()
        };
        let agreed = connect_and_resume::<BoringSsl>(&scene, &settings);
        assert_eq!(agreed.map(|agreed| agreed.resumed), [false, true, true]);
    }
}

#[test]
fn hybrid_key_shares_whose_client_hello_comes_in_two_datagrams() {
    let scene = Scene::new(&[]).unwrap();
    // BoringSSL offers shares of ML-KEM with X25519, and of X25519, if nobody says otherwise.
    let agreed = connect_and_resume::<BoringSsl>(&scene, &Settings::default());
    assert_eq!(agreed.map(|agreed| agreed.resumed), [false, true, true]);
    for client in 0..scene.proxy.clients() {
        assert!(scene.proxy.first_flight(client).len() >= 2);
    }
}

/// Which of the server's hellos in the newest connection were HelloRetryRequests.
fn retry_requests(scene: &Scene) -> Vec<bool> {
    let hellos = scene.proxy.hellos(scene.newest(), From::Server);
    let is_retry_request =
        |body: &Vec<u8>| ServerHello::parse(body).unwrap().is_hello_retry_request();
    hellos.iter().map(is_retry_request).collect()
}

/// Connects after a HelloRetryRequest, and resumes.
fn retries<S: Stack>(settings: &Settings) {
    let scene = Scene::new(&[]).unwrap();
    let (connection, _) = scene.connect::<S>(settings, None).unwrap();
    assert_eq!(retry_requests(&scene), [true, false]);
    let session = use_and_close(connection);
    // Some stacks remember which share was wanted.
    let (connection, agreed) = scene.connect::<S>(settings, Some(&session)).unwrap();
    assert!(agreed.resumed);
    use_and_close(connection);
}

#[test]
fn a_share_that_the_gateway_does_not_take_is_answered_with_a_hello_retry_request() {
    let settings = Settings {
        groups: vec![group::P384, group::X25519],
        ..Settings::default()
    };
    retries::<WolfSsl>(&settings);
    retries::<BoringSsl>(&settings);
    // wolfSSL offers no share at first if nobody says otherwise.
    retries::<WolfSsl>(&Settings::default());
}

#[test]
fn a_psk_is_used_without_a_key_exchange_where_the_operator_allows_that() {
    let alone = Settings {
        psk_alone: true,
        ..x25519()
    };
    for (args, allowed) in [(&["--psk-ke"][..], true), (&[], false)] {
        let scene = Scene::new(args).unwrap();
        let session = scene.session::<WolfSsl>(&x25519()).unwrap();
        let (mut connection, agreed) = scene.connect_early::<WolfSsl>(&alone, &session).unwrap();
        // Who can use no ticket here gets none.
        connection.echo(b"hello").unwrap();
        assert_eq!(agreed.resumed, allowed);
        let hellos = scene.proxy.hellos(scene.newest(), From::Server);
        let last = ServerHello::parse(hellos.last().unwrap()).unwrap();
        assert_eq!(last.key_share.is_none(), allowed);
        assert_eq!(scene.deliveries().unwrap(), [u64::from(allowed); 2]);
    }
}

#[test]
fn a_path_with_a_small_mtu_gets_its_handshakes_in_small_datagrams() {
    let scene = Scene::new(&["--mtu", "256"]).unwrap();
    connect_and_resume::<WolfSsl>(&scene, &x25519());
    connect_and_resume::<BoringSsl>(&scene, &Settings::default());
    for client in 0..scene.proxy.clients() {
        let recorded = scene.proxy.recorded(client);
        let from_server = recorded.iter().filter(|of| of.from == From::Server);
        assert!(
            from_server
                .map(|of| of.datagram.len())
                .all(|len| len <= 256)
        );
    }
    // A certificate does not fit into one of them.
    let first = scene.proxy.recorded(0);
    let from_server = first.iter().filter(|of| of.from == From::Server);
    assert!(from_server.count() > 4);
}

#[test]
fn a_path_that_loses_long_datagrams_is_found_out() {
    let treatment = Treatment {
        longest: Some(548),
        ..Treatment::default()
    };
    let scene = Scene::with(&[], treatment).unwrap();
    connect_and_resume::<WolfSsl>(&scene, &x25519());
    connect_and_resume::<BoringSsl>(&scene, &Settings::default());
    let first = scene.proxy.recorded(0);
    let from_server = first.iter().filter(|of| of.from == From::Server);
    assert!(from_server.map(|of| of.datagram.len()).any(|len| len > 548));
}

#[test]
fn who_knows_nothing_newer_than_dtls_1_2_is_told_so() {
    let scene = Scene::new(&[]).unwrap();
    let old = Settings {
        old_version: true,
        ..Settings::default()
    };
    let refused = scene.connect::<BoringSsl>(&old, None).err().unwrap();
    assert!(refused.contains("PROTOCOL_VERSION"), "{refused}");
}

#[test]
fn trap_27_a_hello_retry_request_costs_the_early_data_and_no_more() {
    let scene = Scene::new(&[]).unwrap();
    let session = scene.session::<WolfSsl>(&x25519()).unwrap();
    let other_share = Settings {
        groups: vec![group::P384, group::X25519],
        ..Settings::default()
    };
    let (connection, agreed) = scene
        .connect_early::<WolfSsl>(&other_share, &session)
        .unwrap();
    assert_eq!(retry_requests(&scene), [true, false]);
    assert!(agreed.resumed);
    assert_eq!(agreed.early_data, EarlyData::Rejected);
    assert_eq!(scene.deliveries().unwrap(), [0, 0]);
    // And what wolfSSL gets afterwards is a ticket with which early data is accepted again.
    let session = use_and_close(connection);
    let (connection, agreed) = scene.connect_early::<WolfSsl>(&x25519(), &session).unwrap();
    assert_eq!(agreed.early_data, EarlyData::Accepted);
    use_and_close(connection);
    assert_eq!(scene.deliveries().unwrap(), [1, 1]);
}

#[test]
fn trap_30_a_legacy_session_id_is_accepted_and_not_echoed() {
    let scene = Scene::new(&[]).unwrap();
    let session = scene.session::<WolfSsl>(&x25519()).unwrap();
    let (connection, _) = scene.connect_early::<WolfSsl>(&x25519(), &session).unwrap();
    let client = scene.proxy.hellos(scene.newest(), From::Client);
    assert_eq!(
        ClientHello::parse(&client[0])
            .unwrap()
            .legacy_session_id()
            .len(),
        32
    );
    let server = scene.proxy.hellos(scene.newest(), From::Server);
    assert!(
        ServerHello::parse(&server[0])
            .unwrap()
            .legacy_session_id_echo
            .is_empty()
    );
    use_and_close(connection);
    assert_eq!(scene.deliveries().unwrap(), [1, 1]);
}

#[test]
fn trap_21_a_ticket_resumes_only_under_its_server_name() {
    let named = |name: &str| Settings {
        server_name: Some(name.into()),
        ..x25519()
    };
    let scene = Scene::new(&[]).unwrap();
    let (one, other) = (named("one.example"), named("other.example"));
    for (asked, resumes) in [(&one, true), (&other, false), (&x25519(), false)] {
        let session = scene.session::<WolfSsl>(&one).unwrap();
        let before = scene.deliveries().unwrap();
        let (connection, agreed) = scene.connect_early::<WolfSsl>(asked, &session).unwrap();
        use_and_close(connection);
        assert_eq!(agreed.resumed, resumes, "{asked:?}");
        assert_eq!(scene.deliveries().unwrap() != before, resumes);
    }
    let session = scene.session::<BoringSsl>(&one).unwrap();
    for (asked, resumes) in [(&one, true), (&other, false)] {
        let (connection, agreed) = scene.connect::<BoringSsl>(asked, Some(&session)).unwrap();
        use_and_close(connection);
        assert_eq!(agreed.resumed, resumes, "{asked:?}");
    }
}

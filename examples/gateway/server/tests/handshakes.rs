//! Handshakes that succeed: full, resumed, with and without a HelloRetryRequest.

use super::super::Identity;
use super::super::key_exchange::Group;
use super::client::{Client, Profile};
use super::{Seen, World, settings};
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::{ContentType, HandshakeType, PskModes, dtls_header};

const SUITES: [&[CipherSuite]; 3] = [
    &[CipherSuite::Aes128GcmSha256],
    &[CipherSuite::Aes256GcmSha384],
    &[CipherSuite::Chacha20Poly1305Sha256],
];
const COAP: &[&[u8]] = &[b"coap"];
const H3: &[&[u8]] = &[b"h3"];
const SHARES: [&[Group]; 2] = [&[Group::X25519], &[Group::P256]];

#[test]
fn full_and_resumed_handshakes_in_every_suite_and_group() {
    let mut world = World::new();
    for (suites, shares) in SUITES.into_iter().flat_map(|s| SHARES.map(|g| (s, g))) {
        let profile = Profile {
            suites,
            shares,
            ..Profile::default()
        };
        let mut first = world.connected(1, profile);
        assert!(!first.resumed);
        let data = first.data(b"hello");
        world.exchange(&mut first, &[data]);
        assert_eq!(first.data, [b"hello"]);

        let mut second = Client::new(2, profile).resuming(&first, world.now);
        world.connect(&mut second);
        assert!(second.resumed && second.retry_request.is_none());
        // And a resumption of the resumption
        let mut third = Client::new(3, profile).resuming(&second, world.now);
        world.connect(&mut third);
        assert!(third.resumed);
        let established = [(1, false), (2, true), (3, true)].map(|(p, r)| Seen::Established(p, r));
        world
            .seen
            .retain(|seen| matches!(seen, Seen::Established(..)));
        assert_eq!(world.seen, established);
        world.seen.clear();
    }
}

#[test]
fn an_unknown_address_gets_a_cookie_and_nothing_is_kept_of_it() {
    let mut world = World::new();
    let mut client = Client::new(1, Profile::default());
    let hello = client.hello(&[]);
    world.exchange(&mut client, &hello);
    assert!(client.retry_request.is_some());
    assert_eq!(world.server.associations(), 0);
    // A lost HelloRetryRequest is no matter: the first ClientHello gets another.
    assert_eq!(world.send(client.address, &hello).len(), 1);
    let hello = client.hello(&[]);
    world.exchange(&mut client, &hello);
    assert_eq!(world.server.associations(), 1);
    world.finish(&mut client);
    assert_eq!(world.seen, [Seen::Established(1, false)]);
}

#[test]
fn a_missing_key_share_is_asked_for() {
    let mut world = World::new();
    const GROUPS: [&[u16]; 2] = [&[0x0018, 0x0017], &[0x0018, 0x001d]];
    // Given a client without a share, that would rather have a group that the server has not,
    for groups in GROUPS {
        let profile = Profile {
            groups,
            shares: &[],
            ..Profile::default()
        };
        // when it connects, and when it resumes,
        let first = world.connected(1, profile);
        assert!(first.retry_request.is_some());
        let mut second = Client::new(2, profile).resuming(&first, world.now);
        world.connect(&mut second);
        // then it is asked, and resumes nonetheless.
        assert!(second.retry_request.is_some() && second.resumed);
    }
}

#[test]
fn trap_29_a_client_hello_in_many_datagrams_and_a_flight_in_many() {
    let mut settings = settings();
    settings.mtu = 256;
    let mut world = World::with(settings);
    let profile = Profile {
        max_datagram_len: 100,
        ..Profile::default()
    };
    let mut client = Client::new(1, profile);
    let mut hello = client.hello(&[]);
    assert!(hello.len() > 2);
    hello.reverse();
    for datagram in hello {
        world.exchange(&mut client, &[datagram]);
    }
    let mut hello = client.hello(&[]);
    hello.insert(0, hello[1].clone());
    let mut flight = world.send(client.address, &hello);
    assert!(flight.len() > 2 && flight.iter().all(|datagram| datagram.len() <= 256));
    // The ServerHello has to come first, or its keys are missing; the rest comes as it comes.
    flight[1..].reverse();
    for datagram in flight {
        client.receive(&datagram, world.now);
    }
    world.finish(&mut client);
    assert_eq!(world.seen, [Seen::Established(1, false)]);
}

#[test]
fn a_psk_is_used_alone_where_that_is_allowed() {
    let profile = Profile {
        psk_modes: PskModes {
            psk_ke: true,
            psk_dhe_ke: false,
        },
        ..Profile::default()
    };
    for allowed in [true, false] {
        let mut settings = settings();
        settings.psk_ke = allowed;
        let mut world = World::with(settings);
        let full = Profile {
            psk_modes: PskModes {
                psk_ke: true,
                psk_dhe_ke: true,
            },
            ..profile
        };
        let first = world.connected(1, full);
        let mut second = Client::new(2, profile).resuming(&first, world.now);
        world.connect(&mut second);
        assert_eq!(second.resumed, allowed);
        assert_eq!(second.psk_alone, allowed);
    }
}

#[test]
fn a_finished_in_fragments_is_put_together_and_each_fragment_acknowledged() {
    let mut world = World::new();
    let mut client = Client::new(1, Profile::default());
    world.begin(&mut client);
    let body = client.finished_body();
    let mut part = |range: std::ops::Range<usize>| {
        let (offset, len) = (range.start as u32, range.len() as u32);
        let header = dtls_header(HandshakeType::FINISHED, 32, 2, offset, len);
        client.seal(
            0,
            ContentType::HANDSHAKE,
            &[&header[..], &body[range]].concat(),
        )
    };
    let parts = [part(20..32), part(10..25), part(0..10)];
    for (received, datagram) in (1..).zip(parts) {
        world.exchange(&mut client, &[datagram]);
        assert_eq!(client.acknowledged.len(), received);
    }
    assert_eq!(world.seen, [Seen::Established(1, false)]);
}

#[test]
fn trap_21_the_protocol_is_agreed_and_binds_the_early_data() {
    let mut settings = settings();
    settings.alpn = vec![b"coap".to_vec(), b"h3".to_vec()];
    let mut world = World::with(settings);
    let profile = Profile {
        alpn: &[b"h3", b"coap"],
        ..Profile::default()
    };
    let first = world.connected(1, profile);
    assert_eq!(first.alpn.as_deref(), Some(&b"coap"[..]));
    for (port, alpn, accepted) in [(2, COAP, true), (3, H3, false)] {
        let mut first = world.connected(1, profile);
        // A client announces early data of its session's protocol only: this one is mistaken in it.
        first.alpn = Some(alpn[0].to_vec());
        let profile = Profile { alpn, ..profile };
        let mut second = Client::new(port, profile).resuming(&first, world.now);
        let hello = second.hello(&[b"x"]);
        world.exchange(&mut second, &hello);
        let got = (second.resumed, second.early_data_accepted);
        assert_eq!(got, (true, accepted));
        // Early data that is refused is passed over.
        world.finish(&mut second);
        assert_eq!(world.early_data().is_empty(), !accepted);
        world.seen.clear();
    }
}

#[test]
fn the_longest_chain_goes_in_records_of_which_none_is_too_long() {
    let made = rcgen::generate_simple_self_signed(["gateway.example".to_owned()]).unwrap();
    let (chain, key) = (
        made.cert.pem().repeat(100),
        made.signing_key.serialize_pem(),
    );
    let mut settings = settings();
    settings.identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    settings.mtu = 65_507;
    let mut world = World::with(settings);
    let client = world.connected(1, Profile::default());
    let bytes: usize = client.records.iter().map(|(_, len)| len).sum();
    assert!(bytes > 1 << 14, "{bytes}");
}

#[test]
fn the_longest_connection_id_leaves_room_for_messages() {
    let mut settings = settings();
    settings.mtu = 256;
    let mut world = World::with(settings);
    let profile = Profile {
        connection_id: Some(&[7; 255]),
        ..Profile::default()
    };
    let client = world.connected(1, profile);
    assert!(
        client.records.len() < 20,
        "{} records",
        client.records.len()
    );
    assert!(client.records.iter().all(|(_, len)| *len <= 548));
}

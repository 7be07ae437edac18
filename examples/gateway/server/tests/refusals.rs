//! What cannot be gets a clear alert, and what is forged gets nothing.

use dtls_session::wire::{AlertDescription, ContentType, HandshakeType};

use super::super::Closed;
use super::super::key_exchange::Group;
use super::super::messages::CERTIFICATE;
use super::client::{Client, Profile};
use super::{Seen, World, settings};

/// The alert that a client with this profile is refused by.
fn refusal(profile: Profile) -> Vec<u8> {
    let mut settings = settings();
    settings.alpn = vec![b"coap".to_vec()];
    let mut world = World::with(settings);
    let mut client = Client::new(1, profile);
    let hello = client.hello(&[]);
    world.exchange(&mut client, &hello);
    assert_eq!(world.server.associations(), 0);
    client.alerts
}

#[test]
fn what_a_client_hello_lacks_is_told_by_an_alert() {
    let default = Profile::default();
    let no_group = Profile {
        groups: &[0x0018],
        shares: &[],
        ..default
    };
    let no_scheme = Profile {
        schemes: &[0x0804],
        ..default
    };
    let no_protocol = Profile {
        alpn: &[b"h3"],
        ..default
    };
    let failure = AlertDescription::HANDSHAKE_FAILURE;
    assert_eq!(refusal(no_group), [failure.0]);
    assert_eq!(refusal(no_scheme), [failure.0]);
    let protocol = AlertDescription::NO_APPLICATION_PROTOCOL;
    assert_eq!(refusal(no_protocol), [protocol.0]);
    // What no client of ours writes: without signature_algorithms, and without groups and shares.
    for types in [&[13][..], &[10, 51]] {
        let mut world = World::new();
        let mut client = Client::new(1, default);
        let hello = changed(&mut client, |body| {
            for unknown in types {
                replace(body, &[0, *unknown, 0], &[0xfa, *unknown, 0]);
            }
        });
        world.exchange(&mut client, &[hello]);
        assert_eq!(client.alerts, [AlertDescription::MISSING_EXTENSION.0]);
    }
}

/// The ClientHello of `client` with `change` made to its body, in a datagram.
fn changed(client: &mut Client, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut datagram = client.hello(&[]).remove(0);
    let mut body = datagram.split_off(13 + 12);
    let len = body.len();
    change(&mut body);
    assert_eq!(body.len(), len);
    [datagram, body].concat()
}

fn replace(body: &mut [u8], from: &[u8], to: &[u8]) {
    let at = body
        .windows(from.len())
        .position(|part| part == from)
        .unwrap();
    body[at..at + to.len()].copy_from_slice(to);
}

#[test]
fn older_versions_and_unknown_suites_are_refused() {
    for (from, to, alert) in [
        (
            &[2, 0xfe, 0xfc][..],
            &[2, 0xfe, 0xfd][..],
            AlertDescription::PROTOCOL_VERSION,
        ),
        (
            &[0, 2, 0x13, 0x01],
            &[0, 2, 0x13, 0x04],
            AlertDescription::HANDSHAKE_FAILURE,
        ),
    ] {
        let mut world = World::new();
        let mut client = Client::new(1, Profile::default());
        let hello = changed(&mut client, |body| replace(body, from, to));
        world.exchange(&mut client, &[hello]);
        assert_eq!(client.alerts, [alert.0]);
    }
}

#[test]
fn a_second_client_hello_that_does_not_follow_the_request_is_refused() {
    // Given a client that was asked for a share of a group, when it sends another, or none,
    let profile = Profile {
        groups: &[0x0018, 0x001d],
        shares: &[],
        ..Profile::default()
    };
    let mut world = World::new();
    let mut client = Client::new(1, profile);
    let hello = client.hello(&[]);
    world.exchange(&mut client, &hello);
    let hello = changed(&mut client, |body| {
        replace(body, &[0, 36, 0, 0x1d, 0, 32], &[0, 36, 0, 0x18, 0, 32]);
    });
    // then it is refused.
    world.exchange(&mut client, &[hello]);
    assert_eq!(client.alerts, [AlertDescription::ILLEGAL_PARAMETER.0]);

    // So is one with a share of a group that the server has, too, and did not ask for.
    let mut client = Client::new(3, profile);
    let hello = client.hello(&[]);
    world.exchange(&mut client, &hello);
    client.swap_share(Group::P256);
    let hello = client.hello(&[]);
    world.exchange(&mut client, &hello);
    assert_eq!(client.alerts, [AlertDescription::ILLEGAL_PARAMETER.0]);

    // And so is one whose suites no longer have the one that was selected.
    let mut client = Client::new(2, Profile::default());
    let hello = client.hello(&[]);
    world.exchange(&mut client, &hello);
    let hello = changed(&mut client, |body| {
        replace(body, &[0, 2, 0x13, 0x01], &[0, 2, 0x13, 0x02]);
    });
    world.exchange(&mut client, &[hello]);
    assert_eq!(client.alerts, [AlertDescription::ILLEGAL_PARAMETER.0]);
}

/// A client whose server flight has arrived.
fn handshaking(world: &mut World) -> Client {
    let mut client = Client::new(1, Profile::default());
    world.begin(&mut client);
    client
}

#[test]
fn a_finished_that_does_not_verify_ends_the_handshake() {
    let mut world = World::new();
    let mut client = handshaking(&mut world);
    let mut body = client.finished_body();
    body[0] ^= 1;
    let finished = client.handshake_message(0, HandshakeType::FINISHED, 2, &body);
    world.exchange(&mut client, &[finished]);
    let alert = AlertDescription::DECRYPT_ERROR;
    assert_eq!(client.alerts, [alert.0]);
    assert_eq!(world.seen, [Seen::Closed(1, Closed::Failed(alert))]);
    assert_eq!(world.server.associations(), 0);
}

#[test]
fn messages_that_were_not_asked_for_end_the_connection() {
    // A certificate in the handshake, and one behind it.
    for complete in [false, true] {
        let mut world = World::new();
        let mut client = handshaking(&mut world);
        if complete {
            world.finish(&mut client);
        }
        let (sealer, seq) = if complete { (1, 3) } else { (0, 2) };
        let message = client.handshake_message(sealer, CERTIFICATE, seq, &[0, 0, 0, 0]);
        world.exchange(&mut client, &[message]);
        assert_eq!(client.alerts, [AlertDescription::UNEXPECTED_MESSAGE.0]);
        assert_eq!(world.server.associations(), 0);
    }
}

#[test]
fn what_anybody_can_send_does_not_end_anything() {
    let mut world = World::new();
    let mut client = handshaking(&mut world);
    let mut forged = client.finished(1);
    *forged.last_mut().unwrap() ^= 1;
    let plaintext_alert = Client::plaintext(ContentType::ALERT, &[2, 40]);
    let false_ack = [&[0, 16][..], &[0; 15], &[1]].concat();
    let false_ack = Client::plaintext(ContentType::ACK, &false_ack);
    let datagrams = [
        vec![],
        vec![0x2e],
        vec![0xff; 100],
        vec![22; 100],
        vec![0x3f; 100],
        forged,
        plaintext_alert,
        false_ack,
    ];
    for datagram in datagrams {
        assert!(world.send(client.address, &[datagram]).is_empty());
    }
    world.finish(&mut client);
    assert_eq!(world.seen, [Seen::Established(1, false)]);
}

#[test]
fn trap_01_a_bad_binder_is_refused_and_burns_nothing() {
    let mut world = World::new();
    let first = world.connected(1, Profile::default());
    let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
    let flight = second.hello(&[b"early"]);
    let mut forged = flight.clone();
    *forged[0].last_mut().unwrap() ^= 1;
    let mut attacker = Client::new(2, Profile::default());
    world.exchange(&mut attacker, &forged);
    assert_eq!(attacker.alerts, [AlertDescription::DECRYPT_ERROR.0]);
    world.exchange(&mut second, &flight);
    assert_eq!(world.early_data(), [b"early"]);
}

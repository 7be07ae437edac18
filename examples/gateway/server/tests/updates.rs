//! What comes after the handshake: KeyUpdate, other connection IDs, the end.

use std::time::Duration;

use dtls_session::wire::{AlertDescription, ContentType, HandshakeType};

use super::super::Closed;
use super::super::messages::{KEY_UPDATE, NEW_CONNECTION_ID, REQUEST_CONNECTION_ID};
use super::client::{Client, Profile};
use super::{Seen, World};

/// Acknowledges the server's KeyUpdate, after which its records are of `epoch`.
fn follow(world: &mut World, client: &mut Client, epoch: u64) {
    let ack = client.ack();
    world.exchange(client, &[ack]);
    client.update_opener();
    echo(world, client, b"new");
    assert_eq!(client.records.last().unwrap().0, epoch);
}

fn echo(world: &mut World, client: &mut Client, data: &[u8]) {
    let sealed = client.data(data);
    world.exchange(client, &[sealed]);
    assert_eq!(client.data.last().map(Vec::as_slice), Some(data));
}

#[test]
fn the_clients_key_updates_are_followed_beyond_the_epochs_that_two_bits_can_tell() {
    let mut world = World::new();
    let mut client = world.connected(1, Profile::default());
    for n in 0..6 {
        let update = client.message_after_finished(KEY_UPDATE, 1 + n, &[0]);
        let acknowledged = client.acknowledged.len();
        world.exchange(&mut client, &[update]);
        assert_eq!(client.acknowledged.len(), acknowledged + 1);
        // Its ACK may be lost, so that the old keys still count.
        echo(&mut world, &mut client, b"old");
        let reordered = client.data(b"reordered");
        client.update_sealer();
        echo(&mut world, &mut client, b"new");
        world.exchange(&mut client, &[reordered]);
        assert_eq!(client.data.last().unwrap(), b"reordered");
    }
    assert_eq!(client.sealers.last().unwrap().epoch(), 9);
}

#[test]
fn old_keys_go_when_the_new_ones_have_been_used_for_as_long_as_a_record_may_be_on_its_way() {
    let mut world = World::new();
    let mut client = world.connected(1, Profile::default());
    let update = client.message_after_finished(KEY_UPDATE, 1, &[0]);
    world.exchange(&mut client, &[update]);
    // As long as the new ones are not used, they stay.
    world.pass(Duration::from_secs(250));
    echo(&mut world, &mut client, b"old");
    let [late, too_late] = [b"late", b"last"].map(|data| client.data(data));
    client.update_sealer();
    echo(&mut world, &mut client, b"new");
    world.pass(Duration::from_secs(119));
    world.exchange(&mut client, &[late]);
    assert_eq!(client.data.last().unwrap(), b"late");
    world.pass(Duration::from_secs(1));
    assert!(world.send(client.address, &[too_late]).is_empty());
}

#[test]
fn a_finished_is_acknowledged_again_even_after_a_key_update() {
    let mut world = World::new();
    let mut client = world.connected(1, Profile::default());
    let update = client.message_after_finished(KEY_UPDATE, 1, &[0]);
    world.exchange(&mut client, &[update]);
    client.update_sealer();
    let acknowledged = client.acknowledged.len();
    let body = client.finished_body();
    let finished = client.handshake_message(0, HandshakeType::FINISHED, 2, &body);
    world.exchange(&mut client, &[finished]);
    assert_eq!(client.acknowledged.len(), acknowledged + 1);
}

#[test]
fn a_requested_key_update_is_sent_until_acknowledged_and_used_from_then_on() {
    let mut world = World::new();
    let mut client = world.connected(1, Profile::default());
    for n in 0..2 {
        let update = client.message_after_finished(KEY_UPDATE, 1 + n, &[1]);
        world.exchange(&mut client, &[update]);
        client.update_sealer();
        assert_eq!(client.later.last().unwrap(), &(KEY_UPDATE, vec![0]));
        // Not acknowledged yet: the server goes on with the keys that it has.
        echo(&mut world, &mut client, b"old");
        assert_eq!(client.records.last().unwrap().0, u64::from(3 + n));
        follow(&mut world, &mut client, u64::from(4 + n));
    }
}

#[test]
fn what_is_sent_again_is_sent_under_the_keys_of_the_first_time() {
    let mut world = World::new();
    // Given a client that lacks its ticket,
    let mut client = Client::new(1, Profile::default());
    world.begin(&mut client);
    let finished = client.finished(1);
    world.send(client.address, &[finished]);
    // when the server's KeyUpdate overtakes that, and is acknowledged,
    let update = client.message_after_finished(KEY_UPDATE, 1, &[1]);
    world.exchange(&mut client, &[update]);
    assert!(client.later.is_empty());
    let ack = client.ack();
    client.update_sealer();
    let again = world.send(client.address, &[ack]);
    // then the ticket comes in epoch 3 as before, and with it the KeyUpdate can be read.
    for datagram in again {
        client.receive(&datagram, world.now);
    }
    let kinds: Vec<_> = client.later.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [HandshakeType::NEW_SESSION_TICKET, KEY_UPDATE]);
    echo(&mut world, &mut client, b"old");
    assert_eq!(client.records.last().unwrap().0, 3);
    follow(&mut world, &mut client, 4);
}

#[test]
fn a_key_update_that_nobody_acknowledges_is_the_only_one_and_goes_on_when_the_client_is_there() {
    let mut world = World::new();
    let mut client = world.connected(1, Profile::default());
    let update = client.message_after_finished(KEY_UPDATE, 1, &[1]);
    // Given a KeyUpdate that is lost each time,
    world.send(client.address, &[update]);
    client.update_sealer();
    assert!(!world.pass(Duration::from_secs(200)).is_empty());
    assert!(world.pass(Duration::from_secs(90)).is_empty());
    // when the client asks for another, then it gets the one that it lacks.
    let update = client.message_after_finished(KEY_UPDATE, 2, &[1]);
    world.exchange(&mut client, &[update]);
    assert_eq!(client.later.last().unwrap(), &(KEY_UPDATE, vec![0]));
    client.update_sealer();
    follow(&mut world, &mut client, 4);
}

#[test]
fn a_key_update_before_the_last_one_is_used_is_a_violation() {
    let mut world = World::new();
    let mut client = world.connected(1, Profile::default());
    let updates = [1, 2].map(|n| client.message_after_finished(KEY_UPDATE, n, &[0]));
    world.exchange(&mut client, &updates);
    assert_eq!(client.alerts, [AlertDescription::UNEXPECTED_MESSAGE.0]);
    assert_eq!(world.server.associations(), 0);
}

#[test]
fn other_connection_ids_are_taken_and_none_are_given() {
    let mut world = World::new();
    let profile = Profile {
        connection_id: Some(b"old"),
        ..Profile::default()
    };
    let mut client = world.connected(1, profile);
    let request = client.message_after_finished(REQUEST_CONNECTION_ID, 1, &[3]);
    world.exchange(&mut client, &[request]);
    assert_eq!(
        client.later.last().unwrap(),
        &(NEW_CONNECTION_ID, vec![0, 0, 1])
    );
    let ack = client.ack();
    world.exchange(&mut client, &[ack]);

    let body = [&[0, 4, 3], &b"new"[..], &[0]].concat();
    let change = client.message_after_finished(NEW_CONNECTION_ID, 2, &body);
    client.expect_connection_id(b"new");
    world.exchange(&mut client, &[change]);
    echo(&mut world, &mut client, b"data");
}

#[test]
fn connection_ids_of_who_has_not_agreed_on_any_are_a_violation() {
    for (kind, body) in [
        (REQUEST_CONNECTION_ID, &[1][..]),
        (NEW_CONNECTION_ID, &[0, 0, 0]),
    ] {
        let mut world = World::new();
        let mut client = world.connected(1, Profile::default());
        let message = client.message_after_finished(kind, 1, body);
        world.exchange(&mut client, &[message]);
        assert_eq!(client.alerts, [AlertDescription::UNEXPECTED_MESSAGE.0]);
    }
}

#[test]
fn close_notify_is_answered_and_ends_the_association() {
    let mut world = World::new();
    let mut client = world.connected(1, Profile::default());
    let close = client.seal(1, ContentType::ALERT, &[1, 0]);
    world.exchange(&mut client, &[close]);
    assert_eq!(client.alerts, [0]);
    assert_eq!(
        world.seen.last(),
        Some(&Seen::Closed(1, Closed::CloseNotify))
    );
    assert_eq!(world.server.associations(), 0);
}

#[test]
fn a_fatal_alert_ends_the_association_and_is_not_answered() {
    let mut world = World::new();
    let mut client = world.connected(1, Profile::default());
    let alert = client.seal(1, ContentType::ALERT, &[2, 80]);
    world.exchange(&mut client, &[alert]);
    assert!(client.alerts.is_empty());
    let closed = Closed::Alert(AlertDescription::INTERNAL_ERROR);
    assert_eq!(world.seen.last(), Some(&Seen::Closed(1, closed)));
}

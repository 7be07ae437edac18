//! What is lost is sent again, until it is acknowledged (RFC 9147, 5.8 and 7).

use std::time::Duration;

use dtls_session::wire::{ContentType, HandshakeType};

use super::super::messages::KEY_UPDATE;
use super::client::{Client, Profile};
use super::{Seen, World, settings};

/// A client that has sent its second ClientHello, and the server's flight, which is lost.
fn lost_flight(world: &mut World) -> (Client, Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut client = Client::new(1, Profile::default());
    let hello = client.hello(&[]);
    world.exchange(&mut client, &hello);
    let hello = client.hello(&[]);
    let flight = world.send(client.address, &hello);
    (client, hello, flight)
}

#[test]
fn an_unanswered_flight_is_sent_again_with_doubling_waits_and_then_given_up() {
    let mut world = World::new();
    let (mut client, _, flight) = lost_flight(&mut world);
    let again = world.pass(Duration::from_secs(40));
    let mut times: Vec<u64> = again.iter().map(|(at, _)| *at).collect();
    times.dedup();
    assert_eq!(times, [1_000, 3_000, 7_000, 15_000, 30_000]);
    // As the same messages under new record numbers, and last of all an alert.
    assert!(
        again[..2]
            .iter()
            .all(|(_, d)| d.len() == flight[0].len() && *d != flight[0])
    );
    assert_eq!(world.server.associations(), 0);
    client.receive(&again[1].1, world.now);
    assert!(client.is_complete);
}

#[test]
fn a_flight_whose_datagrams_are_too_long_for_the_path_goes_in_shorter_ones() {
    // Given a path that loses what is longer than 576 bytes with its headers,
    let mut world = World::new();
    let (mut client, _, flight) = lost_flight(&mut world);
    assert!(flight.iter().any(|datagram| datagram.len() > 548));
    // when the flight was sent in vain three times,
    let again = world.pass(Duration::from_secs(7));
    let (long, short): (Vec<_>, Vec<_>) = again.iter().partition(|(_, d)| d.len() > 548);
    assert_eq!(long.len(), 2);
    // then it arrives, and so does all that follows.
    assert!(short.iter().all(|(at, _)| *at == 7_000));
    for (_, datagram) in short {
        client.receive(datagram, world.now);
    }
    let finished = client.finished(1);
    for answer in world.send(client.address, &[finished]) {
        assert!(answer.len() <= 548);
        client.receive(&answer, world.now);
    }
    assert_eq!(world.seen, [Seen::Established(1, false)]);
    assert_eq!(client.later.len(), 1);
}

#[test]
fn trap_04_a_client_hello_that_comes_again_gets_the_same_flight_and_no_other_association() {
    let mut world = World::new();
    let (mut client, hello, _) = lost_flight(&mut world);
    // At once it is taken for a duplicate of the network's.
    assert!(world.send(client.address, &hello).is_empty());
    world.now = world.now.saturating_add(Duration::from_millis(300));
    world.exchange(&mut client, &hello);
    assert_eq!(world.server.associations(), 1);
    world.finish(&mut client);
    assert_eq!(world.seen, [Seen::Established(1, false)]);
}

#[test]
fn a_resumption_whose_answer_is_lost_goes_on_with_its_early_data() {
    let mut world = World::new();
    let first = world.connected(1, Profile::default());
    let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
    let flight = second.hello(&[b"once"]);
    world.send(second.address, &flight);
    world.now = world.now.saturating_add(Duration::from_secs(1));
    world.exchange(&mut second, &flight);
    assert!(second.early_data_accepted);
    world.finish(&mut second);
    assert_eq!(world.early_data(), [b"once"]);
}

#[test]
fn an_ack_of_a_part_brings_the_rest_at_once() {
    let mut settings = settings();
    settings.mtu = 256;
    let mut world = World::with(settings);
    let (mut client, _, flight) = lost_flight(&mut world);
    assert!(flight.len() > 3);
    // Given a client that has all but the second datagram,
    for datagram in flight.iter().take(1).chain(&flight[2..]) {
        client.receive(datagram, world.now);
    }
    // when it says what it has, then it gets the missing one and no more.
    let ack = client.ack();
    let rest = world.send(client.address, &[ack]);
    assert_eq!(rest.len(), 1);
    client.receive(&rest[0], world.now);
    world.finish(&mut client);
    assert_eq!(world.seen, [Seen::Established(1, false)]);
}

#[test]
fn an_empty_ack_in_plaintext_is_a_hint_and_no_more() {
    let mut world = World::new();
    let (mut client, _, _) = lost_flight(&mut world);
    let hint = Client::plaintext(ContentType::ACK, &[0, 0]);
    assert!(
        world
            .send(client.address, std::slice::from_ref(&hint))
            .is_empty()
    );
    world.now = world.now.saturating_add(Duration::from_millis(300));
    world.exchange(&mut client, &[hint]);
    assert!(client.is_complete);
}

#[test]
fn the_finished_is_acknowledged_and_acknowledged_again() {
    let mut world = World::new();
    let mut client = world.connected(1, Profile::default());
    assert_eq!(client.acknowledged.len(), 1);
    assert_eq!(client.acknowledged[0].epoch, 2);
    for _ in 0..2 {
        let body = client.finished_body();
        let finished = client.handshake_message(0, HandshakeType::FINISHED, 2, &body);
        world.exchange(&mut client, &[finished]);
    }
    assert_eq!(client.acknowledged.len(), 3);
    assert_eq!(world.seen, [Seen::Established(1, false)]);
    // For a while.
    world.pass(Duration::from_secs(241));
    let body = client.finished_body();
    let finished = client.handshake_message(0, HandshakeType::FINISHED, 2, &body);
    world.exchange(&mut client, &[finished]);
    assert_eq!(client.acknowledged.len(), 3);
}

#[test]
fn trap_37_a_ticket_is_sent_again_as_the_same_message_until_it_is_acknowledged() {
    let mut settings = settings();
    settings.tickets = 2;
    let mut world = World::with(settings);
    let mut client = Client::new(1, Profile::default());
    world.begin(&mut client);
    let finished = client.finished(1);
    world.exchange(&mut client, &[finished]);
    assert_eq!(client.later.len(), 2);
    let again = world.pass(Duration::from_secs(4));
    assert_eq!(again.len(), 2);
    // What comes again has the old message numbers: the client takes it for the same.
    for (_, datagram) in &again {
        client.receive(datagram, world.now);
    }
    assert_eq!(client.later.len(), 2);
    // The ACK of the Finished, which went with them, is repeated with them.
    assert_eq!(client.acknowledged.len(), 3);
    let issued = |world: &World| world.engine.metrics().issued();
    assert_eq!(issued(&world), 2);
    let ack = client.ack();
    world.exchange(&mut client, &[ack]);
    assert!(world.pass(Duration::from_secs(100)).is_empty());
    // Each of them resumes.
    for index in 0..2 {
        let offer = client.session(index, world.now);
        assert_eq!(offer.info().max_early_data, 16_384);
    }
}

#[test]
fn a_ticket_that_nobody_acknowledges_waits_for_a_sign_of_the_client() {
    let mut world = World::new();
    let mut client = Client::new(1, Profile::default());
    world.begin(&mut client);
    let finished = client.finished(1);
    world.send(client.address, &[finished]);
    assert!(!world.pass(Duration::from_secs(200)).is_empty());
    assert!(world.pass(Duration::from_secs(90)).is_empty());
    // Given a client that has got nothing since its Finished, when it says something,
    let [data, more] = [b"x", b"y"].map(|data| client.data(data));
    world.exchange(&mut client, &[data]);
    // then it gets the ticket, and not again at once.
    assert_eq!((client.later.len(), client.data.len()), (1, 1));
    assert_eq!(world.send(client.address, &[more]).len(), 1);
    // Without that it could read no later message.
    let request = client.message_after_finished(KEY_UPDATE, 1, &[1]);
    world.exchange(&mut client, &[request]);
    assert_eq!(client.later.last().unwrap(), &(KEY_UPDATE, vec![0]));
    let ack = client.ack();
    world.exchange(&mut client, &[ack]);
    assert!(world.pass(Duration::from_secs(250)).is_empty());
}

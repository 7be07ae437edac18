//! Who is where: verified addresses, clients that begin anew, clients that move.

use std::net::SocketAddr;
use std::time::Duration;

use dtls_session::admission::AddressPolicy;

use super::super::Closed;
use super::super::connection::CONNECTION_ID_LEN;
use super::client::{Client, Profile};
use super::{Seen, World, settings};

const MOVING: Profile = Profile {
    connection_id: Some(b"c"),
    ..PROFILE
};
const PROFILE: Profile = Profile::DEFAULT;

#[test]
fn trap_35_without_a_cookie_an_address_gets_three_times_what_it_sent() {
    let mut settings = settings();
    settings.address_policy = AddressPolicy::LimitAmplification;
    settings.mtu = 256;
    let mut world = World::with(settings);
    let mut client = Client::new(1, PROFILE);
    let hello = client.hello(&[]);
    let received: usize = hello.iter().map(Vec::len).sum();
    let mut flight = world.send(client.address, &hello);
    let sent: usize = flight.iter().map(Vec::len).sum();
    assert!(sent <= 3 * received, "{sent} for {received}");
    // What has to wait goes when more comes.
    world.now = world.now.saturating_add(Duration::from_secs(1));
    flight.extend(world.send(client.address, &hello));
    flight
        .iter()
        .for_each(|datagram| client.receive(datagram, world.now));
    let finished = client.finished(1);
    world.exchange(&mut client, &[finished]);
    assert_eq!(world.seen, [Seen::Established(1, false)]);
    // That ends with the handshake: a ticket that is not acknowledged goes out as often as any.
    let again = world.pass(Duration::from_secs(250));
    let sent: usize = again.iter().map(|(_, datagram)| datagram.len()).sum();
    assert!(sent > 3 * 2 * received, "{sent} for {received}");
}

#[test]
fn trap_35_what_is_behind_a_client_hello_in_its_datagram_counts_once() {
    let mut settings = settings();
    settings.address_policy = AddressPolicy::LimitAmplification;
    settings.mtu = 256;
    let mut world = World::with(settings);
    let mut client = Client::new(1, PROFILE);
    let mut hello = client.hello(&[]);
    // Given a ClientHello, and behind it what looks like a record of epoch 1,
    hello[0].extend([0x2d, 0, 0, 0, 0x80]);
    hello[0].extend([0; 0x80]);
    let mut received = 0;
    let mut sent = 0;
    // when it comes twice, and everything is sent again,
    for _ in 0..2 {
        received += hello[0].len();
        let answers = world.send(client.address, &hello);
        sent += answers.iter().map(Vec::len).sum::<usize>();
        world.now = world.now.saturating_add(Duration::from_millis(300));
    }
    let again = world.pass(Duration::from_secs(29));
    sent += again
        .iter()
        .map(|(_, datagram)| datagram.len())
        .sum::<usize>();
    // then that is as much as for any two datagrams of their length, or little less.
    assert!(sent <= 3 * received, "{sent} for {received}");
    assert!(sent > 3 * received - 256, "{sent} for {received}");
}

#[test]
fn a_client_hello_whose_last_datagram_is_short_is_answered() {
    let mut world = World::new();
    let mut client = Client::new(1, PROFILE);
    let len = client.hello(&[])[0].len();
    let mut client = Client::new(
        1,
        Profile {
            max_datagram_len: len - 1,
            ..PROFILE
        },
    );
    let mut hello = client.hello(&[]);
    assert!(hello[1].len() < 30);
    // However much is behind it.
    hello[1].extend([0x2d, 0, 0, 1, 0x2c]);
    hello[1].extend([0; 300]);
    world.exchange(&mut client, &hello);
    assert!(client.retry_request.is_some());
}

#[test]
fn a_ticket_from_another_address_needs_a_cookie_and_loses_its_early_data_only() {
    let mut world = World::new();
    let first = world.connected(1, PROFILE);
    let mut second = Client::new(2, PROFILE).resuming(&first, world.now);
    second.address = SocketAddr::from(([198, 51, 100, 1], 2));
    let flight = second.hello(&[b"lost"]);
    world.exchange(&mut second, &flight);
    assert!(second.retry_request.is_some());
    // Even if the HelloRetryRequest is lost and the ClientHello comes again.
    assert_eq!(world.send(second.address, &flight).len(), 1);
    world.connect(&mut second);
    assert!(second.resumed && world.early_data().is_empty());
}

#[test]
fn a_client_that_begins_anew_replaces_its_old_association_when_it_is_done() {
    let mut world = World::new();
    let mut old = world.connected(1, PROFILE);
    let mut new = Client::new(1, PROFILE).resuming(&old, world.now);
    let hello = new.hello(&[b"early"]);
    world.exchange(&mut new, &hello);
    assert_eq!(world.server.associations(), 2);
    // Until then the old one lives: the ClientHello may have been somebody else's.
    let data = old.data(b"still here");
    world.exchange(&mut old, &[data]);
    assert_eq!(old.data, [b"still here"]);
    world.finish(&mut new);
    assert_eq!(world.server.associations(), 1);
    assert!(world.seen.contains(&Seen::Closed(1, Closed::Replaced)));
    let data = old.data(b"too late");
    world.exchange(&mut old, &[data]);
    assert_eq!(old.data.len(), 1);
    let data = new.data(b"here now");
    world.exchange(&mut new, &[data]);
    assert_eq!(new.data.last().unwrap(), b"here now");
}

#[test]
fn somebody_elses_ticket_does_not_disturb_a_handshake() {
    let mut world = World::new();
    let attacker = world.connected(9, PROFILE);
    // Given a client whose handshake is under way,
    let mut client = Client::new(1, PROFILE);
    world.begin(&mut client);
    // when a ClientHello with a ticket that was given to the same host comes from the same port,
    let mut spoofed = Client::new(1, PROFILE).resuming(&attacker, world.now);
    let hello = spoofed.hello(&[b"spoofed"]);
    world.exchange(&mut spoofed, &hello);
    // then it has to show that it receives there first, and the client's handshake goes on.
    assert!(spoofed.retry_request.is_some());
    // And what is wrong altogether is not answered at all.
    let mut wrong = Client::new(1, PROFILE).resuming(&attacker, world.now);
    let mut hello = wrong.hello(&[]);
    *hello[0].last_mut().unwrap() ^= 1;
    assert!(world.send(wrong.address, &hello).is_empty());
    world.finish(&mut client);
    assert!(world.seen.contains(&Seen::Established(1, false)));
}

#[test]
fn connection_ids_are_used_in_both_directions_and_let_a_client_move() {
    let mut world = World::new();
    let mut client = world.connected(1, MOVING);
    assert_eq!(client.connection_id.len(), CONNECTION_ID_LEN);
    // Whoever receives it can tell which worker it is for.
    let data = client.data(b"lost");
    assert_eq!(world.server.lane_of(&data), Some(3));
    let data = client.data(b"here");
    world.exchange(&mut client, &[data]);
    let late = client.data(b"late");
    client.address = SocketAddr::from(([198, 51, 100, 1], 7));
    let data = client.data(b"there");
    world.exchange(&mut client, &[data]);
    assert_eq!(client.data, [&b"here"[..], b"there"]);
    assert_eq!(world.seen.last(), Some(&Seen::Data(7, b"there".to_vec())));

    // A datagram from the old address that was overtaken does not move it back.
    let old = SocketAddr::from(([192, 0, 2, 1], 1));
    let mut late = [late];
    let answers = {
        let mut batch = [super::super::Packet {
            bytes: &mut late[0],
            peer: old,
        }];
        world.receive(&mut batch)
    };
    assert!(answers.iter().all(|(to, _)| *to == client.address));
    assert_eq!(answers.len(), 1);
    // And at the new address the server sends three times what it received there, no more.
    let data = client.data(b"x");
    assert_eq!(world.send(client.address, &[data]).len(), 1);
}

#[test]
fn a_record_with_a_false_source_ends_nobody_elses_association() {
    let mut world = World::new();
    let mut victim = world.connected(1, PROFILE);
    let mut attacker = world.connected(2, MOVING);
    // Given a record of somebody's own association that says to be from another client's address,
    let data = attacker.data(b"x");
    world.send_any(victim.address, &[data]);
    // then both are served, each under its keys.
    let data = victim.data(b"still here");
    world.exchange(&mut victim, &[data]);
    assert_eq!(victim.data, [b"still here"]);
    let data = attacker.data(b"and back");
    world.exchange(&mut attacker, &[data]);
    assert_eq!(attacker.data, [b"and back"]);
    assert_eq!(world.server.associations(), 2);
}

#[test]
fn trap_35_what_comes_from_a_former_address_allows_nothing_at_the_new_one() {
    let mut world = World::new();
    // Given a client that has acknowledged no ticket, and says that it has moved,
    let mut client = Client::new(1, MOVING);
    let hello = client.hello(&[]);
    world.begin(&mut client);
    let finished = client.finished(1);
    world.exchange(&mut client, &[finished]);
    let old = client.address;
    client.address = SocketAddr::from(([198, 51, 100, 1], 7));
    let data = client.data(b"x");
    let received = data.len();
    let answers = world.send(client.address, &[data]);
    let mut sent: usize = answers.iter().map(Vec::len).sum();
    assert!(sent > 0);
    // when its ClientHello comes from where it was, again and again,
    for _ in 0..20 {
        assert!(world.send_any(old, &hello).is_empty());
        let again = world.pass(Duration::from_secs(10));
        sent += again
            .iter()
            .map(|(_, datagram)| datagram.len())
            .sum::<usize>();
    }
    // then nobody hears of that.
    assert!(sent <= 3 * received, "{sent} for {received}");
}

#[test]
fn who_gets_the_former_address_of_a_client_that_has_moved_does_not_replace_it() {
    let mut world = World::new();
    let mut moved = world.connected(1, MOVING);
    moved.address = SocketAddr::from(([198, 51, 100, 1], 7));
    let data = moved.data(b"there");
    world.exchange(&mut moved, &[data]);
    let mut next = world.connected(1, PROFILE);
    for client in [&mut moved, &mut next] {
        let data = client.data(b"here");
        world.exchange(client, &[data]);
        assert_eq!(client.data.last().unwrap(), b"here");
    }
    assert_eq!(world.server.associations(), 2);
}

#[test]
fn early_data_has_no_connection_id_and_all_the_rest_has_one() {
    let mut world = World::new();
    let first = world.connected(1, MOVING);
    let mut second = Client::new(2, MOVING).resuming(&first, world.now);
    let flight = second.hello(&[b"early"]);
    world.exchange(&mut second, &flight);
    assert_eq!(world.early_data(), [b"early"]);
    let id = std::mem::take(&mut second.connection_id);
    let without = second.finished(1);
    world.exchange(&mut second, &[without]);
    assert!(!world.seen.contains(&Seen::Established(2, true)));
    second.connection_id = id;
    world.finish(&mut second);
    assert!(world.seen.contains(&Seen::Established(2, true)));
}

//! Everything is bounded: associations, time, and what random peers can cause.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::super::Closed;
use super::client::{Client, Profile};
use super::{Seen, World, settings};

#[test]
fn a_full_table_refuses_newcomers_and_serves_those_it_has() {
    let mut settings = settings();
    settings.associations_max = 2;
    let mut world = World::with(settings);
    let mut one = world.connected(1, Profile::default());
    let _two = world.connected(2, Profile::default());
    let mut three = Client::new(3, Profile::default());
    world.begin(&mut three);
    assert!(!three.is_complete);
    assert_eq!(
        (world.server.associations(), world.server.refused()),
        (2, 1)
    );
    let close = one.seal(1, dtls_session::wire::ContentType::ALERT, &[1, 0]);
    world.exchange(&mut one, &[close]);
    // It tries again, and now there is room.
    let hello = three.hello(&[]);
    world.exchange(&mut three, &hello);
    assert!(three.is_complete);
}

#[test]
fn when_many_handshakes_are_under_way_even_a_ticket_needs_a_cookie() {
    let mut settings = settings();
    settings.handshakes_without_cookie_max = 1;
    let mut world = World::with(settings);
    let first = world.connected(1, Profile::default());
    let resume = |world: &mut World, port| {
        let mut client = Client::new(port, Profile::default()).resuming(&first, world.now);
        let hello = client.hello(&[]);
        world.exchange(&mut client, &hello);
        client
    };
    let mut second = resume(&mut world, 2);
    assert_eq!((second.is_complete, world.server.handshakes()), (true, 1));
    assert!(resume(&mut world, 3).retry_request.is_some());
    // Nobody can make many of early data that is accepted.
    let mut early = Client::new(4, Profile::default()).resuming(&first, world.now);
    let flight = early.hello(&[b"early"]);
    world.exchange(&mut early, &flight);
    assert!(early.early_data_accepted);
    world.finish(&mut early);
    world.finish(&mut second);
    assert_eq!(world.server.handshakes(), 0);
    assert!(resume(&mut world, 5).is_complete);
}

#[test]
fn an_answer_to_a_delayed_first_hello_does_not_stop_the_second_one() {
    let mut settings = settings();
    settings.handshakes_without_cookie_max = 1;
    let mut world = World::with(settings);
    let first = world.connected(1, Profile::default());
    // Given a client that was asked for a cookie when there were many handshakes,
    let [mut other, mut client] =
        [2, 3].map(|port| Client::new(port, Profile::default()).resuming(&first, world.now));
    let hello = other.hello(&[]);
    world.exchange(&mut other, &hello);
    let hello = client.hello(&[]);
    world.exchange(&mut client, &hello);
    assert!(client.retry_request.is_some());
    // when they are over, and a copy of its ClientHello comes late and begins a handshake,
    world.finish(&mut other);
    world.pass(Duration::from_secs(5));
    let late = world.send_any(client.address, &hello);
    assert_eq!((late.len(), world.server.handshakes()), (1, 1));
    // then the client goes on with its second ClientHello, and takes the late answer for none.
    for (_, datagram) in late {
        client.receive(&datagram, world.now);
    }
    let second = client.hello(&[]);
    world.exchange(&mut client, &second);
    assert!(client.is_complete);
    world.finish(&mut client);
    assert_eq!(world.server.handshakes(), 0);
}

#[test]
fn silent_clients_are_let_go() {
    let mut world = World::new();
    let mut client = world.connected(1, Profile::default());
    world.pass(Duration::from_secs(299));
    let data = client.data(b"x");
    world.exchange(&mut client, &[data]);
    world.pass(Duration::from_secs(299));
    assert_eq!(world.server.associations(), 1);
    let farewell = world.pass(Duration::from_secs(2));
    client.receive(&farewell[0].1, world.now);
    assert_eq!(client.alerts, [0]);
    assert_eq!(world.seen.last(), Some(&Seen::Closed(1, Closed::TimedOut)));
    assert_eq!(world.server.associations(), 0);
    assert!(world.server.timeout().is_none());
}

#[test]
fn a_server_that_ends_says_good_bye_to_all() {
    let mut world = World::new();
    let mut clients: Vec<_> = (1..4)
        .map(|p| world.connected(p, Profile::default()))
        .collect();
    let farewells = world.close();
    assert_eq!(farewells.len(), 3);
    for client in &mut clients {
        let (_, farewell) = farewells
            .iter()
            .find(|(to, _)| *to == client.address)
            .unwrap();
        client.receive(farewell, world.now);
        assert_eq!(client.alerts, [0]);
    }
    assert_eq!(world.server.associations(), 0);
}

#[test]
fn a_server_that_drains_lets_handshakes_end_and_no_other_begin() {
    let mut world = World::new();
    let mut client = Client::new(1, Profile::default());
    world.begin(&mut client);
    world.server.refuse_newcomers();
    assert_eq!(world.server.handshakes(), 1);
    let mut late = Client::new(2, Profile::default());
    world.begin(&mut late);
    assert!(!late.is_complete);
    world.finish(&mut client);
    assert_eq!(
        (world.server.handshakes(), world.server.associations()),
        (0, 1)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A peer that knows the protocol and breaks it at random: what it sends is cut, changed,
    /// repeated, reordered and sent from other ports, and time passes. Nobody panics, nothing
    /// grows, and a well-behaved client is served afterwards.
    #[test]
    fn a_random_peer_never_makes_the_server_panic_loop_or_grow(
        steps in proptest::collection::vec(
            (any::<u8>(), any::<u16>(), any::<u8>(), 0..4_u16, 0..3_000_u64), 1..60),
    ) {
        let mut world = World::new();
        let first = world.connected(1, Profile::default());
        let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
        let mut datagrams = second.hello(&[b"one", b"two"]);
        world.exchange(&mut second, &datagrams);
        if second.is_complete {
            let finished = second.finished(1);
            datagrams.push(finished);
            datagrams.extend([second.data(b"data"), second.data(&[0; 600])]);
            let update = second.handshake_message(1, super::super::messages::KEY_UPDATE, 2, &[1]);
            datagrams.push(update);
        }
        for (which, at, xor, port, time) in steps {
            let mut datagram = datagrams[usize::from(which) % datagrams.len()].clone();
            let at = usize::from(at) % datagram.len();
            match xor {
                0..64 => {}
                64..128 => datagram.truncate(at),
                _ => datagram[at] ^= xor,
            }
            let from = SocketAddr::from(([192, 0, 2, 1], 1 + port));
            let answers = world.send_any(from, &[datagram]);
            prop_assert!(answers.len() <= 8);
            world.pass(Duration::from_millis(time));
            prop_assert!(world.server.associations() <= 8);
        }
        let mut last = world.connected(9, Profile::default());
        let data = last.data(b"well");
        world.exchange(&mut last, &[data]);
        prop_assert_eq!(&last.data[..], &[b"well".to_vec()][..]);
    }
}

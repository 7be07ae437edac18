//! Early data: before the handshake is complete, marked, and once.

use std::time::Duration;

use dtls_session::schedule::CipherSuite;
use dtls_session::wire::{AlertDescription, ContentType, HandshakeType, dtls_header};

use super::super::{Closed, Event, Outbox, Packet, Reply};
use super::client::{Client, Profile};
use super::{Seen, World, settings};

#[test]
fn early_data_is_delivered_before_the_handshake_is_complete_and_answered_after_it() {
    for suites in [
        &[CipherSuite::Aes128GcmSha256],
        &[CipherSuite::Aes256GcmSha384],
        &[CipherSuite::Chacha20Poly1305Sha256],
    ] {
        let mut world = World::new();
        let profile = Profile {
            suites,
            ..Profile::default()
        };
        let first = world.connected(1, profile);
        world.seen.clear();

        let mut second = Client::new(2, profile).resuming(&first, world.now);
        let flight = second.hello(&[b"one", b"two"]);
        world.exchange(&mut second, &flight);
        let early = [b"one", b"two"].map(|data| Seen::EarlyData(2, data.to_vec()));
        assert_eq!(world.seen, early);
        assert!(second.early_data_accepted && second.data.is_empty());

        world.finish(&mut second);
        assert_eq!(world.seen[2..], [Seen::Established(2, true)]);
        assert_eq!(second.data, [&b"early:one"[..], b"early:two"]);
    }
}

#[test]
fn answers_to_early_data_go_out_at_once_if_the_operator_wants_that() {
    let mut settings = settings();
    settings.answer_early_data_at_once = true;
    let mut world = World::with(settings);
    let first = world.connected(1, Profile::default());
    let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
    let flight = second.hello(&[b"one"]);
    world.exchange(&mut second, &flight);
    assert_eq!(second.data, [b"early:one"]);
}

#[test]
fn answers_that_wait_are_bounded_in_number_even_without_content() {
    let mut world = World::new();
    let first = world.connected(1, Profile::default());
    let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
    let flight = second.hello(&[b"one"]);
    world.exchange(&mut second, &flight);
    let mut sealer = second.early_sealer();
    let mut datagram = vec![0; 64 * 2_000];
    let mut len = 0;
    for _ in 0..2_000 {
        let (kind, room) = (ContentType::APPLICATION_DATA, &mut datagram[len..]);
        len += sealer.seal(&[], kind, b"", room).unwrap();
    }
    datagram.truncate(len);
    // Given early data without content, of which no ticket's limit says anything,
    let peer = second.address;
    let mut answered = 0;
    let mut app = |event: Event<'_>, reply: &mut Reply<'_>| {
        if let Event::EarlyData(data) = event {
            answered += usize::from(reply.send(data));
        }
    };
    let mut batch = [Packet {
        bytes: &mut datagram,
        peer,
    }];
    let (server, now) = (&mut world.server, world.now);
    let received = server.receive(&mut batch, now, &mut Outbox::new(1200), &mut app);
    received.unwrap();
    // then the answers take no more than their records may, and those that fit are sent.
    assert_eq!(answered, 1_488);
    let finished = second.finished(1);
    world.exchange(&mut second, &[finished]);
    assert_eq!(second.data.len(), 1 + answered);
}

#[test]
fn early_data_behind_its_client_hello_in_one_datagram_or_before_it_in_the_batch() {
    let mut world = World::new();
    let first = world.connected(1, Profile::default());
    let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
    let flight = second.hello(&[b"one", b"two"]);
    let together = [&flight[0][..], &flight[2]].concat();
    world.exchange(&mut second, &[flight[1].clone(), together]);
    assert_eq!(world.early_data(), [b"one", b"two"]);
}

#[test]
fn trap_05_the_first_flight_sent_again_delivers_nothing_from_anywhere_at_any_time() {
    let mut world = World::new();
    let first = world.connected(1, Profile::default());
    let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
    let flight = second.hello(&[b"once"]);
    let again = |world: &mut World| {
        let before = world.server.associations();
        for port in [2, 3, 4] {
            world.send(Client::new(port, Profile::default()).address, &flight);
        }
        assert_eq!(world.early_data(), [b"once"]);
        // Nor does it cost more than an answer.
        assert_eq!(world.server.associations(), before);
    };
    world.exchange(&mut second, &flight);
    again(&mut world);
    world.finish(&mut second);
    again(&mut world);
    let close = second.seal(1, ContentType::ALERT, &[1, 0]);
    world.exchange(&mut second, &[close]);
    again(&mut world);
    world.pass(Duration::from_secs(15));
    again(&mut world);
}

#[test]
fn trap_34_more_early_data_than_the_ticket_allows_ends_the_connection() {
    let settings = settings();
    let engine = settings
        .engine()
        .max_early_data(10)
        .build(&ring::rand::SystemRandom::new(), super::START);
    let mut world = World::of(settings, &engine.unwrap());
    let first = world.connected(1, Profile::default());
    let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
    let flight = second.hello(&[b"12345"]);
    world.exchange(&mut second, &flight);
    // This client's own limit is the ticket's, so that it has to be told to cheat.
    let mut cheat = second.early_sealer();
    let mut out = [0; 64];
    cheat
        .seal(&[], ContentType::APPLICATION_DATA, b"12345", &mut out)
        .unwrap();
    let len = cheat
        .seal(&[], ContentType::APPLICATION_DATA, b"678901", &mut out)
        .unwrap();
    world.exchange(&mut second, &[out[..len].to_vec()]);
    let alert = AlertDescription::UNEXPECTED_MESSAGE;
    assert_eq!(second.alerts, [alert.0]);
    assert_eq!(
        world.seen.last(),
        Some(&Seen::Closed(2, Closed::Failed(alert)))
    );
    assert_eq!(world.early_data(), [b"12345"]);
}

#[test]
fn trap_31_a_forged_record_of_epoch_1_is_dropped_in_silence() {
    let mut world = World::new();
    let first = world.connected(1, Profile::default());
    let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
    let mut flight = second.hello(&[b"one"]);
    let genuine = flight[1].clone();
    *flight[1].last_mut().unwrap() ^= 1;
    world.exchange(&mut second, &flight);
    world.exchange(&mut second, &[genuine]);
    world.finish(&mut second);
    assert_eq!(world.early_data(), [b"one"]);
    assert!(world.seen.contains(&Seen::Established(2, true)));
}

#[test]
fn trap_33_early_data_that_the_network_delays_comes_in_for_a_while_after_the_handshake() {
    let mut world = World::new();
    let first = world.connected(1, Profile::default());
    let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
    let flight = second.hello(&[b"one", b"two", b"three"]);
    world.exchange(&mut second, &flight[..2]);
    world.finish(&mut second);
    let data = second.data(b"data");
    world.exchange(&mut second, &[data, flight[2].clone()]);
    assert_eq!(world.early_data(), [b"one", b"two"]);
    world.pass(Duration::from_secs(6));
    world.exchange(&mut second, &[flight[3].clone()]);
    assert_eq!(world.early_data(), [b"one", b"two"]);
}

#[test]
fn trap_36_end_of_early_data_is_tolerated_in_the_transcript_and_outside_of_it() {
    for in_transcript in [false, true] {
        let mut world = World::new();
        let first = world.connected(1, Profile::default());
        let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
        let flight = second.hello(&[b"one"]);
        world.exchange(&mut second, &flight);
        let end = dtls_header(HandshakeType::END_OF_EARLY_DATA, 0, 1, 0, 0);
        let mut sealer = second.early_sealer();
        let mut out = [0; 64];
        sealer
            .seal(&[], ContentType::APPLICATION_DATA, b"", &mut out)
            .unwrap();
        let len = sealer
            .seal(&[], ContentType::HANDSHAKE, &end, &mut out)
            .unwrap();
        world.exchange(&mut second, &[out[..len].to_vec()]);
        if in_transcript {
            second.transcribe_end_of_early_data();
        }
        // Its message took a number, so that the Finished has the next.
        let finished = second.finished(2);
        world.exchange(&mut second, &[finished]);
        assert!(world.seen.contains(&Seen::Established(2, true)));
        // And the tickets of such a handshake can be used.
        let mut third = Client::new(3, Profile::default()).resuming(&second, world.now);
        world.connect(&mut third);
        assert!(third.resumed);
    }
}

#[test]
fn trap_13_a_flight_that_comes_too_late_needs_a_cookie_and_resumes_without_its_early_data() {
    let mut world = World::new();
    let first = world.connected(1, Profile::default());
    let mut second = Client::new(2, Profile::default()).resuming(&first, world.now);
    let flight = second.hello(&[b"one"]);
    world.pass(Duration::from_secs(11));
    world.exchange(&mut second, &flight);
    assert!(second.retry_request.is_some());
    world.connect(&mut second);
    assert!(second.resumed && !second.early_data_accepted);
    assert!(world.early_data().is_empty());
    assert!(world.seen.contains(&Seen::Established(2, true)));
}

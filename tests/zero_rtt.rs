//! Early data: who gets it, who does not, and that what is refused is the 0-RTT alone.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::Duration;

use common::*;
use dtls_session::admission::{AbortReason, AddressPolicy, NoEarlyData, NoResumption};
use dtls_session::client::{ClientHelloParams, ClientSession, FirstFlight, Framing, Offer};
use dtls_session::keys::KeyConfig;
use dtls_session::replay::FreshnessWindow;
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::{AlertDescription, NewSessionTicket, ServerHello};
use dtls_session::{
    Datagram, Engine, KeySecret, NewSession, ReplayProtection, ResumptionSecret, UnixMillis,
    Verdict,
};

const SUITES: [CipherSuite; 3] = [
    CipherSuite::Aes128GcmSha256,
    CipherSuite::Aes256GcmSha384,
    CipherSuite::Chacha20Poly1305Sha256,
];

#[test]
fn a_genuine_flight_gets_its_early_data_in_under_every_suite() {
    for suite in SUITES {
        let mut worker = worker(Engine::builder());
        let ticket = ticket_for(&mut worker, &session(suite, NOW), NOW);
        let offer = client_session(suite, &ticket, after(20))
            .offer(after(5_000))
            .unwrap();
        let flight = flight(&params(1), offer);
        assert_eq!(
            admit_and_read(&mut worker, &flight, after(5_040)),
            EARLY,
            "{suite:?}"
        );
    }
}

#[test]
fn tickets_are_as_short_as_promised() {
    let mut worker = worker(Engine::builder());
    for (suite, limit) in [(SUITES[0], 224), (SUITES[1], 288), (SUITES[2], 224)] {
        let body = ticket_for(&mut worker, &session(suite, NOW), NOW);
        let session = client_session(suite, &body, NOW);
        assert!(
            session.ticket().len() <= limit,
            "{suite:?}: {}",
            session.ticket().len()
        );
    }
}

#[test]
fn a_ticket_of_a_given_psk_resumes() {
    let mut worker = worker(Engine::builder());
    let mut session = session(SUITES[0], NOW);
    session.secret = ResumptionSecret::Psk(b"a psk of any length");
    let body = ticket_for(&mut worker, &session, NOW);
    let message = dtls_session::wire::NewSessionTicket::parse(&body).unwrap();
    let client = dtls_session::client::ClientSession::from_psk(
        &message,
        SUITES[0],
        b"a psk of any length",
        Some(ALPN),
        NOW,
    )
    .unwrap();
    let flight = flight(&params(1), client.offer(after(100)).unwrap());
    assert_eq!(admit_and_read(&mut worker, &flight, after(100)), EARLY);
}

#[test]
fn trap_01_a_bad_binder_does_not_use_the_ticket_up() {
    let mut worker = worker(Engine::builder());
    let ticket = ticket(&mut worker, NOW);
    let flight = first_flight(&ticket, NOW, after(100));
    // Whoever saw the ticket sends it with a binder of his own.
    let mut forged = flight.datagrams[0].clone();
    *forged.last_mut().unwrap() ^= 1;
    let bad = Seen::Abort(AlertDescription::DECRYPT_ERROR, AbortReason::BadBinder);
    assert_eq!(admit(&mut worker, &forged, after(100)), bad);
    // The genuine ClientHello still gets its 0-RTT.
    assert_eq!(
        admit(&mut worker, &flight.datagrams[0], after(110)),
        Seen::Accept
    );
}

#[test]
fn trap_02_a_flood_of_forged_tickets_changes_nothing() {
    let builder = || Engine::builder().replay_protection(ReplayProtection::ClientHelloRecording);
    for builder in [Engine::builder(), builder().recorder_bytes(1 << 16)] {
        let mut worker = worker(builder);
        let genuine = ticket(&mut worker, NOW);
        let flight = first_flight(&genuine, NOW, after(100));
        let memory = worker.engine().keys().register_bytes();
        let status = worker.engine().keys().status();
        let random = Seeded::new(2);
        for n in 0..5_000 {
            let mut forged = genuine.clone();
            // Within the ticket: before it is the age, behind it an extension.
            let at = 12 + random.below(forged.len() as u64 - 23) as usize;
            forged[at] ^= 1 << (n % 8);
            let forged = first_flight(&forged, NOW, after(100));
            let verdict = admit(&mut worker, &forged.datagrams[0], after(100));
            assert!(
                !matches!(verdict, Seen::Accept | Seen::Resume(_)),
                "byte {at}: {verdict:?}"
            );
        }
        assert_eq!(worker.engine().keys().register_bytes(), memory);
        assert_eq!(worker.engine().keys().status(), status);
        assert_eq!(
            admit(&mut worker, &flight.datagrams[0], after(110)),
            Seen::Accept
        );
    }
}

#[test]
fn trap_03_only_the_binder_that_was_verified_tells_flights_apart() {
    // Two identities; a replay that changes the second, unverified binder is still the same flight.
    for protection in [
        ReplayProtection::SingleUseTickets,
        ReplayProtection::ClientHelloRecording,
    ] {
        let mut worker = worker(Engine::builder().replay_protection(protection));
        let ticket = ticket(&mut worker, NOW);
        let flight = first_flight(&ticket, NOW, after(100));
        let body = two_identities(&flight.client_hello, &ticket, b"other", true);
        let datagrams = |body: &[u8]| Framing::default().datagrams(body).unwrap().remove(0);
        assert_eq!(
            admit(&mut worker, &datagrams(&body), after(100)),
            Seen::Accept
        );
        let mut changed = body.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(
            admit_from(&mut worker, &datagrams(&changed), peer(1, 9), after(110)),
            Seen::Resume(NoEarlyData::Replayed),
            "{protection:?}"
        );
    }
}

/// The ClientHello with another identity behind its own, or before it, and its own binder signed
/// again.
fn two_identities(body: &[u8], ticket: &[u8], other: &[u8], own_first: bool) -> Vec<u8> {
    use dtls_session::schedule::{ClientHelloHash, HashAlgorithm, LabelPrefix, Transcript};
    use dtls_session::wire::ClientHello;
    let hello = ClientHello::parse(body).unwrap();
    let psks = hello.pre_shared_keys().unwrap();
    let own = psks.identities().next().unwrap();
    let identity = |identity: &[u8], age: u32| {
        let len = u16::try_from(identity.len()).unwrap().to_be_bytes();
        [&len[..], identity, &age.to_be_bytes()].concat()
    };
    let mut identities = [
        identity(own.identity, own.obfuscated_ticket_age),
        identity(other, 1),
    ];
    if !own_first {
        identities.reverse();
    }
    let identities = identities.concat();
    // Everything before pre_shared_key: its type and length and the length of its list go too.
    let before = &body[..psks.truncated_len - (2 + own.identity.len() + 4) - 2 - 4];
    let extension_len = 2 + identities.len() + 2 + 2 * 33;
    let head = [0, 41, (extension_len >> 8) as u8, extension_len as u8];
    let list = u16::try_from(identities.len()).unwrap().to_be_bytes();
    let mut whole = [before, &head, &list, &identities].concat();
    let truncated_len = whole.len();
    whole.extend([0, 66]);
    whole.extend([[32].as_slice(), &[0xee; 32], &[32], &[0xee; 32]].concat());
    // The length of all extensions stands right before them.
    let extensions: usize = hello.extensions().map(|(_, data)| 4 + data.len()).sum();
    let at = body.len() - extensions - 2;
    let len = u16::try_from(extensions + whole.len() - body.len()).unwrap();
    whole[at..at + 2].copy_from_slice(&len.to_be_bytes());
    let session = client_session(CipherSuite::Aes128GcmSha256, ticket, NOW);
    let transcript = Transcript::new(HashAlgorithm::Sha256);
    let hash = ClientHelloHash::new(transcript, &whole, truncated_len).unwrap();
    let key = session.early_secret().binder_key(LabelPrefix::Dtls13);
    let binder = key.sign(&[hash.truncated().as_bytes()]);
    let at = truncated_len + 3 + if own_first { 0 } else { 33 };
    whole[at..at + 32].copy_from_slice(binder.as_bytes());
    whole
}

#[test]
fn a_ticket_that_can_be_resumed_counts_behind_one_that_cannot_but_gets_no_0rtt() {
    let suite = CipherSuite::Aes128GcmSha256;
    let mut worker = worker(Engine::builder());
    let identity = |message: &[u8]| NewSessionTicket::parse(message).unwrap().ticket.to_vec();
    let day = Duration::from_secs(86_400).as_millis() as u64;
    let expired = session(suite, UnixMillis(NOW.0 - day));
    let expired = ticket_for(&mut worker, &expired, UnixMillis(NOW.0 - day));
    let of_other_name = NewSession {
        server_name: Some(b"other.example"),
        ..session(suite, NOW)
    };
    let of_other_name = ticket_for(&mut worker, &of_other_name, NOW);
    let of_other_hash = session(CipherSuite::Aes256GcmSha384, NOW);
    let of_other_hash = ticket_for(&mut worker, &of_other_hash, NOW);
    let mut opaque = [0; 256];
    let keys = worker.engine().keys().reader();
    let sealed = keys.snapshot().seal_opaque(0, b"", 60, NOW, &mut opaque);
    for other in [
        b"other".to_vec(),
        identity(&expired),
        identity(&of_other_name),
        identity(&of_other_hash),
        opaque[..sealed.unwrap().0].to_vec(),
    ] {
        let ticket = ticket(&mut worker, NOW);
        let params = ClientHelloParams {
            cipher_suites: &[suite],
            ..params(1)
        };
        let flight = flight(&params, offer(&ticket, NOW, after(100)));
        let body = two_identities(&flight.client_hello, &ticket, &other, false);
        let datagram = Framing::default().datagrams(&body).unwrap().remove(0);
        let batch = [Datagram {
            bytes: &datagram,
            peer: client_address(),
        }];
        let admitted = worker.admit(&batch, after(100)).unwrap();
        let (_, verdict) = admitted.iter().next().unwrap();
        let Verdict::Resume(resumed, why) = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(
            (resumed.selected_identity, why),
            (1, NoEarlyData::OtherIdentity)
        );
    }
}

#[test]
fn trap_04_a_retransmission_is_neither_a_replay_nor_accepted_again() {
    for protection in [
        ReplayProtection::SingleUseTickets,
        ReplayProtection::ClientHelloRecording,
    ] {
        let mut worker = worker(Engine::builder().replay_protection(protection));
        let ticket = ticket(&mut worker, NOW);
        let flight = first_flight(&ticket, NOW, after(100));
        assert_eq!(
            admit(&mut worker, &flight.datagrams[0], after(100)),
            Seen::Accept
        );
        assert_eq!(
            admit(&mut worker, &flight.datagrams[0], after(1_100)),
            Seen::Retransmission
        );
        // Also within one batch.
        let ticket = common::ticket(&mut worker, NOW);
        let flight = first_flight(&ticket, NOW, after(100));
        let datagram = Datagram {
            bytes: &flight.datagrams[0],
            peer: client_address(),
        };
        let batch = [datagram; 3];
        let admitted = worker.admit(&batch, after(100)).unwrap();
        let verdicts: Vec<_> = admitted.iter().map(|(_, verdict)| seen(verdict)).collect();
        assert_eq!(
            verdicts,
            [Seen::Accept, Seen::Retransmission, Seen::Retransmission]
        );
    }
}

#[test]
fn trap_02_and_04_replays_from_everywhere_make_no_accepted_flight_forgotten() {
    let mut worker = worker(Engine::builder());
    let [accepted, recorded] = [0, 1].map(|_| {
        let ticket = ticket(&mut worker, NOW);
        let flight = first_flight(&ticket, NOW, after(100));
        let verdict = admit(&mut worker, &flight.datagrams[0], after(100));
        assert_eq!(verdict, Seen::Accept);
        flight
    });
    for port in 1..40_000 {
        for host in [1, 2] {
            let from = peer(host, port);
            let verdict = admit_from(&mut worker, &recorded.datagrams[0], from, after(200));
            assert!(matches!(verdict, Seen::Resume(_)), "{verdict:?}");
        }
    }
    let again = admit(&mut worker, &accepted.datagrams[0], after(1_100));
    assert_eq!(again, Seen::Retransmission);
}

#[test]
fn trap_04_what_was_refused_is_judged_again_when_it_comes_again() {
    let mut worker = worker(Engine::builder());
    let ticket = ticket(&mut worker, NOW);
    let flight = first_flight(&ticket, NOW, after(100));
    // A client that roams and whose HelloRetryRequest, of which nobody kept anything, is lost.
    for ms in [100, 1_100, 3_100] {
        let from = peer(7, 4_000);
        let verdict = admit_from(&mut worker, &flight.datagrams[0], from, after(ms));
        assert_eq!(verdict, Seen::Resume(NoEarlyData::OtherAddress));
    }
}

#[test]
fn a_recorded_flight_does_not_verify_the_address_that_it_claims() {
    let engine = engine(Engine::builder().lanes(2));
    let mut workers = [0, 1].map(|lane| engine.worker(lane).unwrap());
    let ticket = ticket(&mut workers[0], NOW);
    let flight = first_flight(&ticket, NOW, after(100));
    let mut look = |worker: usize, from, now| {
        let batch = [Datagram {
            bytes: &flight.datagrams[0],
            peer: from,
        }];
        let admitted = workers[worker].admit(&batch, now).unwrap();
        let (arrival, verdict) = admitted.iter().next().unwrap();
        assert_eq!(arrival.send_limit().is_none(), arrival.address_verified);
        (seen(verdict), arrival.address_verified)
    };
    let here = client_address();
    assert_eq!(look(0, here, after(100)), (Seen::Accept, true));
    // Its answer is to be repeated, and may be as long.
    assert_eq!(look(0, here, after(200)), (Seen::Retransmission, true));
    for (worker, from) in [(0, peer(1, 9)), (1, here)] {
        let replayed = Seen::Resume(NoEarlyData::Replayed);
        assert_eq!(look(worker, from, after(300)), (replayed, false));
        let late = Seen::Resume(NoEarlyData::Late);
        assert_eq!(look(worker, from, after(20_000)), (late, false));
    }
}

#[test]
fn trap_05_a_replay_from_another_port_on_another_worker_is_refused() {
    for protection in [
        ReplayProtection::SingleUseTickets,
        ReplayProtection::ClientHelloRecording,
    ] {
        let engine = engine(Engine::builder().lanes(2).replay_protection(protection));
        let mut workers = [engine.worker(0).unwrap(), engine.worker(1).unwrap()];
        let ticket = ticket(&mut workers[0], NOW);
        let flight = first_flight(&ticket, NOW, after(100));
        assert_eq!(
            admit(&mut workers[1], &flight.datagrams[0], after(100)),
            Seen::Accept
        );
        for (n, worker) in workers.iter_mut().enumerate() {
            let verdict = admit_from(
                worker,
                &flight.datagrams[0],
                peer(1, 50_000 + n as u16),
                after(200),
            );
            assert_eq!(verdict, Seen::Resume(NoEarlyData::Replayed), "worker {n}");
        }
    }
}

#[test]
fn trap_08_and_12_a_full_memory_refuses_the_0rtt_and_nothing_else() {
    let builder = Engine::builder()
        .replay_protection(ReplayProtection::ClientHelloRecording)
        .recorder_bytes(2048);
    let mut worker = worker(builder);
    let mut verdicts = Vec::new();
    for n in 0..100_u8 {
        let ticket = ticket(&mut worker, NOW);
        let flight = flight(&params(n), offer(&ticket, NOW, after(100)));
        verdicts.push(admit(&mut worker, &flight.datagrams[0], after(100)));
    }
    let full = Seen::Resume(NoEarlyData::ReplayCacheFull);
    assert!(verdicts.contains(&Seen::Accept) && verdicts.contains(&full));
    assert!(
        verdicts
            .iter()
            .all(|verdict| [Seen::Accept, full].contains(verdict))
    );
}

#[test]
fn only_single_use_tickets_need_bits_and_only_allowed_0rtt_is_offered() {
    use ReplayProtection::*;
    for (protection, bytes, expected) in [
        (SingleUseTickets, 1_000, 1_000),
        (TimeWindowed, 1_000, 1_000),
        (ClientHelloRecording, 1_000, 1_000),
        (Disabled, 1_000, 0),
        (SingleUseTickets, 0, 0),
    ] {
        let builder = Engine::builder().replay_protection(protection);
        let mut worker = worker(builder.max_early_data(bytes));
        let body = ticket(&mut worker, NOW);
        let message = dtls_session::wire::NewSessionTicket::parse(&body).unwrap();
        assert_eq!(message.max_early_data_size.unwrap_or(0), expected);
        let (used, _) = worker.engine().keys().register_bytes();
        let bits_are_needed = protection == SingleUseTickets && bytes > 0;
        assert_eq!(used > 0, bits_are_needed, "{protection:?}");
    }
}

#[test]
fn a_ticket_without_memory_is_issued_without_0rtt() {
    let keys = dtls_session::keys::KeyConfig {
        register_bytes: 0,
        ..Default::default()
    };
    let mut worker = worker(Engine::builder().keys(keys));
    let body = ticket(&mut worker, NOW);
    let message = dtls_session::wire::NewSessionTicket::parse(&body).unwrap();
    assert_eq!(message.max_early_data_size, None);
    let flight = first_flight(&body, NOW, after(100));
    let verdict = admit(&mut worker, &flight.datagrams[0], after(100));
    assert_eq!(verdict, Seen::Resume(NoEarlyData::NotOffered));
}

#[test]
fn trap_09_flights_of_before_a_restart_resume_without_0rtt() {
    let secret = || dtls_session::KeySecret::new([0x11; 32]);
    for protection in [
        ReplayProtection::SingleUseTickets,
        ReplayProtection::ClientHelloRecording,
    ] {
        let builder = || {
            Engine::builder()
                .replay_protection(protection)
                .ticket_key(secret())
        };
        let mut before = builder()
            .build(&Seeded::new(1), NOW)
            .unwrap()
            .worker(0)
            .unwrap();
        let used = first_flight(&ticket(&mut before, NOW), NOW, after(100));
        let unused = first_flight(&ticket(&mut before, NOW), NOW, after(100));
        assert_eq!(
            admit(&mut before, &used.datagrams[0], after(100)),
            Seen::Accept
        );
        drop(before);
        // The same ticket key, another process.
        let mut restarted = builder()
            .build(&Seeded::new(2), after(200))
            .unwrap()
            .worker(0)
            .unwrap();
        for flight in [used, unused] {
            let verdict = admit(&mut restarted, &flight.datagrams[0], after(300));
            assert_eq!(verdict, Seen::Resume(NoEarlyData::OtherIssuer));
        }
        // Fresh tickets lose nothing.
        let ticket = ticket(&mut restarted, after(400));
        let flight = first_flight(&ticket, after(400), after(500));
        assert_eq!(
            admit(&mut restarted, &flight.datagrams[0], after(500)),
            Seen::Accept
        );
    }
}

#[test]
fn trap_10_a_flight_accepted_early_is_still_known_when_it_is_late() {
    let window = FreshnessWindow {
        late: Duration::from_secs(10),
        early: Duration::from_secs(10),
    };
    let builder = Engine::builder()
        .replay_protection(ReplayProtection::ClientHelloRecording)
        .freshness(window)
        // One bucket for each slice: whatever is forgotten there is written over.
        .recorder_bytes(11 * 16 * 8)
        .retransmission_window(Duration::ZERO);
    let mut worker = worker(builder);
    let ticket = ticket(&mut worker, NOW);
    // The client's clock runs ahead: it expects to arrive 10 s later than it does.
    let flight = first_flight(&ticket, NOW, after(31_000));
    assert_eq!(
        admit(&mut worker, &flight.datagrams[0], after(21_000)),
        Seen::Accept
    );
    let mut now = 21_001;
    while now <= 42_000 {
        // Others arrive meanwhile, some as early as the window allows.
        for ahead in [0, 10_000] {
            let other = first_flight(&ticket, NOW, after(now + ahead));
            let verdict = admit(&mut worker, &other.datagrams[0], after(now));
            assert_eq!(verdict, Seen::Accept, "{now} ms, {ahead} ahead");
        }
        let verdict = admit_from(&mut worker, &flight.datagrams[0], peer(1, 7), after(now));
        let expected = if now <= 41_000 {
            NoEarlyData::Replayed
        } else {
            NoEarlyData::Late
        };
        assert_eq!(verdict, Seen::Resume(expected), "{now} ms");
        now += 777;
    }
}

#[test]
fn trap_11_another_ticket_for_the_session_does_not_revive_a_used_one() {
    let mut worker = worker(Engine::builder().retransmission_window(Duration::ZERO));
    let first = ticket(&mut worker, NOW);
    let flight = first_flight(&first, NOW, after(100));
    assert_eq!(
        admit(&mut worker, &flight.datagrams[0], after(100)),
        Seen::Accept
    );
    for _ in 0..100 {
        let again = ticket(&mut worker, after(200));
        assert_ne!(again, first);
        let replayed = admit_from(&mut worker, &flight.datagrams[0], peer(1, 8), after(210));
        assert_eq!(replayed, Seen::Resume(NoEarlyData::Replayed));
    }
}

#[test]
fn trap_13_a_stale_flight_still_resumes() {
    let mut worker = worker(Engine::builder());
    for (arrival, why) in [(20_001, NoEarlyData::Late), (120_000, NoEarlyData::Late)] {
        let ticket = ticket(&mut worker, NOW);
        let flight = first_flight(&ticket, NOW, after(10_000));
        let verdict = admit(&mut worker, &flight.datagrams[0], after(arrival));
        assert_eq!(verdict, Seen::Resume(why));
    }
    let ticket = ticket(&mut worker, NOW);
    let flight = first_flight(&ticket, NOW, after(60_000));
    let verdict = admit(&mut worker, &flight.datagrams[0], after(1_000));
    assert_eq!(verdict, Seen::Resume(NoEarlyData::Early));
    // Refused, but not used up: the client comes in time with the next flight.
    let flight = first_flight(&ticket, NOW, after(1_500));
    assert_eq!(
        admit(&mut worker, &flight.datagrams[0], after(1_500)),
        Seen::Accept
    );
}

#[test]
fn trap_14_a_ticket_from_the_future_resumes() {
    let mut worker = worker(Engine::builder());
    let ticket = ticket(&mut worker, after(3_600_000));
    let flight = first_flight(&ticket, after(3_600_000), after(3_600_100));
    // The clock stepped back by an hour since.
    let verdict = admit(&mut worker, &flight.datagrams[0], after(100));
    assert_eq!(verdict, Seen::Resume(NoEarlyData::Early));
}

#[test]
fn trap_15_whole_second_ages_are_fresh() {
    // BoringSSL's clients count in seconds: age 1000 ms for anything up to 1999 ms.
    let mut worker = worker(Engine::builder());
    let ticket = ticket(&mut worker, NOW);
    let flight = first_flight(&ticket, NOW, after(1_000));
    assert_eq!(
        admit(&mut worker, &flight.datagrams[0], after(1_999)),
        Seen::Accept
    );
}

#[test]
fn trap_21_a_ticket_is_good_for_its_own_context_only() {
    let mut worker = worker(Engine::builder());
    let admit_with = |worker: &mut _, params: &ClientHelloParams<'_>| {
        let ticket = ticket(worker, NOW);
        let flight = flight(params, offer(&ticket, NOW, after(100)));
        admit(worker, &flight.datagrams[0], after(100))
    };
    let other_name = ClientHelloParams {
        server_name: Some("other.example"),
        ..params(1)
    };
    let full = Seen::Full(NoResumption::OtherServerName);
    assert_eq!(admit_with(&mut worker, &other_name), full);
    let no_name = ClientHelloParams {
        server_name: None,
        ..params(2)
    };
    assert_eq!(admit_with(&mut worker, &no_name), full);
    // The same hash, another suite: resumption, no 0-RTT. The client announces early data, since it
    // is mistaken in the suite of its session.
    let suite = CipherSuite::Chacha20Poly1305Sha256;
    let suites = [suite];
    let other_suite = ClientHelloParams {
        cipher_suites: &suites,
        ..params(4)
    };
    let body = ticket(&mut worker, NOW);
    let mistaken = client_session(suite, &body, NOW).offer(after(100)).unwrap();
    let flight = flight(&other_suite, mistaken);
    let verdict = admit(&mut worker, &flight.datagrams[0], after(100));
    assert_eq!(verdict, Seen::Resume(NoEarlyData::OtherSuite));
    // Another hash: a client that offers a session nonetheless.
    let suites = [CipherSuite::Aes128GcmSha256];
    let params = ClientHelloParams {
        cipher_suites: &suites,
        ..params(5)
    };
    let ticket = ticket(&mut worker, NOW);
    let datagram = hello_datagram(&params, &offer(&ticket, NOW, after(100)), |body| {
        let offered = &mut body[2 + 32 + 1 + 1 + 2..][..2];
        assert_eq!(offered, CipherSuite::Aes128GcmSha256.code().to_be_bytes());
        offered.copy_from_slice(&CipherSuite::Aes256GcmSha384.code().to_be_bytes());
    });
    assert_eq!(
        admit(&mut worker, &datagram, after(100)),
        Seen::Full(NoResumption::NoCommonSuite)
    );
}

/// A ClientHello that is changed before it is bound.
fn hello_datagram(
    params: &ClientHelloParams<'_>,
    offer: &Offer,
    change: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let mut body = vec![0; 1024];
    let len = params.write(Some(offer), &mut body).unwrap();
    body.truncate(len);
    change(&mut body);
    offer.bind(&mut body).unwrap();
    Framing::default().datagrams(&body).unwrap().remove(0)
}

#[test]
fn trap_21_early_data_is_good_for_its_own_protocol_only() {
    let mut worker = worker(Engine::builder());
    // It is looked for among so many: each costs a keyed hash, before any binder is verified.
    let behind = |others: usize| [&vec![b"mqtt".as_slice(); others][..], &[ALPN]].concat();
    let (in_reach, out_of_reach) = (behind(15), behind(16));
    for (protocols, verdict) in [
        (
            &[b"mqtt".as_slice()][..],
            Seen::Resume(NoEarlyData::OtherProtocol),
        ),
        (&[], Seen::Resume(NoEarlyData::OtherProtocol)),
        (&[b"mqtt", ALPN], Seen::Accept),
        (&in_reach, Seen::Accept),
        (&out_of_reach, Seen::Resume(NoEarlyData::OtherProtocol)),
    ] {
        let ticket = ticket(&mut worker, NOW);
        let params = ClientHelloParams {
            alpn: protocols,
            ..params(protocols.len() as u8)
        };
        // The library's client announces early data of its session's protocol only: this one is
        // mistaken in it.
        let suite = CipherSuite::Aes128GcmSha256;
        let taken_for = protocols.first().copied();
        let session =
            ClientSession::from_new_session_ticket(&ticket, suite, &MASTER[..32], taken_for, NOW);
        let offer = session.unwrap().offer(after(100)).unwrap();
        let datagram = hello_datagram(&params, &offer, |_| ());
        assert_eq!(
            admit(&mut worker, &datagram, after(100)),
            verdict,
            "{protocols:?}"
        );
    }
}

#[test]
fn another_address_gets_a_cookie_first_or_a_limited_answer() {
    for policy in [
        AddressPolicy::CookieFirst,
        AddressPolicy::LimitAmplification,
    ] {
        let mut worker = worker(Engine::builder().address_policy(policy));
        let ticket = ticket(&mut worker, NOW);
        let flight = first_flight(&ticket, NOW, after(100));
        let bytes = &flight.datagrams.concat()[..];
        let batch = [Datagram {
            bytes,
            peer: peer(2, 40_000),
        }];
        let admitted = worker.admit(&batch, after(100)).unwrap();
        let (arrival, verdict) = admitted.iter().next().unwrap();
        let expected = match policy {
            AddressPolicy::CookieFirst => Seen::Resume(NoEarlyData::OtherAddress),
            AddressPolicy::LimitAmplification => Seen::Accept,
        };
        assert_eq!(seen(verdict), expected);
        let hello = bytes.len() - arrival.rest.len();
        assert!(!arrival.rest.is_empty());
        assert_eq!(arrival.send_limit(), Some(hello * 3));
    }
}

#[test]
fn the_same_address_from_another_port_needs_no_cookie() {
    let mut worker = worker(Engine::builder());
    let ticket = ticket(&mut worker, NOW);
    let flight = first_flight(&ticket, NOW, after(100));
    let batch = [Datagram {
        bytes: &flight.datagrams[0],
        peer: peer(1, 1),
    }];
    let admitted = worker.admit(&batch, after(100)).unwrap();
    let (arrival, verdict) = admitted.iter().next().unwrap();
    assert_eq!(seen(verdict), Seen::Accept);
    assert_eq!(arrival.send_limit(), None);
}

#[test]
fn trap_27_a_hello_retry_request_costs_the_0rtt_and_its_cookie_proves_the_address() {
    for suite in SUITES {
        let mut worker = worker(Engine::builder());
        let ticket = ticket_for(&mut worker, &session(suite, NOW), NOW);
        let mut offer = client_session(suite, &ticket, NOW)
            .offer(after(100))
            .unwrap();
        let roaming = peer(7, 4_000);
        let first =
            FirstFlight::new(&params(3), Some(&mut offer), &Framing::default(), &[]).unwrap();
        let bytes = &first.datagrams[0];
        let (verdict, retry) = ask_for_a_cookie(&mut worker, bytes, roaming, suite, after(100));
        assert_eq!(verdict, Seen::Resume(NoEarlyData::OtherAddress));
        let hrr = ServerHello::parse(&retry).unwrap();
        assert!(hrr.is_hello_retry_request());
        // The client sends its second ClientHello, with the cookie.
        let retried = offer.retry(&first.client_hello, &retry, after(150));
        let mut offer = retried.unwrap().unwrap();
        let params = ClientHelloParams {
            cookie: hrr.cookie,
            early_data: false,
            ..params(3)
        };
        let second = FirstFlight::new(&params, Some(&mut offer), &second(), &[]).unwrap();
        let datagram = &second.datagrams[0];
        let elsewhere = admit_from(&mut worker, datagram, peer(8, 4_000), after(160));
        let invalid = Seen::Abort(
            AlertDescription::ILLEGAL_PARAMETER,
            AbortReason::InvalidCookie,
        );
        assert_eq!(elsewhere, invalid, "a cookie is good for one address");
        let old = admit_from(&mut worker, datagram, roaming, after(40_000));
        assert_eq!(old, invalid, "and for some time");
        let batch = [Datagram {
            bytes: datagram,
            peer: roaming,
        }];
        let admitted = worker.admit(&batch, after(170)).unwrap();
        let (arrival, verdict) = admitted.iter().next().unwrap();
        assert_eq!(
            seen(verdict),
            Seen::Resume(NoEarlyData::NotOffered),
            "{suite:?}"
        );
        assert!(arrival.address_verified);
        // What was selected and the transcript come back from the cookie, also for a full handshake.
        let Verdict::Resume(resumed, _) = verdict else {
            unreachable!()
        };
        let retried = arrival.retried.as_ref().unwrap();
        assert_eq!((retried.suite, retried.group), (suite, None));
        let transcript = arrival.transcript(suite.hash()).unwrap();
        assert!(transcript.digest() == resumed.transcript().digest());
        let other = SUITES.into_iter().find(|s| s.hash() != suite.hash());
        assert!(arrival.transcript(other.unwrap().hash()).is_none());
    }
}

#[test]
fn a_cookie_outlives_the_rotation_and_retirement_of_its_key() {
    let engine = engine(Engine::builder());
    let mut worker = engine.worker(0).unwrap();
    let random = Seeded::new(5);
    // Given a cookie under a key that has sealed no ticket,
    let first = FirstFlight::new(&params(3), None, &Framing::default(), &[]).unwrap();
    let (bytes, peer) = (&first.datagrams[0], peer(1, 1));
    let (_, retry) = ask_for_a_cookie(&mut worker, bytes, peer, SUITES[0], NOW);
    let params = ClientHelloParams {
        cookie: ServerHello::parse(&retry).unwrap().cookie,
        ..params(3)
    };
    let second = FirstFlight::new(&params, None, &second(), &[]).unwrap();
    // when another key follows,
    engine.keys().rotate(NOW, &random).unwrap();
    let maintain = |ms| {
        for _ in 0..3 {
            engine.maintain(after(ms), &random).unwrap();
        }
        engine.keys().status().len()
    };
    // then the cookie is good until it expires, and its key goes.
    assert_eq!(maintain(29_999), 3);
    let verdict = admit_from(&mut worker, &second.datagrams[0], peer, after(29_999));
    assert_eq!(verdict, Seen::Full(NoResumption::NoPreSharedKey));
    assert_eq!(maintain(30_000), 2);
}

#[test]
fn cookies_do_not_keep_more_keys_than_tickets_do() {
    let keys = KeyConfig {
        rotation_interval: Some(Duration::from_secs(1)),
        ticket_lifetime: Duration::from_secs(10),
        max_keys: 12,
        ..KeyConfig::default()
    };
    let engine = engine(Engine::builder().keys(keys));
    let mut worker = engine.worker(0).unwrap();
    let random = Seeded::new(5);
    let first = FirstFlight::new(&params(3), None, &Framing::default(), &[]).unwrap();
    for second in 0..60 {
        let now = after(second * 1_000);
        engine.maintain(now, &random).unwrap();
        let bytes = &first.datagrams[0];
        ask_for_a_cookie(&mut worker, bytes, peer(1, 1), SUITES[0], now);
    }
}

#[test]
fn a_time_window_gives_a_ticket_0rtt_once_per_window() {
    let builder = Engine::builder()
        .replay_protection(ReplayProtection::TimeWindowed)
        .time_window(Duration::from_secs(10))
        .retransmission_window(Duration::ZERO);
    let mut worker = worker(builder);
    let ticket = ticket(&mut worker, NOW);
    let mut admit_at = |random: u8, ms: u64| {
        let flight = flight(&params(random), offer(&ticket, NOW, after(ms)));
        admit(&mut worker, &flight.datagrams[0], after(ms))
    };
    let verdicts = [
        admit_at(1, 1_000),
        admit_at(2, 1_100),
        admit_at(3, 21_000),
        admit_at(4, 21_001),
    ];
    let refused = Seen::Resume(NoEarlyData::Replayed);
    assert_eq!(verdicts, [Seen::Accept, refused, Seen::Accept, refused]);
}

#[test]
fn recording_lets_a_ticket_be_used_again_but_not_a_flight() {
    let builder = Engine::builder()
        .replay_protection(ReplayProtection::ClientHelloRecording)
        .retransmission_window(Duration::ZERO);
    let mut worker = worker(builder);
    let ticket = ticket(&mut worker, NOW);
    for random in 0..20 {
        let flight = flight(&params(random), offer(&ticket, NOW, after(1_000)));
        assert_eq!(
            admit(&mut worker, &flight.datagrams[0], after(1_000)),
            Seen::Accept
        );
        let again = admit(&mut worker, &flight.datagrams[0], after(1_001));
        assert_eq!(again, Seen::Resume(NoEarlyData::Replayed));
    }
}

#[test]
fn without_protection_there_is_no_early_data() {
    use ReplayProtection::*;
    // Its own tickets allow none. That of another host does, which has the same key.
    for (issuing, why) in [
        (Disabled, NoEarlyData::NotOffered),
        (SingleUseTickets, NoEarlyData::Disabled),
    ] {
        let [mut there, mut here] = [issuing, Disabled].map(|protection| {
            let builder = Engine::builder().ticket_key(KeySecret::new([1; 32]));
            worker(builder.replay_protection(protection))
        });
        let flight = first_flight(&ticket(&mut there, NOW), NOW, after(100));
        let verdict = admit(&mut here, &flight.datagrams[0], after(100));
        assert_eq!(verdict, Seen::Resume(why));
    }
}

#[test]
fn a_flight_without_a_usable_key_share_gets_no_0rtt() {
    let mut worker = worker(Engine::builder());
    let ticket = ticket(&mut worker, NOW);
    let params = ClientHelloParams {
        supported_groups: &[0x11ec],
        key_shares: &[(0x11ec, &[1])],
        ..params(1)
    };
    let flight = flight(&params, offer(&ticket, NOW, after(100)));
    let verdict = admit(&mut worker, &flight.datagrams[0], after(100));
    assert_eq!(verdict, Seen::Resume(NoEarlyData::NoKeyShare));
}

#[test]
fn a_fragmented_flight_is_accepted_once() {
    let mut worker = worker(Engine::builder());
    let ticket = ticket(&mut worker, NOW);
    let mut offer = offer(&ticket, NOW, after(100));
    let framing = Framing {
        max_datagram_len: 150,
        ..Framing::default()
    };
    let flight = FirstFlight::new(&params(1), Some(&mut offer), &framing, &[EARLY]).unwrap();
    let hellos = &flight.datagrams[..flight.datagrams.len() - 1];
    assert!(hellos.len() > 2);
    for round in 0..2 {
        let batch: Vec<_> = hellos
            .iter()
            .rev()
            .map(|bytes| Datagram {
                bytes,
                peer: client_address(),
            })
            .collect();
        let admitted = worker.admit(&batch, after(100 + round)).unwrap();
        let verdicts: Vec<_> = admitted.iter().map(|(_, verdict)| seen(verdict)).collect();
        let (last, parts) = verdicts.split_last().unwrap();
        assert!(parts.iter().all(|part| *part == Seen::Incomplete));
        assert_eq!(*last, [Seen::Accept, Seen::Retransmission][round as usize]);
    }
}

#[test]
fn trap_29_a_client_that_begins_anew_from_its_port_is_not_taken_for_the_one_before() {
    let mut worker = worker(Engine::builder());
    let framing = Framing {
        max_datagram_len: 300,
        ..Framing::default()
    };
    let [before, now] = [1, 2].map(|random| {
        let mut offer = offer(&ticket(&mut worker, NOW), NOW, after(100));
        let params = params(random);
        FirstFlight::new(&params, Some(&mut offer), &framing, &[]).unwrap()
    });
    assert_eq!((before.datagrams.len(), now.datagrams.len()), (2, 2));
    // A part of a ClientHello that was answered comes once more, and then another one.
    let mut admit = |bytes: &[u8]| admit(&mut worker, bytes, after(100));
    let verdicts = [
        &before.datagrams[..],
        &before.datagrams[..1],
        &now.datagrams,
    ]
    .concat();
    let verdicts: Vec<_> = verdicts.iter().map(|bytes| admit(bytes)).collect();
    let (part, whole) = (Seen::Incomplete, Seen::Accept);
    assert_eq!(verdicts, [part, whole, part, part, whole]);
}

#[test]
fn trap_35_the_bytes_of_a_datagram_allow_one_answer_whatever_else_is_in_it() {
    for message_seq in [0, 1] {
        let mut worker = worker(Engine::builder());
        let [one, other] = [1, 2].map(|random| {
            let flight = FirstFlight::new(&params(random), None, &Framing::default(), &[]);
            flight.unwrap().client_hello
        });
        let all_but_a_byte = Framing {
            max_datagram_len: 13 + 12 + one.len() - 1,
            ..Framing::default()
        };
        let parts = all_but_a_byte.datagrams(&one).unwrap();
        let whole = Framing {
            message_seq,
            ..Framing::default()
        };
        let whole = whole.datagrams(&other).unwrap().remove(0);
        let (mut received, mut allowed) = (0, 0);
        for bytes in [&[&parts[0][..], &whole].concat(), &parts[1]] {
            let peer = peer(9, 9);
            let batch = [Datagram { bytes, peer }];
            let admitted = worker.admit(&batch, after(100)).unwrap();
            let (arrival, verdict) = admitted.iter().next().unwrap();
            received += bytes.len();
            if seen(verdict) != Seen::Incomplete {
                allowed += arrival.send_limit().unwrap();
            }
        }
        assert!(
            allowed > 0 && allowed <= 3 * received,
            "{allowed} for {received}"
        );
    }
}

#[test]
fn an_accepted_verdict_carries_what_the_host_needs() {
    let mut worker = worker(Engine::builder());
    let mut session = session(SUITES[1], NOW);
    session.host_data = b"tenant 7";
    let ticket = ticket_for(&mut worker, &session, NOW);
    let offer = client_session(SUITES[1], &ticket, NOW)
        .offer(after(50))
        .unwrap();
    let flight = flight(&params(1), offer);
    let batch = [Datagram {
        bytes: &flight.datagrams[0],
        peer: client_address(),
    }];
    let admitted = worker.admit(&batch, after(50)).unwrap();
    let (arrival, verdict) = admitted.iter().next().unwrap();
    let Verdict::AcceptEarlyData(resumed) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(resumed.session.host_data, b"tenant 7");
    assert_eq!(resumed.session.authenticated, NOW);
    assert_eq!(resumed.session.max_early_data, 16_384);
    assert_eq!(resumed.suite, SUITES[1]);
    assert_eq!(resumed.alpn, Some(ALPN));
    assert_eq!(arrival.hello_body, flight.client_hello);
    assert!(resumed.transcript().digest() == flight.transcript.unwrap().digest());
}

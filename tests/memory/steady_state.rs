//! Once an engine runs, neither a flight nor a ticket allocates.

use std::net::SocketAddr;

use dtls_session::admission::{AbortReason, Discarded, NoEarlyData, NoResumption};
use dtls_session::client::{ClientHelloParams, ClientSession, FirstFlight, Framing, Offer};
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::{AlertDescription, NewSessionTicket, ServerHello};
use dtls_session::{
    BATCH_MAX, Datagram, Engine, KeySecret, ReplayProtection, ResumptionSecret, Worker,
};

use crate::allocator::measure;
use crate::common::*;

/// Datagrams of every kind that a gateway meets, as many rounds of them as were asked for.
struct Traffic(Vec<(Vec<u8>, SocketAddr)>);

impl Traffic {
    /// For `worker`, with tickets of `foreign`, which has the same ticket key, among them.
    fn new(worker: &mut Worker, foreign: &mut Worker, rounds: u16) -> Self {
        let mut traffic = Self(Vec::new());
        for round in 0..rounds {
            let suite = [
                CipherSuite::Aes128GcmSha256,
                CipherSuite::Aes256GcmSha384,
                CipherSuite::Chacha20Poly1305Sha256,
            ][usize::from(round % 3)];
            traffic.round(worker, foreign, suite, round);
        }
        traffic
    }

    fn round(&mut self, worker: &mut Worker, foreign: &mut Worker, suite: CipherSuite, round: u16) {
        let port = 10_000 + round * 8;
        let params = params(round as u8);
        let flight = |worker: &mut Worker, framing: &Framing| {
            let ticket = ticket_for(worker, &session(suite, NOW), NOW);
            let mut offer = client_session(suite, &ticket, NOW)
                .offer(after(100))
                .unwrap();
            FirstFlight::new(&params, Some(&mut offer), framing, &[EARLY]).unwrap()
        };
        // A genuine flight, again, and from another port; early data.
        let genuine = flight(worker, &Framing::default());
        self.push(&genuine.datagrams[0], port);
        self.push(&genuine.datagrams[0], port);
        self.push(&genuine.datagrams[0], port + 1);
        self.push(&genuine.datagrams[1], port);
        // In fragments, the last of them first.
        let small = Framing {
            max_datagram_len: 150,
            ..Framing::default()
        };
        let fragments = flight(worker, &small).datagrams;
        for fragment in fragments[..fragments.len() - 1].iter().rev() {
            self.push(fragment, port + 2);
        }
        // Of another process.
        self.push(&flight(foreign, &Framing::default()).datagrams[0], port);
        // A bad binder, a forged ticket, an unknown key.
        let mut bad = flight(worker, &Framing::default()).datagrams.remove(0);
        *bad.last_mut().unwrap() ^= 1;
        self.push(&bad, port);
        for byte in [100, 4] {
            let body = ticket_for(worker, &session(suite, NOW), NOW);
            let genuine = NewSessionTicket::parse(&body).unwrap();
            let mut forged = genuine.ticket.to_vec();
            forged[byte] ^= 1;
            let forged = NewSessionTicket {
                ticket: &forged,
                ..genuine
            };
            let client = ClientSession::from_psk(&forged, suite, b"psk", None, NOW).unwrap();
            let mut offer = client.offer(after(100)).unwrap();
            let params = params_without_early_data();
            let flight = FirstFlight::new(&params, Some(&mut offer), &Framing::default(), &[]);
            self.push(&flight.unwrap().datagrams[0], port);
        }
        // No ticket at all, a ClientHello that is none, and what is no DTLS.
        let plain = FirstFlight::new(&params_without_early_data(), None, &Framing::default(), &[]);
        self.push(&plain.unwrap().datagrams[0], port);
        let malformed = Framing::default().datagrams(&[1; 60]).unwrap();
        self.push(&malformed[0], port);
        self.push(b"GET / HTTP/1.1", port);
        // Another address, and the second ClientHello with its cookie.
        let roaming = client_session(suite, &ticket_for(worker, &session(suite, NOW), NOW), NOW)
            .offer(after(100))
            .unwrap();
        let (first, second) = retried(worker, suite, roaming, peer(9, port));
        self.0.push((first, peer(9, port + 1)));
        self.0.push((second, peer(9, port)));
    }

    fn push(&mut self, bytes: &[u8], port: u16) {
        self.0.push((bytes.to_vec(), peer(1, port)));
    }

    fn batches(&self, size: usize) -> Vec<Vec<Datagram<'_>>> {
        let datagrams: Vec<_> = self
            .0
            .iter()
            .map(|(bytes, peer)| Datagram { bytes, peer: *peer })
            .collect();
        datagrams.chunks(size).map(<[_]>::to_vec).collect()
    }
}

fn params_without_early_data() -> ClientHelloParams<'static> {
    ClientHelloParams {
        early_data: false,
        ..params(1)
    }
}

/// The datagrams of a client's first and second ClientHello, with a HelloRetryRequest in between.
fn retried(
    worker: &mut Worker,
    suite: CipherSuite,
    mut offer: Offer,
    peer: SocketAddr,
) -> (Vec<u8>, Vec<u8>) {
    let params = params_without_early_data();
    let mut first = FirstFlight::new(&params, Some(&mut offer), &Framing::default(), &[]).unwrap();
    let mut retry = [0; 192];
    let len = {
        let batch = [Datagram {
            bytes: &first.datagrams[0],
            peer,
        }];
        let admitted = worker.admit(&batch, after(100)).unwrap();
        let (arrival, _) = admitted.iter().next().unwrap();
        admitted
            .hello_retry_request(arrival, suite, None, &mut retry)
            .unwrap()
    };
    let retried = offer.retry(&first.client_hello, &retry[..len], after(100));
    let mut offer = retried.unwrap();
    let second = ClientHelloParams {
        cookie: ServerHello::parse(&retry[..len]).unwrap().cookie,
        ..params
    };
    let framing = Framing {
        message_seq: 1,
        sequence_number: 1,
        ..Framing::default()
    };
    let mut second = FirstFlight::new(&second, offer.as_mut(), &framing, &[]).unwrap();
    (first.datagrams.remove(0), second.datagrams.remove(0))
}

/// The engine of the test, and a worker of another process with the same ticket key.
fn workers(protection: ReplayProtection) -> (Worker, Worker) {
    let build = |process| {
        Engine::builder()
            .ticket_key(KeySecret::new([3; 32]))
            .replay_protection(protection)
            .build(&Seeded::new(process), NOW)
            .unwrap()
            .worker(0)
            .unwrap()
    };
    (build(1), build(2))
}

#[test]
fn nothing_is_allocated_for_a_flight() {
    for protection in [
        ReplayProtection::SingleUseTickets,
        ReplayProtection::ClientHelloRecording,
        ReplayProtection::TimeWindowed,
    ] {
        // Given a worker that has seen one round of everything,
        let (mut worker, mut foreign) = workers(protection);
        let warm_up = Traffic::new(&mut worker, &mut foreign, 3);
        for batch in warm_up.batches(BATCH_MAX) {
            let _ = worker.admit(&batch, after(100)).unwrap();
        }
        // when many more come, in batches of any size,
        let traffic = Traffic::new(&mut worker, &mut foreign, 100);
        let mut all_verdicts = Vec::new();
        for size in [1, 7, 32, BATCH_MAX] {
            for batch in traffic.batches(size) {
                let mut verdicts = [None; BATCH_MAX];
                let mut retry = [0; 192];
                let (_, usage) = measure(|| {
                    let admitted = worker.admit(&batch, after(100)).unwrap();
                    for ((arrival, verdict), place) in admitted.iter().zip(&mut verdicts) {
                        *place = Some(seen(verdict));
                        if arrival.hello.is_some() && arrival.retried.is_none() {
                            let suite = CipherSuite::Aes128GcmSha256;
                            admitted
                                .hello_retry_request(arrival, suite, None, &mut retry)
                                .unwrap();
                        }
                    }
                });
                // then none of them allocates,
                assert_eq!(usage.calls, 0, "{protection:?}: {verdicts:?}");
                all_verdicts.extend(verdicts.into_iter().flatten());
            }
        }
        // and there was everything among them.
        for kind in [
            Seen::Accept,
            Seen::Retransmission,
            Seen::Incomplete,
            Seen::Resume(NoEarlyData::Replayed),
            Seen::Resume(NoEarlyData::OtherIssuer),
            Seen::Resume(NoEarlyData::NotOffered),
            Seen::Full(NoResumption::ForgedTicket),
            Seen::Full(NoResumption::UnknownKey),
            Seen::Full(NoResumption::NoPreSharedKey),
            Seen::Abort(AlertDescription::DECRYPT_ERROR, AbortReason::BadBinder),
            Seen::Abort(
                AlertDescription::DECODE_ERROR,
                AbortReason::MalformedClientHello,
            ),
            Seen::Discard(Discarded::NotARecord),
            Seen::Discard(Discarded::Encrypted),
        ] {
            let often = all_verdicts.iter().filter(|seen| **seen == kind).count();
            assert!(often >= 100, "{kind:?}: {often}");
        }
    }
}

#[test]
fn nothing_is_allocated_for_a_ticket_but_bits_for_many() {
    let (mut worker, _) = workers(ReplayProtection::SingleUseTickets);
    ticket(&mut worker, NOW);
    let mut out = [0; 1024];
    for suite in [CipherSuite::Aes128GcmSha256, CipherSuite::Aes256GcmSha384] {
        for secret in [ResumptionSecret::Psk(b"psk"), session(suite, NOW).secret] {
            let session = dtls_session::NewSession {
                secret,
                ..session(suite, NOW)
            };
            let (_, usage) = measure(|| {
                for _ in 0..2_000 {
                    worker
                        .issue(&session, client_address().ip(), NOW, &mut out)
                        .unwrap();
                }
            });
            assert_eq!(usage.calls, 0, "{suite:?}");
        }
    }
    // A chunk of bits for the next 32768 tickets: the words, and a box that names them.
    let session = session(CipherSuite::Aes128GcmSha256, NOW);
    let (_, usage) = measure(|| {
        for _ in 0..32_768 {
            worker
                .issue(&session, client_address().ip(), NOW, &mut out)
                .unwrap();
        }
    });
    assert_eq!(usage.calls, 2);
    assert!((4096..=4096 + 64).contains(&usage.kept), "{}", usage.kept);
}

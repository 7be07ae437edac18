//! Where the time of an admission goes: each stage by itself, ours and the naive pipeline's.
//!
//! Stages that are timed alone overlap less than in the whole, so that their sum can be more.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use dashmap::DashMap;
use dtls_session::EncryptedTicket;
use dtls_session::replay::{FreshnessWindow, expected_arrival};
use dtls_session::schedule::wide::{Job, WideHasher};
use dtls_session::schedule::{EarlySecret, HashAlgorithm, LabelPrefix, Transcript};
use dtls_session::ticket::{Payload, Scratch};
use dtls_session::wire::{ClientHello, HandshakeType, tls_header};
use ring::digest;

use crate::common::admission::{BATCH, Gateway, NaiveGateway, ROUND};
use crate::common::contest::{Contestant, time};
use crate::common::flights::{Flight, now};
use crate::common::naive::{Naive, State, client_hello, expand_label};
use crate::figures::Figures;
use crate::measure::laps;

/// Adds a figure for each stage, and returns the sums of ours and of the naive ones.
pub(crate) fn run(strike: (f64, f64), rounds: usize, figures: &mut Figures) -> (f64, f64) {
    let ours = ours(rounds, strike.0);
    let naive = naive(rounds, strike.1);
    for ((name, ns), (naive_name, naive_ns)) in ours.iter().zip(&naive) {
        figures.add(name, *ns);
        figures.add(naive_name, *naive_ns);
    }
    let sum = |stages: &[(&str, f64)]| stages.iter().map(|(_, ns)| ns).sum();
    (sum(&ours), sum(&naive))
}

fn ours(rounds: usize, strike: f64) -> [(&'static str, f64); 9] {
    let mut gateway = Gateway::new(0, ROUND);
    let flights: Rc<[Flight]> = gateway.flights(ROUND).into();
    let hasher = WideHasher::detect();
    let hellos = Hellos::new(&flights);
    let of_nothing = Hellos {
        truncated: vec![Vec::new(); ROUND],
        ..Hellos::new(&flights)
    };
    let [
        parse,
        clock,
        lookup,
        open,
        freshness,
        transcript,
        binder,
        early,
    ] = laps(
        vec![
            parse(&flights),
            clock(ROUND / BATCH),
            lookup(&gateway, &flights),
            open(&gateway, &flights),
            freshness(&gateway, &flights),
            hellos.binders(hasher),
            of_nothing.binders(hasher),
            Hellos::new(&flights).early_secrets(hasher),
        ],
        rounds,
    );
    [
        ("stage_parse_ns", parse),
        ("stage_clock_ns", clock / BATCH as f64),
        ("stage_key_lookup_ns", lookup),
        ("stage_open_ns", open - lookup),
        ("stage_transcript_ns", transcript - binder),
        ("stage_binder_ns", binder),
        ("stage_freshness_ns", freshness),
        ("stage_strike_ns", strike),
        ("stage_early_secret_ns", early),
    ]
}

fn naive(rounds: usize, strike: f64) -> [(&'static str, f64); 9] {
    let mut gateway = NaiveGateway::new(Arc::new(DashMap::new()));
    let flights: Rc<[Flight]> = gateway.flights(ROUND).into();
    let naive = Rc::new(gateway.naive);
    let [
        parse,
        clock,
        lookup,
        open,
        freshness,
        transcript,
        binder,
        early,
    ] = laps(
        vec![
            parse(&flights),
            clock(ROUND),
            naive_stage(&naive, &flights, |naive, seen| {
                black_box(naive.knows(seen.ticket));
            }),
            naive_stage(&naive, &flights, |naive, seen| {
                drop(black_box(naive.open(seen.ticket)))
            }),
            naive_stage(&naive, &flights, |_, seen| {
                let expected = expected_arrival(
                    dtls_session::UnixMillis(seen.issued),
                    seen.age_add,
                    black_box(seen.obfuscated_age),
                );
                black_box(FreshnessWindow::default().check(expected, expected));
            }),
            naive_stage(&naive, &flights, |_, seen| {
                black_box(seen.transcript().finish());
            }),
            naive_stage(&naive, &flights, |naive, seen| {
                let early_secret = naive.early_secret(&seen.psk);
                // It is not the right digest, which costs the same.
                drop(black_box(naive.check_binder(
                    &early_secret,
                    &[7; 32],
                    &[7; 32],
                )));
            }),
            naive_early_secret(&naive, &flights),
        ],
        rounds,
    );
    [
        ("stage_parse_naive_ns", parse),
        ("stage_clock_naive_ns", clock),
        ("stage_key_lookup_naive_ns", lookup),
        ("stage_open_naive_ns", open - lookup),
        ("stage_transcript_naive_ns", transcript),
        ("stage_binder_naive_ns", binder),
        ("stage_freshness_naive_ns", freshness),
        ("stage_strike_naive_ns", strike),
        ("stage_early_secret_naive_ns", early),
    ]
}

fn parse(flights: &Rc<[Flight]>) -> Contestant {
    let flights = Rc::clone(flights);
    Contestant::new("parse", ROUND, move || {
        time(|| {
            for flight in &*flights {
                let body = client_hello(black_box(&flight.bytes));
                black_box(&body.map(ClientHello::parse));
            }
        })
    })
}

/// The clock, read as often as a round needs it, in nanoseconds per reading.
fn clock(readings: usize) -> Contestant {
    Contestant::new("clock", readings, move || {
        time(|| {
            for _ in 0..readings {
                black_box(now());
            }
        })
    })
}

fn lookup(gateway: &Gateway, flights: &[Flight]) -> Contestant {
    let reader = gateway.worker.engine().keys().reader();
    let tickets = tickets(flights);
    Contestant::new("key lookup", ROUND, move || {
        time(|| {
            for batch in tickets.chunks(BATCH) {
                let keys = reader.snapshot();
                for ticket in batch {
                    let ticket = EncryptedTicket::parse(black_box(ticket));
                    black_box(ticket.is_ok_and(|ticket| keys.contains(ticket.key_id())));
                }
            }
        })
    })
}

fn open(gateway: &Gateway, flights: &[Flight]) -> Contestant {
    let reader = gateway.worker.engine().keys().reader();
    let tickets = tickets(flights);
    let mut scratch: Vec<_> = (0..BATCH).map(|_| Scratch::new()).collect();
    Contestant::new("open", ROUND, move || {
        time(|| {
            for batch in tickets.chunks(BATCH) {
                let keys = reader.snapshot();
                for (ticket, scratch) in batch.iter().zip(&mut scratch) {
                    let ticket = EncryptedTicket::parse(black_box(ticket)).expect("well-formed");
                    black_box(&ticket.open(&keys, scratch).expect("genuine"));
                }
            }
        })
    })
}

fn freshness(gateway: &Gateway, flights: &[Flight]) -> Contestant {
    let reader = gateway.worker.engine().keys().reader();
    let keys = reader.snapshot();
    let mut scratch = Scratch::new();
    let ages: Vec<_> = tickets(flights)
        .iter()
        .zip(flights)
        .map(|(ticket, flight)| {
            let ticket = EncryptedTicket::parse(ticket).expect("well-formed");
            let opened = ticket.open(&keys, &mut scratch).expect("genuine");
            let Payload::Session(session) = opened.payload else {
                unreachable!("clients have sessions");
            };
            (session.issued, session.age_add, obfuscated_age(flight))
        })
        .collect();
    let (window, now) = (FreshnessWindow::default(), now());
    Contestant::new("freshness", ROUND, move || {
        time(|| {
            for (issued, age_add, obfuscated_age) in black_box(&ages) {
                let expected = expected_arrival(*issued, *age_add, *obfuscated_age);
                black_box(window.check(expected, now));
            }
        })
    })
}

/// ClientHellos to be hashed, cut before their binders.
struct Hellos {
    truncated: Vec<Vec<u8>>,
    binders: Vec<Vec<u8>>,
    early_secret: EarlySecret,
    midstates: Vec<u8>,
}

impl Hellos {
    fn new(flights: &[Flight]) -> Self {
        let cut = |flight: &Flight| {
            let (body, truncated_len) = body(flight);
            let (truncated, binders) = body.split_at(truncated_len);
            (truncated.to_vec(), binders.to_vec())
        };
        let (truncated, binders) = flights.iter().map(cut).unzip();
        let early_secret = EarlySecret::from_psk(HashAlgorithm::Sha256, b"psk");
        let mut midstates = vec![0; 64];
        early_secret
            .binder_key(LabelPrefix::Dtls13)
            .to_midstates(&mut midstates);
        Self {
            truncated,
            binders,
            early_secret,
            midstates,
        }
    }

    fn binders(self, hasher: WideHasher) -> Contestant {
        let mut macs = vec![None; ROUND];
        Contestant::new("binders", ROUND, move || {
            let mut transcripts = begun();
            time(|| {
                let batches = transcripts
                    .chunks_mut(BATCH)
                    .zip(self.truncated.chunks(BATCH))
                    .zip(macs.chunks_mut(BATCH));
                for ((transcripts, hellos), macs) in batches {
                    let jobs = transcripts.iter_mut().zip(hellos).zip(&mut *macs);
                    hasher.binders(jobs.map(|((transcript, data), out)| Job {
                        transcript,
                        data,
                        key: &self.midstates,
                        out,
                    }));
                    black_box(macs);
                }
            })
        })
    }

    fn early_secrets(self, hasher: WideHasher) -> Contestant {
        let mut secrets = vec![None; ROUND];
        let mut hashed = begun();
        let mut macs = vec![None; ROUND];
        let jobs = hashed.iter_mut().zip(&self.truncated).zip(&mut macs);
        hasher.binders(jobs.map(|((transcript, data), out)| Job {
            transcript,
            data,
            key: &self.midstates,
            out,
        }));
        Contestant::new("early secrets", ROUND, move || {
            let mut transcripts = hashed.clone();
            time(|| {
                let batches = transcripts
                    .chunks_mut(BATCH)
                    .zip(self.binders.chunks(BATCH))
                    .zip(secrets.chunks_mut(BATCH));
                for ((transcripts, binders), secrets) in batches {
                    let jobs = transcripts.iter_mut().zip(binders).zip(&mut *secrets);
                    hasher.early_traffic_secrets(jobs.map(|((transcript, data), out)| Job {
                        transcript,
                        data,
                        key: self.early_secret.as_bytes(),
                        out,
                    }));
                    black_box(secrets);
                }
            })
        })
    }
}

/// Transcripts that hold nothing but a header of ClientHello.
fn begun() -> Vec<Transcript> {
    let mut begun = Transcript::new(HashAlgorithm::Sha256);
    begun.add(HandshakeType::CLIENT_HELLO, &[]);
    vec![begun; ROUND]
}

/// What the naive pipeline knows of a flight when a stage begins.
struct Seen<'a> {
    ticket: &'a [u8],
    psk: [u8; 32],
    issued: u64,
    age_add: u32,
    obfuscated_age: u32,
    body: &'a [u8],
    truncated_len: usize,
}

impl<'a> Seen<'a> {
    fn new(naive: &Naive, flight: &'a Flight) -> Self {
        let (body, truncated_len) = body(flight);
        let ticket = ticket(flight);
        let opened = naive.open(ticket).expect("genuine");
        let state = State::decode(&opened).expect("well-formed");
        Self {
            ticket,
            psk: *state.psk,
            issued: state.issued,
            age_add: state.age_add,
            obfuscated_age: obfuscated_age(flight),
            body,
            truncated_len,
        }
    }

    fn transcript(&self) -> digest::Context {
        let mut transcript = digest::Context::new(&digest::SHA256);
        let header = tls_header(HandshakeType::CLIENT_HELLO, self.body.len() as u32);
        transcript.update(&header);
        transcript.update(&self.body[..self.truncated_len]);
        transcript
    }
}

fn naive_stage(
    naive: &Rc<Naive>,
    flights: &Rc<[Flight]>,
    stage: impl Fn(&Naive, &Seen<'_>) + 'static,
) -> Contestant {
    let (naive, flights) = (Rc::clone(naive), Rc::clone(flights));
    Contestant::new("stage", ROUND, move || {
        let seen: Vec<_> = flights
            .iter()
            .map(|flight| Seen::new(&naive, flight))
            .collect();
        time(|| seen.iter().for_each(|seen| stage(&naive, seen)))
    })
}

fn naive_early_secret(naive: &Rc<Naive>, flights: &Rc<[Flight]>) -> Contestant {
    let (naive, flights) = (Rc::clone(naive), Rc::clone(flights));
    Contestant::new("early secret", ROUND, move || {
        let prepared = flights.iter().map(|flight| {
            let seen = Seen::new(&naive, flight);
            (naive.early_secret(&seen.psk), seen.transcript(), seen)
        });
        let prepared: Vec<_> = prepared.collect();
        time(|| {
            for (early_secret, transcript, seen) in prepared {
                let mut transcript = transcript;
                transcript.update(&seen.body[seen.truncated_len..]);
                let full = transcript.finish();
                black_box(expand_label(&early_secret, b"c e traffic", full.as_ref()));
            }
        })
    })
}

fn tickets(flights: &[Flight]) -> Vec<Vec<u8>> {
    flights
        .iter()
        .map(|flight| ticket(flight).to_vec())
        .collect()
}

fn ticket(flight: &Flight) -> &[u8] {
    offered(flight)
        .pre_shared_keys
        .expect("offered")
        .identities()
        .next()
        .expect("one")
        .identity
}

fn obfuscated_age(flight: &Flight) -> u32 {
    let psks = offered(flight).pre_shared_keys.expect("offered");
    psks.identities().next().expect("one").obfuscated_ticket_age
}

fn offered(flight: &Flight) -> ClientHello<'_> {
    ClientHello::parse(body(flight).0).expect("well-formed")
}

/// The ClientHello, and how much of it is under the binder.
fn body(flight: &Flight) -> (&[u8], usize) {
    let body = client_hello(&flight.bytes).expect("a ClientHello");
    let hello = ClientHello::parse(body).expect("well-formed");
    (body, hello.pre_shared_keys.expect("offered").truncated_len)
}

//! Stages that are timed by themselves.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use dtls_session::replay::{FreshnessWindow, expected_arrival};
use dtls_session::schedule::wide::{self, EarlyTraffic, WideHasher};
use dtls_session::schedule::{HashAlgorithm, Transcript};
use dtls_session::wire::{ClientHello, HandshakeType, tls_header};
use ring::digest;

use crate::common::admission::{BATCH, Gateway, NaiveGateway, ROUND};
use crate::common::contest::{Contestant, time};
use crate::common::flights::{Flight, now};
use crate::common::hashing::TicketSecrets;
use crate::common::naive::{client_hello, expand_label};

/// Nanoseconds for a flight.
pub(super) struct Alone {
    /// Of one reading.
    pub(super) clock: f64,
    /// Of the hash up to the binders. (The library's lacks its last two blocks, which come in one
    /// pass with the binder.)
    pub(super) transcript: f64,
    pub(super) freshness: f64,
    /// The naive one's with the hash of the binders, from which it follows.
    pub(super) early_secret: f64,
}

/// Bytes of a ClientHello that fill two blocks of SHA-256, with its header and the padding: shorter
/// ones are nothing that anybody sends, and take another path.
const TWO_BLOCKS: usize = 2 * 64 - 4 - 9;

/// What [`Alone::both`] reads.
pub(super) fn both() -> Vec<Contestant> {
    let ours = hellos(&Gateway::new(0, ROUND).flights(ROUND));
    let naive = hellos(&NaiveGateway::new(Arc::default()).flights(ROUND));
    vec![
        clock(),
        freshness(),
        binders("binders", &ours, usize::MAX),
        binders("binders of two blocks", &ours, TWO_BLOCKS),
        early_secrets(&ours),
        naive_transcripts(&naive),
        naive_early_secrets(&naive),
    ]
}

impl Alone {
    /// From the laps of [`both`]: the library's, and the naive pipeline's.
    pub(super) fn both(laps: &mut impl Iterator<Item = f64>) -> (Self, Self) {
        let [
            clock,
            freshness,
            binders,
            binders_of_two_blocks,
            early_secret,
            naive_transcript,
            naive_early_secret,
        ] = std::array::from_fn(|_| laps.next().unwrap_or(f64::NAN));
        let ours = Self {
            clock,
            transcript: binders - binders_of_two_blocks,
            freshness,
            early_secret,
        };
        let naive = Self {
            clock,
            transcript: naive_transcript,
            freshness,
            early_secret: naive_early_secret,
        };
        (ours, naive)
    }
}

/// A ClientHello, and where its binders begin.
struct Hello {
    body: Vec<u8>,
    truncated_len: usize,
}

fn hellos(flights: &[Flight]) -> Rc<[Hello]> {
    let hello = |flight: &Flight| {
        let body = client_hello(&flight.bytes).expect("a ClientHello");
        let hello = ClientHello::parse(body).expect("well-formed");
        let psks = hello.pre_shared_keys().expect("offered");
        Hello {
            body: body.to_vec(),
            truncated_len: psks.truncated_len,
        }
    };
    flights.iter().map(hello).collect()
}

fn clock() -> Contestant {
    Contestant::new("clock", ROUND, || {
        time(|| {
            for _ in 0..ROUND {
                black_box(now());
            }
        })
    })
}

fn freshness() -> Contestant {
    let (window, now) = (FreshnessWindow::default(), now());
    let ages: Vec<u32> = (0..).map(|age| age * 1000).take(ROUND).collect();
    Contestant::new("freshness", ROUND, move || {
        time(|| {
            for age in black_box(&ages) {
                let expected = expected_arrival(now, *age, age.wrapping_add(5));
                black_box(window.check(expected, now));
            }
        })
    })
}

/// The binders of ClientHellos of which at most so many bytes are hashed.
fn binders(name: &'static str, hellos: &Rc<[Hello]>, most: usize) -> Contestant {
    let hellos = Rc::clone(hellos);
    let hasher = WideHasher::detect();
    let key = TicketSecrets::new().binder_midstates;
    Contestant::new(name, ROUND, move || {
        let mut transcripts = begun();
        time(|| sign(hasher, &key, &mut transcripts, &hellos, most))
    })
}

/// Takes ClientHellos into transcripts, at most so many bytes before the binders of each.
fn sign(
    hasher: WideHasher,
    key: &[u8],
    transcripts: &mut [Transcript],
    hellos: &[Hello],
    most: usize,
) {
    let mut macs = [const { None }; BATCH];
    let batches = transcripts.chunks_mut(BATCH).zip(hellos.chunks(BATCH));
    for (transcripts, hellos) in batches {
        let jobs = transcripts.iter_mut().zip(hellos).zip(&mut macs);
        hasher.client_hellos(jobs.map(|((transcript, hello), out)| {
            let truncated_len = hello.truncated_len.min(most);
            wide::Hello {
                transcript,
                body: &hello.body[hello.truncated_len - truncated_len..],
                truncated_len,
                binder_key: key,
                out,
            }
        }));
        black_box(&macs);
    }
}

fn early_secrets(hellos: &Rc<[Hello]>) -> Contestant {
    let hasher = WideHasher::detect();
    let TicketSecrets {
        early_secret,
        binder_midstates,
    } = TicketSecrets::new();
    let mut hashed = begun();
    sign(hasher, &binder_midstates, &mut hashed, hellos, usize::MAX);
    let digests: Vec<_> = hashed.iter().map(Transcript::digest).collect();
    Contestant::new("early secrets", ROUND, move || {
        let mut secrets = [const { None }; BATCH];
        time(|| {
            for digests in digests.chunks(BATCH) {
                let jobs = digests.iter().zip(&mut secrets);
                hasher.early_traffic_secrets(jobs.map(|(client_hello, out)| EarlyTraffic {
                    client_hello,
                    early_secret: &early_secret,
                    out,
                }));
                black_box(&secrets);
            }
        })
    })
}

/// Transcripts that hold nothing but a header of ClientHello.
fn begun() -> Vec<Transcript> {
    let mut begun = Transcript::new(HashAlgorithm::Sha256);
    begun.add(HandshakeType::CLIENT_HELLO, &[]);
    vec![begun; ROUND]
}

fn naive_transcripts(hellos: &Rc<[Hello]>) -> Contestant {
    let hellos = Rc::clone(hellos);
    Contestant::new("naive transcript", ROUND, move || {
        time(|| {
            for hello in &*hellos {
                black_box(naive_transcript(hello).clone().finish());
            }
        })
    })
}

fn naive_early_secrets(hellos: &Rc<[Hello]>) -> Contestant {
    let hellos = Rc::clone(hellos);
    let naive = NaiveGateway::new(Arc::default()).naive;
    Contestant::new("naive early secret", ROUND, move || {
        let hashed: Vec<_> = hellos.iter().map(naive_transcript).collect();
        let early_secret = naive.early_secret(b"psk");
        time(|| {
            for (mut transcript, hello) in hashed.into_iter().zip(&*hellos) {
                transcript.update(&hello.body[hello.truncated_len..]);
                let full = transcript.finish();
                black_box(expand_label(&early_secret, b"c e traffic", full.as_ref()));
            }
        })
    })
}

fn naive_transcript(hello: &Hello) -> digest::Context {
    let mut transcript = digest::Context::new(&digest::SHA256);
    let len = hello.body.len() as u32;
    transcript.update(&tls_header(HandshakeType::CLIENT_HELLO, len));
    transcript.update(&hello.body[..hello.truncated_len]);
    transcript
}

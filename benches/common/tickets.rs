//! Opening and sealing a ticket.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use dtls_session::keys::{KeyConfig, KeyReader};
use dtls_session::schedule::CipherSuite;
use dtls_session::ticket::{Scratch, TICKET_MAX};
use dtls_session::wire::{HANDSHAKE_HEADER_LEN, NewSessionTicket};
use dtls_session::{
    EncryptedTicket, Engine, NewSession, ResumptionSecret, TicketKeyManager, UnixMillis, Worker,
};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SystemRandom;
use rustls::server::ProducesTickets;

use super::contest::{Contestant, time};

pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Tickets in one batch, and batches in one round.
const BATCH: usize = 32;
const BATCHES: usize = 32;
pub const ROUND: usize = BATCH * BATCHES;

/// What an opaque ticket holds besides the host's bytes.
const OPAQUE_HEAD: usize = 16;

/// Bytes of a host with a session format of its own.
pub const PAYLOAD: [u8; 128] = [0x5a; 128];

/// The engine's tickets, as it issues them.
pub fn open_native() -> Vec<Contestant> {
    let mut worker = worker();
    let tickets: Vec<_> = (0..ROUND).map(|_| native_ticket(&mut worker)).collect();
    let reader = worker.engine().keys().reader();
    assert_eq!(tickets[0].len(), NATIVE_LEN + TICKET_OVERHEAD);
    vec![
        open_ring("ring, bare, of that length", NATIVE_LEN),
        open_ours("dtls-session, native ticket", reader, tickets),
        open_rustls(
            "rustls Ticketer, of that length",
            rustls_ticketer(),
            NATIVE_LEN,
        ),
    ]
}

/// Tickets with 128 bytes of a host's own.
pub fn open_opaque() -> Vec<Contestant> {
    let reader = key_manager().reader();
    let tickets = (0..ROUND).map(|_| opaque_ticket(&reader)).collect();
    let len = (OPAQUE_HEAD + PAYLOAD.len()).next_multiple_of(16);
    vec![
        open_ring("ring, bare, of that length", len),
        open_ours("dtls-session, 128 opaque bytes", reader, tickets),
        open_rustls(
            "rustls Ticketer, 128 bytes",
            rustls_ticketer(),
            PAYLOAD.len(),
        ),
    ]
}

/// Sealing bytes of a host's own.
pub fn seal_opaque() -> Vec<Contestant> {
    let reader = key_manager().reader();
    let rustls = rustls_ticketer();
    let ours = move || {
        let mut out = [0; TICKET_MAX];
        time(|| {
            for _ in 0..BATCHES {
                let keys = reader.snapshot();
                for _ in 0..BATCH {
                    let sealed = keys.seal_opaque(0, black_box(&PAYLOAD), 3600, NOW, &mut out);
                    black_box(sealed.expect("there are serials").0);
                    black_box(&out);
                }
            }
        })
    };
    vec![
        Contestant::new("dtls-session, 128 opaque bytes", ROUND, ours),
        seal_rustls("rustls Ticketer, 128 bytes", rustls, PAYLOAD.len()),
        seal_ring("ring, bare, counted nonce", OPAQUE_HEAD + PAYLOAD.len()),
    ]
}

/// Issuing a session's ticket as a whole: its secrets, its ticket, the message. The peer seals as
/// many bytes as that ticket holds, and does nothing else.
pub fn issue() -> Vec<Contestant> {
    let mut worker = worker();
    let ours = move || {
        let mut out = [0; 1024];
        time(|| {
            for _ in 0..ROUND {
                let issued = worker.issue(black_box(&session()), CLIENT, NOW, &mut out);
                black_box(issued.expect("there are serials"));
                black_box(&out);
            }
        })
    };
    vec![
        Contestant::new("dtls-session, Worker::issue", ROUND, ours),
        seal_rustls(
            "rustls Ticketer, sealing as many bytes alone",
            rustls_ticketer(),
            NATIVE_LEN,
        ),
    ]
}

/// Bytes of plaintext in a native ticket without host data, of a SHA-256 suite.
pub const NATIVE_LEN: usize = 176;

/// Key id, issuer, nonce, tag.
pub const TICKET_OVERHEAD: usize = 8 + 8 + 12 + 16;

fn worker() -> Worker {
    let engine = Engine::builder().build(&SystemRandom::new(), NOW);
    engine.and_then(|engine| engine.worker(0)).expect("built")
}

fn key_manager() -> TicketKeyManager {
    TicketKeyManager::new(KeyConfig::default(), &SystemRandom::new(), NOW).expect("built")
}

/// A session as a gateway has it after a handshake.
fn session() -> NewSession<'static> {
    NewSession {
        suite: CipherSuite::Aes128GcmSha256,
        secret: ResumptionSecret::Master {
            secret: &[7; 32],
            ticket_nonce: &[0],
        },
        server_name: Some(b"gateway.example"),
        alpn: Some(b"coap"),
        authenticated: NOW,
        host_data: b"",
        message_seq: 5,
    }
}

fn native_ticket(worker: &mut Worker) -> Vec<u8> {
    let mut message = [0; 1024];
    let len = worker.issue(&session(), CLIENT, NOW, &mut message);
    let body = &message[HANDSHAKE_HEADER_LEN..len.expect("there are serials")];
    let parsed = NewSessionTicket::parse(body).expect("it is well-formed");
    parsed.ticket.to_vec()
}

fn opaque_ticket(reader: &KeyReader) -> Vec<u8> {
    let mut out = [0; TICKET_MAX];
    let sealed = reader
        .snapshot()
        .seal_opaque(0, &PAYLOAD, 3600, NOW, &mut out);
    out[..sealed.expect("there are serials").0].to_vec()
}

fn open_ours(name: &'static str, reader: KeyReader, tickets: Vec<Vec<u8>>) -> Contestant {
    let mut scratch: Vec<_> = (0..BATCH).map(|_| Scratch::new()).collect();
    Contestant::new(name, ROUND, move || {
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

/// Tickets that do not open, by themselves: forged ones, and those of an unknown key.
pub fn open_refused() -> Vec<Contestant> {
    let refused = |name, spoil: fn(&mut Vec<u8>)| {
        let mut worker = worker();
        let mut tickets: Vec<_> = (0..ROUND).map(|_| native_ticket(&mut worker)).collect();
        tickets.iter_mut().for_each(spoil);
        let reader = worker.engine().keys().reader();
        let mut scratch: Vec<_> = (0..BATCH).map(|_| Scratch::new()).collect();
        Contestant::new(name, ROUND, move || {
            time(|| {
                for batch in tickets.chunks(BATCH) {
                    let keys = reader.snapshot();
                    for (ticket, scratch) in batch.iter().zip(&mut scratch) {
                        let ticket = EncryptedTicket::parse(black_box(ticket));
                        let opened = ticket.expect("well-formed").open(&keys, scratch);
                        assert!(black_box(&opened).is_err());
                    }
                }
            })
        })
    };
    vec![
        refused("unknown key, the ticket alone", |ticket| ticket[0] ^= 1),
        refused("forged, the ticket alone", |ticket| {
            let last = ticket.len() - 1;
            ticket[last] ^= 1;
        }),
    ]
}

/// The least that opening can be: each ciphertext lies where it may be decrypted, and the key and
/// the nonce are known.
pub fn open_ring(name: &'static str, len: usize) -> Contestant {
    let key = ring_key();
    let mut sealed = vec![0x5a; len];
    key.seal_in_place_append_tag(nonce(0), Aad::empty(), &mut sealed)
        .expect("sealed");
    let mut places = vec![sealed.clone(); ROUND];
    Contestant::new(name, ROUND, move || {
        for place in &mut places {
            place.copy_from_slice(&sealed);
        }
        time(|| {
            for place in &mut places {
                let opened = key.open_in_place(nonce(0), Aad::empty(), black_box(place));
                black_box(opened.expect("genuine"));
            }
        })
    })
}

/// Tickets that hold `len` bytes.
pub fn open_rustls(
    name: &'static str,
    ticketer: Arc<dyn ProducesTickets>,
    len: usize,
) -> Contestant {
    let seal = |_| ticketer.encrypt(&vec![0x5a; len]).expect("sealed");
    let tickets: Vec<_> = (0..ROUND).map(seal).collect();
    Contestant::new(name, ROUND, move || {
        time(|| {
            for ticket in &tickets {
                black_box(ticketer.decrypt(black_box(ticket)).expect("genuine"));
            }
        })
    })
}

/// Tickets that hold `len` bytes.
pub fn seal_rustls(
    name: &'static str,
    ticketer: Arc<dyn ProducesTickets>,
    len: usize,
) -> Contestant {
    let payload = vec![0x5a; len];
    Contestant::new(name, ROUND, move || {
        time(|| {
            for _ in 0..ROUND {
                black_box(ticketer.encrypt(black_box(&payload)).expect("sealed"));
            }
        })
    })
}

fn seal_ring(name: &'static str, len: usize) -> Contestant {
    let key = ring_key();
    let mut plaintext = vec![0x5a; len];
    let mut counter = 0;
    Contestant::new(name, ROUND, move || {
        time(|| {
            for _ in 0..ROUND {
                counter += 1;
                let place = black_box(&mut plaintext);
                let tag = key.seal_in_place_separate_tag(nonce(counter), Aad::empty(), place);
                black_box(tag.expect("sealed").as_ref());
            }
        })
    })
}

fn ring_key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("32 bytes"))
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn rustls_ticketer() -> Arc<dyn ProducesTickets> {
    rustls::crypto::ring::Ticketer::new().expect("the system has random numbers")
}

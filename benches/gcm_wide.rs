//! Opening and masking tickets with the wide AES of the CPU, against `ring`.

#![allow(clippy::expect_used)]

#[allow(dead_code)]
mod common;
mod suite;

use std::hint::black_box;

use common::contest::{Contestant, time};
use dtls_session::keys::wide::{Job, MaskKey, OpenKey, SEALED_MAX, open_batch};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey, quic};
use suite::Suite;

/// Tickets in one batch, which stay in the first cache as those of a datagram just read do, and
/// batches in one round.
const BATCH: usize = 32;
const BATCHES: usize = 32;

const KEY: [u8; 32] = [7; 32];

fn main() {
    let mut suite = Suite::from_args();
    if OpenKey::new(&KEY).is_none() {
        println!("skipped: this CPU has no VAES");
        return;
    }
    for len in [96, 160, 192, 224, 352] {
        let name = format!("open {len} bytes, batches of {BATCH}");
        suite.group(&name, open(len));
    }
    suite.group(&format!("masks, batches of {BATCH}"), masks());
    suite.finish();
}

fn open(len: usize) -> Vec<Contestant> {
    let ring = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).expect("32 bytes"));
    let tickets: Vec<_> = (0..BATCH)
        .map(|serial| {
            let mut ticket = vec![0x5a; len];
            let sealed = ring.seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce(serial)),
                Aad::empty(),
                &mut ticket,
            );
            sealed.expect("sealed");
            ticket
        })
        .collect();
    let wide =
        {
            let tickets = tickets.clone();
            let key = OpenKey::new(&KEY).expect("it was there before");
            let mut out = vec![[0; SEALED_MAX]; BATCH];
            let mut opened = vec![false; BATCH];
            move || {
                time(|| {
                    for _ in 0..BATCHES {
                        let places = black_box(&tickets).iter().zip(&mut out).zip(&mut opened);
                        open_batch(places.enumerate().map(|(serial, ((sealed, out), opened))| {
                            Job {
                                key: &key,
                                nonce: nonce(serial),
                                aad: &[],
                                sealed,
                                out,
                                opened,
                            }
                        }));
                        assert!(opened.iter().all(|opened| *opened));
                        black_box(&mut out);
                    }
                })
            }
        };
    // Each ticket is copied to where it is opened, as the engine does it.
    let ring = move || {
        let mut scratch = vec![[0; SEALED_MAX]; BATCH];
        time(|| {
            for _ in 0..BATCHES {
                let places = black_box(&tickets).iter().zip(&mut scratch);
                for (serial, (ticket, scratch)) in places.enumerate() {
                    let place = &mut scratch[..ticket.len()];
                    place.copy_from_slice(ticket);
                    let nonce = Nonce::assume_unique_for_key(nonce(serial));
                    let opened = ring.open_in_place(nonce, Aad::empty(), place);
                    black_box(opened.expect("genuine"));
                }
            }
        })
    };
    let ops = BATCH * BATCHES;
    vec![
        Contestant::new("ring", ops, ring),
        Contestant::new("wide", ops, wide),
    ]
}

fn masks() -> Vec<Contestant> {
    let samples: Vec<_> = (0..BATCH).map(|i| [i as u8; 16]).collect();
    let wide = {
        let key = MaskKey::new(&KEY).expect("it was there before");
        let mut masks = samples.clone();
        move || {
            time(|| {
                for _ in 0..BATCHES {
                    key.masks(black_box(&mut masks));
                }
            })
        }
    };
    let ring = quic::HeaderProtectionKey::new(&quic::AES_256, &KEY).expect("32 bytes");
    let ring = move || {
        time(|| {
            for _ in 0..BATCHES {
                for sample in black_box(&samples) {
                    black_box(ring.new_mask(sample).expect("16 bytes"));
                }
            }
        })
    };
    let ops = BATCH * BATCHES;
    vec![
        Contestant::new("ring", ops, ring),
        Contestant::new("wide", ops, wide),
    ]
}

/// As the tickets have it: a lane and a serial.
fn nonce(serial: usize) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&(serial as u32).to_be_bytes());
    nonce
}

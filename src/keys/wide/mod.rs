//! AES-256-GCM for a whole batch of tickets, four at once with the wide AES and carry-less
//! multiplication of x86-64 (VAES, VPCLMULQDQ, AVX-512).
//!
//! Experimental, and only an addition: `ring` seals all tickets, and opens them where the CPU has
//! not these instructions. A ticket is authenticated first and decrypted after that, so that of a
//! forged one there is no plaintext. What is done depends on lengths and on which tickets are
//! genuine, never on a secret.

#[cfg_attr(not(target_arch = "x86_64"), path = "none.rs")]
mod x86;

use std::fmt;
use std::ptr;

/// The longest ciphertext with its tag that is opened, in bytes.
pub const SEALED_MAX: usize = 512;

/// Tickets that are opened at once.
const GROUP: usize = 4;

/// Bytes of a tag.
const TAG: usize = 16;

/// A key of AES-256-GCM that only opens.
///
/// A move leaves a copy of it behind. It is wiped when it is dropped.
pub struct OpenKey(x86::GcmKey);

/// A key of AES-256 that masks serials, as DTLS masks record numbers (RFC 9147, 4.2.3).
///
/// A move leaves a copy of it behind. It is wiped when it is dropped.
pub struct MaskKey(x86::RoundKeys);

/// One ticket of a batch.
pub struct Job<'a> {
    /// The key under which it was sealed.
    pub key: &'a OpenKey,
    /// The nonce with which it was sealed.
    pub nonce: [u8; 12],
    /// What is authenticated with it.
    pub aad: &'a [u8],
    /// Ciphertext and tag, at most [`SEALED_MAX`] bytes: a longer one is not opened.
    pub sealed: &'a [u8],
    /// Where the plaintext goes, with zeros behind it up to a multiple of 64 bytes; not touched
    /// if the ticket is not opened.
    pub out: &'a mut [u8; SEALED_MAX],
    /// Whether the ticket is authentic, and so was opened.
    pub opened: &'a mut bool,
}

impl OpenKey {
    /// The key of these bytes; `None` where the CPU has not the instructions.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Option<Self> {
        x86::GcmKey::new(key).map(Self)
    }
}

impl MaskKey {
    /// The key of these bytes; `None` where the CPU has not the instructions.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Option<Self> {
        x86::RoundKeys::new(key).map(Self)
    }

    /// Makes a mask of each sample.
    #[inline]
    pub fn masks(&self, samples: &mut [[u8; 16]]) {
        self.0.encrypt_each(samples);
    }
}

/// Opens the tickets of a batch: up to four neighbours under one key at once.
#[inline]
pub fn open_batch<'a>(jobs: impl Iterator<Item = Job<'a>>) {
    let mut group = [const { None }; GROUP];
    let mut len = 0;
    let mut key: Option<&OpenKey> = None;
    for job in jobs {
        if let Some(key) = key
            && (len == GROUP || !ptr::eq(key, job.key))
        {
            key.0.open(&mut group[..len]);
            len = 0;
        }
        key = Some(job.key);
        group[len] = Some(job);
        len += 1;
    }
    if let Some(key) = key {
        key.0.open(&mut group[..len]);
    }
}

impl fmt::Debug for OpenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenKey(..)")
    }
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey(..)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey, quic};

    /// A ticket as `ring` seals it, or one that nobody sealed.
    #[derive(Clone, Debug)]
    struct Sealed {
        key: usize,
        nonce: [u8; 12],
        aad: Vec<u8>,
        plaintext: Vec<u8>,
        sealed: Vec<u8>,
    }

    const KEYS: [[u8; 32]; 2] = [[0x51; 32], [0x52; 32]];

    impl Sealed {
        fn new(key: usize, seed: u8, aad: usize, len: usize) -> Self {
            let bytes = |salt: usize, len: usize| -> Vec<u8> {
                let byte =
                    |i: usize| (i * 167 + (i >> 8) * 7 + usize::from(seed) * 31 + salt) as u8;
                (0..len).map(byte).collect()
            };
            let nonce = bytes(1, 12).try_into().unwrap();
            let (aad, plaintext) = (bytes(2, aad), bytes(3, len));
            let mut sealed = plaintext.clone();
            let ring = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEYS[key]).unwrap());
            let nonce_of_ring = Nonce::assume_unique_for_key(nonce);
            ring.seal_in_place_append_tag(nonce_of_ring, Aad::from(&aad), &mut sealed)
                .unwrap();
            Self {
                key,
                nonce,
                aad,
                plaintext,
                sealed,
            }
        }
    }

    /// Whether each was opened, and what was written: where nothing was, as many bytes of `0xee`
    /// as there is room for.
    fn opened(tickets: &[Sealed]) -> Option<Vec<(bool, Vec<u8>)>> {
        let keys = [OpenKey::new(&KEYS[0])?, OpenKey::new(&KEYS[1])?];
        let mut out = vec![[0xee; SEALED_MAX]; tickets.len()];
        // What it is before must not matter.
        let mut opened: Vec<_> = (0..tickets.len()).map(|i| i % 3 == 0).collect();
        let places = tickets.iter().zip(&mut out).zip(&mut opened);
        open_batch(places.map(|((ticket, out), opened)| Job {
            key: &keys[ticket.key],
            nonce: ticket.nonce,
            aad: &ticket.aad,
            sealed: &ticket.sealed,
            out,
            opened,
        }));
        let out = opened.into_iter().zip(out);
        Some(out.map(|(opened, out)| (opened, out.to_vec())).collect())
    }

    fn is_untouched(out: &[u8]) -> bool {
        out.iter().all(|byte| *byte == 0xee)
    }

    /// Says so where the CPU has not the instructions: nothing was checked there.
    fn opens_as_ring_sealed(tickets: &[Sealed]) {
        let Some(outcomes) = opened(tickets) else {
            println!("skipped: this CPU has no VAES");
            return;
        };
        for ((opened, out), ticket) in outcomes.iter().zip(tickets) {
            assert!(opened, "{ticket:?}");
            let (plaintext, behind) = out.split_at(ticket.plaintext.len());
            assert_eq!(plaintext, ticket.plaintext);
            let (zeros, rest) =
                behind.split_at(plaintext.len().next_multiple_of(64) - plaintext.len());
            assert!(
                zeros.iter().all(|byte| *byte == 0),
                "{} bytes",
                plaintext.len()
            );
            assert!(is_untouched(rest), "{} bytes", plaintext.len());
        }
    }

    #[test]
    fn every_length_opens_as_ring_sealed_it() {
        let tickets: Vec<_> = (0..=SEALED_MAX - TAG)
            .map(|len| Sealed::new(0, len as u8, [0, 1, 16, 40][len % 4], len))
            .collect();
        opens_as_ring_sealed(&tickets);
    }

    #[test]
    fn every_size_of_a_batch_under_keys_that_alternate() {
        for len in 0..=13 {
            for turn in [1, 2, 3, 5, 100] {
                let ticket = |i: usize| Sealed::new(i / turn % 2, i as u8, 0, 96 + 16 * (i % 9));
                opens_as_ring_sealed(&(0..len).map(ticket).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn of_a_ticket_with_any_bit_changed_there_is_no_plaintext() {
        for (aad, len) in [
            (0, 0),
            (0, 5),
            (20, 48),
            (0, 160),
            (3, 192),
            (0, 250),
            (0, 400),
        ] {
            let genuine = Sealed::new(0, 9, aad, len);
            let changed = (0..8 * genuine.sealed.len()).map(|bit| {
                let mut forged = genuine.clone();
                forged.sealed[bit / 8] ^= 1 << (bit % 8);
                forged
            });
            let nonces = (0..96).map(|bit| {
                let mut forged = genuine.clone();
                forged.nonce[bit / 8] ^= 1 << (bit % 8);
                forged
            });
            let aads = (0..8 * aad).map(|bit| {
                let mut forged = genuine.clone();
                forged.aad[bit / 8] ^= 1 << (bit % 8);
                forged
            });
            let mut forged: Vec<_> = changed.chain(nonces).chain(aads).collect();
            forged.push(Sealed {
                key: 1,
                ..genuine.clone()
            });
            // Genuine neighbours open none the less.
            let (mut tickets, mut genuine_at) = (Vec::new(), Vec::new());
            for (i, forged) in forged.into_iter().enumerate() {
                if i % 3 == 0 {
                    genuine_at.push(tickets.len());
                    tickets.push(genuine.clone());
                }
                tickets.push(forged);
            }
            let Some(outcomes) = opened(&tickets) else {
                return;
            };
            for (i, (opened, out)) in outcomes.iter().enumerate() {
                let is_genuine = genuine_at.binary_search(&i).is_ok();
                assert_eq!(*opened, is_genuine);
                let is_written = is_genuine && len > 0;
                assert_eq!(is_untouched(out), !is_written, "{len} bytes");
            }
        }
    }

    #[test]
    fn what_is_too_short_or_too_long_is_not_opened() {
        let lens = [
            SEALED_MAX - TAG,
            SEALED_MAX - TAG + 1,
            SEALED_MAX,
            2 * SEALED_MAX,
        ];
        let mut tickets: Vec<_> = lens.map(|len| Sealed::new(0, 1, 0, len)).to_vec();
        for len in [0, 1, 15] {
            let mut short = Sealed::new(0, 1, 0, 0);
            short.sealed.truncate(len);
            tickets.push(short);
        }
        let Some(outcomes) = opened(&tickets) else {
            return;
        };
        for (i, (opened, out)) in outcomes.iter().enumerate() {
            assert_eq!(*opened, i == 0);
            assert_eq!(is_untouched(out), i > 0);
        }
    }

    #[test]
    fn masks_are_those_of_ring() {
        let ring = quic::HeaderProtectionKey::new(&quic::AES_256, &KEYS[0]).unwrap();
        let Some(key) = MaskKey::new(&KEYS[0]) else {
            return;
        };
        for len in 0..40 {
            let samples: Vec<_> = (0..len).map(|i: u8| [i.wrapping_mul(77); 16]).collect();
            let mut masks = samples.clone();
            key.masks(&mut masks);
            for (mask, sample) in masks.iter().zip(&samples) {
                assert_eq!(mask[..5], ring.new_mask(sample).unwrap());
            }
        }
    }

    proptest! {
        #[test]
        fn any_batch_opens_as_ring_sealed_it(
            tickets in prop::collection::vec((0usize..2, any::<u8>(), 0usize..50, 0usize..497), 0..20),
        ) {
            let ticket = |&(key, seed, aad, len): &(usize, u8, usize, usize)| {
                Sealed::new(key, seed, aad / 3, len)
            };
            opens_as_ring_sealed(&tickets.iter().map(ticket).collect::<Vec<_>>());
        }
    }
}

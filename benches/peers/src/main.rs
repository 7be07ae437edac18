//! Tickets of the library, of rustls with both of its providers, of OpenSSL and of BoringSSL, in
//! one run.
//!
//! `run.sh` installs what it needs. `--test` does everything once, to see that it works.

#[allow(dead_code)]
#[path = "../../common/mod.rs"]
mod common;
#[path = "../../suite/mod.rs"]
mod suite;

mod boringssl;
mod openssl;

use std::hint::black_box;

use common::contest::{Contestant, time};
use common::tickets::{self, NATIVE_LEN, PAYLOAD, ROUND, open_rustls, seal_rustls};
use rustls::crypto::aws_lc_rs;
use suite::Suite;

fn main() {
    let mut suite = Suite::from_args();

    let mut open = tickets::open_native();
    let aws_lc = aws_lc_rs::Ticketer::new().expect("random numbers");
    open.push(open_rustls(
        "rustls Ticketer, aws-lc-rs",
        aws_lc,
        NATIVE_LEN,
    ));
    open.push(opens("OpenSSL", openssl::TicketKey::new(), NATIVE_LEN));
    open.push(opens("BoringSSL", boringssl::TicketKey::new(), NATIVE_LEN));
    suite.group("open, of the length of a native ticket", open);

    let mut seal = tickets::seal_opaque();
    let aws_lc = aws_lc_rs::Ticketer::new().expect("random numbers");
    seal.push(seal_rustls(
        "rustls Ticketer, aws-lc-rs",
        aws_lc,
        PAYLOAD.len(),
    ));
    seal.push(seals("OpenSSL", openssl::TicketKey::new(), PAYLOAD.len()));
    seal.push(seals(
        "BoringSSL",
        boringssl::TicketKey::new(),
        PAYLOAD.len(),
    ));
    suite.group("seal, 128 bytes", seal);

    suite.finish();
}

/// A key for tickets as a stack of C keeps it: the ticket begins with the key's name and the IV,
/// and ends with the MAC over all before it.
trait Tickets: 'static {
    fn seal(&self, session: &[u8]) -> Vec<u8>;

    /// `None` if it is not genuine.
    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>>;
}

const NAME: usize = 16;
const IV: usize = 16;
const MAC: usize = 32;

fn opens(name: &'static str, key: impl Tickets, len: usize) -> Contestant {
    let session = vec![0x5a; len];
    let tickets: Vec<_> = (0..ROUND).map(|_| key.seal(&session)).collect();
    assert_eq!(key.open(&tickets[0]), Some(session));
    let mut forged = tickets[0].clone();
    forged[NAME + IV] ^= 1;
    assert_eq!(key.open(&forged), None);
    Contestant::new(name, ROUND, move || {
        time(|| {
            for ticket in &tickets {
                black_box(key.open(black_box(ticket)).expect("genuine"));
            }
        })
    })
}

fn seals(name: &'static str, key: impl Tickets, len: usize) -> Contestant {
    let session = vec![0x5a; len];
    Contestant::new(name, ROUND, move || {
        time(|| {
            for _ in 0..ROUND {
                black_box(key.seal(black_box(&session)));
            }
        })
    })
}

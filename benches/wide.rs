//! Hashing the ClientHellos of a batch at once, against one after the other.

#[allow(dead_code)]
mod common;
mod suite;

use common::hashing::client_hellos;
use suite::Suite;

fn main() {
    let mut suite = Suite::from_args();
    for batch in [1, 2, 4, 8, 16, 32, 64] {
        let name = format!("hash, 400 bytes each, batches of {batch}");
        suite.group(&name, client_hellos(batch, &[400]));
    }
    let mixed = [330, 517, 402, 1416, 389, 464, 375];
    suite.group(
        "hash, 330 to 1416 bytes, batches of 64",
        client_hellos(64, &mixed),
    );
    suite.finish();
}

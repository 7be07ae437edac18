//! Sealing a ticket, against rustls' Ticketer.

#[allow(dead_code)]
mod common;
mod suite;

use common::tickets;
use suite::Suite;

fn main() {
    let mut suite = Suite::from_args();
    suite.group("seal, opaque", tickets::seal_opaque());
    suite.group("issue", tickets::issue());
    suite.finish();
}

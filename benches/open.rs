//! Opening a ticket, against bare `ring` and rustls' Ticketer.

#[allow(dead_code)]
mod common;
mod suite;

use common::tickets;
use suite::Suite;

fn main() {
    let mut suite = Suite::from_args();
    suite.group("open, native", tickets::open_native());
    suite.group("open, opaque", tickets::open_opaque());
    suite.finish();
}

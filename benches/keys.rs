//! Finding a ticket's key, against what keys are most often kept in.

#[allow(dead_code)]
mod common;
mod suite;

use common::lookup::lookup;
use suite::Suite;

fn main() {
    let mut suite = Suite::from_args();
    suite.group("key lookup", lookup(false));
    suite.group(
        "key lookup while another core finds and replaces keys",
        lookup(true),
    );
    suite.finish();
}

//! The admission of first flights, against the naive pipeline.

#[allow(dead_code)]
mod common;
mod suite;

use std::sync::Arc;

use common::admission::{Gateway, accept, accept_unlike, reject};
use common::replay::filled;
use suite::Suite;

fn main() {
    let mut suite = Suite::from_args();
    let outstanding = suite.size(1 << 20);
    let gateway = || Gateway::new(outstanding, suite.size(1 << 17));
    let (ours, unlike) = (gateway(), gateway());
    let mut contestants = accept(ours, Arc::new(filled(outstanding)));
    contestants.push(accept_unlike(unlike));
    suite.group("admission", contestants);
    suite.group("rejection", reject());
    suite.finish();
}

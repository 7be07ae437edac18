//! The admission of first flights, against the naive pipeline.

#[allow(dead_code)]
mod common;
mod suite;

use std::sync::Arc;

use common::admission::{Gateway, accept, reject};
use common::replay::filled;
use suite::Suite;

fn main() {
    let mut suite = Suite::from_args();
    let outstanding = suite.size(1 << 20);
    let gateway = Gateway::new(outstanding, suite.size(1 << 17));
    let used = Arc::new(filled(outstanding));
    suite.group("admission", accept(gateway, used));
    suite.group("rejection", reject());
    suite.finish();
}

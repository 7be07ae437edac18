//! The admission of first flights, against the naive pipeline.

#[allow(dead_code)]
mod common;

use common::admission;
use common::suite::Suite;

fn main() {
    let mut suite = Suite::from_args();
    let outstanding = suite.size(1 << 20);
    suite.group(
        "admission",
        admission::accept(outstanding, suite.size(1 << 17)),
    );
    suite.group("rejection", admission::reject());
    suite.finish();
}

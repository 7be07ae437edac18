//! Striking used tickets while 1 M and 64 M are out, against maps, a cache and a Bloom filter of
//! used tickets.

mod caches;
#[allow(dead_code)]
mod common;
mod suite;

use common::replay;
use suite::Suite;

fn main() {
    let mut suite = Suite::from_args();
    let (few, many) = (suite.size(1 << 20), suite.size(64 << 20));
    replay::strike(few, |mut strikes| {
        strikes.push(caches::quick_cache(few));
        strikes.push(caches::sliding_bloom(few));
        suite.group("strike, 1 M tickets out", strikes);
    });
    replay::strike(many, |strikes| {
        suite.group("strike, 64 M tickets out", strikes);
    });
    suite.finish();
}

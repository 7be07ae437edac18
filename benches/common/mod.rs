//! What the benches and the `tuning` crate measure: the library and its peers, on the same input.
//!
//! Peers are built as their authors recommend and as well as a competent engineer would.
#![allow(unreachable_pub, clippy::expect_used)]

pub mod admission;
pub mod contest;
pub mod flights;
pub mod hashing;
pub mod lookup;
pub mod naive;
pub mod replay;
pub mod spoil;
pub mod tickets;

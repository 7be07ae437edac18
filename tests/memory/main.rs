//! Memory: no allocation for a flight, and every structure within the limit that was set, while
//! admission goes on.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod allocator;
#[path = "../common/mod.rs"]
mod common;
mod limits;
mod steady_state;

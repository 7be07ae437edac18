//! At most once, under load: every core admits the same flights at once, while keys rotate a
//! thousand times a second, bitmaps grow, serials run out, clocks step and registers are handed
//! over. Afterwards each flight was accepted exactly once, unless a verdict said what speaks
//! against it; and then at most once.
//!
//! `DTLS_SESSION_STRESS_SECONDS` says for how long, all scenarios together (default 5), and
//! `DTLS_SESSION_STRESS_SEED` with which random choices. Which thread comes first is nobody's
//! choice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod meeting;
mod race;
mod scenarios;

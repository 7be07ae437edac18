//! Model checks of `dtls-session`, on the code that ships. `loom` takes each model through every
//! order of its threads' steps that matters, and through every value that a load may see.
//!
//! A model that names a bound lets no thread be interrupted more often than that where it could go
//! on; the others have none. One has a bound, and with `DTLS_SESSION_LOOM_UNBOUNDED=1` none has:
//! 1.6 million executions in six minutes. What is large in a release is small here: chunks of bits,
//! buckets, lanes (see `dtls_session_loom` in the library).
//!
//! What they do not see: without the `Release` of the swap in `EpochCell::replace`, or of the flag that
//! says that readers have left, all of them pass, since the fences of every pin make up for it.
//!
//! `run.sh` runs the models. `mutants.sh` runs each against the bugs that it is there to find.
#![cfg(all(test, dtls_session_loom))]
#![allow(clippy::unwrap_used)]

mod admission;
mod budget;
mod check;
mod counters;
mod epoch_cell;
mod exhaustion;
mod growth;
mod handover;
mod once_box;
mod recording;
mod retirement;
mod rotation;
mod serials;
mod strike;
mod wiping;

/// The gateway and its clients of the library's own tests.
#[path = "../../tests/common/mod.rs"]
mod common;

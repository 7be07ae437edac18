//! Real DTLS 1.3 clients against the reference gateway, and the network between them.
//!
//! [`client`] is what a stack has to do to be driven, with wolfSSL and BoringSSL behind it;
//! [`gateway`] starts `gateway serve` and reads its metrics; [`proxy`] stands between the two: it
//! records, and it can drop, double, reorder and delay what it passes on. [`scene`] is all three,
//! for a test to begin with. [`wolfssl_server`] is there for comparison.

use std::thread;
use std::time::{Duration, Instant};

pub mod client;
pub mod folder;
pub mod gateway;
pub mod killed;
pub mod proxy;
pub mod scene;
pub mod wolfssl_server;

mod draw;

/// Why something did not work, for whoever reads the test's output.
pub type Result<T> = std::result::Result<T, String>;

/// How long what has to happen may take: the machine may have a lot to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until there is what `look` looks for; if it does not come, that is the error `otherwise`.
fn patiently<T>(otherwise: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(found) = look()? {
            return Ok(found);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Err(otherwise.into())
}

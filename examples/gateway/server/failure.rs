//! Why a handshake or a connection ends before its time.

use dtls_session::Error;
use dtls_session::wire::{AlertDescription, Malformed};

/// A fatal alert that this server sends, and then nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure(pub AlertDescription);

impl From<Malformed> for Failure {
    fn from(why: Malformed) -> Self {
        Self(why.alert())
    }
}

/// The library refuses what this server gives it: a bug or a setting, nothing of the peer's.
impl From<Error> for Failure {
    fn from(_: Error) -> Self {
        Self(AlertDescription::INTERNAL_ERROR)
    }
}

//! A batch that was judged, as the host sees it.

use std::fmt;
use std::mem;
use std::time::Duration;

use crate::admission::{Arrival, Flow, Verdict, write_hello_retry_request};
use crate::error::Error;
use crate::keys::KeyReader;
use crate::schedule::{CipherSuite, Transcript};
use crate::time::UnixMillis;
use crate::wire::HandshakeType;

/// A batch with its verdicts, in the order of the datagrams.
pub struct Admitted<'w> {
    pub(super) flows: Vec<Flow<'w>>,
    /// Where the allocation of `flows` goes afterwards.
    pub(super) spare: &'w mut Vec<Flow<'static>>,
    pub(super) reader: &'w KeyReader,
    pub(super) lane: u8,
    pub(super) now: UnixMillis,
    pub(super) cookie_lifetime: Duration,
}

impl<'w> Admitted<'w> {
    /// Each datagram and its verdict.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arrival<'w>, Verdict<'_>)> {
        self.flows
            .iter()
            .map(|flow| (&flow.arrival, flow.verdict()))
    }

    /// Writes to `out` the body of a HelloRetryRequest that answers the ClientHello of `arrival`:
    /// it selects `suite`, asks for a key share of `group` if there is one, and for a cookie by
    /// which [`Worker::admit`](crate::Worker::admit) will know the client's address. No state is kept
    /// (RFC 9147, 5.1). Returns its length in bytes, at most 192.
    ///
    /// A ClientHello that was [retried](Arrival::retried) must not be answered so again.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`].
    pub fn hello_retry_request(
        &self,
        arrival: &Arrival<'_>,
        suite: CipherSuite,
        group: Option<u16>,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let mut transcript = Transcript::new(suite.hash());
        transcript.add(HandshakeType::CLIENT_HELLO, arrival.hello_body);
        let keys = self.reader.snapshot();
        keys.keep_active_for(self.cookie_lifetime, self.lane, self.now);
        let (hello, peer) = (transcript.digest(), arrival.datagram.peer);
        write_hello_retry_request(&keys, &hello, suite, group, peer, self.now, out)
    }
}

impl fmt::Debug for Admitted<'_> {
    /// The verdicts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdicts = self.iter().map(|(_, verdict)| verdict);
        f.debug_list().entries(verdicts).finish()
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        *self.spare = recycle(mem::take(&mut self.flows));
    }
}

/// The same allocation for flows of another batch: collecting from a vector's own iterator reuses
/// its memory.
pub(super) fn recycle<'a, 'b>(mut flows: Vec<Flow<'a>>) -> Vec<Flow<'b>> {
    flows.clear();
    flows
        .into_iter()
        .map(|_| unreachable!("it is empty"))
        .collect()
}

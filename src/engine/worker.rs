//! The worker: what one core does.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use siphasher::sip::SipHasher24;

use super::Engine;
use super::admitted::{Admitted, recycle};
use crate::admission::{Datagram, Flow, Judge, Names, Retransmissions, read};
use crate::error::Error;
use crate::keys::KeyReader;
use crate::metrics::Counters;
use crate::schedule::wide::WideHasher;
use crate::schedule::{HashAlgorithm, Transcript};
use crate::sync::{Arc, prefetch_bytes};
use crate::ticket::{NewSession, Scratch, issue};
use crate::time::UnixMillis;
use crate::wipe::scrubbed;
use crate::wire::{Reassembly, Shapes};

/// Datagrams in one batch, at most.
pub const BATCH_MAX: usize = 64;

/// How long fragments of a ClientHello wait for the others: longer than a client's first
/// retransmission (RFC 9147, 5.8.2).
const REASSEMBLY_TIMEOUT: Duration = Duration::from_secs(5);

/// The sizes of a worker.
#[derive(Clone, Debug)]
pub(super) struct WorkerRules {
    pub(super) retransmission_window: Duration,
    pub(super) reassembly_slots: usize,
    pub(super) client_hello_max: usize,
}

impl WorkerRules {
    pub(super) fn reassembly(&self) -> Result<Reassembly, Error> {
        Reassembly::new(
            self.reassembly_slots,
            self.client_hello_max,
            REASSEMBLY_TIMEOUT,
        )
    }
}

/// One core's part of the engine. Not `Send`: make it on the thread that uses it.
pub struct Worker {
    engine: Engine,
    lane: u8,
    reader: KeyReader,
    reassembly: Reassembly,
    retransmissions: Retransmissions,
    scratch: Box<[Scratch]>,
    transcripts: Box<[Transcript]>,
    /// How many datagrams the last batch had, which may have left what they opened.
    last_batch: usize,
    /// The allocation for the flows of a batch, empty between batches.
    spare: Vec<Flow<'static>>,
    hasher: WideHasher,
    shapes: Shapes,
    counters: Arc<Counters>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}

impl Worker {
    pub(super) fn new(engine: &Engine, lane: u8, counters: Arc<Counters>) -> Result<Self, Error> {
        let shared = &engine.shared;
        Ok(Self {
            lane,
            reader: shared.keys.reader(),
            reassembly: shared.worker.reassembly()?,
            retransmissions: Retransmissions::new(
                shared.worker.retransmission_window,
                &shared.flow_key,
            ),
            scratch: (0..BATCH_MAX).map(|_| Scratch::new()).collect(),
            transcripts: vec![Transcript::new(HashAlgorithm::Sha256); BATCH_MAX].into(),
            last_batch: 0,
            spare: Vec::with_capacity(BATCH_MAX),
            hasher: WideHasher::detect(),
            shapes: Shapes::new(),
            counters,
            engine: engine.clone(),
        })
    }

    /// Judges up to [`BATCH_MAX`] datagrams. What their tickets hold stays in memory until the next
    /// batch, which may be empty, or until the worker is dropped. All that follows from the verdicts has happened when
    /// this returns: whoever drops an [`Verdict::AcceptEarlyData`](crate::Verdict::AcceptEarlyData) unread has used up a flight.
    ///
    /// # Errors
    /// [`Error::Length`] for more than [`BATCH_MAX`] datagrams, none of which was judged.
    pub fn admit<'w>(
        &'w mut self,
        batch: &[Datagram<'w>],
        now: UnixMillis,
    ) -> Result<Admitted<'w>, Error> {
        if batch.len() > BATCH_MAX {
            return Err(Error::Length("more than BATCH_MAX datagrams"));
        }
        Ok(self.judge(batch, now))
    }

    fn judge<'w>(&'w mut self, batch: &[Datagram<'w>], now: UnixMillis) -> Admitted<'w> {
        let shared = &*self.engine.shared;
        let mut flows: Vec<Flow<'w>> = recycle(mem::take(&mut self.spare));
        flows.extend(batch.iter().map(|datagram| {
            // A card has just written them: they come from far, and each at its own time if asked
            // for one by one.
            prefetch_bytes(datagram.bytes);
            Flow::new(*datagram)
        }));

        // What was opened for the last batch, which may have been longer than this one.
        for scratch in &mut self.scratch[..self.last_batch] {
            scratch.wipe();
        }
        self.last_batch = batch.len();

        let keys = self.reader.snapshot();
        let judge = Judge {
            rules: &shared.rules,
            keys: &keys,
            replay: &shared.replay,
            hasher: self.hasher,
            now,
        };
        // What is not secret lies above what is overwritten.
        let mut slots = [None; BATCH_MAX];
        let mut origins = [None; BATCH_MAX];
        let (scratches, transcripts) = (&mut self.scratch, &mut self.transcripts);
        scrubbed(|| {
            self.reassembly.begin_batch();
            for (flow, slot) in flows.iter_mut().zip(&mut slots) {
                let peer = flow.arrival.datagram.peer;
                let flow_key = || flow_key(&shared.flow_key, peer);
                if let Some(completed) = read(flow, &mut self.reassembly, flow_key, now) {
                    *slot = Some(completed);
                }
            }
            let reassembly = &self.reassembly;

            let mut names = Names::default();
            let places = flows
                .iter_mut()
                .zip(&slots)
                .zip(&mut origins)
                .zip(scratches.iter_mut().zip(transcripts));
            for (((flow, slot), origin), (scratch, transcript)) in places {
                if let Some(slot) = slot {
                    flow.arrival.hello_body = reassembly.body(*slot);
                }
                if flow.is_pending() {
                    judge.open(flow, origin, scratch, transcript, &mut names, &self.shapes);
                    flow.prefetch(origin, &self.retransmissions);
                }
            }
            judge.verify(&mut flows);
            for unlike in flows.iter().filter_map(Flow::unlike) {
                self.shapes.learn(unlike);
            }
            for (flow, origin) in flows.iter_mut().zip(&origins) {
                flow.decision = judge.decide(flow, origin, &mut self.retransmissions);
                self.counters.count(flow.decision);
            }
            judge.derive(&mut flows);
        });
        Admitted {
            flows,
            spare: &mut self.spare,
            reader: &self.reader,
            lane: self.lane,
            now,
            cookie_lifetime: shared.rules.cookie_lifetime,
        }
    }

    /// Writes a NewSessionTicket message for `session` to `out`, with its DTLS handshake header,
    /// and returns its length in bytes. To be sent until it is acknowledged, as it is: a further
    /// call makes another ticket.
    ///
    /// # Errors
    /// [`Error::SessionExpired`] if nothing is left of the session's lifetime; [`Error::Length`] if
    /// the secret, its nonce or the host's data are not of a length that they may have;
    /// [`Error::BufferTooSmall`]; [`Error::SerialsExhausted`] when the lane has no serial left and no
    /// key can follow. Only after the last a serial may be used up.
    pub fn issue(
        &mut self,
        session: &NewSession<'_>,
        peer: IpAddr,
        now: UnixMillis,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let rules = &self.engine.shared.issue;
        let keys = self.reader.snapshot();
        let lane = self.lane;
        let mut issued = scrubbed(|| issue(&keys, lane, rules, session, peer, now, out));
        if issued == Err(Error::SerialsExhausted) && keys.replace_exhausted(now) {
            drop(keys);
            let keys = self.reader.snapshot();
            issued = scrubbed(|| issue(&keys, lane, rules, session, peer, now, out));
        }
        if issued.is_ok() {
            self.counters.count_issued();
        }
        issued
    }

    /// The lane on which it issues.
    #[must_use]
    pub fn lane(&self) -> u8 {
        self.lane
    }

    /// The engine of this worker.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// Which flow a fragment belongs to: keyed, so that nobody can choose flows that collide.
fn flow_key(key: &[u8; 16], peer: SocketAddr) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    peer.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ResumptionSecret;
    use crate::client::{ClientHelloParams, ClientSession, FirstFlight, Framing};
    use crate::schedule::CipherSuite;
    use crate::wire::{HANDSHAKE_HEADER_LEN, PLAINTEXT_HEADER_LEN};
    use ring::rand::SystemRandom;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    /// A ClientHello in a datagram, with a ticket of the worker or without.
    fn flight(worker: &mut Worker, offers: bool) -> Vec<u8> {
        let (suite, mut out) = (CipherSuite::Aes128GcmSha256, [0; 1024]);
        let session = NewSession {
            suite,
            secret: ResumptionSecret::Psk(&[7; 32]),
            server_name: None,
            alpn: None,
            authenticated: NOW,
            host_data: b"",
            message_seq: 5,
        };
        let peer = IpAddr::from([127, 0, 0, 1]);
        let len = worker.issue(&session, peer, NOW, &mut out).unwrap();
        let ticket = crate::wire::NewSessionTicket::parse(&out[HANDSHAKE_HEADER_LEN..len]).unwrap();
        let session = ClientSession::from_psk(&ticket, suite, &[7; 32], None, NOW).unwrap();
        let hello = ClientHelloParams {
            supported_groups: &[29],
            key_shares: &[(29, &[9; 32])],
            ..ClientHelloParams::new([5; 32])
        };
        let mut offer = session.offer(NOW).filter(|_| offers);
        let flight = FirstFlight::new(&hello, offer.as_mut(), &Framing::default(), &[]);
        flight.unwrap().datagrams.swap_remove(0)
    }

    #[test]
    fn the_shape_of_a_client_hello_is_learnt_from_clients_with_a_valid_binder_only() {
        let engine = Engine::builder().build(&SystemRandom::new(), NOW).unwrap();
        let mut worker = engine.worker(0).unwrap();
        let knows = |worker: &mut Worker, bytes: &[u8]| {
            let peer = ([127, 0, 0, 1], 5000).into();
            worker.admit(&[Datagram { bytes, peer }], NOW).unwrap();
            let body = &bytes[PLAINTEXT_HEADER_LEN + HANDSHAKE_HEADER_LEN..];
            worker.shapes.knows(body)
        };
        let without = flight(&mut worker, false);
        assert!(!knows(&mut worker, &without));
        let genuine = flight(&mut worker, true);
        let [mut bad_binder, mut forged] = [genuine.clone(), genuine.clone()];
        *bad_binder.last_mut().unwrap() ^= 1;
        let in_ticket = forged.len() - 60;
        forged[in_ticket] ^= 1;
        assert!(!knows(&mut worker, &bad_binder));
        assert!(!knows(&mut worker, &forged));
        assert!(knows(&mut worker, &genuine));
    }
}

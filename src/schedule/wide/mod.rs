//! Binders and early traffic secrets of a whole batch: with AVX-512, sixteen ClientHellos are
//! hashed at once.
//!
//! SHA-384, a few at the end of a batch, and all on other CPUs go one after the other, through
//! the same functions as anywhere else.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg_attr(not(target_arch = "x86_64"), path = "none.rs")]
mod sixteen;

use std::array;

use super::hash::Running;
use super::{
    Digest, EarlySecret, HashAlgorithm, HmacKey, LabelPrefix, Secret, Transcript, midstates_len,
};
use sixteen::{Avx512, Jobs, LANES};

/// Jobs that are put in order together.
const BATCH: usize = 64;

/// So many messages take less time at once than one after the other through SHA-NI.
const ENOUGH: usize = 7;

/// A ClientHello, or a part of one, that ends a transcript for now, and what is wanted from it.
pub struct Job<'a, T> {
    /// What comes before. Afterwards it has taken `data` in.
    pub transcript: &'a mut Transcript,
    /// What is hashed behind it.
    pub data: &'a [u8],
    /// The secret that is combined with the digest.
    pub key: &'a [u8],
    /// Where the result goes; `None` if `key` is not as long as the transcript's hash asks for.
    pub out: &'a mut Option<T>,
}

/// Hashes in the fastest way that the CPU knows.
#[derive(Clone, Copy, Debug)]
pub struct WideHasher {
    avx512: Option<Avx512>,
}

impl WideHasher {
    /// Finds out what the CPU knows.
    #[must_use]
    pub fn detect() -> Self {
        Self {
            avx512: Avx512::detect(),
        }
    }

    /// Takes one after the other on every CPU.
    #[must_use]
    pub fn portable() -> Self {
        Self { avx512: None }
    }

    /// The MAC over each digest, under the HMAC key of which `key` has the midstates: what a
    /// binder must be (RFC 8446, 4.2.11.2).
    pub fn binders<'a>(&self, jobs: impl Iterator<Item = Job<'a, Digest>>) {
        let one = |job: Job<'_, Digest>| {
            let binder_key = HmacKey::from_midstates(job.transcript.hash(), job.key);
            *job.out = binder_key.map(|key| key.sign(&[job.transcript.digest().as_bytes()]));
        };
        let key_len = midstates_len(HashAlgorithm::Sha256);
        self.run(jobs, key_len, one, |avx512, jobs| avx512.binders(jobs));
    }

    /// The `client_early_traffic_secret` of each digest, of which `key` is the early secret.
    pub fn early_traffic_secrets<'a>(&self, jobs: impl Iterator<Item = Job<'a, Secret>>) {
        let one = |job: Job<'_, Secret>| {
            let early_secret = EarlySecret::from_bytes(job.transcript.hash(), job.key);
            let digest = job.transcript.digest();
            *job.out = early_secret.map(|early_secret| {
                early_secret.client_early_traffic_secret(LabelPrefix::Dtls13, &digest)
            });
        };
        let key_len = HashAlgorithm::Sha256.output_len();
        self.run(jobs, key_len, one, |avx512, jobs| {
            avx512.early_traffic_secrets(jobs);
        });
    }

    /// `one` gets jobs whose data is hashed, `sixteen` such whose data is not, and whose key is
    /// `key_len` long.
    #[inline]
    fn run<'a, T: 'a>(
        &self,
        jobs: impl Iterator<Item = Job<'a, T>>,
        key_len: usize,
        one: impl Fn(Job<'a, T>),
        sixteen: impl Fn(Avx512, &mut Jobs<'a, T>),
    ) {
        let one = |job: Job<'a, T>| {
            job.transcript.update(job.data);
            one(job);
        };
        let Some(avx512) = self.avx512 else {
            return jobs.for_each(one);
        };
        // A small batch is done with before room is made for a large one.
        let mut jobs = jobs.fuse();
        let first: [_; ENOUGH] = array::from_fn(|_| jobs.next());
        if first.iter().flatten().count() < avx512.enough() {
            return first.into_iter().flatten().for_each(one);
        }
        let mut jobs = first.into_iter().flatten().chain(jobs).peekable();
        while jobs.peek().is_some() {
            let mut batch = [const { None }; BATCH];
            let mut order = [(0, 0_u8); BATCH];
            let mut len = 0;
            while len < BATCH
                && let Some(job) = jobs.next()
            {
                match job.blocks() {
                    Some(blocks) if job.key.len() == key_len => {
                        order[len] = (blocks, len as u8);
                        batch[len] = Some(job);
                        len += 1;
                    }
                    _ => one(job),
                }
            }
            // Lanes wait for the longest of their group, so that like goes with like.
            order[..len].sort_unstable();
            for group in order[..len].chunks(LANES) {
                let mut jobs = array::from_fn(|lane| batch[usize::from(group.get(lane)?.1)].take());
                match group.iter().nth_back(avx512.enough() - 1) {
                    Some((rows, _)) => {
                        // The few that are longer than others go ahead.
                        for (job, (blocks, _)) in jobs.iter_mut().flatten().zip(group) {
                            job.advance(blocks.saturating_sub(*rows));
                        }
                        sixteen(avx512, &mut jobs);
                    }
                    None => jobs.into_iter().flatten().for_each(one),
                }
            }
        }
    }
}

impl<T> Job<'_, T> {
    /// Blocks of SHA-256 to the end of the message; `None` for another hash.
    #[inline]
    fn blocks(&self) -> Option<u32> {
        match &self.transcript.0.0 {
            Running::Sha256(stream) => Some(stream.blocks_to_end(self.data.len()) as u32),
            Running::Sha384(_) => None,
        }
    }

    /// Hashes so many blocks already.
    #[inline]
    fn advance(&mut self, blocks: u32) {
        if blocks > 0
            && let Running::Sha256(stream) = &mut self.transcript.0.0
        {
            let len = (64 * blocks as usize - stream.buffered()).min(self.data.len());
            let (now, later) = self.data.split_at(len);
            stream.update(now);
            self.data = later;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schedule::HashAlgorithm::{Sha256, Sha384};
    use crate::wire::HandshakeType;
    use proptest::prelude::*;

    /// A flow: what its transcript holds, what comes next, and its secrets.
    #[derive(Clone, Debug)]
    struct Flow {
        hash: HashAlgorithm,
        before: Vec<u8>,
        data: Vec<u8>,
        midstates: Vec<u8>,
        early_secret: Vec<u8>,
    }

    impl Flow {
        fn new(hash: HashAlgorithm, seed: usize, before: usize, data: usize) -> Self {
            let bytes = |salt: usize, len: usize| -> Vec<u8> {
                let byte = |i: usize| (i * 167 + (i >> 8) * 7 + seed * 31 + salt) as u8;
                (0..len).map(byte).collect()
            };
            Self {
                hash,
                before: bytes(1, before),
                data: bytes(2, data),
                midstates: bytes(3, midstates_len(hash)),
                early_secret: bytes(4, hash.output_len()),
            }
        }

        fn transcript(&self) -> Transcript {
            let mut transcript = Transcript::new(self.hash);
            transcript.update(&self.before);
            transcript
        }
    }

    /// What comes out for a flow: binder, secret, and the digests of the transcript afterwards,
    /// as it is and continued.
    type Outcome = (Option<Vec<u8>>, Option<Vec<u8>>, [Digest; 2]);

    fn outcomes(hasher: WideHasher, flows: &[Flow]) -> Vec<Outcome> {
        let transcripts = || -> Vec<_> { flows.iter().map(Flow::transcript).collect() };
        let (mut signed, mut derived) = (transcripts(), transcripts());
        let mut macs = vec![None; flows.len()];
        let mut secrets = vec![None; flows.len()];
        let jobs = signed.iter_mut().zip(&mut macs).zip(flows);
        hasher.binders(jobs.map(|((transcript, out), flow)| Job {
            transcript,
            data: &flow.data,
            key: &flow.midstates,
            out,
        }));
        let jobs = derived.iter_mut().zip(&mut secrets).zip(flows);
        hasher.early_traffic_secrets(jobs.map(|((transcript, out), flow)| Job {
            transcript,
            data: &flow.data,
            key: &flow.early_secret,
            out,
        }));
        (signed.iter().zip(&derived).zip(macs).zip(secrets))
            .map(|(((signed, derived), mac), secret)| {
                assert!(signed.digest() == derived.digest());
                let mut continued = signed.clone();
                continued.add(HandshakeType::SERVER_HELLO, &[5; 90]);
                let digests = [signed.digest(), continued.digest()];
                let mac = mac.map(|mac: Digest| mac.as_bytes().to_vec());
                let secret = secret.map(|secret: Secret| secret.as_bytes().to_vec());
                (mac, secret, digests)
            })
            .collect()
    }

    fn agree(flows: &[Flow]) {
        let theirs = outcomes(WideHasher::portable(), flows);
        for enough in [ENOUGH, 2] {
            let avx512 = Avx512::detect().map(|avx512| avx512.with_enough(enough));
            let ours = outcomes(WideHasher { avx512 }, flows);
            for ((ours, theirs), flow) in ours.iter().zip(&theirs).zip(flows) {
                assert!(ours == theirs, "{flow:?}");
            }
        }
    }

    #[test]
    fn alone_a_flow_gets_what_the_key_schedule_says() {
        for hash in [Sha256, Sha384] {
            let flow = Flow::new(hash, 0, 4, 365);
            let outcome = outcomes(WideHasher::portable(), std::slice::from_ref(&flow));
            let mut transcript = flow.transcript();
            transcript.update(&flow.data);
            let binder_key = HmacKey::from_midstates(hash, &flow.midstates).unwrap();
            let early_secret = EarlySecret::from_bytes(hash, &flow.early_secret).unwrap();
            let mac = binder_key.sign(&[transcript.digest().as_bytes()]);
            let secret =
                early_secret.client_early_traffic_secret(LabelPrefix::Dtls13, &transcript.digest());
            assert_eq!(outcome[0].0.as_deref(), Some(mac.as_bytes()));
            assert_eq!(outcome[0].1.as_deref(), Some(secret.as_bytes()));
        }
    }

    #[test]
    fn every_length_over_four_blocks_behind_some_in_the_buffer() {
        for before in [0, 1, 4, 31, 54, 55, 56, 63, 64] {
            let flows = |lens: std::ops::Range<usize>| -> Vec<_> {
                lens.map(|len| Flow::new(Sha256, len, before, len))
                    .collect()
            };
            agree(&flows(0..300));
            // The same in step with longer ones.
            let mut mixed = flows(0..130);
            mixed.sort_by_key(|flow| flow.data.len() * 67 % 131);
            agree(&mixed);
        }
    }

    #[test]
    fn every_size_of_a_batch() {
        let flows: Vec<_> = (0..140)
            .map(|i| Flow::new(Sha256, i, 4, 300 + i * 37 % 150))
            .collect();
        for len in 0..=flows.len() {
            agree(&flows[..len]);
        }
    }

    #[test]
    fn a_few_long_ones_among_many_short_ones() {
        for long in [1, 7, 8, 9] {
            let len = |i: usize| if i % 24 < long { 1400 + 100 * i } else { 10 };
            let flows: Vec<_> = (0..48).map(|i| Flow::new(Sha256, i, 60, len(i))).collect();
            agree(&flows);
        }
    }

    #[test]
    fn a_key_of_another_length_gives_nothing_and_disturbs_no_other() {
        let mut flows: Vec<_> = (0..40).map(|i| Flow::new(Sha256, i, 4, 200)).collect();
        let expected = outcomes(WideHasher::detect(), &flows);
        flows[3].midstates.pop();
        flows[3].early_secret.push(0);
        flows[39].midstates.clear();
        flows[39].early_secret.clear();
        for (i, ours) in outcomes(WideHasher::detect(), &flows).iter().enumerate() {
            if i == 3 || i == 39 {
                assert_eq!((&ours.0, &ours.1), (&None, &None));
                assert!(ours.2 == expected[i].2);
            } else {
                assert!(*ours == expected[i], "{i}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_batch_comes_out_as_one_after_the_other(
            flows in prop::collection::vec(
                (any::<bool>(), any::<u8>(), 0usize..200, 0usize..700),
                0..80,
            ),
        ) {
            let flow = |&(sha384, seed, before, data): &(bool, u8, usize, usize)| {
                let hash = if sha384 && seed < 64 { Sha384 } else { Sha256 };
                Flow::new(hash, seed.into(), before, data)
            };
            agree(&flows.iter().map(flow).collect::<Vec<_>>());
        }
    }
}

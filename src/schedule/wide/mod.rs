//! The ClientHellos and early traffic secrets of a whole batch: sixteen ClientHellos at once with AVX-512,
//! eight, four or two in turn with SHA-NI, or else one after the other.
//!
//! SHA-384 goes through the functions of the rest of the key schedule.

mod job;
mod one;
#[cfg_attr(not(target_arch = "x86_64"), path = "none.rs")]
mod x86;

use job::{Sha256EarlyTraffic, Sha256Hello};
use x86::{Avx512, LANES, ShaNi};

pub use job::{EarlyTraffic, Hashed, Hello};

/// ClientHellos that are put in order together.
const BATCH: usize = 32;

/// So many take less time at once with AVX-512 than in turn with SHA-NI, on most CPUs.
const ENOUGH: usize = 11;

/// Hashes in the fastest way that the CPU knows.
#[derive(Clone, Copy, Debug)]
pub struct WideHasher {
    avx512: Option<Avx512>,
    sha_ni: Option<ShaNi>,
}

impl WideHasher {
    /// Finds out what the CPU knows.
    #[must_use]
    pub fn detect() -> Self {
        Self {
            avx512: Avx512::detect(),
            sha_ni: ShaNi::detect(),
        }
    }

    /// Does without AVX-512.
    #[must_use]
    pub fn without_avx512(self) -> Self {
        Self {
            avx512: None,
            ..self
        }
    }

    /// Does without SHA-NI, as on a CPU that has AVX-512 and not that.
    #[must_use]
    pub fn without_sha_ni(self) -> Self {
        Self {
            sha_ni: None,
            ..self
        }
    }

    /// Takes with SHA-NI so many, and so many in turn, as are best for other CPUs.
    #[must_use]
    pub fn otherwise_in_turn(self) -> Self {
        Self {
            sha_ni: self.sha_ni.map(ShaNi::otherwise),
            ..self
        }
    }

    /// Takes one after the other on every CPU.
    #[must_use]
    pub fn portable() -> Self {
        Self {
            avx512: None,
            sha_ni: None,
        }
    }

    /// Hashes ClientHellos: what their binders must be, and their transcript hashes.
    #[inline]
    pub fn client_hellos<'a>(&self, hellos: impl Iterator<Item = Hello<'a>>) {
        let portable = self.way(1).is_none();
        let wide = |hello: Hello<'a>| match portable || !hello.is_wide() {
            true => {
                one::client_hello(hello);
                None
            }
            false => hello.sha256(),
        };
        in_batches(hellos, wide, |batch| {
            // Those of a group wait for the longest, so that like goes with like.
            batch.sort_unstable_by_key(blocks);
            for group in batch.chunks_mut(LANES) {
                self.sha256_client_hellos(group);
            }
        });
    }

    #[inline]
    fn sha256_client_hellos(&self, group: &mut [Option<Sha256Hello<'_>>]) {
        match self.way(group.len()) {
            None => {}
            Some(Way::AtOnce(avx512)) => {
                // The few that are longer than others go ahead, with SHA-NI.
                if let (Some(few), Some(_)) = (group.len().checked_sub(ENOUGH), self.sha_ni) {
                    let rows = blocks(&group[few]);
                    for hello in group.iter_mut().flatten() {
                        hello.advance(hello.blocks().saturating_sub(rows));
                    }
                }
                avx512.client_hellos(group);
            }
            Some(Way::InTurn(sha_ni)) => in_turn(sha_ni, group),
        }
    }

    /// Derives early traffic secrets.
    #[inline]
    pub fn early_traffic_secrets<'a>(&self, jobs: impl Iterator<Item = EarlyTraffic<'a>>) {
        let portable = self.way(1).is_none();
        let wide = |job: EarlyTraffic<'a>| match portable || !job.is_wide() {
            true => {
                one::early_traffic_secret(job);
                None
            }
            false => job.sha256(),
        };
        in_batches(jobs, wide, |batch| {
            for group in batch.chunks_mut(LANES) {
                self.sha256_early_traffic_secrets(group);
            }
        });
    }

    #[inline]
    fn sha256_early_traffic_secrets(&self, group: &mut [Option<Sha256EarlyTraffic<'_>>]) {
        match self.way(group.len()) {
            None => {}
            Some(Way::AtOnce(avx512)) => avx512.early_traffic_secrets(group),
            Some(Way::InTurn(sha_ni)) => in_turn(sha_ni, group),
        }
    }

    /// The fastest way for so many; `None`: one after the other.
    #[inline]
    fn way(&self, messages: usize) -> Option<Way> {
        match (self.avx512, self.sha_ni) {
            (_, Some(sha_ni)) if messages < ENOUGH || sha_ni.beats_avx512() => {
                Some(Way::InTurn(sha_ni))
            }
            (Some(avx512), _) => Some(Way::AtOnce(avx512)),
            (None, sha_ni) => sha_ni.map(Way::InTurn),
        }
    }
}

enum Way {
    AtOnce(Avx512),
    InTurn(ShaNi),
}

#[inline]
fn blocks(hello: &Option<Sha256Hello<'_>>) -> u32 {
    hello.as_ref().map_or(0, Sha256Hello::blocks)
}

/// Makes jobs of items, and hands over so many at once as there is room for.
#[inline]
fn in_batches<I, J>(
    items: impl Iterator<Item = I>,
    job: impl Fn(I) -> Option<J>,
    work: impl Fn(&mut [Option<J>]),
) {
    let mut batch = [const { None }; BATCH];
    let mut len = 0;
    items.for_each(|item| {
        if let Some(job) = job(item) {
            batch[len] = Some(job);
            len += 1;
        }
        if len == BATCH {
            work(&mut batch);
            len = 0;
        }
    });
    work(&mut batch[..len]);
}

/// What SHA-NI works on in turn.
trait InTurn: Sized {
    /// Does these, of which those that are there come first.
    fn work<const N: usize>(sha_ni: ShaNi, jobs: &mut [Option<Self>; N]);
}

impl InTurn for Sha256Hello<'_> {
    #[inline]
    fn work<const N: usize>(sha_ni: ShaNi, jobs: &mut [Option<Self>; N]) {
        sha_ni.client_hellos(jobs);
    }
}

impl InTurn for Sha256EarlyTraffic<'_> {
    #[inline]
    fn work<const N: usize>(sha_ni: ShaNi, jobs: &mut [Option<Self>; N]) {
        sha_ni.early_traffic_secrets(jobs);
    }
}

/// Four and four, if that is best, and then two and two. What is left is alone.
///
/// Eight are two times four, step by step: where four of them wait for the end of a compression,
/// the others begin with theirs.
#[inline]
fn in_turn<J: InTurn>(sha_ni: ShaNi, jobs: &mut [Option<J>]) {
    let mut rest = jobs;
    if sha_ni.best_with_four() {
        rest = in_groups::<8, J>(sha_ni, rest);
        rest = in_groups::<4, J>(sha_ni, rest);
        if let [a, b, c] = rest {
            J::work(sha_ni, &mut [a.take(), b.take(), c.take(), None]);
            return;
        }
    }
    rest = in_groups::<2, J>(sha_ni, rest);
    in_groups::<1, J>(sha_ni, rest);
}

/// Does as many as there are whole groups of. Returns the rest.
#[inline]
fn in_groups<const N: usize, J: InTurn>(sha_ni: ShaNi, jobs: &mut [Option<J>]) -> &mut [Option<J>] {
    let (groups, rest) = jobs.as_chunks_mut::<N>();
    groups.iter_mut().for_each(|group| J::work(sha_ni, group));
    rest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schedule::HashAlgorithm::{self, Sha256, Sha384};
    use crate::schedule::{
        Digest, EarlySecret, HmacKey, LabelPrefix, Secret, Transcript, midstates_len,
    };
    use crate::wire::HandshakeType;
    use proptest::prelude::*;

    /// A flow: what its transcript holds, its ClientHello, and its secrets.
    #[derive(Clone, Debug)]
    struct Flow {
        hash: HashAlgorithm,
        before: Vec<u8>,
        body: Vec<u8>,
        truncated_len: usize,
        binder_key: Vec<u8>,
        early_secret: Vec<u8>,
    }

    impl Flow {
        fn new(hash: HashAlgorithm, seed: usize, before: usize, len: usize) -> Self {
            let bytes = |salt: usize, len: usize| -> Vec<u8> {
                let byte = |i: usize| (i * 167 + (i >> 8) * 7 + seed * 31 + salt) as u8;
                (0..len).map(byte).collect()
            };
            let longer = if seed.is_multiple_of(7) { 300 } else { 0 };
            let binders = 35 + seed % 80 + longer;
            Self {
                hash,
                before: bytes(1, before),
                body: [bytes(2, len), bytes(5, binders)].concat(),
                truncated_len: len,
                binder_key: bytes(3, midstates_len(hash)),
                early_secret: bytes(4, EarlySecret::kept_len(hash)),
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
        let mut transcripts: Vec<_> = flows.iter().map(Flow::transcript).collect();
        let mut hashed = vec![None; flows.len()];
        let hellos = transcripts.iter_mut().zip(&mut hashed).zip(flows);
        hasher.client_hellos(hellos.map(|((transcript, out), flow)| Hello {
            transcript,
            body: &flow.body,
            truncated_len: flow.truncated_len,
            binder_key: &flow.binder_key,
            out,
        }));
        let digests: Vec<_> = transcripts.iter().map(Transcript::digest).collect();
        let mut secrets = vec![None; flows.len()];
        let jobs = digests.iter().zip(&mut secrets).zip(flows);
        hasher.early_traffic_secrets(jobs.map(|((client_hello, out), flow)| EarlyTraffic {
            client_hello,
            early_secret: &flow.early_secret,
            out,
        }));
        (transcripts
            .into_iter()
            .zip(digests)
            .zip(hashed)
            .zip(secrets))
        .map(|(((mut transcript, digest), hashed), secret)| {
            assert!(hashed.is_none_or(|hashed| hashed.full == digest));
            transcript.add(HandshakeType::SERVER_HELLO, &[5; 90]);
            let binder = hashed.map(|hashed| hashed.binder.as_bytes().to_vec());
            let secret = secret.map(|secret: Secret| secret.as_bytes().to_vec());
            (binder, secret, [digest, transcript.digest()])
        })
        .collect()
    }

    /// The same from the functions of the rest of the key schedule.
    fn expected(flow: &Flow) -> Outcome {
        let mut transcript = flow.transcript();
        transcript.update(&flow.body[..flow.truncated_len]);
        let signed = transcript.digest();
        transcript.update(&flow.body[flow.truncated_len..]);
        let digest = transcript.digest();
        transcript.add(HandshakeType::SERVER_HELLO, &[5; 90]);
        let binder_key = HmacKey::from_midstates(flow.hash, &flow.binder_key);
        let binder = binder_key.map(|key| key.sign(&[signed.as_bytes()]).as_bytes().to_vec());
        let early_secret = EarlySecret::from_kept(flow.hash, &flow.early_secret);
        let secret = early_secret.map(|early_secret| {
            let secret = early_secret.client_early_traffic_secret(LabelPrefix::Dtls13, &digest);
            secret.as_bytes().to_vec()
        });
        (binder, secret, [digest, transcript.digest()])
    }

    fn agree(flows: &[Flow]) {
        let best = WideHasher::detect();
        let hashers = [
            best,
            best.without_avx512(),
            best.without_avx512().otherwise_in_turn(),
            best.otherwise_in_turn(),
            best.without_sha_ni(),
            WideHasher::portable(),
        ];
        for hasher in hashers {
            for (outcome, flow) in outcomes(hasher, flows).iter().zip(flows) {
                assert!(*outcome == expected(flow), "{hasher:?} {flow:?}");
            }
        }
    }

    #[test]
    fn every_length_over_four_blocks_behind_some_in_the_buffer() {
        for before in [0, 4, 55, 56, 63, 64] {
            let flows = |lens: std::ops::Range<usize>| -> Vec<_> {
                lens.map(|len| Flow::new(Sha256, len, before, len))
                    .collect()
            };
            agree(&flows(0..300));
            // The same in step with longer ones.
            let mut mixed = flows(0..130);
            mixed.sort_by_key(|flow| flow.truncated_len * 67 % 131);
            agree(&mixed);
        }
    }

    #[test]
    fn every_size_of_a_batch() {
        let flows: Vec<_> = (0..140)
            .map(|i| Flow::new(Sha256, i, 4, 300 + i * 37 % 150))
            .collect();
        for len in (0..=20).chain([31, 32, 33, 42, 43, 63, 64, 65, 74, 75, 128, 140]) {
            agree(&flows[..len]);
        }
    }

    #[test]
    fn a_few_long_ones_among_many_short_ones() {
        for long in [1, 5, 6, 10, 11] {
            // So short that less than a block is left of a long one when it has caught up, or more.
            for (before, short, longer) in [(60, 10, 100), (0, 64, 1), (60, 64, 100)] {
                let len = |i: usize| match i % 24 < long {
                    true => 1400 + longer * i,
                    false => short,
                };
                let flow = |i| Flow::new(Sha256, i, before, len(i));
                let flows: Vec<_> = (0..48).map(flow).collect();
                agree(&flows);
            }
        }
    }

    #[test]
    fn a_key_of_another_length_gives_nothing_and_disturbs_no_other() {
        let mut flows: Vec<_> = (0..40).map(|i| Flow::new(Sha256, i, 4, 200)).collect();
        flows[3].binder_key.pop();
        flows[3].early_secret.push(0);
        flows[39].binder_key.clear();
        flows[39].early_secret.clear();
        agree(&flows);
        assert_eq!(outcomes(WideHasher::detect(), &flows)[3].0, None);
        assert_eq!(outcomes(WideHasher::detect(), &flows)[39].1, None);
    }

    #[test]
    fn a_body_that_ends_before_its_binders_gives_nothing() {
        let flow = Flow::new(Sha256, 1, 4, 200);
        for hasher in [WideHasher::detect(), WideHasher::portable()] {
            let mut out = None;
            for (truncated_len, given) in [(200, true), (flow.body.len() + 1, false)] {
                hasher.client_hellos(std::iter::once(Hello {
                    transcript: &mut flow.transcript(),
                    body: &flow.body,
                    truncated_len,
                    binder_key: &flow.binder_key,
                    out: &mut out,
                }));
                assert_eq!(out.is_some(), given);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

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

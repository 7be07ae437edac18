//! The ClientHellos and early traffic secrets of whole batches, on every path that this CPU has, against
//! the key schedule written down once more from the RFC, with `sha2` alone.
#![no_main]

use dtls_session::schedule::wide::{EarlyTraffic, Hello, WideHasher};
use dtls_session::schedule::{
    EarlySecret, HashAlgorithm, LabelPrefix, MAX_MIDSTATES_LEN, Transcript,
};
use dtls_session::wire::HandshakeType;
use dtls_session_fuzz::script::Script;
use libfuzzer_sys::fuzz_target;
use sha2::Digest as _;

/// More than is put in order together.
const FLOWS_MAX: usize = 80;

#[derive(Debug)]
struct Flow {
    hash: HashAlgorithm,
    psk: [u8; 16],
    early_secret: Vec<u8>,
    midstates: Vec<u8>,
    before: Vec<u8>,
    body: Vec<u8>,
    truncated_len: usize,
}

impl Flow {
    fn read(script: &mut Script<'_>) -> Self {
        let kind = script.byte();
        let seed = script.byte();
        // Around the ends of blocks more often than elsewhere.
        let mut len = || match script.byte() {
            byte @ 0..128 => usize::from(byte % 8) * 64 + 50 + usize::from(byte / 8),
            byte => usize::from(byte & 127) * 23,
        };
        let (before, truncated, binders) = (len() % 300, len(), len());
        let bytes = |salt: usize, len: usize| {
            let byte = |i: usize| (i * 167 + (i >> 8) * 7 + usize::from(seed) * 31 + salt) as u8;
            (0..len).map(byte).collect()
        };
        let hash = match kind & 15 {
            0 => HashAlgorithm::Sha384,
            _ => HashAlgorithm::Sha256,
        };
        let psk = [seed; 16];
        let early_secret = EarlySecret::from_psk(hash, &psk);
        let mut midstates = vec![0; MAX_MIDSTATES_LEN];
        let binder_key = early_secret.binder_key(LabelPrefix::Dtls13);
        let len = binder_key.to_midstates(&mut midstates);
        midstates.truncate(len.expect("there is room"));
        let mut kept = vec![0; EarlySecret::kept_len(hash)];
        early_secret.to_kept(&mut kept).expect("there is room");
        Self {
            hash,
            psk,
            early_secret: kept,
            midstates,
            before: bytes(1, before),
            body: [bytes(2, truncated), bytes(3, binders)].concat(),
            truncated_len: truncated,
        }
    }

    /// A message before, which is hashed behind a header of four bytes.
    fn transcript(&self) -> Transcript {
        let mut transcript = Transcript::new(self.hash);
        if !self.before.is_empty() {
            transcript.add(HandshakeType::CLIENT_HELLO, &self.before);
        }
        transcript
    }

    fn hash(&self, data: &[u8]) -> Vec<u8> {
        match self.hash {
            HashAlgorithm::Sha256 => sha2::Sha256::digest(data).to_vec(),
            HashAlgorithm::Sha384 => sha2::Sha384::digest(data).to_vec(),
        }
    }

    /// RFC 2104.
    fn hmac(&self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let block = match self.hash {
            HashAlgorithm::Sha256 => 64,
            HashAlgorithm::Sha384 => 128,
        };
        let pad = |with: u8| -> Vec<u8> {
            let key = key.iter().copied().chain(std::iter::repeat(0));
            key.take(block).map(|byte| byte ^ with).collect()
        };
        let inner = self.hash(&[&pad(0x36)[..], data].concat());
        self.hash(&[pad(0x5c), inner].concat())
    }

    /// RFC 8446, 7.1, with the prefix of RFC 9147, 5.9; one output of the hash.
    fn expand_label(&self, secret: &[u8], label: &str, context: &[u8]) -> Vec<u8> {
        let label = format!("dtls13{label}");
        let mut info = vec![0, self.hash.output_len() as u8, label.len() as u8];
        info.extend(label.bytes());
        info.push(context.len() as u8);
        info.extend(context);
        info.push(1);
        self.hmac(secret, &info)
    }

    /// Binder, transcript hash, early traffic secret.
    fn expected(&self) -> [Vec<u8>; 3] {
        let mut messages = Vec::new();
        if !self.before.is_empty() {
            let [.., a, b, c] = self.before.len().to_be_bytes();
            messages.extend([1, a, b, c]);
        }
        messages.extend(&self.before);
        let (truncated, binders) = self.body.split_at(self.truncated_len);
        messages.extend(truncated);
        let signed = self.hash(&messages);
        messages.extend(binders);
        let full = self.hash(&messages);
        let early_secret = self.hmac(&[], &self.psk);
        let binder_key = self.expand_label(&early_secret, "res binder", &self.hash(&[]));
        let finished_key = self.expand_label(&binder_key, "finished", &[]);
        let binder = self.hmac(&finished_key, &signed);
        let secret = self.expand_label(&early_secret, "c e traffic", &full);
        [binder, full, secret]
    }
}

fn outcomes(hasher: WideHasher, flows: &[Flow]) -> Vec<[Vec<u8>; 3]> {
    let mut transcripts: Vec<_> = flows.iter().map(Flow::transcript).collect();
    let mut hashed = vec![None; flows.len()];
    let hellos = transcripts.iter_mut().zip(&mut hashed).zip(flows);
    hasher.client_hellos(hellos.map(|((transcript, out), flow)| Hello {
        transcript,
        body: &flow.body,
        truncated_len: flow.truncated_len,
        binder_key: &flow.midstates,
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
    let results = hashed.into_iter().zip(digests).zip(secrets);
    results
        .map(|((hashed, digest), secret)| {
            let hashed = hashed.expect("the key fits");
            assert!(hashed.full == digest);
            let secret = secret.expect("the key fits");
            [
                hashed.binder.as_bytes(),
                digest.as_bytes(),
                secret.as_bytes(),
            ]
            .map(<[u8]>::to_vec)
        })
        .collect()
}

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let mut flows = Vec::new();
    while !script.is_over() && flows.len() < FLOWS_MAX {
        flows.push(Flow::read(&mut script));
    }
    let expected: Vec<_> = flows.iter().map(Flow::expected).collect();
    let best = WideHasher::detect();
    for hasher in [
        best,
        best.without_avx512(),
        best.without_avx512().otherwise_in_turn(),
        best.otherwise_in_turn(),
        best.without_sha_ni(),
        WideHasher::portable(),
    ] {
        assert_eq!(outcomes(hasher, &flows), expected, "{hasher:?}");
    }
});

//! What a ClientHello costs in hashing: its binder, and its early traffic secret.

use std::hint::black_box;
use std::time::Duration;

use dtls_session::schedule::wide::{EarlyTraffic, Hashed, Hello, WideHasher};
use dtls_session::schedule::{
    EarlySecret, HashAlgorithm, LabelPrefix, Secret, Transcript, midstates_len,
};
use dtls_session::wire::HandshakeType;

use super::contest::{Contestant, Shuffler, time};

/// ClientHellos in one round.
const ROUND: usize = 1024;

/// The list of binders with one of SHA-256.
const BINDERS_LEN: usize = 2 + 1 + 32;

/// Batches of `batch` ClientHellos with bodies of `lens` bytes, in turn.
pub fn client_hellos(batch: usize, lens: &[usize]) -> Vec<Contestant> {
    let contestant = |name, hasher| {
        let mut hellos = Hellos::new(lens);
        Contestant::new(name, ROUND, move || hellos.round(hasher, batch))
    };
    let best = WideHasher::detect();
    vec![
        contestant("dtls-session, as this CPU does it best", best),
        contestant("dtls-session, without AVX-512", best.without_avx512()),
        contestant("dtls-session, one after the other", WideHasher::portable()),
    ]
}

/// What a ticket holds of its session's secrets.
pub struct TicketSecrets {
    pub early_secret: Vec<u8>,
    pub binder_midstates: Vec<u8>,
}

impl TicketSecrets {
    pub fn new() -> Self {
        const HASH: HashAlgorithm = HashAlgorithm::Sha256;
        let secret = EarlySecret::from_psk(HASH, b"psk");
        let binder_key = secret.binder_key(LabelPrefix::Dtls13);
        let mut early_secret = vec![0; EarlySecret::kept_len(HASH)];
        let mut binder_midstates = vec![0; midstates_len(HASH)];
        secret.to_kept(&mut early_secret).expect("room");
        binder_key
            .to_midstates(&mut binder_midstates)
            .expect("room");
        Self {
            early_secret,
            binder_midstates,
        }
    }
}

struct Hellos {
    bodies: Vec<Vec<u8>>,
    binder_midstates: Vec<u8>,
    early_secret: Vec<u8>,
    transcripts: Vec<Transcript>,
    hashed: Vec<Option<Hashed>>,
    secrets: Vec<Option<Secret>>,
}

impl Hellos {
    fn new(lens: &[usize]) -> Self {
        let mut random = Shuffler(1);
        let mut body = |len| (0..len).map(|_| random.next() as u8).collect();
        let TicketSecrets {
            early_secret,
            binder_midstates,
        } = TicketSecrets::new();
        Self {
            bodies: lens
                .iter()
                .cycle()
                .take(ROUND)
                .map(|len| body(*len))
                .collect(),
            binder_midstates,
            early_secret,
            transcripts: Vec::new(),
            hashed: vec![None; ROUND],
            secrets: vec![None; ROUND],
        }
    }

    fn round(&mut self, hasher: WideHasher, batch: usize) -> Duration {
        let mut begun = Transcript::new(HashAlgorithm::Sha256);
        begun.add(HandshakeType::CLIENT_HELLO, &[]);
        self.transcripts = vec![begun; ROUND];
        let batches = (self.bodies.chunks(batch))
            .zip(self.transcripts.chunks_mut(batch))
            .zip(self.hashed.chunks_mut(batch))
            .zip(self.secrets.chunks_mut(batch));
        time(|| {
            for (((bodies, transcripts), hashed), secrets) in batches {
                let bodies = black_box(bodies).iter();
                let hellos = transcripts.iter_mut().zip(bodies).zip(&mut *hashed);
                hasher.client_hellos(hellos.map(|((transcript, body), out)| Hello {
                    transcript,
                    body,
                    truncated_len: body.len() - BINDERS_LEN,
                    binder_key: &self.binder_midstates,
                    out,
                }));
                let hashed = black_box(hashed).iter().flatten().zip(&mut *secrets);
                hasher.early_traffic_secrets(hashed.map(|(hashed, out)| EarlyTraffic {
                    client_hello: &hashed.full,
                    early_secret: &self.early_secret,
                    out,
                }));
                black_box(secrets);
            }
        })
    }
}

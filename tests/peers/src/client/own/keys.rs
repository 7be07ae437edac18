//! The key schedule behind the early secret (RFC 8446, 7.1), with the labels of DTLS 1.3.

use dtls_session::Error;
use dtls_session::schedule::{
    CipherSuite, Digest, EarlySecret, Hash, HmacKey, LabelPrefix, RecordOpener, RecordSealer,
    Secret, TrafficKeys, finished_key, hkdf,
};

const PREFIX: LabelPrefix = LabelPrefix::Dtls13;

/// What both sides seal the records of an epoch with.
pub(super) struct Epoch {
    pub(super) client: Secret,
    pub(super) server: Secret,
}

impl Epoch {
    /// Epoch 2, from the transcript up to the ServerHello.
    pub(super) fn handshake(secret: &Secret, hello: &Digest) -> Result<Self, Error> {
        Self::derive(secret, b"c hs traffic", b"s hs traffic", hello)
    }

    /// Epoch 3, from the transcript up to the server's Finished.
    pub(super) fn application(master: &Secret, finished: &Digest) -> Result<Self, Error> {
        Self::derive(master, b"c ap traffic", b"s ap traffic", finished)
    }

    fn derive(
        secret: &Secret,
        client: &[u8],
        server: &[u8],
        transcript: &Digest,
    ) -> Result<Self, Error> {
        Ok(Self {
            client: hkdf::derive_secret(PREFIX, secret, client, transcript)?,
            server: hkdf::derive_secret(PREFIX, secret, server, transcript)?,
        })
    }
}

pub(super) fn handshake_secret(early: &EarlySecret, shared: &[u8]) -> Secret {
    hkdf::extract(early.hash(), early.derived(PREFIX).as_bytes(), shared)
}

pub(super) fn master_secret(handshake: &Secret) -> Result<Secret, Error> {
    let hash = handshake.hash();
    let nothing = Hash::digest(hash, &[]);
    let salt = hkdf::derive_secret(PREFIX, handshake, b"derived", &nothing)?;
    Ok(hkdf::extract(
        hash,
        salt.as_bytes(),
        Secret::zero(hash).as_bytes(),
    ))
}

/// What tickets are made of, from the transcript up to the client's Finished.
pub(super) fn resumption_master_secret(master: &Secret, all: &Digest) -> Result<Secret, Error> {
    hkdf::derive_secret(PREFIX, master, b"res master", all)
}

/// What makes the Finished of the side with this handshake traffic secret.
pub(super) fn finished(traffic: &Secret) -> HmacKey {
    HmacKey::new(traffic.hash(), finished_key(PREFIX, traffic).as_bytes())
}

pub(super) fn sealer(
    suite: CipherSuite,
    traffic: &Secret,
    epoch: u64,
) -> Result<RecordSealer, Error> {
    RecordSealer::new(&TrafficKeys::derive(PREFIX, suite, traffic)?, epoch)
}

pub(super) fn opener(
    suite: CipherSuite,
    traffic: &Secret,
    epoch: u64,
) -> Result<RecordOpener, Error> {
    RecordOpener::new(&TrafficKeys::derive(PREFIX, suite, traffic)?, epoch)
}

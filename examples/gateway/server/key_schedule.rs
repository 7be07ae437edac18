//! The key schedule from the early secret on (RFC 8446, 7.1), with the labels of DTLS 1.3.

use dtls_session::schedule::{
    CipherSuite, Digest, EarlySecret, Hash, HmacKey, LabelPrefix, MAX_DIGEST_LEN, RecordOpener,
    RecordSealer, Secret, TrafficKeys, finished_key, hkdf,
};
use dtls_session::wire::AlertDescription;
use zeroize::Zeroizing;

use super::failure::Failure;

const PREFIX: LabelPrefix = LabelPrefix::Dtls13;

/// A traffic secret of each side.
pub struct TrafficSecrets {
    pub client: Secret,
    pub server: Secret,
}

/// The handshake secret: from the early secret and what the key exchange gave, nothing if a PSK is
/// used alone.
pub fn handshake_secret(early: &EarlySecret, shared: Option<&[u8]>) -> Secret {
    let nothing = Secret::zero(early.hash());
    let shared = shared.unwrap_or(nothing.as_bytes());
    hkdf::extract(early.hash(), early.derived(PREFIX).as_bytes(), shared)
}

/// The secrets of epoch 2, from the transcript up to the ServerHello.
pub fn handshake_traffic(secret: &Secret, hello: &Digest) -> Result<TrafficSecrets, Failure> {
    Ok(TrafficSecrets {
        client: derive(secret, b"c hs traffic", hello)?,
        server: derive(secret, b"s hs traffic", hello)?,
    })
}

/// The master secret, of which all that follows is made.
pub fn master_secret(handshake: &Secret) -> Result<Secret, Failure> {
    let hash = handshake.hash();
    let salt = derive(handshake, b"derived", &Hash::digest(hash, &[]))?;
    let nothing = Secret::zero(hash);
    Ok(hkdf::extract(hash, salt.as_bytes(), nothing.as_bytes()))
}

/// The secrets of epoch 3, from the transcript up to the server's Finished.
pub fn application_traffic(master: &Secret, finished: &Digest) -> Result<TrafficSecrets, Failure> {
    Ok(TrafficSecrets {
        client: derive(master, b"c ap traffic", finished)?,
        server: derive(master, b"s ap traffic", finished)?,
    })
}

/// What tickets are made of, from the transcript up to the client's Finished.
pub fn resumption_master_secret(master: &Secret, finished: &Digest) -> Result<Secret, Failure> {
    derive(master, b"res master", finished)
}

/// The traffic secret that follows `secret` after a KeyUpdate (RFC 8446, 7.2).
pub fn next_traffic_secret(secret: &Secret) -> Result<Secret, Failure> {
    let mut next = Zeroizing::new([0; MAX_DIGEST_LEN]);
    let next = &mut next[..secret.as_bytes().len()];
    hkdf::expand_label(PREFIX, secret, b"traffic upd", &[], next)?;
    Secret::from_bytes(secret.hash(), next).ok_or(Failure(AlertDescription::INTERNAL_ERROR))
}

/// What signs, or verifies, the Finished of the side with this handshake traffic secret.
pub fn finished(base: &Secret) -> HmacKey {
    HmacKey::new(base.hash(), finished_key(PREFIX, base).as_bytes())
}

/// What seals the records of `epoch` with the keys of this side's traffic secret.
pub fn sealer(suite: CipherSuite, secret: &Secret, epoch: u64) -> Result<RecordSealer, Failure> {
    let keys = TrafficKeys::derive(PREFIX, suite, secret)?;
    Ok(RecordSealer::new(&keys, epoch)?)
}

/// What opens the records of `epoch` with the keys of the other side's traffic secret.
pub fn opener(suite: CipherSuite, secret: &Secret, epoch: u64) -> Result<RecordOpener, Failure> {
    let keys = TrafficKeys::derive(PREFIX, suite, secret)?;
    Ok(RecordOpener::new(&keys, epoch)?)
}

fn derive(secret: &Secret, label: &[u8], transcript: &Digest) -> Result<Secret, Failure> {
    Ok(hkdf::derive_secret(PREFIX, secret, label, transcript)?)
}

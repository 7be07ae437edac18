//! Who this server is: a certificate, and the key that signs for it (RFC 8446, 4.4.2 and 4.4.3).

use std::fmt;

use dtls_session::schedule::Digest;
use dtls_session::wire::AlertDescription;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::failure::Failure;
use super::messages;

/// A certificate chain and its private key.
pub struct Identity {
    /// The body of the Certificate message, which is the same for every client.
    certificate: Vec<u8>,
    key: SigningKey,
    random: SystemRandom,
}

enum SigningKey {
    EcdsaP256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why there is no identity: a text for the operator.
#[derive(Debug)]
pub struct IdentityError(String);

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IdentityError {}

/// What a server signs: 64 spaces, this text, and the transcript hash (RFC 8446, 4.4.3). DTLS 1.3
/// leaves the text as TLS 1.3 has it.
const CONTEXT: &[u8; 98] =
    b"                                                                TLS 1.3, server CertificateVerify\0";

/// A chain of certificates in one message, in bytes: enough for any, and far from its 24 bits.
const CHAIN_MAX: usize = 64 << 10;

impl Identity {
    /// From PEM: the chain with the server's own certificate first, and a PKCS#8 private key, ECDSA
    /// P-256 or Ed25519.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| bad("certificate", &error))?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                IdentityError("key: no PKCS#8 private key (\"BEGIN PRIVATE KEY\") in it".into())
            }
            error => bad("key", &error),
        })?;
        Self::new(&chain, key.secret_pkcs8_der())
    }

    /// Signs a certificate for itself, for `name`, with a new ECDSA P-256 key.
    pub fn self_signed(name: &str) -> Result<Self, IdentityError> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()])
            .map_err(|error| bad("self-signed certificate", &error))?;
        Self::new(
            &[made.cert.der().clone()],
            &made.signing_key.serialize_der(),
        )
    }

    fn new(chain: &[CertificateDer<'_>], pkcs8: &[u8]) -> Result<Self, IdentityError> {
        let random = SystemRandom::new();
        let key = SigningKey::from_pkcs8(pkcs8, &random)?;
        let own = chain
            .first()
            .ok_or_else(|| IdentityError("certificate: none in it".into()))?;
        if !own
            .windows(key.public().len())
            .any(|part| part == key.public())
        {
            let text = "certificate: the first one is not that of the key";
            return Err(IdentityError(text.into()));
        }
        if chain.iter().map(|der| der.len()).sum::<usize>() > CHAIN_MAX {
            return Err(IdentityError(format!(
                "certificate: over {CHAIN_MAX} bytes"
            )));
        }
        Ok(Self {
            certificate: messages::certificate(chain.iter().map(|der| &**der)),
            key,
            random,
        })
    }

    /// The body of the Certificate message.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The scheme by which this server signs, if the client knows it. `offered` are the codes of
    /// signature_algorithms.
    pub fn scheme(&self, offered: &[u8]) -> Option<u16> {
        let scheme = match self.key {
            SigningKey::EcdsaP256(_) => 0x0403_u16,
            SigningKey::Ed25519(_) => 0x0807,
        };
        let (offered, _) = offered.as_chunks::<2>();
        offered.contains(&scheme.to_be_bytes()).then_some(scheme)
    }

    /// The body of the CertificateVerify that signs the transcript up to the Certificate.
    pub fn certificate_verify(&self, scheme: u16, transcript: &Digest) -> Result<Vec<u8>, Failure> {
        let signed = [CONTEXT, transcript.as_bytes()].concat();
        let verify = |signature: &[u8]| messages::certificate_verify(scheme, signature);
        match &self.key {
            SigningKey::Ed25519(key) => Ok(verify(key.sign(&signed).as_ref())),
            SigningKey::EcdsaP256(key) => key
                .sign(&self.random, &signed)
                .map(|signature| verify(signature.as_ref()))
                .map_err(|_| Failure(AlertDescription::INTERNAL_ERROR)),
        }
    }
}

impl SigningKey {
    fn from_pkcs8(pkcs8: &[u8], random: &SystemRandom) -> Result<Self, IdentityError> {
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, random) {
            return Ok(Self::EcdsaP256(key));
        }
        // "Maybe unchecked": OpenSSL writes keys without their public half.
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
            .map(Self::Ed25519)
            .map_err(|_| IdentityError("key: neither ECDSA P-256 nor Ed25519".into()))
    }

    fn public(&self) -> &[u8] {
        match self {
            Self::EcdsaP256(key) => key.public_key().as_ref(),
            Self::Ed25519(key) => key.public_key().as_ref(),
        }
    }
}

fn bad(what: &str, error: &dyn fmt::Display) -> IdentityError {
    IdentityError(format!("{what}: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, KeyPair as RcgenKey, PKCS_ED25519, PKCS_RSA_SHA256};

    fn made(algorithm: &'static rcgen::SignatureAlgorithm) -> CertifiedKey<RcgenKey> {
        let signing_key = RcgenKey::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(["gateway.example".to_owned()]).unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        CertifiedKey { cert, signing_key }
    }

    #[test]
    fn keys_of_both_kinds_are_read_from_pem_and_sign_by_their_scheme() {
        let digest = dtls_session::schedule::Hash::digest(
            dtls_session::schedule::HashAlgorithm::Sha256,
            b"transcript",
        );
        for (algorithm, scheme) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, 0x0403_u16),
            (&PKCS_ED25519, 0x0807),
        ] {
            let made = made(algorithm);
            let pem = (made.cert.pem(), made.signing_key.serialize_pem());
            let identity = Identity::from_pem(pem.0.as_bytes(), pem.1.as_bytes()).unwrap();
            assert_eq!(identity.scheme(&[8, 4, 4, 3, 8, 7]), Some(scheme));
            assert_eq!(identity.scheme(&[8, 4]), None);
            let verify = identity.certificate_verify(scheme, &digest).unwrap();
            assert_eq!(verify[..2], scheme.to_be_bytes());
        }
    }

    #[test]
    fn what_does_not_belong_together_or_is_not_known_has_a_clear_error() {
        let (one, other) = (made(&PKCS_ED25519), made(&PKCS_ED25519));
        let refused = |chain: &str, key: &str| {
            let refused = Identity::from_pem(chain.as_bytes(), key.as_bytes());
            refused.err().map(|error| error.to_string()).unwrap()
        };
        let key = one.signing_key.serialize_pem();
        assert!(refused(&other.cert.pem(), &key).contains("not that of the key"));
        assert!(refused("", &key).contains("none in it"));
        assert!(refused(&one.cert.pem(), "").contains("PKCS#8"));
        assert!(
            RcgenKey::generate_for(&PKCS_RSA_SHA256).is_err(),
            "ring makes no RSA keys"
        );
    }

    #[test]
    fn what_is_signed_begins_with_64_spaces() {
        assert!(CONTEXT[..64].iter().all(|&byte| byte == b' '));
        assert_eq!(&CONTEXT[64..97], b"TLS 1.3, server CertificateVerify");
        assert!(Identity::self_signed("localhost").is_ok());
    }
}

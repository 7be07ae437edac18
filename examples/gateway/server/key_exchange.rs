//! (EC)DHE with `ring` (RFC 8446, 4.2.8 and 7.4.2).

use ring::agreement::{self, ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, X25519};
use ring::rand::SystemRandom;

use super::failure::Failure;
use dtls_session::wire::AlertDescription;

/// A named group that this server can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    X25519,
    P256,
}

impl Group {
    /// By this server's preference.
    pub const ALL: [Self; 2] = [Self::X25519, Self::P256];

    /// Its code, as key_share and supported_groups say it.
    pub const fn code(self) -> u16 {
        match self {
            Self::X25519 => 0x001d,
            Self::P256 => 0x0017,
        }
    }

    pub(super) fn algorithm(self) -> &'static agreement::Algorithm {
        match self {
            Self::X25519 => &X25519,
            Self::P256 => &ECDH_P256,
        }
    }

    /// Draws a key, agrees with the client's public value, and gives the shared secret to `kdf`.
    /// Returns the server's public value and what `kdf` made.
    pub fn agree<T>(
        self,
        client_public: &[u8],
        random: &SystemRandom,
        kdf: impl FnOnce(&[u8]) -> T,
    ) -> Result<(Vec<u8>, T), Failure> {
        let internal = |_| Failure(AlertDescription::INTERNAL_ERROR);
        let private = EphemeralPrivateKey::generate(self.algorithm(), random).map_err(internal)?;
        let public = private.compute_public_key().map_err(internal)?;
        let client_public = UnparsedPublicKey::new(self.algorithm(), client_public);
        let made = agreement::agree_ephemeral(private, &client_public, kdf)
            .map_err(|_| Failure(AlertDescription::ILLEGAL_PARAMETER))?;
        Ok((public.as_ref().to_vec(), made))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_come_to_the_same_and_a_bad_public_value_is_refused() {
        let random = SystemRandom::new();
        for group in Group::ALL {
            let client = EphemeralPrivateKey::generate(group.algorithm(), &random).unwrap();
            let public = client.compute_public_key().unwrap();
            let agreed = group.agree(public.as_ref(), &random, <[u8]>::to_vec);
            let (server_public, ours) = agreed.unwrap();
            let server_public = UnparsedPublicKey::new(group.algorithm(), server_public);
            let theirs = agreement::agree_ephemeral(client, &server_public, <[u8]>::to_vec);
            assert_eq!(ours, theirs.unwrap());

            // Zeros are a point of small order on one curve, and no point on the other.
            for bad in [&[0; 32][..], &[0; 65], &[4]] {
                assert!(group.agree(bad, &random, |_| ()).is_err(), "{group:?}");
            }
        }
    }
}

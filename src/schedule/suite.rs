//! The cipher suites of DTLS 1.3 that the engine knows (RFC 8446, B.4).

/// A cipher suite (RFC 8446, B.4; RFC 9147, 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CipherSuite {
    /// TLS_AES_128_GCM_SHA256
    Aes128GcmSha256 = 0x1301,
    /// TLS_AES_256_GCM_SHA384
    Aes256GcmSha384 = 0x1302,
    /// TLS_CHACHA20_POLY1305_SHA256
    Chacha20Poly1305Sha256 = 0x1303,
}

/// The hash of a cipher suite: that of its transcript, HKDF and binders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-256: 32-byte output, 64-byte blocks.
    Sha256,
    /// SHA-384: 48-byte output, 128-byte blocks.
    Sha384,
}

impl CipherSuite {
    /// The suite with the IANA code `code`, if the engine knows it.
    #[must_use]
    pub const fn from_code(code: u16) -> Option<Self> {
        match code {
            0x1301 => Some(Self::Aes128GcmSha256),
            0x1302 => Some(Self::Aes256GcmSha384),
            0x1303 => Some(Self::Chacha20Poly1305Sha256),
            _ => None,
        }
    }

    /// The IANA code.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// Bytes of its AEAD key, and of the key of its record number encryption.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128GcmSha256 => 16,
            Self::Aes256GcmSha384 | Self::Chacha20Poly1305Sha256 => 32,
        }
    }

    /// The hash of this suite.
    #[must_use]
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Self::Aes128GcmSha256 | Self::Chacha20Poly1305Sha256 => HashAlgorithm::Sha256,
            Self::Aes256GcmSha384 => HashAlgorithm::Sha384,
        }
    }
}

impl HashAlgorithm {
    /// Bytes of its output.
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }
}

//! Alert descriptions.

/// The reason that an alert gives (RFC 8446, 6.2). Every code can be held, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AlertDescription(pub u8);

impl AlertDescription {
    /// A message came that does not belong here.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record is longer than allowed.
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// No acceptable set of parameters.
    pub const HANDSHAKE_FAILURE: Self = Self(40);
    /// A field is syntactically right, and wrong or inconsistent with others.
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    /// A message cannot be parsed.
    pub const DECODE_ERROR: Self = Self(50);
    /// A signature, Finished or PSK binder does not verify.
    pub const DECRYPT_ERROR: Self = Self(51);
    /// No version in common.
    pub const PROTOCOL_VERSION: Self = Self(70);
    /// Something failed that has nothing to do with the peer.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// An extension that must be there is not.
    pub const MISSING_EXTENSION: Self = Self(109);
    /// An extension that must not be in this message.
    pub const UNSUPPORTED_EXTENSION: Self = Self(110);
    /// There is no server of the name in server_name.
    pub const UNRECOGNIZED_NAME: Self = Self(112);
    /// None of the offered application protocols.
    pub const NO_APPLICATION_PROTOCOL: Self = Self(120);

    /// The alert message: level fatal, which all of these are (RFC 8446, 6).
    #[must_use]
    pub const fn fatal(self) -> [u8; 2] {
        [2, self.0]
    }
}

//! Why bytes from the network are not what they claim to be.

use std::fmt;

use super::alert::AlertDescription;

/// Why bytes do not parse. The reasons are stable; a peer can cause each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Malformed {
    /// A length points past the end.
    Truncated,
    /// Bytes are left where something must end.
    TrailingBytes,
    /// A vector or number is outside the range that its syntax allows.
    OutOfRange,
    /// The first byte begins no record of DTLS 1.3 (RFC 9147, 4.1).
    NotDtls13,
    /// A plaintext record of another epoch than 0 (RFC 9147, 4).
    PlaintextEpoch,
    /// A record longer than 2^14 bytes, or 2^14 + 256 encrypted (RFC 8446, 5.1 and 5.2).
    RecordOverflow,
    /// A connection ID where none was negotiated (RFC 9147, 9).
    UnexpectedConnectionId,
    /// A handshake fragment that reaches past the end of its message (RFC 9147, 5.2).
    FragmentOutOfRange,
    /// A non-empty `legacy_cookie` together with DTLS 1.3 (RFC 9147, 5.3).
    LegacyCookie,
    /// Compression methods other than null alone, together with DTLS 1.3 (RFC 8446, 4.1.2).
    LegacyCompression,
    /// An extension that comes twice (RFC 8446, 4.2).
    DuplicateExtension,
    /// An extension that does not belong into this message (RFC 8446, 4.2).
    UnexpectedExtension,
    /// Two names of one type in server_name (RFC 6066, 3).
    DuplicateServerName,
    /// pre_shared_key is not the last extension (RFC 8446, 4.2.11).
    PreSharedKeyNotLast,
    /// Not one binder for each identity (RFC 8446, 4.2.11).
    BinderCount,
    /// pre_shared_key without psk_key_exchange_modes (RFC 8446, 4.2.9).
    MissingPskModes,
    /// key_share without supported_groups or the reverse (RFC 8446, 9.2).
    MissingKeyShare,
    /// Without pre_shared_key there is no signature_algorithms or no supported_groups
    /// (RFC 8446, 9.2).
    MissingFullHandshake,
    /// A ticket that wants to live longer than 604800 seconds (RFC 8446, 4.6.1).
    TicketLifetime,
    /// A ServerHello that selects another version than DTLS 1.3.
    NotDtls13Selected,
}

impl Malformed {
    /// The alert that this deserves where an alert is sent. What is wrong with a record is never
    /// answered: such records are dropped in silence (RFC 9147, 4.5.2).
    #[must_use]
    pub const fn alert(self) -> AlertDescription {
        match self {
            Self::Truncated | Self::TrailingBytes | Self::OutOfRange => {
                AlertDescription::DECODE_ERROR
            }
            Self::NotDtls13 | Self::PlaintextEpoch | Self::UnexpectedConnectionId => {
                AlertDescription::UNEXPECTED_MESSAGE
            }
            Self::RecordOverflow => AlertDescription::RECORD_OVERFLOW,
            Self::FragmentOutOfRange
            | Self::LegacyCookie
            | Self::LegacyCompression
            | Self::DuplicateExtension
            | Self::UnexpectedExtension
            | Self::DuplicateServerName
            | Self::PreSharedKeyNotLast
            | Self::BinderCount
            | Self::TicketLifetime => AlertDescription::ILLEGAL_PARAMETER,
            Self::MissingPskModes | Self::MissingKeyShare | Self::MissingFullHandshake => {
                AlertDescription::MISSING_EXTENSION
            }
            Self::NotDtls13Selected => AlertDescription::PROTOCOL_VERSION,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "a length points past the end",
            Self::TrailingBytes => "bytes are left over",
            Self::OutOfRange => "a length or number is out of its range",
            Self::NotDtls13 => "not a DTLS 1.3 record",
            Self::PlaintextEpoch => "a plaintext record outside epoch 0",
            Self::RecordOverflow => "a record is too long",
            Self::UnexpectedConnectionId => "a connection ID that was not negotiated",
            Self::FragmentOutOfRange => "a fragment reaches past its message",
            Self::LegacyCookie => "legacy_cookie is not empty",
            Self::LegacyCompression => "compression methods are not null alone",
            Self::DuplicateExtension => "an extension comes twice",
            Self::UnexpectedExtension => "an extension of another message",
            Self::DuplicateServerName => "two server names of one type",
            Self::PreSharedKeyNotLast => "pre_shared_key is not last",
            Self::BinderCount => "not one binder for each identity",
            Self::MissingPskModes => "pre_shared_key without psk_key_exchange_modes",
            Self::MissingKeyShare => "key_share and supported_groups do not come together",
            Self::MissingFullHandshake => {
                "neither pre_shared_key nor signature_algorithms and supported_groups"
            }
            Self::TicketLifetime => "a ticket lifetime over 604800 seconds",
            Self::NotDtls13Selected => "the selected version is not DTLS 1.3",
        })
    }
}

impl std::error::Error for Malformed {}

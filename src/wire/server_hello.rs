//! ServerHello and HelloRetryRequest (RFC 8446, 4.1.3 and 4.1.4; RFC 9147, 5.1 and 5.4).

use super::DTLS_1_3;
use super::extensions::{Extensions, extension_type as ext};
use super::key_share::KeyShareEntry;
use super::malformed::Malformed;
use super::reader::{Reader, Writer};
use crate::error::Error;

/// The random of a ServerHello that is a HelloRetryRequest (RFC 8446, 4.1.3).
const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// `legacy_version`: DTLS 1.2.
const LEGACY_VERSION: u16 = 0xfefd;

/// A ServerHello that selects DTLS 1.3, or a HelloRetryRequest, borrowed from the message's body.
#[derive(Clone, Copy, Debug)]
pub struct ServerHello<'a> {
    /// The server's random bytes.
    pub random: &'a [u8; 32],
    /// Empty, except from servers that echo it although they must not.
    pub legacy_session_id_echo: &'a [u8],
    /// The selected cipher suite.
    pub cipher_suite: u16,
    /// Which of the offered identities was selected, counted from 0. None: no resumption.
    pub selected_identity: Option<u16>,
    /// The server's key share; never in a HelloRetryRequest.
    pub key_share: Option<KeyShareEntry<'a>>,
    /// The group that a HelloRetryRequest asks a key share for.
    pub selected_group: Option<u16>,
    /// What the next ClientHello has to echo; only in a HelloRetryRequest.
    pub cookie: Option<&'a [u8]>,
    /// The connection ID that the server wants to find in the records it receives (RFC 9146, 3).
    pub connection_id: Option<&'a [u8]>,
}

impl<'a> ServerHello<'a> {
    /// Reads the body of a ServerHello or HelloRetryRequest.
    ///
    /// # Errors
    /// Why it does not parse; [`Malformed::NotDtls13Selected`] if it selects another version.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        reader.u16()?;
        let mut hello = Self {
            random: reader.array()?,
            legacy_session_id_echo: reader.vec8()?,
            cipher_suite: reader.u16()?,
            selected_identity: None,
            key_share: None,
            selected_group: None,
            cookie: None,
            connection_id: None,
        };
        let compression_method = reader.u8()?;
        // Before TLS 1.3 a ServerHello could end here.
        let mut extensions = Extensions::new(if reader.is_empty() {
            &[]
        } else {
            reader.vec16()?
        });
        reader.finish()?;
        let mut version = None;
        while let Some((extension_type, data)) = extensions.next()? {
            let mut reader = Reader::new(data);
            match extension_type {
                ext::SUPPORTED_VERSIONS => version = Some(reader.u16()?),
                ext::KEY_SHARE if hello.is_hello_retry_request() => {
                    hello.selected_group = Some(reader.u16()?);
                }
                ext::KEY_SHARE => hello.key_share = Some(KeyShareEntry::read(&mut reader)?),
                ext::PRE_SHARED_KEY if hello.is_hello_retry_request() => {
                    return Err(Malformed::UnexpectedExtension);
                }
                ext::PRE_SHARED_KEY => hello.selected_identity = Some(reader.u16()?),
                ext::COOKIE if !hello.is_hello_retry_request() => {
                    return Err(Malformed::UnexpectedExtension);
                }
                ext::COOKIE => {
                    let cookie = reader.vec16()?;
                    if cookie.is_empty() {
                        return Err(Malformed::OutOfRange);
                    }
                    hello.cookie = Some(cookie);
                }
                ext::CONNECTION_ID => hello.connection_id = Some(reader.vec8()?),
                _ => continue,
            }
            reader.finish()?;
        }
        if version != Some(DTLS_1_3) {
            return Err(Malformed::NotDtls13Selected);
        }
        if compression_method != 0 {
            return Err(Malformed::LegacyCompression);
        }
        Ok(hello)
    }

    /// This is a HelloRetryRequest: there is no 0-RTT any more.
    #[must_use]
    pub fn is_hello_retry_request(&self) -> bool {
        *self.random == HELLO_RETRY_REQUEST
    }
}

/// A HelloRetryRequest to be written. Its `legacy_session_id_echo` is empty, whatever the client
/// sent (RFC 9147, 5).
#[derive(Clone, Copy, Debug)]
pub struct HelloRetryRequest<'a> {
    /// The cipher suite that the ServerHello will select too.
    pub cipher_suite: u16,
    /// The group to send a key share for, if the client has to send another one.
    pub selected_group: Option<u16>,
    /// What the client has to echo: 1 byte or more.
    pub cookie: &'a [u8],
}

impl HelloRetryRequest<'_> {
    /// Writes the body to the start of `out` and returns its length in bytes.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`] if `out` is too short, [`Error::Length`] if the cookie is empty or
    /// too long.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Error> {
        if self.cookie.is_empty() {
            return Err(Error::Length("an empty cookie"));
        }
        let mut writer = Writer::new(out);
        writer.u16(LEGACY_VERSION);
        writer.bytes(&HELLO_RETRY_REQUEST);
        writer.vec8(|_| ());
        writer.u16(self.cipher_suite);
        writer.u8(0);
        writer.vec16(|w| {
            w.u16(ext::SUPPORTED_VERSIONS);
            w.vec16(|w| w.u16(DTLS_1_3));
            if let Some(group) = self.selected_group {
                w.u16(ext::KEY_SHARE);
                w.vec16(|w| w.u16(group));
            }
            w.u16(ext::COOKIE);
            w.vec16(|w| w.vec16(|w| w.bytes(self.cookie)));
        });
        writer.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REQUEST: HelloRetryRequest<'static> = HelloRetryRequest {
        cipher_suite: 0x1301,
        selected_group: Some(0x001d),
        cookie: b"cookie",
    };

    #[test]
    fn a_hello_retry_request_is_laid_out_as_the_rfc_says() {
        let mut out = [0; 100];
        let len = REQUEST.write(&mut out).unwrap();
        let expected = [
            &[0xfe, 0xfd][..],
            &HELLO_RETRY_REQUEST,
            &[0, 0x13, 0x01, 0, 0, 24],
            &[0, 43, 0, 2, 0xfe, 0xfc],
            &[0, 51, 0, 2, 0, 0x1d],
            b"\0\x2c\0\x08\0\x06cookie",
        ]
        .concat();
        assert_eq!(out[..len], expected);

        let read = ServerHello::parse(&out[..len]).unwrap();
        assert!(read.is_hello_retry_request());
        assert_eq!(read.cipher_suite, 0x1301);
        assert_eq!(read.selected_group, Some(0x001d));
        assert_eq!(read.cookie, Some(&b"cookie"[..]));
        assert!(read.key_share.is_none());

        let short = REQUEST.write(&mut out[..len - 1]);
        assert_eq!(short, Err(Error::BufferTooSmall { needed: len }));
        let no_cookie = HelloRetryRequest {
            cookie: b"",
            ..REQUEST
        };
        assert!(matches!(no_cookie.write(&mut out), Err(Error::Length(_))));
    }

    #[test]
    fn another_version_is_not_taken_for_dtls_13() {
        let mut out = [0; 100];
        let len = REQUEST.write(&mut out).unwrap();
        let selected_version = 2 + 32 + 1 + 2 + 1 + 2 + 4;
        out[selected_version + 1] = 0xfd;
        let why = ServerHello::parse(&out[..len]).err();
        assert_eq!(why, Some(Malformed::NotDtls13Selected));
        // Without extensions, as DTLS 1.2 allows
        assert_eq!(ServerHello::parse(&out[..38]).err(), why);
    }

    #[test]
    fn extensions_of_the_other_message_are_illegal() {
        // Given a HelloRetryRequest that becomes a ServerHello by its random
        let mut out = [0; 100];
        let request = HelloRetryRequest {
            selected_group: None,
            ..REQUEST
        };
        let len = request.write(&mut out).unwrap();
        out[2] ^= 1;
        let why = ServerHello::parse(&out[..len]).err();
        assert_eq!(why, Some(Malformed::UnexpectedExtension));

        // And one that selects an identity: the cookie's place is large enough
        let len = request.write(&mut out).unwrap();
        out[len - 12..len].copy_from_slice(&[0, 41, 0, 2, 0, 0, 0x7a, 0x7a, 0, 2, 0, 0]);
        let why = ServerHello::parse(&out[..len]).err();
        assert_eq!(why, Some(Malformed::UnexpectedExtension));
        out[2] ^= 1;
        let hello = ServerHello::parse(&out[..len]).unwrap();
        assert_eq!(hello.selected_identity, Some(0));
    }

    proptest! {
        #[test]
        fn any_change_gives_a_view_or_a_reason(
            at in 0..64_usize, to in any::<u8>(), len in 0..=64_usize,
        ) {
            let mut out = [0; 64];
            prop_assert_eq!(REQUEST.write(&mut out), Ok(64));
            prop_assert_eq!(ServerHello::parse(&out[..len]).is_ok(), len == 64);
            out[at] = to;
            let _ = ServerHello::parse(&out[..len]);
        }
    }
}

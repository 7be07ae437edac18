//! Where what lies in the body of a ClientHello, found in one pass.

use std::ops::Range;

use super::DTLS_1_3;
use super::extensions::{Extensions, extension_type as ext};
use super::key_share::KeyShareEntry;
use super::malformed::Malformed;
use super::pre_shared_key::{PreSharedKeys, PskModes};
use super::reader::Reader;
use super::vectors::{codes, each, in_range, only_vec8, only_vec16, u16s};

/// Behind the version.
pub(super) const RANDOM_AT: usize = 2;
pub(super) const RANDOM_LEN: usize = 32;

/// Where in a body what lies, and what was found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) legacy_session_id: Span,
    pub(super) legacy_cookie: Span,
    pub(super) cipher_suites: Span,
    pub(super) extensions: Span,
    pub(super) server_name: Span,
    pub(super) supported_groups: Span,
    pub(super) signature_algorithms: Span,
    pub(super) alpn: Span,
    pub(super) cookie: Span,
    pub(super) key_share: Span,
    pub(super) connection_id: Span,
    pub(super) identities: Span,
    pub(super) binders: Span,
    pub(super) truncated_len: u32,
    pub(super) psk_modes: Option<PskModes>,
    pub(super) offers_dtls13: bool,
    pub(super) early_data: bool,
}

/// A part of a body; from 0, where the version is: it is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    begin: u32,
    len: u32,
}

impl Span {
    const NONE: Self = Self { begin: 0, len: 0 };

    /// Where `part` lies in `body`, of which it was taken. What a vector can hold does not reach 2^32.
    #[inline]
    pub(super) fn of(part: &[u8], body: &[u8]) -> Self {
        Self {
            begin: (part.as_ptr() as usize).wrapping_sub(body.as_ptr() as usize) as u32,
            len: part.len() as u32,
        }
    }

    #[inline]
    pub(super) fn range(self) -> Range<usize> {
        let begin = self.begin as usize;
        begin..begin.wrapping_add(self.len as usize)
    }

    #[inline]
    fn is_there(self) -> bool {
        self.begin > 0
    }

    #[inline]
    pub(super) fn in_body(self, body: &[u8]) -> Option<&[u8]> {
        match self.is_there() {
            true => body.get(self.range()),
            false => None,
        }
    }
}

impl Layout {
    pub(super) const EMPTY: Self = Self {
        legacy_session_id: Span::NONE,
        legacy_cookie: Span::NONE,
        cipher_suites: Span::NONE,
        extensions: Span::NONE,
        server_name: Span::NONE,
        supported_groups: Span::NONE,
        signature_algorithms: Span::NONE,
        alpn: Span::NONE,
        cookie: Span::NONE,
        key_share: Span::NONE,
        connection_id: Span::NONE,
        identities: Span::NONE,
        binders: Span::NONE,
        truncated_len: 0,
        psk_modes: None,
        offers_dtls13: false,
        early_data: false,
    };

    /// Reads `body` to where this one is, which is [`EMPTY`](Self::EMPTY).
    ///
    /// It looks at nothing that [`ClientHello::opaque`](super::ClientHello::opaque) names: where a
    /// shape is known, it is not asked.
    pub(super) fn read(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let span = |part| Span::of(part, body);
        let mut reader = Reader::new(body);
        reader.take(RANDOM_AT + RANDOM_LEN)?;
        self.legacy_session_id = span(in_range(reader.vec8()?, 0, 32)?);
        self.legacy_cookie = span(reader.vec8()?);
        self.cipher_suites = span(codes(reader.vec16()?)?);
        let compression_methods = in_range(reader.vec8()?, 1, 255)?;
        // Before TLS 1.3 a ClientHello could end here.
        if !reader.is_empty() {
            let extensions = reader.vec16()?;
            reader.finish()?;
            self.extensions = span(extensions);
            self.read_extensions(extensions, body)?;
        }
        if self.offers_dtls13 {
            self.check_dtls13(compression_methods)?;
        }
        Ok(())
    }

    #[inline]
    fn read_extensions(&mut self, extensions: &[u8], body: &[u8]) -> Result<(), Malformed> {
        let span = |part| Span::of(part, body);
        let mut extensions = Extensions::new(extensions);
        while let Some((extension_type, data)) = extensions.next()? {
            match extension_type {
                ext::SERVER_NAME => {
                    self.server_name = host_name(only_vec16(data)?)?.map_or(Span::NONE, span);
                }
                ext::SUPPORTED_GROUPS => self.supported_groups = span(codes(only_vec16(data)?)?),
                ext::SIGNATURE_ALGORITHMS => {
                    self.signature_algorithms = span(codes(only_vec16(data)?)?);
                }
                ext::ALPN => {
                    let protocols = in_range(only_vec16(data)?, 2, usize::MAX)?;
                    each(protocols, |item| in_range(item.vec8()?, 1, 255))?;
                    self.alpn = span(protocols);
                }
                ext::EARLY_DATA => {
                    Reader::new(data).finish()?;
                    self.early_data = true;
                }
                ext::SUPPORTED_VERSIONS => {
                    self.offers_dtls13 = u16s(codes(only_vec8(data)?)?).any(|v| v == DTLS_1_3);
                }
                ext::COOKIE => self.cookie = span(in_range(only_vec16(data)?, 1, usize::MAX)?),
                ext::PSK_KEY_EXCHANGE_MODES => {
                    let modes = in_range(only_vec8(data)?, 1, 255)?;
                    self.psk_modes = Some(PskModes {
                        psk_ke: modes.contains(&0),
                        psk_dhe_ke: modes.contains(&1),
                    });
                }
                ext::KEY_SHARE => {
                    let shares = only_vec16(data)?;
                    each(shares, KeyShareEntry::read)?;
                    self.key_share = span(shares);
                }
                ext::CONNECTION_ID => self.connection_id = span(only_vec8(data)?),
                ext::PRE_SHARED_KEY => {
                    if !extensions.is_at_end() {
                        return Err(Malformed::PreSharedKeyNotLast);
                    }
                    let offered = PreSharedKeys::read(data, body.len())?;
                    self.truncated_len = offered.truncated_len as u32;
                    self.identities = span(offered.identities);
                    self.binders = span(offered.binders);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_dtls13(&self, compression: &[u8]) -> Result<(), Malformed> {
        if self.legacy_cookie.len > 0 {
            return Err(Malformed::LegacyCookie);
        }
        if compression != [0] {
            return Err(Malformed::LegacyCompression);
        }
        let [offers_psk, has_groups, has_key_share, has_algorithms] = [
            self.identities,
            self.supported_groups,
            self.key_share,
            self.signature_algorithms,
        ]
        .map(Span::is_there);
        if offers_psk && self.psk_modes.is_none() {
            return Err(Malformed::MissingPskModes);
        }
        // The list of key shares may be empty.
        if has_key_share != has_groups {
            return Err(Malformed::MissingKeyShare);
        }
        if !(offers_psk || has_algorithms && has_groups) {
            return Err(Malformed::MissingFullHandshake);
        }
        Ok(())
    }
}

/// The host_name of a server_name list (RFC 6066, 3). Names of unknown types begin with a 16-bit
/// length like it, and are passed over.
fn host_name(list: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let mut host_name = None;
    let mut reader = Reader::new(in_range(list, 1, usize::MAX)?);
    while !reader.is_empty() {
        let name_type = reader.u8()?;
        let name = in_range(reader.vec16()?, 1, usize::MAX)?;
        if name_type == 0 && host_name.replace(name).is_some() {
            return Err(Malformed::DuplicateServerName);
        }
    }
    Ok(host_name)
}

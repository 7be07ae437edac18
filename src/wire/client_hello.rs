//! ClientHello (RFC 9147, 5.3; RFC 8446, 4.1.2): a view of its body, made in one pass.

use super::DTLS_1_3;
use super::extensions::{Extensions, extension_type as ext};
use super::malformed::Malformed;
use super::reader::Reader;

/// A ClientHello, borrowed from the message's body (without the handshake header).
///
/// Every vector was checked to its end when it was parsed: the iterators yield all there is.
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'a> {
    /// Means nothing in DTLS 1.3: `fefd`.
    pub legacy_version: u16,
    /// The client's random bytes.
    pub random: &'a [u8; 32],
    /// Means nothing in DTLS 1.3; some clients fill it. The server does not echo it.
    pub legacy_session_id: &'a [u8],
    /// Empty if DTLS 1.3 is offered; DTLS 1.2 has its cookie here.
    pub legacy_cookie: &'a [u8],
    /// supported_versions has DTLS 1.3.
    pub offers_dtls13: bool,
    /// The host_name in server_name (RFC 6066, 3): 1 byte or more, of any kind.
    pub server_name: Option<&'a [u8]>,
    /// psk_key_exchange_modes, if it is there.
    pub psk_modes: Option<PskModes>,
    /// early_data is there: records of epoch 1 follow.
    pub early_data: bool,
    /// cookie (RFC 8446, 4.2.2), echoed from a HelloRetryRequest.
    pub cookie: Option<&'a [u8]>,
    /// connection_id (RFC 9146, 3): what the client wants to find in the records it receives.
    pub connection_id: Option<&'a [u8]>,
    /// signature_algorithms: codes of 2 bytes each.
    pub signature_algorithms: Option<&'a [u8]>,
    /// pre_shared_key.
    pub pre_shared_keys: Option<PreSharedKeys<'a>>,
    cipher_suites: &'a [u8],
    alpn: &'a [u8],
    supported_groups: &'a [u8],
    key_share: &'a [u8],
    extensions: &'a [u8],
}

/// The ways to use a PSK that a client supports (RFC 8446, 4.2.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PskModes {
    /// PSK alone.
    pub psk_ke: bool,
    /// PSK with (EC)DHE.
    pub psk_dhe_ke: bool,
}

/// The offered PSKs (RFC 8446, 4.2.11): at least one identity, and a binder for each.
#[derive(Clone, Copy, Debug)]
pub struct PreSharedKeys<'a> {
    /// How many bytes of the ClientHello's body are under the binders: up to the list of binders,
    /// without its length. A transcript has the 4 bytes of
    /// [`tls_header`](super::tls_header) before them.
    pub truncated_len: usize,
    identities: &'a [u8],
    binders: &'a [u8],
}

/// A ticket, as a client offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PskIdentity<'a> {
    /// The ticket: 1 byte or more.
    pub identity: &'a [u8],
    /// Milliseconds since the client received the ticket, plus `ticket_age_add`, modulo 2^32.
    pub obfuscated_ticket_age: u32,
}

/// A key share (RFC 8446, 4.2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyShareEntry<'a> {
    /// The named group.
    pub group: u16,
    /// The public value: 1 byte or more.
    pub key_exchange: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// Reads the body of a ClientHello.
    ///
    /// Rules of DTLS 1.3 alone are applied only where DTLS 1.3 is offered: an older client's hello
    /// is no error, it is somebody else's.
    ///
    /// # Errors
    /// Why it does not parse, and with [`Malformed::alert`] the alert to send.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let legacy_version = reader.u16()?;
        let random = reader.array()?;
        let legacy_session_id = in_range(reader.vec8()?, 0, 32)?;
        let legacy_cookie = reader.vec8()?;
        let cipher_suites = codes(reader.vec16()?)?;
        let compression_methods = in_range(reader.vec8()?, 1, 255)?;
        // Before TLS 1.3 a ClientHello could end here.
        let extensions = if reader.is_empty() {
            &[]
        } else {
            reader.vec16()?
        };
        reader.finish()?;

        let mut hello = Self {
            legacy_version,
            random,
            legacy_session_id,
            legacy_cookie,
            offers_dtls13: false,
            server_name: None,
            psk_modes: None,
            early_data: false,
            cookie: None,
            connection_id: None,
            signature_algorithms: None,
            pre_shared_keys: None,
            cipher_suites,
            alpn: &[],
            supported_groups: &[],
            key_share: &[],
            extensions,
        };
        let has_key_share = hello.read_extensions(body.len())?;
        if hello.offers_dtls13 {
            hello.check_dtls13(compression_methods, has_key_share)?;
        }
        Ok(hello)
    }

    /// The offered cipher suites, by preference.
    pub fn cipher_suites(&self) -> impl Iterator<Item = u16> + Clone + use<'a> {
        u16s(self.cipher_suites)
    }

    /// The offered application protocols (RFC 7301, 3.1), by preference.
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        items(self.alpn, Reader::vec8)
    }

    /// The named groups that the client supports, by preference.
    pub fn supported_groups(&self) -> impl Iterator<Item = u16> + Clone + use<'a> {
        u16s(self.supported_groups)
    }

    /// The client's key shares.
    pub fn key_shares(&self) -> impl Iterator<Item = KeyShareEntry<'a>> + Clone + use<'a> {
        items(self.key_share, key_share_entry)
    }

    /// All extensions in order: type and data.
    pub fn extensions(&self) -> impl Iterator<Item = (u16, &'a [u8])> + Clone + use<'a> {
        items(self.extensions, |reader| {
            Ok((reader.u16()?, reader.vec16()?))
        })
    }

    /// Returns whether there is a key_share, which may be an empty list.
    #[inline]
    fn read_extensions(&mut self, body_len: usize) -> Result<bool, Malformed> {
        let mut has_key_share = false;
        let mut extensions = Extensions::new(self.extensions);
        while let Some((extension_type, data)) = extensions.next()? {
            let mut reader = Reader::new(data);
            match extension_type {
                ext::SERVER_NAME => self.server_name = host_name(reader.vec16()?)?,
                ext::SUPPORTED_GROUPS => self.supported_groups = codes(reader.vec16()?)?,
                ext::SIGNATURE_ALGORITHMS => {
                    self.signature_algorithms = Some(codes(reader.vec16()?)?);
                }
                ext::ALPN => {
                    self.alpn = in_range(reader.vec16()?, 2, usize::MAX)?;
                    each(self.alpn, |item| in_range(item.vec8()?, 1, 255))?;
                }
                ext::EARLY_DATA => self.early_data = true,
                ext::SUPPORTED_VERSIONS => {
                    self.offers_dtls13 = u16s(codes(reader.vec8()?)?).any(|v| v == DTLS_1_3);
                }
                ext::COOKIE => self.cookie = Some(in_range(reader.vec16()?, 1, usize::MAX)?),
                ext::PSK_KEY_EXCHANGE_MODES => {
                    let modes = in_range(reader.vec8()?, 1, 255)?;
                    self.psk_modes = Some(PskModes {
                        psk_ke: modes.contains(&0),
                        psk_dhe_ke: modes.contains(&1),
                    });
                }
                ext::KEY_SHARE => {
                    has_key_share = true;
                    self.key_share = reader.vec16()?;
                    each(self.key_share, key_share_entry)?;
                }
                ext::CONNECTION_ID => self.connection_id = Some(reader.vec8()?),
                ext::PRE_SHARED_KEY => {
                    if !extensions.is_at_end() {
                        return Err(Malformed::PreSharedKeyNotLast);
                    }
                    self.pre_shared_keys = Some(pre_shared_keys(&mut reader, body_len)?);
                }
                _ => continue,
            }
            reader.finish()?;
        }
        Ok(has_key_share)
    }

    fn check_dtls13(&self, compression: &[u8], has_key_share: bool) -> Result<(), Malformed> {
        if !self.legacy_cookie.is_empty() {
            return Err(Malformed::LegacyCookie);
        }
        if compression != [0] {
            return Err(Malformed::LegacyCompression);
        }
        if self.pre_shared_keys.is_some() && self.psk_modes.is_none() {
            return Err(Malformed::MissingPskModes);
        }
        if has_key_share == self.supported_groups.is_empty() {
            return Err(Malformed::MissingKeyShare);
        }
        Ok(())
    }
}

impl<'a> PreSharedKeys<'a> {
    /// The identities, by preference. There may be thousands: look at no more than are worth it.
    pub fn identities(&self) -> impl Iterator<Item = PskIdentity<'a>> + Clone + use<'a> {
        items(self.identities, psk_identity)
    }

    /// The binders, of 32 to 255 bytes: one for each identity, in the same order.
    pub fn binders(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        items(self.binders, Reader::vec8)
    }
}

/// The extension is the last of the body, so the binders' list ends where the body ends.
fn pre_shared_keys<'a>(
    reader: &mut Reader<'a>,
    body_len: usize,
) -> Result<PreSharedKeys<'a>, Malformed> {
    let identities = in_range(reader.vec16()?, 7, usize::MAX)?;
    let truncated_len = body_len - reader.rest().len();
    let binders = in_range(reader.vec16()?, 33, usize::MAX)?;
    let binder = |item: &mut Reader<'a>| in_range(item.vec8()?, 32, 255);
    if each(identities, psk_identity)? != each(binders, binder)? {
        return Err(Malformed::BinderCount);
    }
    Ok(PreSharedKeys {
        truncated_len,
        identities,
        binders,
    })
}

#[inline]
fn psk_identity<'a>(reader: &mut Reader<'a>) -> Result<PskIdentity<'a>, Malformed> {
    Ok(PskIdentity {
        identity: in_range(reader.vec16()?, 1, usize::MAX)?,
        obfuscated_ticket_age: reader.u32()?,
    })
}

#[inline]
fn key_share_entry<'a>(reader: &mut Reader<'a>) -> Result<KeyShareEntry<'a>, Malformed> {
    Ok(KeyShareEntry {
        group: reader.u16()?,
        key_exchange: in_range(reader.vec16()?, 1, usize::MAX)?,
    })
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

/// Codes of 2 bytes, at least one.
#[inline]
const fn codes(bytes: &[u8]) -> Result<&[u8], Malformed> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(2) {
        Err(Malformed::OutOfRange)
    } else {
        Ok(bytes)
    }
}

#[inline]
const fn in_range(bytes: &[u8], min: usize, max: usize) -> Result<&[u8], Malformed> {
    if bytes.len() < min || bytes.len() > max {
        Err(Malformed::OutOfRange)
    } else {
        Ok(bytes)
    }
}

/// Reads items to the end of `bytes`, and counts them.
#[inline]
fn each<'a, T>(
    bytes: &'a [u8],
    mut item: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<usize, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut count = 0;
    while !reader.is_empty() {
        item(&mut reader)?;
        count += 1;
    }
    Ok(count)
}

/// The items of bytes that [`each`] has found right.
fn items<'a, T>(
    bytes: &'a [u8],
    item: fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> impl Iterator<Item = T> + Clone + use<'a, T> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || item(&mut reader).ok())
}

fn u16s(bytes: &[u8]) -> impl Iterator<Item = u16> + Clone + use<'_> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_be_bytes(*pair))
}

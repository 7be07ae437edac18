//! The handshake messages of a server, as bodies without a header (RFC 8446, 4).

use dtls_session::wire::{DTLS_1_3, HandshakeType};

/// DTLS 1.2, which is what `legacy_version` says.
const LEGACY_VERSION: u16 = 0xfefd;

pub const REQUEST_CONNECTION_ID: HandshakeType = HandshakeType(9);
pub const NEW_CONNECTION_ID: HandshakeType = HandshakeType(10);
pub const CERTIFICATE: HandshakeType = HandshakeType(11);
pub const CERTIFICATE_VERIFY: HandshakeType = HandshakeType(15);
pub const KEY_UPDATE: HandshakeType = HandshakeType(24);

mod extension {
    pub const ALPN: u16 = 16;
    pub const PRE_SHARED_KEY: u16 = 41;
    pub const EARLY_DATA: u16 = 42;
    pub const SUPPORTED_VERSIONS: u16 = 43;
    pub const KEY_SHARE: u16 = 51;
    pub const CONNECTION_ID: u16 = 54;
}

/// What a ServerHello says.
pub struct ServerHello<'a> {
    pub random: [u8; 32],
    pub cipher_suite: u16,
    /// Group and public value, unless the PSK is used alone.
    pub key_share: Option<(u16, &'a [u8])>,
    pub selected_identity: Option<u16>,
    /// What this server wants to find in the records that it receives.
    pub connection_id: Option<&'a [u8]>,
}

impl ServerHello<'_> {
    /// `legacy_session_id_echo` is empty, whatever the client sent (RFC 9147, 5).
    pub fn write(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(160);
        u16(&mut body, LEGACY_VERSION);
        body.extend(self.random);
        body.push(0);
        u16(&mut body, self.cipher_suite);
        body.push(0);
        vec16(&mut body, |body| {
            extension(body, extension::SUPPORTED_VERSIONS, |body| {
                u16(body, DTLS_1_3)
            });
            if let Some((group, public)) = self.key_share {
                extension(body, extension::KEY_SHARE, |body| {
                    u16(body, group);
                    vec16(body, |body| body.extend(public));
                });
            }
            if let Some(index) = self.selected_identity {
                extension(body, extension::PRE_SHARED_KEY, |body| u16(body, index));
            }
            if let Some(id) = self.connection_id {
                extension(body, extension::CONNECTION_ID, |body| vec8(body, id));
            }
        });
        body
    }
}

/// EncryptedExtensions: the selected protocol, and whether early data is accepted.
pub fn encrypted_extensions(alpn: Option<&[u8]>, early_data: bool) -> Vec<u8> {
    let mut body = Vec::with_capacity(32);
    vec16(&mut body, |body| {
        if let Some(protocol) = alpn {
            extension(body, extension::ALPN, |body| {
                vec16(body, |body| vec8(body, protocol));
            });
        }
        if early_data {
            extension(body, extension::EARLY_DATA, |_| ());
        }
    });
    body
}

/// Certificate, with a chain of X.509 certificates in DER, the server's own first.
pub fn certificate<'a>(chain: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    // No certificate_request_context.
    let mut body = vec![0];
    vec24(&mut body, |body| {
        for der in chain {
            vec24(body, |body| body.extend(der));
            vec16(body, |_| ());
        }
    });
    body
}

/// CertificateVerify.
pub fn certificate_verify(scheme: u16, signature: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(80);
    u16(&mut body, scheme);
    vec16(&mut body, |body| body.extend(signature));
    body
}

/// NewConnectionId with the usage `cid_spare` (RFC 9147, 9) and no identifiers: this server has
/// one for each client, and that is what a request for more is answered with.
pub fn no_new_connection_id() -> Vec<u8> {
    vec![0, 0, 1]
}

/// The first identifier of a NewConnectionId that is to be used at once. `None` if there is none;
/// an error if it does not parse.
pub fn read_new_connection_id(body: &[u8]) -> Result<Option<&[u8]>, ()> {
    let (len, rest) = body.split_first_chunk::<2>().ok_or(())?;
    let len = usize::from(u16::from_be_bytes(*len));
    let (mut ids, usage) = rest.split_at_checked(len).ok_or(())?;
    let mut first = None;
    while let Some((&len, tail)) = ids.split_first() {
        let (id, tail) = tail.split_at_checked(len.into()).ok_or(())?;
        first = first.or(Some(id));
        ids = tail;
    }
    match usage {
        [0] => Ok(first),
        [1] => Ok(None),
        _ => Err(()),
    }
}

/// Whether a KeyUpdate wants one in return. An error if it does not parse.
pub fn read_key_update(body: &[u8]) -> Result<bool, ()> {
    match body {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(()),
    }
}

fn extension(body: &mut Vec<u8>, extension_type: u16, data: impl FnOnce(&mut Vec<u8>)) {
    u16(body, extension_type);
    vec16(body, data);
}

fn u16(body: &mut Vec<u8>, value: u16) {
    body.extend(value.to_be_bytes());
}

fn vec8(body: &mut Vec<u8>, content: &[u8]) {
    vector::<1>(body, |body| body.extend(content));
}

fn vec16(body: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    vector::<2>(body, content);
}

fn vec24(body: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    vector::<3>(body, content);
}

/// What `content` writes, behind its length. All lengths here come from the server's own settings,
/// which are checked when they are read.
fn vector<const PREFIX: usize>(body: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let start = body.len();
    body.extend([0; PREFIX]);
    content(body);
    let len = (body.len() - start - PREFIX).to_be_bytes();
    body[start..start + PREFIX].copy_from_slice(&len[len.len() - PREFIX..]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use dtls_session::wire;

    #[test]
    fn a_server_hello_is_read_by_the_library_as_it_was_meant() {
        let hello = ServerHello {
            random: [7; 32],
            cipher_suite: 0x1301,
            key_share: Some((29, &[9; 32])),
            selected_identity: Some(1),
            connection_id: Some(b"id"),
        };
        let body = hello.write();
        let read = wire::ServerHello::parse(&body).unwrap();
        assert_eq!(read.random, &[7; 32]);
        assert_eq!(read.cipher_suite, 0x1301);
        assert_eq!(read.legacy_session_id_echo, b"");
        assert_eq!(read.selected_identity, Some(1));
        assert_eq!(read.connection_id, Some(&b"id"[..]));
        let share = read.key_share.unwrap();
        assert_eq!((share.group, share.key_exchange), (29, &[9; 32][..]));
        assert!(!read.is_hello_retry_request());
    }

    #[test]
    fn vectors_say_their_lengths() {
        assert_eq!(
            encrypted_extensions(Some(b"coap"), true),
            b"\0\x0f\0\x10\0\x07\0\x05\x04coap\0\x2a\0\0"
        );
        let chain: [&[u8]; 2] = [b"one", b"two!"];
        let expected = b"\0\0\0\x11\0\0\x03one\0\0\0\0\x04two!\0\0";
        assert_eq!(certificate(chain.into_iter()), expected);
        assert_eq!(certificate_verify(0x0403, b"sig"), b"\x04\x03\0\x03sig");
    }

    #[test]
    fn connection_ids_are_taken_when_they_are_meant_for_now() {
        assert_eq!(
            read_new_connection_id(b"\0\x05\x01a\x02bc\0"),
            Ok(Some(&b"a"[..]))
        );
        assert_eq!(read_new_connection_id(b"\0\x05\x01a\x02bc\x01"), Ok(None));
        assert_eq!(read_new_connection_id(&no_new_connection_id()), Ok(None));
        for bad in [
            &b""[..],
            b"\0\x02\x02a\0",
            b"\0\0",
            b"\0\0\x02",
            b"\0\0\0\0",
        ] {
            assert_eq!(read_new_connection_id(bad), Err(()), "{bad:?}");
        }
        assert_eq!(read_key_update(&[1]), Ok(true));
        assert_eq!(read_key_update(&[2]), Err(()));
    }
}

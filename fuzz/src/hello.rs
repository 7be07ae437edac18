//! ClientHellos taken apart: those of the crate's own client, and those of real ones.

use std::sync::OnceLock;

use dtls_session::client::ClientHelloParams;
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::{ClientHello, PskModes};

use crate::captured;
use crate::script::{Script, edit};

const COOKIE: u16 = 44;
const EARLY_DATA: u16 = 42;
const PRE_SHARED_KEY: u16 = 41;

/// A ClientHello before it offers a session: the way in which a client writes its own.
#[derive(Clone, Debug)]
pub struct Hello {
    legacy_session_id: Vec<u8>,
    cipher_suites: Vec<u16>,
    /// All but those that depend on the session.
    extensions: Vec<(u16, Vec<u8>)>,
    /// The host_name that it names.
    pub server_name: Option<Vec<u8>>,
    /// The first application protocol that it offers.
    pub alpn: Option<Vec<u8>>,
    /// The groups that it has key shares of: one at least.
    pub groups: Vec<u16>,
}

impl Hello {
    fn read(body: &[u8]) -> Option<Self> {
        let hello = ClientHello::parse(body).ok()?;
        let of_session = [COOKIE, EARLY_DATA, PRE_SHARED_KEY];
        Some(Self {
            legacy_session_id: hello.legacy_session_id().to_vec(),
            cipher_suites: hello.cipher_suites().collect(),
            extensions: hello
                .extensions()
                .filter(|(kind, _)| !of_session.contains(kind))
                .map(|(kind, data)| (kind, data.to_vec()))
                .collect(),
            server_name: hello.server_name().map(<[u8]>::to_vec),
            alpn: hello.alpn().next().map(<[u8]>::to_vec),
            groups: hello.key_shares().map(|share| share.group).collect(),
        })
        .filter(|hello| !hello.groups.is_empty())
    }

    /// The suites that it offers and that are known here.
    pub fn suites(&self) -> Vec<CipherSuite> {
        let known = self.cipher_suites.iter().copied();
        known.filter_map(CipherSuite::from_code).collect()
    }

    /// Its body, with early_data, the cookie if there is one, and a whole pre_shared_key
    /// extension at its end.
    pub fn body(&self, random: [u8; 32], cookie: Option<&[u8]>, pre_shared_key: &[u8]) -> Vec<u8> {
        let mut parts = Parts {
            random,
            legacy_session_id: self.legacy_session_id.clone(),
            cipher_suites: self.cipher_suites.clone(),
            extensions: self.extensions.clone(),
        };
        match cookie {
            Some(cookie) => {
                let data = [&(cookie.len() as u16).to_be_bytes()[..], cookie].concat();
                parts.extensions.push((COOKIE, data));
            }
            None => parts.extensions.push((EARLY_DATA, Vec::new())),
        }
        parts
            .extensions
            .push((PRE_SHARED_KEY, pre_shared_key[4..].to_vec()));
        parts.body()
    }
}

/// All that clients here say, real ones last.
pub fn hellos() -> &'static [Hello] {
    static HELLOS: OnceLock<Vec<Hello>> = OnceLock::new();
    HELLOS.get_or_init(|| {
        let own = own().into_iter();
        own.chain(captured::client_hellos())
            .filter_map(|body| Hello::read(&body))
            .collect()
    })
}

fn own() -> Vec<Vec<u8>> {
    let plain = ClientHelloParams {
        supported_groups: &[0x001d],
        key_shares: &[(0x001d, &[7; 32])],
        ..ClientHelloParams::new([0; 32])
    };
    let all = [
        plain,
        ClientHelloParams {
            server_name: Some("gateway.example"),
            alpn: &[b"coap", b"h3"],
            ..plain
        },
        ClientHelloParams {
            cipher_suites: &[CipherSuite::Aes256GcmSha384],
            legacy_session_id: &[5; 32],
            connection_id: Some(b"CID"),
            supported_groups: &[0x0017],
            key_shares: &[(0x0017, &[4; 65])],
            ..plain
        },
        ClientHelloParams {
            cipher_suites: &[CipherSuite::Chacha20Poly1305Sha256],
            server_name: Some("a"),
            psk_modes: PskModes {
                psk_ke: true,
                psk_dhe_ke: true,
            },
            ..plain
        },
    ];
    let write = |params: &ClientHelloParams<'_>| {
        let mut body = vec![0; 1024];
        let len = params.write(None, &mut body).unwrap_or_default();
        body.truncate(len);
        body
    };
    all.iter().map(write).collect()
}

/// The parts of a ClientHello, to be put together in another way.
struct Parts {
    random: [u8; 32],
    legacy_session_id: Vec<u8>,
    cipher_suites: Vec<u16>,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Parts {
    fn read(body: &[u8]) -> Option<Self> {
        let hello = ClientHello::parse(body).ok()?;
        Some(Self {
            random: *hello.random(),
            legacy_session_id: hello.legacy_session_id().to_vec(),
            cipher_suites: hello.cipher_suites().collect(),
            extensions: hello
                .extensions()
                .map(|(kind, data)| (kind, data.to_vec()))
                .collect(),
        })
    }

    fn body(&self) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend(self.random);
        body.push(self.legacy_session_id.len() as u8);
        body.extend(&self.legacy_session_id);
        body.push(0);
        body.extend((2 * self.cipher_suites.len() as u16).to_be_bytes());
        body.extend(self.cipher_suites.iter().flat_map(|s| s.to_be_bytes()));
        body.extend([1, 0]);
        let len: usize = self.extensions.iter().map(|(_, data)| 4 + data.len()).sum();
        body.extend((len as u16).to_be_bytes());
        for (kind, data) in &self.extensions {
            body.extend(kind.to_be_bytes());
            body.extend((data.len() as u16).to_be_bytes());
            body.extend(data);
        }
        body
    }
}

/// Changes a ClientHello as one who knows its structure: all lengths are right afterwards. What
/// does not parse is left as it is.
pub fn rewrite(script: &mut Script<'_>, body: &mut Vec<u8>) {
    let Some(mut parts) = Parts::read(body) else {
        return;
    };
    let extensions = &mut parts.extensions;
    let at = script.one_of(extensions.len().max(1));
    match script.one_of(8) {
        0 => parts.random[at % 32] ^= 1 << script.one_of(8),
        1 => {
            parts.legacy_session_id = script.bytes().iter().copied().take(32).collect();
        }
        2 => {
            let suite = script.u16();
            let at = script.place(parts.cipher_suites.len());
            parts.cipher_suites.insert(at, suite);
        }
        _ if extensions.is_empty() => {}
        3 => drop(extensions.remove(at)),
        4 => {
            let to = script.one_of(extensions.len());
            extensions.swap(at, to);
        }
        5 => {
            let again = extensions[at].clone();
            extensions.insert(at, again);
        }
        6 => extensions[at].0 = script.u16(),
        _ => edit(script, &mut extensions[at].1),
    }
    *body = parts.body();
}

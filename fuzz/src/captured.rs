//! What real stacks sent: `tests/flights`.

use std::collections::BTreeMap;

use dtls_session::wire::{ContentType, HandshakeType, Record, fragments, records};

macro_rules! cases {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../tests/flights/", $name, "/dgrams.txt")))),*]
    };
}

const CASES: [(&str, &str); 7] = cases![
    "boringssl_pq_fragmented_ch",
    "wolfssl_aes128_x25519",
    "wolfssl_aes256_p256",
    "wolfssl_chacha_x25519",
    "wolfssl_default_pq_groups",
    "wolfssl_hrr_cookie_rejects_0rtt",
    "wolfssl_sni",
];

/// A datagram on its way to a server, or back.
pub struct Captured {
    /// The name of its case.
    pub case: &'static str,
    /// The name of its connection in the case.
    pub connection: &'static str,
    /// It was sent by the client.
    pub is_clients: bool,
    /// Its payload.
    pub bytes: Vec<u8>,
}

/// All of them, in the order in which they were sent.
pub fn datagrams() -> Vec<Captured> {
    let lines = CASES
        .iter()
        .flat_map(|(case, text)| text.lines().map(|line| (*case, line)));
    lines
        .filter_map(|(case, line)| {
            let mut words = line.split_whitespace();
            let connection = words.next()?;
            let is_clients = words.nth(1)? == ">";
            Some(Captured {
                case,
                connection,
                is_clients,
                bytes: hex(words.nth(1)?)?,
            })
        })
        .collect()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    rest.is_empty()
        .then(|| pairs.iter().map(byte).collect())
        .flatten()
}

/// The bodies of the ClientHellos in them.
pub fn client_hellos() -> Vec<Vec<u8>> {
    let mut messages: BTreeMap<_, Vec<Option<u8>>> = BTreeMap::new();
    for datagram in datagrams().iter().filter(|datagram| datagram.is_clients) {
        for record in records(&datagram.bytes, 0).flatten() {
            let Record::Plaintext(record) = record else {
                continue;
            };
            if record.content_type != ContentType::HANDSHAKE {
                continue;
            }
            for part in fragments(record.fragment).flatten() {
                if part.msg_type != HandshakeType::CLIENT_HELLO {
                    continue;
                }
                let whose = (datagram.case, datagram.connection, part.message_seq);
                let message = messages
                    .entry(whose)
                    .or_insert_with(|| vec![None; part.length as usize]);
                let at = part.fragment_offset as usize;
                for (to, from) in message[at..].iter_mut().zip(part.body) {
                    *to = Some(*from);
                }
            }
        }
    }
    messages
        .into_values()
        .filter_map(|message| message.into_iter().collect())
        .collect()
}

//! A ClientHello for simple clients, load tools and tests, and the datagrams it goes out in
//! (RFC 9147, 5.2 and 5.3).

use super::offer::{EarlyDataSealer, Offer};
use crate::Error;
use crate::schedule::{CipherSuite, RECORD_OVERHEAD_LEN, Transcript};
use crate::wire::{
    ContentType, DTLS_1_3, HANDSHAKE_HEADER_LEN, HandshakeType, LEGACY_RECORD_VERSION,
    MAX_PLAINTEXT_LEN, PLAINTEXT_HEADER_LEN, PskModes, Writer, dtls_header, extension_type as ext,
    plaintext_header,
};

/// What is in a ClientHello. Empty lists and `None` leave their extension out.
#[derive(Clone, Copy, Debug)]
pub struct ClientHelloParams<'a> {
    /// Drawn anew for each handshake; the same in the second ClientHello of one.
    pub random: [u8; 32],
    /// Up to 32 bytes that mean nothing; DTLS 1.3 clients should send none.
    pub legacy_session_id: &'a [u8],
    /// By preference. A session is resumed only under a suite with its hash, and its early data is
    /// taken only under its own suite.
    pub cipher_suites: &'a [CipherSuite],
    /// The host_name in server_name.
    pub server_name: Option<&'a str>,
    /// Application protocols, by preference.
    pub alpn: &'a [&'a [u8]],
    /// Named groups, by preference. If there are none, there is no key_share either.
    pub supported_groups: &'a [u16],
    /// Named groups with the client's public values.
    pub key_shares: &'a [(u16, &'a [u8])],
    /// Signature schemes, by preference.
    pub signature_algorithms: &'a [u16],
    /// How PSKs may be used. Needed to offer a session, and to be sent tickets.
    pub psk_modes: PskModes,
    /// What a HelloRetryRequest said, to be echoed.
    pub cookie: Option<&'a [u8]>,
    /// What the client wants to find in the records it receives; may be empty.
    pub connection_id: Option<&'a [u8]>,
    /// Announces early data, if the offer allows it.
    pub early_data: bool,
}

impl ClientHelloParams<'_> {
    /// A ClientHello with all suites, ECDSA, RSA-PSS and Ed25519 signatures, and PSKs with
    /// (EC)DHE. Key shares have to be added.
    #[must_use]
    pub const fn new(random: [u8; 32]) -> Self {
        Self {
            random,
            legacy_session_id: &[],
            cipher_suites: &[
                CipherSuite::Aes128GcmSha256,
                CipherSuite::Aes256GcmSha384,
                CipherSuite::Chacha20Poly1305Sha256,
            ],
            server_name: None,
            alpn: &[],
            supported_groups: &[],
            key_shares: &[],
            signature_algorithms: &[0x0403, 0x0804, 0x0807],
            psk_modes: PskModes {
                psk_ke: false,
                psk_dhe_ke: true,
            },
            cookie: None,
            connection_id: None,
            early_data: false,
        }
    }

    /// Writes the body of the ClientHello to the start of `out` and returns its length in bytes.
    /// With an `offer`, the body still has to be [bound](Offer::bind).
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`], or [`Error::Length`] if something is longer than its field.
    pub fn write(&self, offer: Option<&Offer>, out: &mut [u8]) -> Result<usize, Error> {
        if self.legacy_session_id.len() > 32 {
            return Err(Error::Length("legacy_session_id"));
        }
        let mut w = Writer::new(out);
        w.u16(LEGACY_RECORD_VERSION);
        w.bytes(&self.random);
        w.vec8(|w| w.bytes(self.legacy_session_id));
        w.vec8(|_| ()); // legacy_cookie
        w.vec16(|w| self.cipher_suites.iter().for_each(|s| w.u16(s.code())));
        w.vec8(|w| w.u8(0)); // no compression
        w.vec16(|w| {
            self.write_extensions(offer, w);
            if let Some(offer) = offer {
                offer.write(w);
            }
        });
        w.finish()
    }

    fn write_extensions(&self, offer: Option<&Offer>, w: &mut Writer<'_>) {
        extension(w, ext::SUPPORTED_VERSIONS, |w| w.vec8(|w| w.u16(DTLS_1_3)));
        if let Some(name) = self.server_name {
            extension(w, ext::SERVER_NAME, |w| {
                w.vec16(|w| {
                    w.u8(0); // host_name
                    w.vec16(|w| w.bytes(name.as_bytes()));
                });
            });
        }
        if !self.alpn.is_empty() {
            extension(w, ext::ALPN, |w| {
                w.vec16(|w| self.alpn.iter().for_each(|name| w.vec8(|w| w.bytes(name))));
            });
        }
        if !self.supported_groups.is_empty() {
            extension(w, ext::SUPPORTED_GROUPS, |w| {
                codes(w, self.supported_groups)
            });
            extension(w, ext::KEY_SHARE, |w| {
                w.vec16(|w| {
                    for (group, key_exchange) in self.key_shares {
                        w.u16(*group);
                        w.vec16(|w| w.bytes(key_exchange));
                    }
                });
            });
        }
        if !self.signature_algorithms.is_empty() {
            extension(w, ext::SIGNATURE_ALGORITHMS, |w| {
                codes(w, self.signature_algorithms)
            });
        }
        if self.psk_modes != PskModes::default() {
            extension(w, ext::PSK_KEY_EXCHANGE_MODES, |w| {
                w.vec8(|w| {
                    if self.psk_modes.psk_dhe_ke {
                        w.u8(1);
                    }
                    if self.psk_modes.psk_ke {
                        w.u8(0);
                    }
                });
            });
        }
        if let Some(cookie) = self.cookie {
            extension(w, ext::COOKIE, |w| w.vec16(|w| w.bytes(cookie)));
        }
        if let Some(connection_id) = self.connection_id {
            extension(w, ext::CONNECTION_ID, |w| {
                w.vec8(|w| w.bytes(connection_id))
            });
        }
        if self.announces_early_data(offer) {
            extension(w, ext::EARLY_DATA, |_| ());
        }
    }

    fn announces_early_data(&self, offer: Option<&Offer>) -> bool {
        self.early_data && offer.is_some_and(Offer::allows_early_data)
    }
}

fn extension(w: &mut Writer<'_>, extension_type: u16, data: impl FnOnce(&mut Writer<'_>)) {
    w.u16(extension_type);
    w.vec16(data);
}

fn codes(w: &mut Writer<'_>, codes: &[u16]) {
    w.vec16(|w| codes.iter().for_each(|&code| w.u16(code)));
}

/// How a ClientHello is cut into datagrams. The default is that of a first one.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// 0 for the first ClientHello, 1 for the one after a HelloRetryRequest.
    pub message_seq: u16,
    /// The record number of the first record. A retransmission goes on counting.
    pub sequence_number: u64,
    /// Bytes of the longest datagram. Default 1200.
    pub max_datagram_len: usize,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            message_seq: 0,
            sequence_number: 0,
            max_datagram_len: 1200,
        }
    }
}

impl Framing {
    /// The datagrams of the ClientHello with `body`, each one record with one fragment.
    ///
    /// # Errors
    /// [`Error::Config`] if a datagram has no room for a fragment, [`Error::Length`] if the body
    /// is longer than a handshake message.
    pub fn datagrams(&self, body: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        const HEADERS_LEN: usize = PLAINTEXT_HEADER_LEN + HANDSHAKE_HEADER_LEN;
        let room = self.max_datagram_len.saturating_sub(HEADERS_LEN);
        let room = room.min(MAX_PLAINTEXT_LEN - HANDSHAKE_HEADER_LEN);
        if room == 0 {
            return Err(Error::Config("max_datagram_len"));
        }
        let len = u32::try_from(body.len()).ok().filter(|len| *len < 1 << 24);
        let len = len.ok_or(Error::Length("ClientHello"))?;
        let datagrams = body.chunks(room).zip(0..).map(|(fragment, i)| {
            let fragment_len = fragment.len() as u32;
            let offset = i * room as u32;
            let record_len = (HANDSHAKE_HEADER_LEN + fragment.len()) as u16;
            let sequence_number = self.sequence_number.saturating_add(i.into());
            let header = plaintext_header(ContentType::HANDSHAKE, sequence_number, record_len);
            let handshake = dtls_header(
                HandshakeType::CLIENT_HELLO,
                len,
                self.message_seq,
                offset,
                fragment_len,
            );
            [&header[..], &handshake, fragment].concat()
        });
        Ok(datagrams.collect())
    }
}

/// What a client sends before the server's first answer.
pub struct FirstFlight {
    /// The body of the ClientHello. Needed to retransmit it and to continue after a
    /// HelloRetryRequest.
    pub client_hello: Vec<u8>,
    /// The ClientHello in one datagram or more, then one for each piece of early data.
    pub datagrams: Vec<Vec<u8>>,
    /// The transcript up to and with the ClientHello, if a session is offered.
    pub transcript: Option<Transcript>,
    /// Seals more early data, until the handshake is complete or the server has refused it.
    pub early_data: Option<EarlyDataSealer>,
}

impl FirstFlight {
    /// Writes the flight of a ClientHello with `params`, which offers `offer` if there is one, and
    /// of the `early_data`, one datagram each.
    ///
    /// After a HelloRetryRequest the second ClientHello is written in the same way: with the offer
    /// [prepared](Offer::retry) for it, the cookie, and a `message_seq` of 1.
    ///
    /// # Errors
    /// [`Error::Config`] if there is early data that was not announced, cannot be in this
    /// handshake, or is longer than a datagram, or if the parameters do not make a ClientHello;
    /// [`Error::Length`] if something is too long for its field.
    pub fn new(
        params: &ClientHelloParams<'_>,
        offer: Option<&mut Offer>,
        framing: &Framing,
        early_data: &[&[u8]],
    ) -> Result<Self, Error> {
        let announced = params.announces_early_data(offer.as_deref());
        if !announced && !early_data.is_empty() {
            return Err(Error::Config("early data that is not announced"));
        }
        let mut client_hello = to_vec(|out| params.write(offer.as_deref(), out))?;
        let mut transcript = None;
        let mut sealer = None;
        if let Some(offer) = offer {
            let bound = offer.bind(&mut client_hello)?;
            if announced {
                sealer = Some(offer.early_data(&bound)?);
            }
            transcript = Some(bound);
        }
        let mut datagrams = framing.datagrams(&client_hello)?;
        if let Some(sealer) = &mut sealer {
            for plaintext in early_data {
                let mut datagram = vec![0; plaintext.len() + RECORD_OVERHEAD_LEN];
                if datagram.len() > framing.max_datagram_len {
                    return Err(Error::Config("early data longer than max_datagram_len"));
                }
                let len = sealer.seal(plaintext, &mut datagram)?;
                datagram.truncate(len);
                datagrams.push(datagram);
            }
        }
        Ok(Self {
            client_hello,
            datagrams,
            transcript,
            early_data: sealer,
        })
    }
}

/// Writes twice: to learn how long it is, and then for good.
fn to_vec(mut write: impl FnMut(&mut [u8]) -> Result<usize, Error>) -> Result<Vec<u8>, Error> {
    let needed = match write(&mut []) {
        Err(Error::BufferTooSmall { needed }) => needed,
        other => other?,
    };
    let mut bytes = vec![0; needed];
    write(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::session::tests::session;
    use super::*;
    use crate::time::UnixMillis;
    use crate::wire::{ClientHello, KeyShareEntry, Record, fragments, records};

    const FULL: ClientHelloParams<'static> = ClientHelloParams {
        legacy_session_id: &[5; 32],
        cipher_suites: &[CipherSuite::Chacha20Poly1305Sha256],
        server_name: Some("gateway.example"),
        alpn: &[b"coap", b"mqtt"],
        supported_groups: &[29, 23],
        key_shares: &[(29, &[6; 32]), (23, &[4; 65])],
        signature_algorithms: &[0x0403],
        psk_modes: PskModes {
            psk_ke: true,
            psk_dhe_ke: true,
        },
        cookie: Some(b"cookie"),
        connection_id: Some(b""),
        early_data: true,
        ..ClientHelloParams::new([9; 32])
    };

    #[test]
    fn everything_that_is_put_in_is_read_out() {
        let mut offer = session(b"ticket", 0, 3600).offer(UnixMillis(5));
        let flight =
            FirstFlight::new(&FULL, Some(&mut offer), &Framing::default(), &[b"hi"]).unwrap();
        let hello = ClientHello::parse(&flight.client_hello).unwrap();

        assert!(hello.offers_dtls13 && hello.early_data);
        assert_eq!(hello.random, &[9; 32]);
        assert_eq!(hello.legacy_session_id, [5; 32]);
        assert!(hello.legacy_cookie.is_empty());
        assert!(hello.cipher_suites().eq([0x1303]));
        assert_eq!(hello.server_name, Some(&b"gateway.example"[..]));
        assert!(hello.alpn().eq([b"coap", b"mqtt"]));
        assert!(hello.supported_groups().eq([29, 23]));
        let share = |group, key_exchange| KeyShareEntry {
            group,
            key_exchange,
        };
        assert!(
            hello
                .key_shares()
                .eq([share(29, &[6; 32]), share(23, &[4; 65])])
        );
        assert_eq!(hello.signature_algorithms, Some(&[4, 3][..]));
        assert_eq!(hello.psk_modes, Some(FULL.psk_modes));
        assert_eq!(hello.cookie, Some(&b"cookie"[..]));
        assert_eq!(hello.connection_id, Some(&b""[..]));
        let offered = hello.pre_shared_keys.unwrap().identities().next().unwrap();
        assert_eq!(offered.identity, b"ticket");
        assert_eq!(offered.obfuscated_ticket_age, offer.obfuscated_ticket_age());
        // pre_shared_key is the last.
        assert_eq!(hello.extensions().last().unwrap().0, ext::PRE_SHARED_KEY);
    }

    #[test]
    fn a_client_hello_without_a_session_offers_no_psk_and_no_early_data() {
        let flight = FirstFlight::new(&FULL, None, &Framing::default(), &[]).unwrap();
        let hello = ClientHello::parse(&flight.client_hello).unwrap();
        assert!(hello.pre_shared_keys.is_none() && !hello.early_data);
        assert!(flight.transcript.is_none() && flight.early_data.is_none());
        let early = FirstFlight::new(&FULL, None, &Framing::default(), &[b"hi"]);
        assert!(matches!(early, Err(Error::Config(_))));
    }

    #[test]
    fn trap_29_a_long_client_hello_goes_out_in_fragments_that_fit_and_join() {
        let framing = Framing {
            message_seq: 1,
            sequence_number: 7,
            max_datagram_len: 90,
        };
        let flight = FirstFlight::new(&FULL, None, &framing, &[]).unwrap();
        assert!(flight.datagrams.len() > 2);
        let mut joined: Vec<u8> = Vec::new();
        for (datagram, sequence_number) in flight.datagrams.iter().zip(7..) {
            assert!(datagram.len() <= 90);
            let Some(Ok(Record::Plaintext(record))) = records(datagram, 0).next() else {
                panic!("no plaintext record")
            };
            assert_eq!(record.sequence_number, sequence_number);
            let fragment = fragments(record.fragment).next().unwrap().unwrap();
            assert_eq!(fragment.msg_type, HandshakeType::CLIENT_HELLO);
            assert_eq!(fragment.message_seq, 1);
            assert_eq!(fragment.length as usize, flight.client_hello.len());
            assert_eq!(fragment.fragment_offset as usize, joined.len());
            joined.extend(fragment.body);
        }
        assert_eq!(joined, flight.client_hello);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let new = |params: &ClientHelloParams<'_>, max_datagram_len, early: &[&[u8]]| {
            let mut offer = session(b"ticket", 0, 3600).offer(UnixMillis(5));
            let framing = Framing {
                max_datagram_len,
                ..Framing::default()
            };
            FirstFlight::new(params, Some(&mut offer), &framing, early).map(|_| ())
        };
        assert_eq!(new(&FULL, 26, &[]), Ok(()));
        assert!(matches!(new(&FULL, 25, &[]), Err(Error::Config(_))));
        assert!(matches!(
            new(&FULL, 100, &[&[0; 100]]),
            Err(Error::Config(_))
        ));
        let long_session_id = ClientHelloParams {
            legacy_session_id: &[0; 33],
            ..FULL
        };
        assert!(matches!(
            new(&long_session_id, 1200, &[]),
            Err(Error::Length(_))
        ));
        let long_name = "n".repeat(70_000);
        let long_name = ClientHelloParams {
            server_name: Some(&long_name),
            ..FULL
        };
        assert!(matches!(new(&long_name, 1200, &[]), Err(Error::Length(_))));
        let no_modes = ClientHelloParams {
            psk_modes: PskModes::default(),
            ..FULL
        };
        assert!(matches!(new(&no_modes, 1200, &[]), Err(Error::Config(_))));
    }
}

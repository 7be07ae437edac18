//! A ClientHello for simple clients, load tools and tests (RFC 9147, 5.3).

use super::offer::Offer;
use super::session::SessionInfo;
use crate::Error;
use crate::schedule::CipherSuite;
use crate::wire::{
    ClientHello, DTLS_1_3, LEGACY_RECORD_VERSION, PskModes, Writer, extension_type as ext,
};

/// What is in a ClientHello. Empty lists and `None` leave their extension out.
#[derive(Clone, Copy, Debug)]
pub struct ClientHelloParams<'a> {
    /// Drawn anew for each handshake; the same in the second ClientHello of one.
    pub random: [u8; 32],
    /// Up to 32 bytes that mean nothing; clients with no session of an older version send none.
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
    /// The client's public values, each of one of the `supported_groups`.
    pub key_shares: &'a [(u16, &'a [u8])],
    /// Signature schemes, by preference.
    pub signature_algorithms: &'a [u16],
    /// How PSKs may be used. Needed to offer a session, and to be sent tickets.
    pub psk_modes: PskModes,
    /// What a HelloRetryRequest said, to be echoed.
    pub cookie: Option<&'a [u8]>,
    /// What the client wants to find in the records it receives; may be empty.
    pub connection_id: Option<&'a [u8]>,
    /// Announces early data where it can be accepted: if the offer allows it, and the suite and the
    /// application protocol of its session are offered, or no protocol if that has none.
    pub early_data: bool,
}

impl ClientHelloParams<'_> {
    /// A ClientHello with all suites, ECDSA, RSA-PSS and Ed25519 signatures, and PSKs with
    /// (EC)DHE. Groups and key shares have to be added.
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
    /// [`Error::BufferTooSmall`], [`Error::Length`] if something is longer than its field, or
    /// [`Error::Config`] if this would be no ClientHello, if there are key shares and no groups, or if
    /// the suites all have another hash than the session.
    pub fn write(&self, offer: Option<&Offer>, out: &mut [u8]) -> Result<usize, Error> {
        if self.legacy_session_id.len() > 32 {
            return Err(Error::Length("legacy_session_id"));
        }
        if offer.is_some_and(|offer| !self.offers_hash_of(offer.session().info())) {
            return Err(Error::Config("no suite with the hash of the session"));
        }
        if self.supported_groups.is_empty() && !self.key_shares.is_empty() {
            return Err(Error::Config("key shares without supported groups"));
        }
        let mut w = Writer::new(&mut *out);
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
        let len = w.finish()?;
        match ClientHello::parse(&out[..len]) {
            Ok(_) => Ok(len),
            Err(_) => Err(Error::Config("these parameters make no ClientHello")),
        }
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

    pub(super) fn announces_early_data(&self, offer: Option<&Offer>) -> bool {
        let can_be_accepted = |offer: &Offer| {
            offer.allows_early_data() && self.offers_suite_and_protocol_of(offer.session().info())
        };
        self.early_data && offer.is_some_and(can_be_accepted)
    }

    /// Without, no server accepts early data of the session (RFC 8446, 4.2.10).
    fn offers_suite_and_protocol_of(&self, session: &SessionInfo) -> bool {
        let protocol = match &session.alpn {
            Some(alpn) => self.alpn.contains(&&**alpn),
            None => self.alpn.is_empty(),
        };
        protocol && self.cipher_suites.contains(&session.suite)
    }

    fn offers_hash_of(&self, session: &SessionInfo) -> bool {
        let hash = session.suite.hash();
        self.cipher_suites.iter().any(|suite| suite.hash() == hash)
    }
}

fn extension(w: &mut Writer<'_>, extension_type: u16, data: impl FnOnce(&mut Writer<'_>)) {
    w.u16(extension_type);
    w.vec16(data);
}

fn codes(w: &mut Writer<'_>, codes: &[u16]) {
    w.vec16(|w| codes.iter().for_each(|&code| w.u16(code)));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::super::flight::{FirstFlight, Framing};
    use super::super::session::ClientSession;
    use super::super::session::tests::{TICKET, session};
    use super::*;
    use crate::time::UnixMillis;
    use crate::wire::KeyShareEntry;

    pub(crate) const FULL: ClientHelloParams<'static> = ClientHelloParams {
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

    pub(crate) fn offer(suite: CipherSuite, alpn: Option<&[u8]>) -> Offer {
        let session = ClientSession::from_psk(&TICKET, suite, &[7; 32], alpn, UnixMillis(0));
        session.unwrap().offer(UnixMillis(5)).unwrap()
    }

    #[test]
    fn everything_that_is_put_in_is_read_out() {
        let mut offer = offer(CipherSuite::Chacha20Poly1305Sha256, Some(b"mqtt"));
        let flight =
            FirstFlight::new(&FULL, Some(&mut offer), &Framing::default(), &[b"hi"]).unwrap();
        let hello = ClientHello::parse(&flight.client_hello).unwrap();

        assert!(hello.offers_dtls13() && hello.early_data());
        assert_eq!(hello.random(), &[9; 32]);
        assert_eq!(hello.legacy_session_id(), [5; 32]);
        assert!(hello.legacy_cookie().is_empty());
        assert!(hello.cipher_suites().eq([0x1303]));
        assert_eq!(hello.server_name(), Some(&b"gateway.example"[..]));
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
        assert_eq!(hello.signature_algorithms(), Some(&[4, 3][..]));
        assert_eq!(hello.psk_modes(), Some(FULL.psk_modes));
        assert_eq!(hello.cookie(), Some(&b"cookie"[..]));
        assert_eq!(hello.connection_id(), Some(&b""[..]));
        let offered = hello
            .pre_shared_keys()
            .unwrap()
            .identities()
            .next()
            .unwrap();
        assert_eq!(offered.identity, b"ticket");
        assert_eq!(offered.obfuscated_ticket_age, offer.obfuscated_ticket_age());
        // pre_shared_key is the last.
        assert_eq!(hello.extensions().last().unwrap().0, ext::PRE_SHARED_KEY);
    }

    #[test]
    fn a_client_hello_without_a_session_offers_no_psk_and_no_early_data() {
        let flight = FirstFlight::new(&FULL, None, &Framing::default(), &[]).unwrap();
        let hello = ClientHello::parse(&flight.client_hello).unwrap();
        assert!(hello.pre_shared_keys().is_none() && !hello.early_data());
        assert!(flight.transcript.is_none() && flight.early_data.is_none());
        let early = FirstFlight::new(&FULL, None, &Framing::default(), &[b"hi"]);
        assert!(matches!(early, Err(Error::Config(_))));
    }

    #[test]
    fn trap_21_early_data_is_announced_under_the_suite_and_protocol_of_its_session_only() {
        use CipherSuite::{Aes128GcmSha256, Chacha20Poly1305Sha256};
        let coap = Some(&b"coap"[..]);
        for (suite, alpn, offered, announced) in [
            (Chacha20Poly1305Sha256, coap, FULL.alpn, true),
            (Chacha20Poly1305Sha256, None, &[], true),
            // Another suite of the same hash, another protocol, one of the two without any.
            (Aes128GcmSha256, coap, FULL.alpn, false),
            (Chacha20Poly1305Sha256, Some(b"h3"), FULL.alpn, false),
            (Chacha20Poly1305Sha256, coap, &[], false),
            (Chacha20Poly1305Sha256, None, FULL.alpn, false),
        ] {
            let params = ClientHelloParams {
                alpn: offered,
                ..FULL
            };
            let flight = |early: &[&[u8]]| {
                let mut offer = offer(suite, alpn);
                FirstFlight::new(&params, Some(&mut offer), &Framing::default(), early)
            };
            let resumption = flight(&[]).unwrap();
            let hello = ClientHello::parse(&resumption.client_hello).unwrap();
            assert!(hello.pre_shared_keys().is_some());
            assert_eq!(hello.early_data(), announced, "{suite:?} {alpn:?}");
            assert_eq!(resumption.early_data.is_some(), announced);
            assert_eq!(flight(&[b"hi"]).is_ok(), announced);
        }
    }

    #[test]
    fn a_session_is_not_offered_where_no_suite_has_its_hash() {
        let suites = [CipherSuite::Aes256GcmSha384];
        let params = ClientHelloParams {
            cipher_suites: &suites,
            ..FULL
        };
        let new = |offer| FirstFlight::new(&params, offer, &Framing::default(), &[]).map(|_| ());
        let mut offer = session(b"ticket", 0, 3600).offer(UnixMillis(5)).unwrap();
        let no_suite = Error::Config("no suite with the hash of the session");
        assert_eq!(new(Some(&mut offer)), Err(no_suite));
        assert_eq!(new(None), Ok(()));
    }

    #[test]
    fn parameters_that_make_no_client_hello_are_an_error() {
        let none = Err(Error::Config("these parameters make no ClientHello"));
        let new = |params: &ClientHelloParams<'_>, offer: Option<&mut Offer>| {
            FirstFlight::new(params, offer, &Framing::default(), &[]).map(|_| ())
        };
        for params in [
            ClientHelloParams {
                server_name: Some(""),
                ..FULL
            },
            ClientHelloParams {
                alpn: &[b""],
                ..FULL
            },
            ClientHelloParams {
                key_shares: &[(29, &[])],
                ..FULL
            },
            ClientHelloParams {
                cookie: Some(b""),
                ..FULL
            },
        ] {
            let mut offer = offer(CipherSuite::Chacha20Poly1305Sha256, None);
            assert_eq!(new(&params, None), none, "{params:?}");
            assert_eq!(new(&params, Some(&mut offer)), none, "{params:?}");
        }
        let no_suites = ClientHelloParams {
            cipher_suites: &[],
            ..FULL
        };
        assert_eq!(new(&no_suites, None), none);
        // Shares that would be left out with the groups, in silence.
        let no_groups = ClientHelloParams {
            supported_groups: &[],
            ..FULL
        };
        let mut session = offer(CipherSuite::Chacha20Poly1305Sha256, None);
        let left_out = Err(Error::Config("key shares without supported groups"));
        assert_eq!(new(&no_groups, Some(&mut session)), left_out);
        // Those that a session is offered without a way to use it.
        let no_modes = ClientHelloParams {
            psk_modes: PskModes::default(),
            ..FULL
        };
        let mut offer = offer(CipherSuite::Chacha20Poly1305Sha256, None);
        assert_eq!(new(&no_modes, Some(&mut offer)), none);
        assert_eq!(new(&no_modes, None), Ok(()));
    }
}

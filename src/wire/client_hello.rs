//! ClientHello (RFC 9147, 5.3; RFC 8446, 4.1.2): a view of its body.

use std::ops::Range;

use super::key_share::KeyShareEntry;
use super::layout::{Layout, RANDOM_AT, RANDOM_LEN, Span};
use super::malformed::Malformed;
use super::pre_shared_key::{PreSharedKeys, PskModes};
use super::reader::Reader;
use super::vectors::{items, u16s};

/// A ClientHello, borrowed from the message's body (without the handshake header).
///
/// Every vector was checked to its end when it was parsed: the iterators yield all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    pub(super) body: &'a [u8],
    pub(super) layout: Layout,
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
        let mut hello = Self::EMPTY;
        hello.read(body)?;
        Ok(hello)
    }

    /// One that says nothing, to be read into.
    pub(crate) const EMPTY: Self = Self {
        body: &[],
        layout: Layout::EMPTY,
    };

    /// Reads `body` to where this one is, which is [`EMPTY`](Self::EMPTY): copying a ClientHello
    /// takes a good part of the time that reading it does.
    #[inline]
    pub(super) fn read(&mut self, body: &'a [u8]) -> Result<(), Malformed> {
        self.body = body;
        self.layout.read(body)
    }

    /// The parts of the body at which [`read`](Self::read) does not look, and need not: what is
    /// found is the same whatever they say. [`Layout::read`] has to keep to that.
    pub(super) fn opaque(&self) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let (body, layout) = (self.body, &self.layout);
        let vectors = [
            layout.legacy_session_id,
            layout.legacy_cookie,
            layout.cipher_suites,
            layout.server_name,
            layout.supported_groups,
            layout.signature_algorithms,
            layout.cookie,
            layout.connection_id,
        ];
        let part = move |part| Span::of(part, body).range();
        let shares = self.key_shares().map(move |share| part(share.key_exchange));
        let offered = self.pre_shared_keys();
        let psks = offered.into_iter().flat_map(move |offered| {
            // Behind an identity is its age.
            let identities = offered.identities().map(move |psk| part(psk.identity));
            let identities = identities.map(|identity| identity.start..identity.end + 4);
            identities.chain(offered.binders().map(part))
        });
        std::iter::once(RANDOM_AT..RANDOM_AT + RANDOM_LEN)
            .chain(vectors.map(Span::range))
            .chain(shares)
            .chain(psks)
    }

    #[inline]
    fn part(&self, span: Span) -> &'a [u8] {
        span.in_body(self.body).unwrap_or_default()
    }

    /// Means nothing in DTLS 1.3: `fefd`.
    #[must_use]
    pub fn legacy_version(&self) -> u16 {
        self.body
            .first_chunk()
            .map_or(0, |version| u16::from_be_bytes(*version))
    }

    /// The client's random bytes.
    #[must_use]
    pub fn random(&self) -> &'a [u8; RANDOM_LEN] {
        let behind_version = self.body.get(RANDOM_AT..).unwrap_or_default();
        behind_version.first_chunk().unwrap_or(&[0; RANDOM_LEN])
    }

    /// Means nothing in DTLS 1.3; some clients fill it. The server does not echo it.
    #[must_use]
    pub fn legacy_session_id(&self) -> &'a [u8] {
        self.part(self.layout.legacy_session_id)
    }

    /// Empty if DTLS 1.3 is offered; DTLS 1.2 has its cookie here.
    #[must_use]
    pub fn legacy_cookie(&self) -> &'a [u8] {
        self.part(self.layout.legacy_cookie)
    }

    /// supported_versions has DTLS 1.3.
    #[must_use]
    #[inline]
    pub fn offers_dtls13(&self) -> bool {
        self.layout.offers_dtls13
    }

    /// The host_name in server_name (RFC 6066, 3): 1 byte or more, of any kind.
    #[must_use]
    #[inline]
    pub fn server_name(&self) -> Option<&'a [u8]> {
        self.layout.server_name.in_body(self.body)
    }

    /// psk_key_exchange_modes, if it is there.
    #[must_use]
    #[inline]
    pub fn psk_modes(&self) -> Option<PskModes> {
        self.layout.psk_modes
    }

    /// early_data is there: records of epoch 1 follow.
    #[must_use]
    #[inline]
    pub fn early_data(&self) -> bool {
        self.layout.early_data
    }

    /// cookie (RFC 8446, 4.2.2), echoed from a HelloRetryRequest.
    #[must_use]
    #[inline]
    pub fn cookie(&self) -> Option<&'a [u8]> {
        self.layout.cookie.in_body(self.body)
    }

    /// connection_id (RFC 9146, 3): what the client wants to find in the records it receives.
    #[must_use]
    pub fn connection_id(&self) -> Option<&'a [u8]> {
        self.layout.connection_id.in_body(self.body)
    }

    /// pre_shared_key.
    #[must_use]
    #[inline]
    pub fn pre_shared_keys(&self) -> Option<PreSharedKeys<'a>> {
        let identities = self.layout.identities.in_body(self.body)?;
        let binders = self.layout.binders.in_body(self.body)?;
        Some(PreSharedKeys {
            truncated_len: self.layout.truncated_len as usize,
            identities,
            binders,
        })
    }

    /// signature_algorithms: codes of 2 bytes each.
    #[must_use]
    pub fn signature_algorithms(&self) -> Option<&'a [u8]> {
        self.layout.signature_algorithms.in_body(self.body)
    }

    /// The offered cipher suites, by preference.
    pub fn cipher_suites(&self) -> impl Iterator<Item = u16> + Clone + use<'a> {
        u16s(self.part(self.layout.cipher_suites))
    }

    /// The offered application protocols (RFC 7301, 3.1), by preference.
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        items(self.part(self.layout.alpn), Reader::vec8)
    }

    /// The named groups that the client supports, by preference.
    pub fn supported_groups(&self) -> impl Iterator<Item = u16> + Clone + use<'a> {
        u16s(self.part(self.layout.supported_groups))
    }

    /// The client's key shares.
    pub fn key_shares(&self) -> impl Iterator<Item = KeyShareEntry<'a>> + Clone + use<'a> {
        items(self.part(self.layout.key_share), KeyShareEntry::read)
    }

    /// All extensions in order: type and data.
    pub fn extensions(&self) -> impl Iterator<Item = (u16, &'a [u8])> + Clone + use<'a> {
        items(self.part(self.layout.extensions), |reader| {
            Ok((reader.u16()?, reader.vec16()?))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::wire::AlertDescription;
    use proptest::prelude::*;

    pub(in crate::wire) fn vec16(content: &[u8]) -> Vec<u8> {
        [&(content.len() as u16).to_be_bytes(), content].concat()
    }

    pub(in crate::wire) fn extension(extension_type: u16, data: &[u8]) -> Vec<u8> {
        [&extension_type.to_be_bytes()[..], &vec16(data)].concat()
    }

    /// The parts of a ClientHello that the tests vary.
    pub(in crate::wire) struct Hello {
        pub(in crate::wire) session_id: Vec<u8>,
        pub(in crate::wire) cookie: Vec<u8>,
        pub(in crate::wire) compression: Vec<u8>,
        pub(in crate::wire) extensions: Vec<Vec<u8>>,
    }

    impl Hello {
        /// A resumption with all that the engine looks at.
        pub(in crate::wire) fn resumption() -> Self {
            Self {
                session_id: vec![],
                cookie: vec![],
                compression: vec![0],
                extensions: vec![
                    extension(0, &vec16(b"\0\0\x0fgateway.example")),
                    extension(10, &vec16(&[0, 0x1d])),
                    extension(13, &vec16(&[4, 3])),
                    extension(16, &vec16(b"\x04coap\x02h3")),
                    extension(42, &[]),
                    extension(43, &[4, 0xfe, 0xfc, 0xfe, 0xfd]),
                    extension(45, &[1, 1]),
                    extension(51, &vec16(&[&[0, 0x1d][..], &vec16(&[9; 32])].concat())),
                    extension(54, b"\x03CID"),
                    psk(&[b"ticket"], &[32]),
                ],
            }
        }

        pub(in crate::wire) fn with(mut self, before_last: Vec<u8>) -> Self {
            self.extensions.insert(0, before_last);
            self
        }

        pub(in crate::wire) fn without(mut self, extension_type: u16) -> Self {
            self.extensions
                .retain(|e| e[..2] != extension_type.to_be_bytes());
            self
        }

        pub(in crate::wire) fn body(&self) -> Vec<u8> {
            let mut body = vec![0xfe, 0xfd];
            body.extend([5; 32]);
            for vector in [&self.session_id, &self.cookie] {
                body.push(vector.len() as u8);
                body.extend(vector);
            }
            body.extend([0, 4, 0x13, 0x01, 0x13, 0x02]);
            body.push(self.compression.len() as u8);
            body.extend(&self.compression);
            body.extend(vec16(&self.extensions.concat()));
            body
        }

        fn refusal(&self) -> Option<Malformed> {
            ClientHello::parse(&self.body()).err()
        }
    }

    pub(in crate::wire) fn psk(identities: &[&[u8]], binder_lens: &[u8]) -> Vec<u8> {
        let identities: Vec<u8> = identities
            .iter()
            .flat_map(|identity| [vec16(identity), vec![1, 2, 3, 4]].concat())
            .collect();
        let binders: Vec<u8> = binder_lens
            .iter()
            .flat_map(|&len| [vec![len], vec![0xbb; len.into()]].concat())
            .collect();
        extension(41, &[vec16(&identities), vec16(&binders)].concat())
    }

    #[test]
    fn a_resumption_is_read_to_its_end() {
        let body = Hello::resumption().body();
        let hello = ClientHello::parse(&body).unwrap();

        assert_eq!(hello.random(), &[5; 32]);
        assert!(hello.cipher_suites().eq([0x1301, 0x1302]));
        assert!(hello.offers_dtls13());
        assert_eq!(hello.server_name(), Some(&b"gateway.example"[..]));
        assert!(hello.alpn().eq([&b"coap"[..], b"h3"]));
        assert!(hello.supported_groups().eq([0x1d]));
        assert_eq!(hello.signature_algorithms(), Some(&[4, 3][..]));
        let share = KeyShareEntry {
            group: 0x1d,
            key_exchange: &[9; 32],
        };
        assert!(hello.key_shares().eq([share]));
        let modes = PskModes {
            psk_ke: false,
            psk_dhe_ke: true,
        };
        assert_eq!(hello.psk_modes(), Some(modes));
        assert!(hello.early_data());
        assert_eq!(hello.cookie(), None);
        assert_eq!(hello.connection_id(), Some(&b"CID"[..]));
        assert_eq!(hello.extensions().count(), 10);

        let offered = hello.pre_shared_keys().unwrap();
        let identity = crate::wire::PskIdentity {
            identity: b"ticket",
            obfuscated_ticket_age: 0x0102_0304,
        };
        assert!(offered.identities().eq([identity]));
        assert!(offered.binders().eq([&[0xbb; 32][..]]));
        // The list of binders has a length of 2 bytes, the binder one of 1 byte
        assert_eq!(offered.truncated_len, body.len() - 35);
    }

    #[test]
    fn trap_28_pre_shared_key_not_last_is_illegal() {
        let mut hello = Hello::resumption();
        hello.extensions.push(extension(65281, &[0]));
        assert_eq!(hello.refusal(), Some(Malformed::PreSharedKeyNotLast));
        let alert = Malformed::PreSharedKeyNotLast.alert();
        assert_eq!(alert, AlertDescription::ILLEGAL_PARAMETER);
    }

    #[test]
    fn trap_30_a_legacy_session_id_is_no_fault_and_a_legacy_cookie_is() {
        let mut hello = Hello::resumption();
        hello.session_id = vec![1; 32];
        assert_eq!(hello.refusal(), None);
        hello.session_id = vec![1; 33];
        assert_eq!(hello.refusal(), Some(Malformed::OutOfRange));

        let mut hello = Hello::resumption();
        hello.cookie = vec![1];
        assert_eq!(hello.refusal(), Some(Malformed::LegacyCookie));
        assert_eq!(
            Malformed::LegacyCookie.alert(),
            AlertDescription::ILLEGAL_PARAMETER
        );

        // A client of DTLS 1.2 has its cookie there: it is somebody else's, and no error
        let hello = Hello {
            cookie: vec![1; 20],
            ..Hello::resumption().without(43)
        };
        let body = hello.body();
        let hello = ClientHello::parse(&body).unwrap();
        assert!(!hello.offers_dtls13());
        assert_eq!(hello.legacy_cookie(), [1; 20]);
    }

    #[test]
    fn an_extension_that_comes_twice_is_illegal() {
        for twice in [extension(43, &[2, 0xfe, 0xfc]), psk(&[b"a"], &[32])] {
            let hello = Hello::resumption().with(twice);
            assert!(matches!(
                hello.refusal(),
                Some(Malformed::DuplicateExtension | Malformed::PreSharedKeyNotLast)
            ));
        }
        let hello = Hello::resumption()
            .with(extension(0x7a7a, &[]))
            .with(extension(0x7a7a, &[]));
        assert_eq!(hello.refusal(), Some(Malformed::DuplicateExtension));
        let names = extension(0, &vec16(b"\0\0\x01a\0\0\x01b"));
        let hello = Hello::resumption().without(0).with(names);
        assert_eq!(hello.refusal(), Some(Malformed::DuplicateServerName));
    }

    #[test]
    fn what_must_come_together_is_missed() {
        let refusal = |left_out| Hello::resumption().without(left_out).refusal();
        assert_eq!(refusal(45), Some(Malformed::MissingPskModes));
        assert_eq!(refusal(10), Some(Malformed::MissingKeyShare));
        assert_eq!(refusal(51), Some(Malformed::MissingKeyShare));
        assert_eq!(
            Malformed::MissingKeyShare.alert(),
            AlertDescription::MISSING_EXTENSION
        );
        // With a PSK neither is needed, without one both are.
        let without_groups = || Hello::resumption().without(10).without(51);
        assert_eq!(refusal(13), None);
        assert_eq!(without_groups().refusal(), None);
        let without_psk = Hello::resumption().without(41);
        assert_eq!(without_psk.refusal(), None);
        for hello in [Hello::resumption().without(13), without_groups()] {
            let refused = hello.without(41).refusal();
            assert_eq!(refused, Some(Malformed::MissingFullHandshake));
        }
        assert_eq!(
            Malformed::MissingFullHandshake.alert(),
            AlertDescription::MISSING_EXTENSION
        );
        let mut hello = Hello::resumption();
        hello.compression = vec![1, 0];
        assert_eq!(hello.refusal(), Some(Malformed::LegacyCompression));
    }

    #[test]
    fn bytes_left_over_are_a_decode_error() {
        let mut body = Hello::resumption().body();
        body.push(0);
        let why = ClientHello::parse(&body).err();
        assert_eq!(why, Some(Malformed::TrailingBytes));
        for (extension_type, data) in [
            (0, &b"\0\x04\0\0\x01a!"[..]),
            (10, &[0, 2, 0, 0x1d, 0]),
            (16, &[0, 2, 1, b'a', 0]),
            (42, &[0]),
            (43, &[2, 0xfe, 0xfc, 0]),
            (44, &[0, 1, 7, 0]),
            (45, &[1, 1, 1]),
            (51, &[0, 0, 0]),
            (54, &[0, 0]),
        ] {
            let hello = Hello::resumption()
                .without(extension_type)
                .with(extension(extension_type, data));
            assert_eq!(
                hello.refusal(),
                Some(Malformed::TrailingBytes),
                "{extension_type}"
            );
        }
    }

    #[test]
    fn vectors_that_must_not_be_empty_are_a_decode_error() {
        for (extension_type, data) in [
            (0, &[0, 0][..]),
            (10, &[0, 0]),
            (10, &[0, 1, 0]),
            (13, &[0, 0]),
            (16, &[0, 0]),
            (16, &[0, 3, 1, b'a', 0]),
            (43, &[0]),
            (44, &[0, 0]),
            (45, &[0]),
            (51, &[0, 4, 0, 0x1d, 0, 0]),
        ] {
            let hello = Hello::resumption()
                .without(extension_type)
                .with(extension(extension_type, data));
            assert_eq!(
                hello.refusal(),
                Some(Malformed::OutOfRange),
                "{extension_type}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_truncated_hello_is_refused(cut in any::<prop::sample::Index>()) {
            let hello = Hello::resumption().body();
            // Before TLS 1.3 a hello could end after its compression methods
            let without_extensions = hello.len() - 2 - Hello::resumption().extensions.concat().len();
            let len = cut.index(hello.len());
            prop_assert_eq!(ClientHello::parse(&hello[..len]).is_ok(), len == without_extensions);
        }

        /// What the iterators yield is what was counted, and lies where it must.
        #[test]
        fn any_change_gives_a_view_or_a_reason(
            changes in proptest::collection::vec(
                (any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut body = Hello::resumption().body();
            for (at, to) in changes {
                let at = at.index(body.len());
                body[at] = to;
            }
            if let Ok(hello) = ClientHello::parse(&body) {
                prop_assert!(hello.alpn().all(|name| !name.is_empty()));
                if let Some(offered) = hello.pre_shared_keys() {
                    prop_assert_eq!(offered.identities().count(), offered.binders().count());
                    let binders: usize = offered.binders().map(|b| b.len() + 1).sum();
                    prop_assert_eq!(offered.truncated_len + 2 + binders, body.len());
                }
            }
        }

        #[test]
        fn any_bytes_are_a_hello_or_an_error(
            body in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = ClientHello::parse(&body);
        }
    }
}

//! A session on its way into a ClientHello (RFC 8446, 4.2.11; RFC 9147, 5.2).

use std::fmt;

use super::session::ClientSession;
use crate::Error;
use crate::schedule::{
    CipherSuite, EARLY_DATA_EPOCH, HashAlgorithm, LabelPrefix, RecordSealer, Secret, TrafficKeys,
    Transcript,
};
use crate::time::UnixMillis;
use crate::wipe::scrubbed;
use crate::wire::{ClientHello, ContentType, HandshakeType, ServerHello, Writer, extension_type};

/// A session that is being offered, in one handshake: in its first ClientHello and, after a
/// HelloRetryRequest, in the second.
///
/// Early data goes with the first ClientHello only. If the server refuses it, by a
/// HelloRetryRequest or by EncryptedExtensions without early_data, nothing in this library sends
/// it again, and nothing keeps it: whoever wrote it decides whether it may be sent once more, when
/// the handshake is complete (RFC 8446, 4.2.10).
pub struct Offer {
    session: ClientSession,
    obfuscated_ticket_age: u32,
    /// What the transcript holds before the ClientHello.
    before: Transcript,
    /// Can go with the ClientHello, and was not given out yet.
    pub(super) early_data: bool,
}

impl ClientSession {
    /// Offers the session in a ClientHello that is sent at `now`. `None` if it has expired: such a
    /// ticket must not be used (RFC 8446, 4.2.11.1).
    #[must_use]
    pub fn offer(self, now: UnixMillis) -> Option<Offer> {
        if self.info().is_expired(now) {
            return None;
        }
        Some(Offer {
            obfuscated_ticket_age: self.obfuscated_age(now),
            before: Transcript::new(self.info().suite.hash()),
            early_data: self.info().max_early_data > 0,
            session: self,
        })
    }
}

impl Offer {
    /// What is offered.
    #[must_use]
    pub const fn session(&self) -> &ClientSession {
        &self.session
    }

    /// Milliseconds since the ticket was received plus `ticket_age_add`, modulo 2^32.
    #[must_use]
    pub const fn obfuscated_ticket_age(&self) -> u32 {
        self.obfuscated_ticket_age
    }

    /// Whether early data can go with the ClientHello: the session allows it, there was no
    /// HelloRetryRequest, and it was not begun before.
    #[must_use]
    pub const fn allows_early_data(&self) -> bool {
        self.early_data
    }

    /// The offer for a second ClientHello that is sent at `now`, from the bodies of the first and
    /// of the HelloRetryRequest. There is no early data any more.
    ///
    /// `None` if the session is not to be offered again: the HelloRetryRequest selects a suite with
    /// another hash (RFC 8446, 4.1.4), or the session has expired. To be called once: a second
    /// HelloRetryRequest ends the handshake.
    ///
    /// # Errors
    /// [`Error::Config`] if this is no HelloRetryRequest.
    pub fn retry(
        self,
        client_hello1: &[u8],
        hello_retry_request: &[u8],
        now: UnixMillis,
    ) -> Result<Option<Self>, Error> {
        let hash = self.binder_hash();
        let request = ServerHello::parse(hello_retry_request)
            .ok()
            .filter(ServerHello::is_hello_retry_request)
            .ok_or(Error::Config("this is no HelloRetryRequest"))?;
        if CipherSuite::from_code(request.cipher_suite).map(CipherSuite::hash) != Some(hash) {
            return Ok(None);
        }
        let mut hello1 = Transcript::new(hash);
        hello1.add(HandshakeType::CLIENT_HELLO, client_hello1);
        let hello1 = hello1.digest();
        let before = Transcript::after_hello_retry_request(&hello1, hash, hello_retry_request);
        Ok(self.session.offer(now).map(|offer| Self {
            before,
            early_data: false,
            ..offer
        }))
    }

    /// Writes the whole pre_shared_key extension to the start of `out` and returns its length in
    /// bytes. It has to be the last extension. Its binder is zeros until the ClientHello is
    /// complete: then [`bind`](Self::bind).
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`], or [`Error::Length`] for a ticket so long that it does not fit.
    pub fn write_extension(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut writer = Writer::new(out);
        self.write(&mut writer);
        writer.finish()
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.u16(extension_type::PRE_SHARED_KEY);
        w.vec16(|w| {
            w.vec16(|w| {
                w.vec16(|w| w.bytes(self.session.ticket()));
                w.u32(self.obfuscated_ticket_age);
            });
            w.vec16(|w| w.vec8(|w| w.bytes(Secret::zero(self.binder_hash()).as_bytes())));
        });
    }

    /// Puts the binder into the ClientHello with `body`, of which nothing may change afterwards,
    /// and returns the transcript up to and with this ClientHello.
    ///
    /// # Errors
    /// [`Error::Config`] if this is no ClientHello, or does not offer this session alone.
    pub fn bind(&self, body: &mut [u8]) -> Result<Transcript, Error> {
        const NOT_OURS: Error = Error::Config("this ClientHello does not offer this session alone");
        let hello =
            ClientHello::parse(body).map_err(|_| Error::Config("this is no ClientHello"))?;
        let offered = hello.pre_shared_keys().ok_or(NOT_OURS)?;
        let is_ours = |identity: &[u8], age, binder: &[u8]| {
            identity == self.session.ticket()
                && age == self.obfuscated_ticket_age
                && binder.len() == self.binder_hash().output_len()
        };
        let alone = offered.identities().count() == 1;
        let ours = offered
            .identities()
            .zip(offered.binders())
            .all(|(id, binder)| is_ours(id.identity, id.obfuscated_ticket_age, binder));
        if !alone || !ours {
            return Err(NOT_OURS);
        }
        let truncated_len = offered.truncated_len;
        let mut transcript = self.before.clone();
        transcript.add_header(HandshakeType::CLIENT_HELLO, body.len());
        let (truncated, binders) = body.split_at_mut_checked(truncated_len).ok_or(NOT_OURS)?;
        transcript.update(truncated);
        let hello = transcript.digest();
        let binder = scrubbed(|| self.session.binder_key().sign(&[hello.as_bytes()]));
        // It is the end of the list of binders, as was checked above, and that of the ClientHello.
        let place = binders.len().checked_sub(binder.as_bytes().len());
        let place = place.and_then(|at| binders.get_mut(at..)).ok_or(NOT_OURS)?;
        place.copy_from_slice(binder.as_bytes());
        transcript.update(binders);
        Ok(transcript)
    }

    /// `client_early_traffic_secret`, from the transcript that [`bind`](Self::bind) returned.
    #[must_use]
    pub fn client_early_traffic_secret(&self, client_hello: &Transcript) -> Secret {
        self.session
            .early_secret()
            .client_early_traffic_secret(LabelPrefix::Dtls13, &client_hello.digest())
    }

    /// What seals the early data that follows the ClientHello up to whose end `client_hello`, the
    /// transcript that [`bind`](Self::bind) returned, goes. Given out once, since two sealers
    /// would use the same nonces.
    ///
    /// # Errors
    /// [`Error::Config`] if there is [none](Self::allows_early_data).
    pub fn early_data(&mut self, client_hello: &Transcript) -> Result<EarlyDataSealer, Error> {
        let sealer = self.sealer(client_hello)?;
        self.early_data = false;
        Ok(sealer)
    }

    /// The sealer of [`early_data`](Self::early_data), of which no record may be sent as long as it
    /// is not given out.
    pub(super) fn sealer(&self, client_hello: &Transcript) -> Result<EarlyDataSealer, Error> {
        if !self.early_data {
            return Err(Error::Config(
                "no early data in this handshake, or begun before",
            ));
        }
        let info = self.session.info();
        let sealer = scrubbed(|| {
            let secret = self.client_early_traffic_secret(client_hello);
            let keys = TrafficKeys::derive(LabelPrefix::Dtls13, info.suite, &secret)?;
            RecordSealer::new(&keys, EARLY_DATA_EPOCH)
        })?;
        Ok(EarlyDataSealer {
            sealer,
            left: info.max_early_data,
        })
    }

    const fn binder_hash(&self) -> HashAlgorithm {
        self.session.info().suite.hash()
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("session", &self.session)
            .field("early_data", &self.early_data)
            .finish_non_exhaustive()
    }
}

/// Seals early data: application data in records of epoch 1, up to the session's limit. It keeps
/// nothing of what it sealed.
#[derive(Debug)]
pub struct EarlyDataSealer {
    sealer: RecordSealer,
    left: u32,
}

impl EarlyDataSealer {
    /// How many more bytes of plaintext the server would take.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.left
    }

    /// Writes a record with `plaintext` to the start of `out` and returns its length in bytes:
    /// [`RECORD_OVERHEAD_LEN`](crate::schedule::RECORD_OVERHEAD_LEN) more than the plaintext.
    ///
    /// # Errors
    /// [`Error::Length`] if the plaintext is longer than what is [left](Self::left) or than a
    /// record, [`Error::BufferTooSmall`], [`Error::KeyExhausted`]; nothing was used up then.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let left = u32::try_from(plaintext.len())
            .ok()
            .and_then(|len| self.left.checked_sub(len))
            .ok_or(Error::Length("more early data than max_early_data_size"))?;
        // The server has not chosen a connection ID yet.
        let len = self
            .sealer
            .seal(&[], ContentType::APPLICATION_DATA, plaintext, out)?;
        self.left = left;
        Ok(len)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::flight::{FirstFlight, Framing};
    use super::super::hello::ClientHelloParams;
    use super::super::hello::tests::FULL;
    use super::super::session::tests::session;
    use super::*;
    use crate::schedule::{EarlyDataOpener, RECORD_OVERHEAD_LEN};
    use crate::wire::HelloRetryRequest;

    fn hello(offer: &Offer) -> Vec<u8> {
        let mut body = vec![0; 1024];
        let params = ClientHelloParams::new([9; 32]);
        let len = params.write(Some(offer), &mut body).unwrap();
        body.truncate(len);
        body
    }

    fn retry_request(cipher_suite: u16) -> Vec<u8> {
        let mut body = vec![0; 100];
        let request = HelloRetryRequest {
            cipher_suite,
            selected_group: None,
            cookie: b"cookie",
        };
        let len = request.write(&mut body).unwrap();
        body.truncate(len);
        body
    }

    #[test]
    fn trap_39_early_data_is_sealed_once_and_never_again_by_itself() {
        // Given a session that allows early data, and a flight with some
        let mut offer = session(b"t", 0, 3600).offer(UnixMillis(5)).unwrap();
        let params = ClientHelloParams {
            early_data: true,
            ..ClientHelloParams::new([9; 32])
        };
        let framing = Framing::default();
        let first = FirstFlight::new(&params, Some(&mut offer), &framing, &[b"once"]).unwrap();
        assert_eq!(first.datagrams.len(), 2);

        // when the server asks for another ClientHello, which refuses the early data,
        let hello1 = &first.client_hello;
        let retried = offer.retry(hello1, &retry_request(0x1303), UnixMillis(9));
        let mut offer = retried.unwrap().unwrap();
        let second = FirstFlight::new(&params, Some(&mut offer), &framing, &[]).unwrap();

        // then the second flight has none, does not announce any, and none can be added.
        assert_eq!(second.datagrams.len(), 1);
        assert!(second.early_data.is_none());
        assert!(
            !ClientHello::parse(&second.client_hello)
                .unwrap()
                .early_data()
        );
        let again = FirstFlight::new(&params, Some(&mut offer), &framing, &[b"once"]);
        assert!(matches!(again, Err(Error::Config(_))));

        // Nor if there was none in the first flight.
        let offer = session(b"t", 0, 3600).offer(UnixMillis(5)).unwrap();
        let retried = offer.retry(b"ClientHello", &retry_request(0x1301), UnixMillis(9));
        assert!(!retried.unwrap().unwrap().allows_early_data());
    }

    #[test]
    fn an_expired_session_is_not_offered_not_even_again() {
        let end = UnixMillis(3_600_000);
        assert!(session(b"t", 0, 3600).offer(end).is_none());
        let offer = session(b"t", 0, 3600).offer(UnixMillis(end.0 - 1));
        let retried = offer
            .unwrap()
            .retry(b"ClientHello", &retry_request(0x1301), end);
        assert!(matches!(retried, Ok(None)));
    }

    #[test]
    fn after_a_retry_under_another_hash_or_what_is_none_the_session_is_not_offered() {
        let retry = |body: &[u8]| {
            let offer = session(b"t", 0, 3600).offer(UnixMillis(5)).unwrap();
            offer.retry(b"ClientHello", body, UnixMillis(9))
        };
        assert!(matches!(retry(&retry_request(0x1303)), Ok(Some(_))));
        for other_hash_or_unknown in [0x1302, 0x1304] {
            let retried = retry(&retry_request(other_hash_or_unknown));
            assert!(matches!(retried, Ok(None)));
        }
        // A ServerHello: another random, and no cookie, which is the last extension.
        let mut server_hello = retry_request(0x1301);
        server_hello[2] ^= 1;
        server_hello.truncate(server_hello.len() - 12);
        server_hello[39] -= 12;
        assert!(ServerHello::parse(&server_hello).is_ok());
        for none in [&b""[..], b"HelloRetryRequest", &server_hello] {
            assert!(matches!(retry(none), Err(Error::Config(_))));
        }
    }

    #[test]
    fn early_data_keys_are_given_out_once_since_nonces_start_at_zero() {
        let mut offer = session(b"t", 0, 3600).offer(UnixMillis(5)).unwrap();
        let transcript = offer.bind(&mut hello(&offer)).unwrap();
        assert!(offer.early_data(&transcript).is_ok());
        assert!(!offer.allows_early_data());
        assert!(matches!(
            offer.early_data(&transcript),
            Err(Error::Config(_))
        ));
    }

    #[test]
    fn trap_34_the_client_counts_plaintext_up_to_the_limit_and_the_server_takes_all_of_it() {
        let mut offer = session(b"t", 0, 3600).offer(UnixMillis(5)).unwrap();
        let transcript = offer.bind(&mut hello(&offer)).unwrap();
        let secret = offer.client_early_traffic_secret(&transcript);
        let suite = offer.session().info().suite;
        let keys = TrafficKeys::derive(LabelPrefix::Dtls13, suite, &secret).unwrap();
        let mut server = EarlyDataOpener::new(&keys, 16384).unwrap();
        let mut sealer = offer.early_data(&transcript).unwrap();

        let mut out = vec![0; 16384 + RECORD_OVERHEAD_LEN];
        for plaintext in [&[1; 16000][..], &[2; 384]] {
            // A buffer that is too short uses nothing up.
            let left = sealer.left();
            assert!(sealer.seal(plaintext, &mut [0; 20]).is_err());
            assert_eq!(sealer.left(), left);
            let len = sealer.seal(plaintext, &mut out).unwrap();
            assert!(server.open(&mut out[..len], 0, UnixMillis(5)).is_ok());
        }
        assert_eq!(sealer.left(), 0);
        assert!(matches!(sealer.seal(b"x", &mut out), Err(Error::Length(_))));
    }

    #[test]
    fn only_a_client_hello_that_offers_this_session_alone_is_bound() {
        let offer = session(b"ticket", 0, 3600).offer(UnixMillis(5)).unwrap();
        let mut bound = hello(&offer);
        offer.bind(&mut bound).unwrap();
        // Binding is repeatable: what was in the binder's place does not matter.
        let mut again = bound.clone();
        offer.bind(&mut again).unwrap();
        assert_eq!(again, bound);

        for other in [
            session(b"kettle", 0, 3600).offer(UnixMillis(5)).unwrap(),
            session(b"ticket", 0, 3600).offer(UnixMillis(6)).unwrap(),
        ] {
            let mut body = bound.clone();
            assert!(matches!(other.bind(&mut body), Err(Error::Config(_))));
            assert_eq!(body, bound);
        }
        let none = Error::Config("this is no ClientHello");
        assert_eq!(offer.bind(&mut []).err(), Some(none));
        assert_eq!(offer.bind(&mut bound[1..]).err(), Some(none));
        let mut without = vec![0; 1024];
        let len = FULL.write(None, &mut without).unwrap();
        let not_ours = Error::Config("this ClientHello does not offer this session alone");
        assert_eq!(offer.bind(&mut without[..len]).err(), Some(not_ours));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let offer = session(b"t", 0, 3600).offer(UnixMillis(5)).unwrap();
        let printed = format!("{offer:?}");
        assert!(
            !printed.contains("age:") && !printed.contains("before"),
            "{printed}"
        );
    }
}

//! The datagrams in which a ClientHello goes out, and early data behind it (RFC 9147, 5.2).

use super::hello::ClientHelloParams;
use super::offer::{EarlyDataSealer, Offer};
use crate::Error;
use crate::schedule::{RECORD_OVERHEAD_LEN, Transcript};
use crate::wire::{
    ContentType, HANDSHAKE_HEADER_LEN, HandshakeType, MAX_PLAINTEXT_LEN, PLAINTEXT_HEADER_LEN,
    dtls_header, plaintext_header,
};

/// How a ClientHello is cut into datagrams. The default is that of a first one.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// 0 for the first ClientHello, 1 for the one after a HelloRetryRequest.
    pub message_seq: u16,
    /// The record number of the first record. A retransmission goes on counting, and so does the
    /// second ClientHello.
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
#[derive(Debug)]
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
    /// [for it](Offer::retry), the cookie, a `message_seq` of 1, and a `sequence_number` behind
    /// those of the first, of which each datagram of the first ClientHello took one.
    ///
    /// # Errors
    /// [`Error::Config`] if there is early data that was not announced, cannot be in this
    /// handshake, or is longer than a datagram, or if the parameters do not make a ClientHello that
    /// can resume the session; [`Error::Length`] if something is too long for its field, or the
    /// early data for the session. The offer is as before then.
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
        if let Some(offer) = offer.as_deref() {
            let bound = offer.bind(&mut client_hello)?;
            if announced {
                sealer = Some(offer.sealer(&bound)?);
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
        // Given out last: a flight that fails has sent nothing, and may be tried again.
        if let Some(offer) = offer.filter(|_| sealer.is_some()) {
            offer.early_data = false;
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
    use super::super::hello::tests::{FULL, offer};
    use super::*;
    use crate::wire::{Record, fragments, records};

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
            let mut offer = offer(FULL.cipher_suites[0], Some(b"coap"));
            let framing = Framing {
                max_datagram_len,
                ..Framing::default()
            };
            FirstFlight::new(params, Some(&mut offer), &framing, early).map(|_| ())
        };
        assert_eq!(new(&FULL, 26, &[]), Ok(()));
        assert!(matches!(new(&FULL, 25, &[]), Err(Error::Config(_))));
        let too_long = Error::Config("early data longer than max_datagram_len");
        assert_eq!(new(&FULL, 100, &[&[0; 100]]), Err(too_long));
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
    }

    #[test]
    fn a_flight_that_fails_does_not_use_the_early_data_up() {
        // Given a flight of an offer, and another offer of the same session
        let offer = || offer(FULL.cipher_suites[0], Some(b"coap"));
        let new = |offer: &mut Offer, max_datagram_len, early: &[&[u8]]| {
            let framing = Framing {
                max_datagram_len,
                ..Framing::default()
            };
            let flight = FirstFlight::new(&FULL, Some(offer), &framing, early)?;
            Ok::<_, Error>(flight.datagrams)
        };
        let flight = new(&mut offer(), 1200, &[b"hi"]).unwrap();
        let mut offer = offer();
        // when a datagram has no room, a piece is longer than one, and all are more than may be,
        for (max_datagram_len, early) in [
            (25, [b"hi".as_slice(), b""]),
            (100, [b"hi", &[0; 100]]),
            (20_000, [b"hi", &[0; 16_384]]),
        ] {
            assert!(new(&mut offer, max_datagram_len, &early).is_err());
        }
        // then the other can still make the same flight, once.
        assert_eq!(new(&mut offer, 1200, &[b"hi"]), Ok(flight));
        assert!(new(&mut offer, 1200, &[b"hi"]).is_err());
    }
}

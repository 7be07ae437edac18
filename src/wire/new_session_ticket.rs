//! NewSessionTicket (RFC 8446, 4.6.1).

use super::extensions::{Extensions, extension_type as ext};
use super::malformed::Malformed;
use super::reader::{Reader, Writer};
use crate::error::Error;

/// The longest lifetime of a ticket: 7 days, in seconds.
pub const MAX_TICKET_LIFETIME_SECONDS: u32 = 604_800;

/// A NewSessionTicket, borrowed from the message's body (without the handshake header).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NewSessionTicket<'a> {
    /// Seconds from the issue on, at most [`MAX_TICKET_LIFETIME_SECONDS`]; 0: to be discarded.
    pub ticket_lifetime: u32,
    /// Added to the ticket's age in milliseconds, modulo 2^32, so that observers learn nothing.
    pub ticket_age_add: u32,
    /// Tells the PSKs of one connection apart: 0 to 255 bytes.
    pub ticket_nonce: &'a [u8],
    /// What the client offers as its identity: 1 to 65535 bytes.
    pub ticket: &'a [u8],
    /// Bytes of plaintext that may be sent as 0-RTT data; absent: none.
    pub max_early_data_size: Option<u32>,
}

impl std::fmt::Debug for NewSessionTicket<'_> {
    /// `ticket_age_add` is kept from observers, so it is kept from logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSessionTicket")
            .field("ticket_lifetime", &self.ticket_lifetime)
            .field("ticket_len", &self.ticket.len())
            .field("max_early_data_size", &self.max_early_data_size)
            .finish_non_exhaustive()
    }
}

impl<'a> NewSessionTicket<'a> {
    /// Reads the body of a NewSessionTicket.
    ///
    /// # Errors
    /// Why it does not parse.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let mut message = Self {
            ticket_lifetime: reader.u32()?,
            ticket_age_add: reader.u32()?,
            ticket_nonce: reader.vec8()?,
            ticket: reader.vec16()?,
            max_early_data_size: None,
        };
        let mut extensions = Extensions::new(reader.vec16()?);
        reader.finish()?;
        if message.ticket.is_empty() {
            return Err(Malformed::OutOfRange);
        }
        if message.ticket_lifetime > MAX_TICKET_LIFETIME_SECONDS {
            return Err(Malformed::TicketLifetime);
        }
        while let Some((extension_type, data)) = extensions.next()? {
            // Clients must ignore extensions that they do not know.
            if extension_type == ext::EARLY_DATA {
                let mut reader = Reader::new(data);
                message.max_early_data_size = Some(reader.u32()?);
                reader.finish()?;
            }
        }
        Ok(message)
    }

    /// Bytes of the body of a message with a nonce and a ticket of these lengths.
    pub(crate) const fn body_len(nonce: usize, ticket: usize, early_data: bool) -> usize {
        4 + 4 + 1 + nonce + 2 + ticket + 2 + if early_data { 8 } else { 0 }
    }

    /// Writes the body to the start of `out` and returns its length in bytes.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`] if `out` is too short, [`Error::Length`] if the lifetime, nonce or
    /// ticket is outside its range.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Error> {
        if self.ticket_lifetime > MAX_TICKET_LIFETIME_SECONDS {
            return Err(Error::Length("a ticket lifetime over 604800 seconds"));
        }
        if self.ticket.is_empty() {
            return Err(Error::Length("an empty ticket"));
        }
        let mut writer = Writer::new(out);
        writer.u32(self.ticket_lifetime);
        writer.u32(self.ticket_age_add);
        writer.vec8(|w| w.bytes(self.ticket_nonce));
        writer.vec16(|w| w.bytes(self.ticket));
        writer.vec16(|w| {
            if let Some(max_early_data_size) = self.max_early_data_size {
                w.u16(ext::EARLY_DATA);
                w.vec16(|w| w.u32(max_early_data_size));
            }
        });
        writer.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TICKET: NewSessionTicket<'static> = NewSessionTicket {
        ticket_lifetime: 3600,
        ticket_age_add: 0x0102_0304,
        ticket_nonce: &[0],
        ticket: b"ticket",
        max_early_data_size: Some(16384),
    };

    #[test]
    fn a_ticket_is_laid_out_as_the_rfc_says() {
        let mut out = [0; 64];
        let len = TICKET.write(&mut out).unwrap();
        let expected = [
            &[0, 0, 14, 16, 1, 2, 3, 4][..],
            &[1, 0],
            b"\0\x06ticket",
            &[0, 8, 0, 42, 0, 4, 0, 0, 64, 0],
        ]
        .concat();
        assert_eq!(out[..len], expected);
        assert!(NewSessionTicket::parse(&out[..len]) == Ok(TICKET));
        let short = TICKET.write(&mut out[..len - 1]);
        assert_eq!(short, Err(Error::BufferTooSmall { needed: len }));
    }

    #[test]
    fn unknown_extensions_are_ignored_and_doubled_ones_refused() {
        let ticket = |extensions: &[u8]| {
            let mut body = vec![0, 0, 14, 16, 1, 2, 3, 4, 0, 0, 1, b't'];
            body.extend((extensions.len() as u16).to_be_bytes());
            body.extend(extensions);
            NewSessionTicket::parse(&body).map(|t| t.max_early_data_size)
        };
        assert_eq!(ticket(&[]), Ok(None));
        assert_eq!(ticket(&[0x7a, 0x7a, 0, 1, 0]), Ok(None));
        let early_data = [0, 42, 0, 4, 0, 0, 0, 9];
        assert_eq!(ticket(&early_data), Ok(Some(9)));
        assert_eq!(
            ticket(&early_data.repeat(2)),
            Err(Malformed::DuplicateExtension)
        );
        assert_eq!(ticket(&[0, 42, 0, 0]), Err(Malformed::Truncated));
    }

    #[test]
    fn trap_23_a_lifetime_over_seven_days_is_refused() {
        let mut out = [0; 64];
        let len = TICKET.write(&mut out).unwrap();
        out[..4].copy_from_slice(&604_800_u32.to_be_bytes());
        assert!(NewSessionTicket::parse(&out[..len]).is_ok());
        out[..4].copy_from_slice(&604_801_u32.to_be_bytes());
        assert_eq!(
            NewSessionTicket::parse(&out[..len]),
            Err(Malformed::TicketLifetime)
        );
        let too_long = NewSessionTicket {
            ticket_lifetime: 604_801,
            ..TICKET
        };
        assert!(matches!(too_long.write(&mut out), Err(Error::Length(_))));
    }

    #[test]
    fn trap_23_a_ticket_outside_its_range_of_lengths_is_refused() {
        let mut out = vec![0; 70_000];
        for (len, fits) in [(0, false), (1, true), (65_535, true), (65_536, false)] {
            let ticket = vec![7; len];
            let message = NewSessionTicket {
                ticket: &ticket,
                ..TICKET
            };
            let written = message.write(&mut out);
            assert_eq!(written.is_ok(), fits, "{len}");
            if let Ok(written) = written {
                assert!(NewSessionTicket::parse(&out[..written]) == Ok(message));
            }
        }
        let empty = [0, 0, 14, 16, 1, 2, 3, 4, 0, 0, 0, 0, 0];
        assert_eq!(NewSessionTicket::parse(&empty), Err(Malformed::OutOfRange));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_ticket_or_an_error(
            body in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            if let Ok(message) = NewSessionTicket::parse(&body) {
                prop_assert!(message.ticket_lifetime <= MAX_TICKET_LIFETIME_SECONDS);
            }
        }
    }
}

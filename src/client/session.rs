//! What a client keeps of a NewSessionTicket.

use std::fmt;
use std::time::Duration;

use crate::Error;
use crate::schedule::{
    CipherSuite, EarlySecret, HashAlgorithm, HmacKey, LabelPrefix, Secret, resumption_psk,
};
use crate::time::UnixMillis;
use crate::wipe::scrubbed;
use crate::wire::{MAX_TICKET_LIFETIME_SECONDS, Malformed, NewSessionTicket};

/// A session that can be resumed once: the ticket, and the secrets that prove it is ours.
///
/// It is not `Clone`: a ticket that is offered twice links two connections and loses the early data
/// of the second. The PSK is not kept, since only its early secret and binder key are ever used.
pub struct ClientSession {
    info: SessionInfo,
    ticket: Box<[u8]>,
    age_add: u32,
    // In one place on the heap, so that moving a session leaves no copy of a secret behind.
    secrets: Box<Secrets>,
}

/// Both are wiped when dropped.
struct Secrets {
    early: EarlySecret,
    binder_key: HmacKey,
}

impl Secrets {
    fn of_psk(hash: HashAlgorithm, psk: &[u8]) -> Box<Self> {
        let early = EarlySecret::from_psk(hash, psk);
        let binder_key = early.binder_key(LabelPrefix::Dtls13);
        Box::new(Self { early, binder_key })
    }
}

/// What there is to know about a session without being able to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// The suite under which the session was made, and the only one for its early data.
    pub suite: CipherSuite,
    /// When the ticket was received.
    pub received: UnixMillis,
    /// When the ticket expires.
    pub expires: UnixMillis,
    /// Bytes of early data that the server would take; 0: none.
    pub max_early_data: u32,
    /// The application protocol of the session, and the only one for its early data.
    pub alpn: Option<Box<[u8]>>,
}

impl SessionInfo {
    /// Whether the ticket may not be used any more.
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        now >= self.expires
    }
}

impl ClientSession {
    /// The session of a NewSessionTicket with `body` (without its handshake header), received in
    /// a connection with `suite`, `resumption_master_secret` and the negotiated `alpn`.
    ///
    /// # Errors
    /// [`TicketRefused`]: nothing can be kept of this ticket. The connection goes on, unless the
    /// message was malformed, which deserves the alert of [`Malformed::alert`].
    pub fn from_new_session_ticket(
        body: &[u8],
        suite: CipherSuite,
        resumption_master_secret: &[u8],
        alpn: Option<&[u8]>,
        received: UnixMillis,
    ) -> Result<Self, TicketRefused> {
        let message = NewSessionTicket::parse(body).map_err(TicketRefused::Malformed)?;
        scrubbed(|| {
            let master = Secret::from_bytes(suite.hash(), resumption_master_secret)
                .ok_or(Error::Length("resumption master secret"))?;
            let psk = resumption_psk(LabelPrefix::Dtls13, &master, message.ticket_nonce)?;
            Self::from_psk(&message, suite, psk.as_bytes(), alpn, received)
        })
    }

    /// The session of a ticket whose `psk` was derived elsewhere; the ticket's nonce is not used.
    ///
    /// # Errors
    /// [`TicketRefused`]: nothing can be kept of this ticket.
    pub fn from_psk(
        ticket: &NewSessionTicket<'_>,
        suite: CipherSuite,
        psk: &[u8],
        alpn: Option<&[u8]>,
        received: UnixMillis,
    ) -> Result<Self, TicketRefused> {
        if ticket.ticket_lifetime == 0 {
            return Err(TicketRefused::Discard);
        }
        if ticket.ticket_lifetime > MAX_TICKET_LIFETIME_SECONDS {
            return Err(TicketRefused::Malformed(Malformed::TicketLifetime));
        }
        if !(1..=0xffff).contains(&ticket.ticket.len()) {
            return Err(Error::Length("ticket").into());
        }
        if alpn.is_some_and(|alpn| !(1..=255).contains(&alpn.len())) {
            return Err(Error::Length("application protocol").into());
        }
        let lifetime = Duration::from_secs(ticket.ticket_lifetime.into());
        Ok(Self {
            info: SessionInfo {
                suite,
                received,
                expires: received.saturating_add(lifetime),
                max_early_data: ticket.max_early_data_size.unwrap_or(0),
                alpn: alpn.map(Into::into),
            },
            ticket: ticket.ticket.into(),
            age_add: ticket.ticket_age_add,
            secrets: scrubbed(|| Secrets::of_psk(suite.hash(), psk)),
        })
    }

    /// What there is to know about it.
    #[must_use]
    pub const fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// The ticket.
    #[must_use]
    pub const fn ticket(&self) -> &[u8] {
        &self.ticket
    }

    /// The early secret, from which the handshake's secrets follow if the server accepts the PSK.
    #[must_use]
    pub fn early_secret(&self) -> &EarlySecret {
        &self.secrets.early
    }

    pub(super) fn binder_key(&self) -> &HmacKey {
        &self.secrets.binder_key
    }

    /// Milliseconds since the ticket was received plus `ticket_age_add`, modulo 2^32 (RFC 8446,
    /// 4.2.11.1). If the clock has stepped back, an age of 0.
    pub(super) fn obfuscated_age(&self, now: UnixMillis) -> u32 {
        let age = now.0.saturating_sub(self.info.received.0);
        self.age_add.wrapping_add(age as u32)
    }

    /// The bytes of it that a server or an embedder can make longer.
    pub(super) fn variable_len(&self) -> usize {
        self.ticket.len() + self.info.alpn.as_ref().map_or(0, |alpn| alpn.len())
    }
}

/// Bytes that every session takes on the heap besides those.
pub(super) const SECRETS_LEN: usize = size_of::<Secrets>();

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSession")
            .field("info", &self.info)
            .field("ticket_len", &self.ticket.len())
            .finish_non_exhaustive()
    }
}

/// Why nothing is kept of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketRefused {
    /// The server's message is not what the RFC allows, a lifetime over 7 days included.
    Malformed(Malformed),
    /// The server says, by a lifetime of 0, that the ticket is to be discarded.
    Discard,
    /// What the embedder gave does not fit.
    Misuse(Error),
}

impl fmt::Display for TicketRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "malformed NewSessionTicket: {why}"),
            Self::Discard => f.write_str("the ticket is to be discarded"),
            Self::Misuse(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for TicketRefused {}

impl From<Error> for TicketRefused {
    fn from(error: Error) -> Self {
        Self::Misuse(error)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    pub(crate) const TICKET: NewSessionTicket<'static> = NewSessionTicket {
        ticket_lifetime: 3600,
        ticket_age_add: 0x0102_0304,
        ticket_nonce: &[0],
        ticket: b"ticket",
        max_early_data_size: Some(16384),
    };

    /// A session with the ticket `ticket`, received at `received` for `lifetime` seconds.
    pub(crate) fn session(ticket: &[u8], received: u64, lifetime: u32) -> ClientSession {
        let message = NewSessionTicket {
            ticket,
            ticket_lifetime: lifetime,
            ..TICKET
        };
        let suite = CipherSuite::Aes128GcmSha256;
        ClientSession::from_psk(&message, suite, &[7; 32], None, UnixMillis(received)).unwrap()
    }

    fn from_lifetime(lifetime: u32) -> Result<ClientSession, TicketRefused> {
        let mut body = [0; 64];
        let len = TICKET.write(&mut body).unwrap();
        body[..4].copy_from_slice(&lifetime.to_be_bytes());
        ClientSession::from_new_session_ticket(
            &body[..len],
            CipherSuite::Aes128GcmSha256,
            &[1; 32],
            Some(b"coap"),
            UnixMillis(1000),
        )
    }

    #[test]
    fn trap_23_a_lifetime_over_seven_days_is_refused_and_the_longest_ends_to_the_millisecond() {
        let longest = from_lifetime(604_800).unwrap();
        assert_eq!(longest.info().expires, UnixMillis(604_801_000));
        assert!(!longest.info().is_expired(UnixMillis(604_800_999)));
        assert!(longest.info().is_expired(UnixMillis(604_801_000)));

        let too_long = TicketRefused::Malformed(Malformed::TicketLifetime);
        assert_eq!(from_lifetime(604_801).unwrap_err(), too_long);
        let unparsed = NewSessionTicket {
            ticket_lifetime: 604_801,
            ..TICKET
        };
        let suite = CipherSuite::Aes128GcmSha256;
        let refused = ClientSession::from_psk(&unparsed, suite, &[7; 32], None, UnixMillis(0));
        assert_eq!(refused.unwrap_err(), too_long);
    }

    #[test]
    fn a_lifetime_of_zero_means_discard() {
        assert_eq!(from_lifetime(0).unwrap_err(), TicketRefused::Discard);
    }

    #[test]
    fn a_secret_of_another_hash_is_misuse_and_a_torn_message_is_malformed() {
        let mut body = [0; 64];
        let len = TICKET.write(&mut body).unwrap();
        let make = |body: &[u8], alpn| {
            let suite = CipherSuite::Aes256GcmSha384;
            ClientSession::from_new_session_ticket(body, suite, &[1; 32], alpn, UnixMillis(0))
                .unwrap_err()
        };
        assert_eq!(
            make(&body[..len], None),
            TicketRefused::Misuse(Error::Length("resumption master secret"))
        );
        assert_eq!(
            make(&body[..len - 1], None),
            TicketRefused::Malformed(Malformed::Truncated)
        );
        let suite = CipherSuite::Aes128GcmSha256;
        for alpn in [&[][..], &[b'a'; 256]] {
            let session =
                ClientSession::from_psk(&TICKET, suite, &[7; 32], Some(alpn), UnixMillis(0));
            assert!(matches!(session, Err(TicketRefused::Misuse(_))));
        }
    }

    #[test]
    fn trap_15_the_age_is_in_milliseconds_and_wraps_around_with_age_add() {
        let mut session = session(b"t", 10_000, 604_800);
        session.age_add = u32::MAX - 4;
        assert_eq!(session.obfuscated_age(UnixMillis(10_000)), u32::MAX - 4);
        assert_eq!(session.obfuscated_age(UnixMillis(10_004)), u32::MAX);
        assert_eq!(session.obfuscated_age(UnixMillis(10_005)), 0);
        assert_eq!(session.obfuscated_age(UnixMillis(11_005)), 1000);
        // An age of more than 2^32 ms, which no ticket lives to see, wraps as well;
        let wrapped = UnixMillis(10_000 + (1 << 32) + 7);
        assert_eq!(session.obfuscated_age(wrapped), 2);
        // and a clock that has stepped back gives a ticket that was just received.
        assert_eq!(session.obfuscated_age(UnixMillis(0)), u32::MAX - 4);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let printed = format!("{:?}", from_lifetime(3600).unwrap());
        assert!(printed.contains("max_early_data: 16384"), "{printed}");
        for hidden in ["age_add", "early_secret", "binder", "psk", "16909060"] {
            assert!(!printed.contains(hidden), "{printed}");
        }
    }
}

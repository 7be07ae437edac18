//! A NewSessionTicket for a session that was made by a handshake (RFC 8446, 4.6.1).

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use zeroize::Zeroizing;

use super::encrypted::{Birth, TICKET_MAX, ticket_len};
use super::state::{HOST_DATA_MAX, SessionState, in_short};
use crate::error::Error;
use crate::keys::KeySnapshot;
use crate::schedule::{
    CipherSuite, EarlySecret, LabelPrefix, MAX_MIDSTATES_LEN, Secret, resumption_psk,
};
use crate::time::UnixMillis;
use crate::wire::{HANDSHAKE_HEADER_LEN, HandshakeType, NewSessionTicket, dtls_header};

/// Where the PSK of a new ticket comes from.
#[derive(Clone, Copy)]
pub enum ResumptionSecret<'a> {
    /// It is derived from the connection's `resumption_master_secret`.
    Master {
        /// As many bytes as the suite's hash puts out.
        secret: &'a [u8],
        /// Different for each ticket of the connection; at most 255 bytes.
        ticket_nonce: &'a [u8],
    },
    /// It is given. The client must come to the same, so that the nonce is empty.
    Psk(&'a [u8]),
}

impl<'a> ResumptionSecret<'a> {
    fn ticket_nonce(&self) -> &'a [u8] {
        match self {
            Self::Master { ticket_nonce, .. } => ticket_nonce,
            Self::Psk(_) => &[],
        }
    }
}

impl fmt::Debug for ResumptionSecret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master { .. } => "Master(..)",
            Self::Psk(_) => "Psk(..)",
        })
    }
}

/// A session that a ticket is issued for.
#[derive(Clone, Copy)]
pub struct NewSession<'a> {
    /// The suite of the connection.
    pub suite: CipherSuite,
    /// Where the ticket's PSK comes from.
    pub secret: ResumptionSecret<'a>,
    /// The server name that the client sent, if any: the ticket is good for it only.
    pub server_name: Option<&'a [u8]>,
    /// The application protocol that was selected, if any: early data is good for it only.
    pub alpn: Option<&'a [u8]>,
    /// When the peers last made a full handshake: now, or as the resumed session says. A ticket
    /// remembers the second.
    pub authenticated: UnixMillis,
    /// Bytes of the host's own, at most [`HOST_DATA_MAX`], which come back with the ticket.
    pub host_data: &'a [u8],
    /// The number of the handshake message (RFC 9147, 5.2).
    pub message_seq: u16,
}

impl fmt::Debug for NewSession<'_> {
    /// The bytes of a host may be its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession")
            .field("suite", &self.suite)
            .field("authenticated", &self.authenticated)
            .finish_non_exhaustive()
    }
}

/// What an engine allows its tickets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IssueRules {
    /// 0: no 0-RTT.
    pub(crate) max_early_data: u32,
    /// A ticket that gets 0-RTT needs a bit to strike.
    pub(crate) single_use: bool,
    /// Since the full handshake.
    pub(crate) session_lifetime: Duration,
}

/// Writes the message, with its DTLS handshake header, and returns its length in bytes.
pub(crate) fn issue(
    keys: &KeySnapshot<'_>,
    lane: u8,
    rules: &IssueRules,
    session: &NewSession<'_>,
    peer: IpAddr,
    now: UnixMillis,
    out: &mut [u8],
) -> Result<usize, Error> {
    if session.host_data.len() > HOST_DATA_MAX {
        return Err(Error::Length("host_data"));
    }
    let hash = session.suite.hash();
    let ticket_len = ticket_len(SessionState::parts_len(hash, session.host_data.len()));
    let nonce_len = session.secret.ticket_nonce().len();
    let body_len = NewSessionTicket::body_len(nonce_len, ticket_len, rules.max_early_data > 0);
    let needed = HANDSHAKE_HEADER_LEN + body_len;
    // Before a serial is used up.
    let (header, body) = out
        .get_mut(..needed)
        .and_then(|out| out.split_at_mut_checked(HANDSHAKE_HEADER_LEN))
        .ok_or(Error::BufferTooSmall { needed })?;
    let lifetime = lifetime(keys.ticket_lifetime(), rules.session_lifetime, session, now)?;
    let early_secret = early_secret(session)?;
    let binder_key = early_secret.binder_key(LabelPrefix::Dtls13);
    let mut midstates = Zeroizing::new([0; MAX_MIDSTATES_LEN]);
    let midstates_len = binder_key.to_midstates(&mut *midstates).unwrap_or(0);
    let mut kept = Zeroizing::new([0; MAX_MIDSTATES_LEN]);
    let kept_len = early_secret.to_kept(&mut *kept).unwrap_or(0);

    let expiry = now.saturating_add(Duration::from_secs(lifetime.into()));
    let birth = Birth::new(keys, lane, expiry)?;
    // Without a bit to strike there is no 0-RTT, and the client need not try.
    let max_early_data = match rules.max_early_data {
        1.. if rules.single_use && !birth.remember() => 0,
        bytes => bytes,
    };
    let state = SessionState {
        suite: session.suite,
        issued: now,
        lifetime,
        age_add: birth.age_add(),
        max_early_data,
        address: birth.address(peer),
        server_name: birth.context(session.server_name),
        alpn: in_short(birth.context(session.alpn)),
        authenticated: session.authenticated,
        early_secret: &kept[..kept_len],
        binder_midstates: &midstates[..midstates_len],
        host_data: session.host_data,
    };
    let mut ticket = [0; TICKET_MAX];
    let ticket_len = birth.seal(&state, &mut ticket)?;
    let message = NewSessionTicket {
        ticket_lifetime: lifetime,
        ticket_age_add: state.age_add,
        ticket_nonce: session.secret.ticket_nonce(),
        ticket: &ticket[..ticket_len],
        max_early_data_size: (max_early_data > 0).then_some(max_early_data),
    };
    let body_len = message.write(body)?;
    let length = u32::try_from(body_len).map_err(|_| Error::Length("NewSessionTicket"))?;
    header.copy_from_slice(&dtls_header(
        HandshakeType::NEW_SESSION_TICKET,
        length,
        session.message_seq,
        0,
        length,
    ));
    Ok(HANDSHAKE_HEADER_LEN + body_len)
}

/// Seconds: what the keys allow, but not beyond the lifetime of the session itself.
fn lifetime(
    ticket: Duration,
    session_lifetime: Duration,
    session: &NewSession<'_>,
    now: UnixMillis,
) -> Result<u32, Error> {
    let age = now.saturating_since(session.authenticated);
    let left = session_lifetime.saturating_sub(age).min(ticket).as_secs();
    match u32::try_from(left) {
        Ok(0) | Err(_) => Err(Error::SessionExpired),
        Ok(seconds) => Ok(seconds),
    }
}

fn early_secret(session: &NewSession<'_>) -> Result<EarlySecret, Error> {
    let hash = session.suite.hash();
    match session.secret {
        ResumptionSecret::Psk([]) => Err(Error::Length("PSK")),
        ResumptionSecret::Psk(psk) => Ok(EarlySecret::from_psk(hash, psk)),
        ResumptionSecret::Master {
            secret,
            ticket_nonce,
        } => {
            let master = Secret::from_bytes(hash, secret)
                .ok_or(Error::Length("resumption_master_secret"))?;
            let psk = resumption_psk(LabelPrefix::Dtls13, &master, ticket_nonce)?;
            Ok(EarlySecret::from_psk(hash, psk.as_bytes()))
        }
    }
}

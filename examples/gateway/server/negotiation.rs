//! What this server picks of what a ClientHello offers (RFC 8446, 4.1.1), and whether it asks for
//! another ClientHello first.

use dtls_session::admission::AddressPolicy;
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::{AlertDescription, ClientHello};
use dtls_session::{Arrival, Resumed};

use super::failure::Failure;
use super::key_exchange::Group;
use super::settings::Settings;

/// The server's next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Ask for a cookie, and for a key share of `group` if there is one.
    HelloRetryRequest {
        suite: CipherSuite,
        group: Option<Group>,
    },
    /// Go on.
    ServerHello(Choice<'a>),
}

/// What was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    pub suite: CipherSuite,
    /// A group and the client's public value; `None`: the PSK is used alone.
    pub key_share: Option<(Group, &'a [u8])>,
    /// By what the certificate's key signs; `None`: the PSK authenticates both.
    pub signature_scheme: Option<u16>,
    pub alpn: Option<&'a [u8]>,
}

/// Picks, or refuses by an alert. `resumed` is the session that the engine found.
pub fn negotiate<'a>(
    arrival: &Arrival<'a>,
    resumed: Option<&'a Resumed<'_>>,
    settings: &'a Settings,
) -> Result<Answer<'a>, Failure> {
    let hello = arrival
        .hello
        .ok_or(Failure(AlertDescription::INTERNAL_ERROR))?;
    if !hello.offers_dtls13() {
        return Err(Failure(AlertDescription::PROTOCOL_VERSION));
    }
    let suite = match resumed {
        Some(resumed) => resumed.suite,
        None => suite(&hello, arrival)?,
    };
    let key_share = key_share(&hello, arrival, resumed.is_some(), settings)?;
    let choice = Choice {
        suite,
        key_share: match key_share {
            KeyShare::Usable(group, public) => Some((group, public)),
            _ => None,
        },
        signature_scheme: match resumed {
            Some(_) => None,
            None => Some(signature_scheme(&hello, settings)?),
        },
        alpn: match resumed.and_then(|resumed| resumed.alpn) {
            // With 0-RTT it must be the session's, and otherwise it may.
            Some(protocol) => Some(protocol),
            None => alpn(&hello, settings)?,
        },
    };
    let needs_cookie =
        !arrival.address_verified && settings.address_policy == AddressPolicy::CookieFirst;
    match key_share {
        KeyShare::AskFor(group) => Ok(Answer::HelloRetryRequest {
            suite,
            group: Some(group),
        }),
        _ if needs_cookie => Ok(Answer::HelloRetryRequest { suite, group: None }),
        _ => Ok(Answer::ServerHello(choice)),
    }
}

/// The client's preference among what is known here, unless a HelloRetryRequest has selected.
fn suite(hello: &ClientHello<'_>, arrival: &Arrival<'_>) -> Result<CipherSuite, Failure> {
    let mut offered = hello.cipher_suites().filter_map(CipherSuite::from_code);
    match &arrival.retried {
        Some(retried) if offered.any(|suite| suite == retried.suite) => Ok(retried.suite),
        Some(_) => Err(Failure(AlertDescription::ILLEGAL_PARAMETER)),
        None => offered
            .next()
            .ok_or(Failure(AlertDescription::HANDSHAKE_FAILURE)),
    }
}

enum KeyShare<'a> {
    Usable(Group, &'a [u8]),
    NotNeeded,
    AskFor(Group),
}

fn key_share<'a>(
    hello: &ClientHello<'a>,
    arrival: &Arrival<'_>,
    is_resumption: bool,
    settings: &Settings,
) -> Result<KeyShare<'a>, Failure> {
    let modes = hello.psk_modes().unwrap_or_default();
    let psk_ke = is_resumption && modes.psk_ke && settings.psk_ke;
    if is_resumption && !modes.psk_dhe_ke {
        return Ok(KeyShare::NotNeeded);
    }
    let share = |group: Group| {
        let mut shares = hello
            .key_shares()
            .filter(|share| share.group == group.code());
        shares.next().map(|share| (group, share.key_exchange))
    };
    if let Some((group, public)) = settings.groups.iter().copied().find_map(share) {
        let asked = arrival.retried.as_ref().and_then(|retried| retried.group);
        if asked.is_some_and(|asked| asked != group.code()) {
            return Err(Failure(AlertDescription::ILLEGAL_PARAMETER));
        }
        return Ok(KeyShare::Usable(group, public));
    }
    if psk_ke {
        return Ok(KeyShare::NotNeeded);
    }
    if hello.supported_groups().next().is_none() {
        return Err(Failure(AlertDescription::MISSING_EXTENSION));
    }
    if arrival.retried.is_some() {
        return Err(Failure(AlertDescription::ILLEGAL_PARAMETER));
    }
    let mut groups = settings.groups.iter().copied();
    groups
        .find(|ours| hello.supported_groups().any(|group| group == ours.code()))
        .map(KeyShare::AskFor)
        .ok_or(Failure(AlertDescription::HANDSHAKE_FAILURE))
}

fn signature_scheme(hello: &ClientHello<'_>, settings: &Settings) -> Result<u16, Failure> {
    let offered = hello
        .signature_algorithms()
        .ok_or(Failure(AlertDescription::MISSING_EXTENSION))?;
    settings
        .identity
        .scheme(offered)
        .ok_or(Failure(AlertDescription::HANDSHAKE_FAILURE))
}

/// This server's preference. Who offers protocols to a server that has none gets none; who offers
/// none of ours is refused (RFC 7301, 3.2).
fn alpn<'a>(hello: &ClientHello<'a>, settings: &'a Settings) -> Result<Option<&'a [u8]>, Failure> {
    if settings.alpn.is_empty() || hello.alpn().next().is_none() {
        return Ok(None);
    }
    let mut ours = settings.alpn.iter().map(Vec::as_slice);
    ours.find(|ours| hello.alpn().any(|offered| offered == *ours))
        .map(Some)
        .ok_or(Failure(AlertDescription::NO_APPLICATION_PROTOCOL))
}

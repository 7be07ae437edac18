//! The stages behind reading: open the ticket, verify the binder, decide on 0-RTT. Each goes over
//! the whole batch before the next begins.

use std::time::Duration;

use super::flow::{Decision, Flow, Opened};
use super::retransmission::{Retransmissions, Sent};
use super::verdict::{AbortReason, NoEarlyData, NoResumption};
use super::{AddressPolicy, Arrival, Resumed, Retried, cookie};
use crate::keys::{KeyId, KeySnapshot, TicketKey};
use crate::replay::{Freshness, FreshnessWindow, ReplayCache, Strike};
use crate::schedule::wide::{EarlyTraffic, Hello, WideHasher};
use crate::schedule::{CipherSuite, Transcript};
use crate::sync::seeded;
use crate::ticket::{EncryptedTicket, OpenError, Origin, Payload, Scratch, in_short};
use crate::time::UnixMillis;
use crate::wire::{AlertDescription, ClientHello, HandshakeType, PskIdentity, Shapes};

/// Identities that are tried. Each costs a decryption, and clients offer one or two.
const IDENTITIES_MAX: usize = 4;

/// Protocols among which that of the session is looked for. Each costs a keyed hash.
const PROTOCOLS_MAX: usize = 16;

/// What an embedder has set.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) freshness: FreshnessWindow,
    pub(crate) address_policy: AddressPolicy,
    pub(crate) groups: Vec<u16>,
    pub(crate) psk_ke: bool,
    pub(crate) cookie_lifetime: Duration,
}

/// What every flow of a batch is judged by.
pub(crate) struct Judge<'j, 'k> {
    pub(crate) rules: &'j Rules,
    pub(crate) keys: &'k KeySnapshot<'k>,
    pub(crate) replay: &'j ReplayCache,
    pub(crate) hasher: WideHasher,
    pub(crate) now: UnixMillis,
}

/// The names of the flow before, which the next one mostly has too, and their keyed hashes.
#[derive(Default)]
pub(crate) struct Names<'w> {
    server_name: LastName<'w>,
    alpn: LastName<'w>,
}

type LastName<'w> = Option<(KeyId, &'w [u8], u64)>;

/// As [`TicketKey::context`]; by heart if it is the last name again.
#[inline]
fn context<'w>(last: &mut LastName<'w>, key: &TicketKey, name: &'w [u8]) -> u64 {
    match *last {
        Some((id, same, hash)) if id == key.id() && same == name => hash,
        _ => {
            let hash = key.context(name);
            *last = Some((key.id(), name, hash));
            hash
        }
    }
}

/// A ticket that can be resumed.
struct Usable<'k> {
    origin: Origin<'k>,
    suite: CipherSuite,
    /// The position of its identity.
    index: u16,
    obfuscated_age: u32,
}

impl<'k> Judge<'_, 'k> {
    /// Parses the ClientHello, opens its ticket into `scratch`, and begins its transcript.
    // All of it is written to where it stays: a core stalls where it copies what was just written
    // in other pieces.
    pub(crate) fn open<'w>(
        &self,
        flow: &mut Flow<'w>,
        origin: &mut Option<Origin<'k>>,
        scratch: &'w mut Scratch,
        transcript: &'w mut Transcript,
        names: &mut Names<'w>,
        shapes: &Shapes,
    ) {
        let hello = flow.arrival.hello.insert(ClientHello::EMPTY);
        match shapes.read(flow.arrival.hello_body, hello) {
            Ok(known) => flow.shape_is_known = known,
            Err(malformed) => {
                flow.arrival.hello = None;
                let why = AbortReason::MalformedClientHello;
                flow.decision = Decision::Abort(malformed.alert(), why);
                return;
            }
        }
        if let (Some(cookie), true) = (hello.cookie(), hello.offers_dtls13()) {
            let peer = flow.arrival.datagram.peer;
            let lifetime = self.rules.cookie_lifetime;
            let Some(retried) = cookie::verify(self.keys, cookie, lifetime, peer, self.now) else {
                let (alert, why) = (
                    AlertDescription::ILLEGAL_PARAMETER,
                    AbortReason::InvalidCookie,
                );
                flow.decision = Decision::Abort(alert, why);
                return;
            };
            flow.arrival.retried = Some(retried);
            flow.arrival.address_verified = true;
        }
        let (arrival, opened) = (&flow.arrival, &mut flow.opened);
        if let Err(why) = self.open_ticket(arrival, opened, origin, scratch, transcript, names) {
            flow.decision = Decision::FullHandshake(why);
        }
        seeded!("strike before binder" => if let (Some(opened), Some(origin)) = (&flow.opened, origin) {
            self.strike(opened, origin);
        });
    }

    fn open_ticket<'w>(
        &self,
        arrival: &Arrival<'w>,
        opened: &mut Option<Opened<'w>>,
        origin: &mut Option<Origin<'k>>,
        scratch: &'w mut Scratch,
        transcript: &'w mut Transcript,
        names: &mut Names<'w>,
    ) -> Result<(), NoResumption> {
        let hello = arrival.hello.as_ref();
        let hello = hello.filter(|hello| hello.offers_dtls13());
        let hello = hello.ok_or(NoResumption::NotDtls13)?;
        let retried = arrival.retried;
        let psks = hello
            .pre_shared_keys()
            .ok_or(NoResumption::NoPreSharedKey)?;
        let modes = hello.psk_modes().unwrap_or_default();
        if !(modes.psk_dhe_ke || modes.psk_ke && self.rules.psk_ke) {
            return Err(NoResumption::NoPskMode);
        }
        let usable = self.first_usable(hello, psks.identities(), retried, scratch, names)?;
        let (key, suite) = (usable.origin.key, usable.suite);
        // Once more, to borrow for as long as the ticket that is used stays.
        let Some(Payload::Session(session)) = Payload::decode(scratch.plaintext()) else {
            return Err(NoResumption::OpaqueTicket);
        };
        let alpn = match session.alpn {
            0 => None,
            alpn => hello
                .alpn()
                .take(PROTOCOLS_MAX)
                .find(|protocol| in_short(context(&mut names.alpn, key, protocol)) == alpn),
        };
        let same_alpn = match session.alpn {
            0 => hello.alpn().next().is_none(),
            _ => alpn.is_some(),
        };
        let body_len = arrival.hello_body.len();
        match retried {
            Some(retried) => {
                let begun = retried.begin(transcript);
                begun.ok_or(NoResumption::NoPreSharedKey)?;
                transcript.add_header(HandshakeType::CLIENT_HELLO, body_len);
            }
            None => transcript.begin(suite.hash(), HandshakeType::CLIENT_HELLO, body_len),
        }
        *origin = Some(usable.origin);
        let binder = psks.binders().nth(usable.index.into()).unwrap_or_default();
        *opened = Some(Opened {
            resumed: Resumed {
                session,
                suite,
                selected_identity: usable.index,
                alpn,
                transcript,
                early_traffic: None,
            },
            same_alpn,
            binder,
            sent: Sent::new(arrival.datagram.peer, binder),
            truncated_len: psks.truncated_len,
            hashed: None,
            obfuscated_age: usable.obfuscated_age,
        });
        Ok(())
    }

    /// The first of the identities that can be resumed, opened into `scratch`. If none can, the
    /// reason of the first counts.
    #[inline]
    fn first_usable<'w>(
        &self,
        hello: &ClientHello<'w>,
        identities: impl Iterator<Item = PskIdentity<'w>>,
        retried: Option<Retried<'w>>,
        scratch: &mut Scratch,
        names: &mut Names<'w>,
    ) -> Result<Usable<'k>, NoResumption> {
        let mut why = None;
        for (index, identity) in (0..).zip(identities.take(IDENTITIES_MAX)) {
            match self.usable(hello, identity.identity, retried, scratch, names) {
                Ok((origin, suite)) => {
                    return Ok(Usable {
                        origin,
                        suite,
                        index,
                        obfuscated_age: identity.obfuscated_ticket_age,
                    });
                }
                Err(not) => why = why.or(Some(not)),
            }
        }
        Err(why.unwrap_or(NoResumption::MalformedTicket))
    }

    /// Opens a ticket into `scratch` and says under which suite it is resumed, if it can be.
    #[inline]
    fn usable<'w>(
        &self,
        hello: &ClientHello<'w>,
        ticket: &[u8],
        retried: Option<Retried<'w>>,
        scratch: &mut Scratch,
        names: &mut Names<'w>,
    ) -> Result<(Origin<'k>, CipherSuite), NoResumption> {
        let opened =
            EncryptedTicket::parse(ticket).and_then(|ticket| ticket.open_into(self.keys, scratch));
        let origin = opened.map_err(|why| match why {
            OpenError::UnknownKey => NoResumption::UnknownKey,
            OpenError::Forged => NoResumption::ForgedTicket,
            OpenError::Malformed => NoResumption::MalformedTicket,
        })?;
        let Some(Payload::Session(session)) = Payload::decode(scratch.plaintext()) else {
            return Err(NoResumption::OpaqueTicket);
        };
        if session.expires() <= self.now {
            return Err(NoResumption::TicketExpired);
        }
        let server_name = |name| context(&mut names.server_name, origin.key, name);
        if hello.server_name().map_or(0, server_name) != session.server_name {
            return Err(NoResumption::OtherServerName);
        }
        // A HelloRetryRequest has selected the suite already.
        let preferred = retried.map_or(session.suite, |retried| retried.suite);
        match select_suite(hello, preferred) {
            Some(suite)
                if suite.hash() == session.suite.hash()
                    && retried.is_none_or(|r| r.suite == suite) =>
            {
                Ok((origin, suite))
            }
            _ => Err(NoResumption::NoCommonSuite),
        }
    }

    /// Verifies the binders of a batch. Of a ticket whose binder is not valid nothing remains.
    pub(crate) fn verify(&self, flows: &mut [Flow<'_>]) {
        let opened = flows.iter_mut().filter_map(|flow| {
            let opened = flow.opened.as_mut()?;
            Some(Hello {
                transcript: opened.resumed.transcript,
                body: flow.arrival.hello_body,
                truncated_len: opened.truncated_len,
                binder_key: opened.resumed.session.binder_midstates,
                out: &mut opened.hashed,
            })
        });
        self.hasher.client_hellos(opened);
        for flow in flows {
            if let Some(opened) = &flow.opened
                && !opened.is_genuine()
            {
                let (alert, why) = (AlertDescription::DECRYPT_ERROR, AbortReason::BadBinder);
                flow.decision = Decision::Abort(alert, why);
                flow.opened = None;
            }
        }
    }

    /// Derives the secrets of those that are accepted.
    pub(crate) fn derive<'f, 'w: 'f>(&self, flows: &'f mut [Flow<'w>]) {
        let accepted = flows.iter_mut().filter_map(|flow| match flow.decision {
            Decision::AcceptEarlyData => flow.opened.as_mut(),
            _ => None,
        });
        let job = |opened: &'f mut Opened<'w>| {
            Some(EarlyTraffic {
                client_hello: &opened.hashed.as_ref()?.full,
                early_secret: opened.resumed.session.early_secret,
                out: &mut opened.resumed.early_traffic,
            })
        };
        self.hasher.early_traffic_secrets(accepted.filter_map(job));
    }

    /// Decides on 0-RTT. The strike comes last: it changes what is remembered, so it is for
    /// flights only that nothing else speaks against. And only what was struck is taken for a
    /// retransmission when it comes again: anything else is decided as it was before.
    pub(crate) fn decide(
        &self,
        flow: &mut Flow<'_>,
        origin: &Option<Origin<'k>>,
        retransmissions: &mut Retransmissions,
    ) -> Decision {
        let (Some(opened), Some(origin)) = (&flow.opened, origin) else {
            return flow.decision;
        };
        let sent = &opened.sent;
        let from_where_it_was_issued =
            origin.key.address(sent.address) == opened.resumed.session.address;
        if retransmissions.contains(sent, self.now) {
            flow.arrival.address_verified |= from_where_it_was_issued;
            return Decision::Retransmission;
        }
        let freshness = (self.rules.freshness).check(opened.expected_arrival(), self.now);
        let knows_address = flow.arrival.address_verified || from_where_it_was_issued;
        let refusal = self
            .refusal(&flow.arrival, opened, freshness, knows_address)
            .or_else(|| self.strike(opened, origin));
        // A flight that is not fresh, or came before, can be anybody's who has recorded it.
        let may_be_recorded = freshness != Freshness::Fresh
            || matches!(
                refusal,
                Some(NoEarlyData::Replayed | NoEarlyData::OutOfTime)
            );
        flow.arrival.address_verified |= from_where_it_was_issued && !may_be_recorded;
        match refusal {
            Some(why_not) => Decision::Resume(why_not),
            None => {
                retransmissions.remember(sent, self.now);
                Decision::AcceptEarlyData
            }
        }
    }

    /// What speaks against 0-RTT, but for a replay.
    fn refusal(
        &self,
        arrival: &Arrival<'_>,
        opened: &Opened<'_>,
        freshness: Freshness,
        knows_address: bool,
    ) -> Option<NoEarlyData> {
        let resumed = &opened.resumed;
        let hello = arrival.hello.as_ref().filter(|hello| hello.early_data());
        let Some(hello) = hello else {
            return Some(NoEarlyData::NotOffered);
        };
        if arrival.retried.is_some() || arrival.message_seq > 0 {
            Some(NoEarlyData::HelloRetryRequest)
        } else if resumed.session.max_early_data == 0 {
            Some(NoEarlyData::NotPermitted)
        } else if resumed.selected_identity != 0 {
            Some(NoEarlyData::OtherIdentity)
        } else if resumed.suite != resumed.session.suite {
            Some(NoEarlyData::OtherSuite)
        } else if !opened.same_alpn {
            Some(NoEarlyData::OtherProtocol)
        } else if !self.has_key_share(hello) {
            Some(NoEarlyData::NoKeyShare)
        } else if freshness == Freshness::Late {
            Some(NoEarlyData::Late)
        } else if freshness == Freshness::Early {
            Some(NoEarlyData::Early)
        } else if !knows_address && self.rules.address_policy == AddressPolicy::CookieFirst {
            Some(NoEarlyData::OtherAddress)
        } else {
            None
        }
    }

    /// A handshake with 0-RTT cannot ask for another key share first.
    fn has_key_share(&self, hello: &ClientHello<'_>) -> bool {
        let psk_ke = self.rules.psk_ke && hello.psk_modes().is_some_and(|modes| modes.psk_ke);
        let offered = |group| hello.key_shares().any(|share| share.group == group);
        psk_ke || self.rules.groups.iter().any(|group| offered(*group))
    }

    fn strike(&self, opened: &Opened<'_>, origin: &Origin<'k>) -> Option<NoEarlyData> {
        let arrival = opened.expected_arrival();
        match (self.replay).check_and_record_of(origin, opened.binder, arrival) {
            Strike::First => None,
            Strike::Replayed => Some(NoEarlyData::Replayed),
            Strike::Unknown => Some(NoEarlyData::OtherIssuer),
            Strike::Full => Some(NoEarlyData::ReplayCacheFull),
            Strike::OutOfTime => Some(NoEarlyData::OutOfTime),
            Strike::Disabled => Some(NoEarlyData::Disabled),
        }
    }
}

/// The preferred suite if the client offers it, else the first with the same hash.
fn select_suite(hello: &ClientHello<'_>, preferred: CipherSuite) -> Option<CipherSuite> {
    let mut usable = hello
        .cipher_suites()
        .filter_map(CipherSuite::from_code)
        .filter(|suite| suite.hash() == preferred.hash());
    let first = usable.next()?;
    let offered = first == preferred || usable.any(|suite| suite == preferred);
    Some(if offered { preferred } else { first })
}

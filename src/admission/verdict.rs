//! What the engine says of a datagram: data, with reasons that stay the same.

use std::fmt;

use crate::wire::AlertDescription;

/// An enum of reasons, with a stable name for each.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$reason_doc:meta])* $reason:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$reason_doc])* $reason,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)*];

            /// A name for metrics and logs, which stays the same.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$reason => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

reasons! {
    /// Why a ClientHello resumes nothing. A full handshake follows.
    NoResumption {
        /// It offers no DTLS 1.3.
        NotDtls13 = "not_dtls13",
        /// It offers no PSK.
        NoPreSharedKey = "no_pre_shared_key",
        /// No PSK key exchange mode that is allowed here (RFC 8446, 4.2.9).
        NoPskMode = "no_psk_mode",
        /// The identities have not the form of this engine's tickets.
        MalformedTicket = "malformed_ticket",
        /// The key of the ticket was retired, or never here.
        UnknownKey = "unknown_key",
        /// The ticket does not authenticate.
        ForgedTicket = "forged_ticket",
        /// The ticket holds a host's own bytes: the host opens it.
        OpaqueTicket = "opaque_ticket",
        /// The ticket's lifetime is over.
        TicketExpired = "ticket_expired",
        /// The ticket was issued for another server name.
        OtherServerName = "other_server_name",
        /// The client offers no suite with the hash of the session (RFC 8446, 4.2.11).
        NoCommonSuite = "no_common_suite",
    }
}

reasons! {
    /// Why a resumption comes without 0-RTT.
    NoEarlyData {
        /// The client did not ask for it.
        NotOffered = "not_offered",
        /// The ticket allows none.
        NotPermitted = "not_permitted",
        /// The session is not that of the first identity (RFC 8446, 4.2.10).
        OtherIdentity = "other_identity",
        /// The client no longer offers the suite of the session.
        OtherSuite = "other_suite",
        /// The client no longer offers the session's protocol, or the session had none.
        OtherProtocol = "other_protocol",
        /// No key share that can be used: a HelloRetryRequest is needed.
        NoKeyShare = "no_key_share",
        /// The ClientHello follows a HelloRetryRequest (RFC 8446, 4.2.10).
        HelloRetryRequest = "hello_retry_request",
        /// It arrives later than its client's clock explains.
        Late = "late",
        /// It arrives earlier than its client's clock explains.
        Early = "early",
        /// It comes from another address than the ticket was issued to.
        OtherAddress = "other_address",
        /// It was accepted before.
        Replayed = "replayed",
        /// Another process issued the ticket, or this one before a restart.
        OtherIssuer = "other_issuer",
        /// There is no room to remember it.
        ReplayCacheFull = "replay_cache_full",
        /// Its slice of time is forgotten.
        OutOfTime = "out_of_time",
        /// Replay protection is disabled, so no early data is accepted.
        Disabled = "disabled",
    }
}

reasons! {
    /// Why a handshake is aborted.
    AbortReason {
        /// The ClientHello does not parse, or breaks a rule of the protocol.
        MalformedClientHello = "malformed_client_hello",
        /// The binder does not verify: whoever sent this has not the PSK.
        BadBinder = "bad_binder",
        /// The cookie is not one that was given to this address lately (RFC 9147, 5.1).
        InvalidCookie = "invalid_cookie",
    }
}

reasons! {
    /// Why a datagram is not for the engine, and gets no answer.
    Discarded {
        /// It does not begin with a record.
        NotARecord = "not_a_record",
        /// It begins with an encrypted record: it belongs to an association, or to nobody.
        Encrypted = "encrypted",
        /// It begins with another plaintext record than a handshake message.
        NotHandshake = "not_handshake",
        /// It begins with another handshake message than a ClientHello.
        NotClientHello = "not_client_hello",
        /// A fragment that contradicts others, or is out of the bounds of reassembly.
        BadFragment = "bad_fragment",
        /// There is no room to put fragments together.
        ReassemblyFull = "reassembly_full",
    }
}

/// What to do with a datagram.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// Resume, and accept early data: nobody gets this verdict for this flight again.
    AcceptEarlyData(&'a super::Resumed<'a>),
    /// Resume with one round trip.
    Resume(&'a super::Resumed<'a>, NoEarlyData),
    /// No usable ticket: make a full handshake.
    FullHandshake(NoResumption),
    /// The very ClientHello from the very address whose early data this worker accepted a moment
    /// ago: answer as before, if there is an answer to repeat. Any other ClientHello that comes
    /// again gets its verdict again: a host that has a handshake with this peer and this
    /// [`random`](crate::wire::ClientHello::random) answers as before then, too.
    Retransmission,
    /// Part of a ClientHello: more is to come.
    Incomplete,
    /// Send this alert and nothing else, and not even that while a handshake or an association with
    /// this peer is under way: nobody has authenticated the datagram.
    Abort(AlertDescription, AbortReason),
    /// Do not answer. An encrypted record may belong to an association of the host's.
    Discard(Discarded),
}

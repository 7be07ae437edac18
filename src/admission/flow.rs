//! One datagram on its way through the stages.

use super::retransmission::{Retransmissions, Sent};
use super::verdict::{AbortReason, Discarded, NoEarlyData, NoResumption, Verdict};
use super::{Arrival, Datagram, Resumed};
use crate::replay::expected_arrival;
use crate::schedule::wide::Hashed;
use crate::ticket::Origin;
use crate::time::UnixMillis;
use crate::wire::{AlertDescription, ClientHello};

/// One datagram on its way.
pub(crate) struct Flow<'w> {
    pub(crate) arrival: Arrival<'w>,
    /// Its ClientHello has a known shape.
    pub(super) shape_is_known: bool,
    pub(super) opened: Option<Opened<'w>>,
    pub(crate) decision: Decision,
}

/// A verdict, without what it carries.
#[derive(Clone, Copy)]
pub(crate) enum Decision {
    Pending,
    AcceptEarlyData,
    Resume(NoEarlyData),
    FullHandshake(NoResumption),
    Retransmission,
    Incomplete,
    Abort(AlertDescription, AbortReason),
    Discard(Discarded),
}

/// A ticket that opened, of a client of which nothing is known yet.
pub(super) struct Opened<'w> {
    /// What it resumes, if its binder is valid.
    pub(super) resumed: Resumed<'w>,
    pub(super) same_alpn: bool,
    pub(super) binder: &'w [u8],
    pub(super) sent: Sent,
    /// Bytes of the ClientHello that the binder signs.
    pub(super) truncated_len: usize,
    /// What the ClientHello hashes to, once that is known.
    pub(super) hashed: Option<Hashed>,
    pub(super) obfuscated_age: u32,
}

impl<'w> Flow<'w> {
    pub(crate) fn new(datagram: Datagram<'w>) -> Self {
        Self {
            arrival: Arrival {
                datagram,
                hello: None,
                hello_body: &[],
                message_seq: 0,
                rest: &[],
                address_verified: false,
                retried: None,
            },
            shape_is_known: false,
            opened: None,
            decision: Decision::Pending,
        }
    }

    /// The ClientHello of a client whose binder was verified, if its shape was not known. To be asked
    /// behind [`Judge::verify`](super::Judge::verify).
    pub(crate) fn unlike(&self) -> Option<&ClientHello<'w>> {
        let hello = self.arrival.hello.as_ref()?;
        (self.opened.is_some() && !self.shape_is_known).then_some(hello)
    }

    /// A ClientHello was found, and nothing is decided yet.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.decision, Decision::Pending)
    }

    /// Fetches what is looked at when all binders of the batch are verified.
    #[inline]
    pub(crate) fn prefetch(&self, origin: &Option<Origin<'_>>, retransmissions: &Retransmissions) {
        if let (Some(opened), Some(origin)) = (&self.opened, origin) {
            origin.prefetch();
            retransmissions.prefetch(&opened.sent);
        }
    }

    pub(crate) fn verdict(&self) -> Verdict<'_> {
        match (self.decision, &self.opened) {
            (Decision::AcceptEarlyData, Some(opened)) => Verdict::AcceptEarlyData(&opened.resumed),
            (Decision::Resume(why_not), Some(opened)) => Verdict::Resume(&opened.resumed, why_not),
            (Decision::FullHandshake(why), _) => Verdict::FullHandshake(why),
            (Decision::Retransmission, _) => Verdict::Retransmission,
            (Decision::Abort(alert, why), _) => Verdict::Abort(alert, why),
            (Decision::Discard(why), _) => Verdict::Discard(why),
            (Decision::Incomplete | Decision::Pending, _)
            | (Decision::AcceptEarlyData | Decision::Resume(_), None) => Verdict::Incomplete,
        }
    }
}

impl Opened<'_> {
    /// The binder was verified: the client has the PSK.
    pub(super) fn is_genuine(&self) -> bool {
        let hashed = self.hashed.as_ref();
        hashed.is_some_and(|hashed| hashed.binder.ct_eq(self.binder))
    }

    /// When its clock says that it arrives.
    pub(super) fn expected_arrival(&self) -> UnixMillis {
        expected_arrival(
            self.resumed.session.issued,
            self.resumed.session.age_add,
            self.obfuscated_age,
        )
    }
}

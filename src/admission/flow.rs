//! One datagram on its way through the stages.

use super::verdict::{AbortReason, Discarded, NoEarlyData, NoResumption, Verdict};
use super::{Arrival, Datagram, Resumed};
use crate::replay::expected_arrival;
use crate::schedule::CipherSuite;
use crate::ticket::SessionState;
use crate::time::UnixMillis;
use crate::wire::AlertDescription;

/// One datagram on its way.
pub(crate) struct Flow<'w> {
    pub(crate) arrival: Arrival<'w>,
    pub(super) opened: Option<Opened<'w>>,
    pub(super) resumed: Option<Resumed<'w>>,
    pub(super) decision: Decision,
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
    pub(super) session: SessionState<'w>,
    pub(super) suite: CipherSuite,
    pub(super) selected_identity: u16,
    pub(super) alpn: Option<&'w [u8]>,
    pub(super) same_alpn: bool,
    pub(super) binder: &'w [u8],
    pub(super) truncated_len: usize,
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
            opened: None,
            resumed: None,
            decision: Decision::Pending,
        }
    }

    /// A ClientHello was found, and nothing is decided yet.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.decision, Decision::Pending)
    }

    pub(crate) fn decision(&self) -> Decision {
        self.decision
    }

    pub(crate) fn verdict(&self) -> Verdict<'_> {
        match (self.decision, &self.resumed) {
            (Decision::AcceptEarlyData, Some(resumed)) => Verdict::AcceptEarlyData(resumed),
            (Decision::Resume(why_not), Some(resumed)) => Verdict::Resume(resumed, why_not),
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
    /// When its clock says that it arrives.
    pub(super) fn expected_arrival(&self) -> UnixMillis {
        expected_arrival(
            self.session.issued,
            self.session.age_add,
            self.obfuscated_age,
        )
    }
}

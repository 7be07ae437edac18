//! The first stage: find the ClientHello in a datagram, or put it together from several.

use super::flow::{Decision, Flow};
use super::verdict::Discarded;
use crate::time::UnixMillis;
use crate::wire::{
    ContentType, HandshakeType, Outcome, Reassembly, Record, Refusal, SlotId, fragments, records,
};

/// A client sends its ClientHello as message 0, and again as message 1.
const MESSAGE_SEQ_MAX: u16 = 1;

/// Finds the ClientHello in each datagram, or its fragments. Returns the slot of one that was
/// completed from fragments.
pub(crate) fn read(
    flow: &mut Flow<'_>,
    reassembly: &mut Reassembly,
    flow_key: impl Fn() -> u64,
    now: UnixMillis,
) -> Option<SlotId> {
    let discard = |why| Decision::Discard(why);
    let bytes = flow.arrival.datagram.bytes;
    flow.decision = discard(match bytes.first() {
        // A connection ID follows (RFC 9147, 4), whose length only its association knows.
        Some(0x30..=0x3f) => Discarded::Encrypted,
        _ => Discarded::NotARecord,
    });
    let mut records = records(bytes, 0);
    let mut first = true;
    while let Some(record) = records.next() {
        let fragment = match record {
            Ok(Record::Plaintext(record)) if record.content_type == ContentType::HANDSHAKE => {
                record.fragment
            }
            _ if !first => return None,
            Ok(Record::Plaintext(_)) => {
                flow.decision = discard(Discarded::NotHandshake);
                return None;
            }
            Ok(Record::Ciphertext(_)) => {
                flow.decision = discard(Discarded::Encrypted);
                return None;
            }
            Err(_) => return None,
        };
        first = false;
        for fragment in fragments(fragment) {
            let Ok(fragment) = fragment else {
                flow.decision = discard(Discarded::BadFragment);
                return None;
            };
            if fragment.msg_type != HandshakeType::CLIENT_HELLO
                || fragment.message_seq > MESSAGE_SEQ_MAX
            {
                flow.decision = discard(Discarded::NotClientHello);
                return None;
            }
            // What was stored from this datagram is to be its message, or its bytes would allow
            // an answer now and another one later.
            let stored = matches!(flow.decision, Decision::Incomplete);
            if stored && fragment.message_seq != flow.arrival.message_seq {
                return None;
            }
            flow.arrival.message_seq = fragment.message_seq;
            if fragment.is_whole() && !stored {
                flow.arrival.hello_body = fragment.body;
                flow.arrival.rest = records.rest();
                flow.decision = Decision::Pending;
                return None;
            }
            match reassembly.insert(flow_key(), &fragment, now) {
                Outcome::Complete(slot) => {
                    flow.arrival.rest = records.rest();
                    flow.decision = Decision::Pending;
                    return Some(slot);
                }
                Outcome::Incomplete | Outcome::AlreadyComplete(_) => {
                    flow.decision = Decision::Incomplete;
                }
                Outcome::Refused(why) => {
                    flow.decision = discard(match why {
                        Refusal::Full => Discarded::ReassemblyFull,
                        _ => Discarded::BadFragment,
                    });
                    return None;
                }
            }
        }
    }
    None
}

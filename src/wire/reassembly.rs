//! Reassembly of fragmented handshake messages in a fixed amount of memory (RFC 9147, 5.5).
//!
//! Nobody has authenticated what comes in here, so the pool is built to be flooded: its memory is
//! taken once, a fragment costs a look at [`WAYS`] slots, and what a flood can do is to make a
//! client send its flight again.

use std::fmt;
use std::time::Duration;

use super::handshake::{Fragment, HandshakeType};
use super::partial::{WORD_BYTES, store};
use crate::error::Error;
use crate::time::{UnixMillis, millis};

/// A flow's messages may be in so many slots: the work that one fragment can cause.
const WAYS: usize = 4;

/// A pool of slots, each of which makes one message whole.
///
/// A fragment that says otherwise than those before begins its message anew: a client that has given
/// a handshake up can begin another from the same port, with the same `message_seq`.
///
/// Completed messages stay readable until [`begin_batch`](Self::begin_batch), so that a batch of
/// datagrams can be looked at together. Messages that come in one fragment
/// ([`Fragment::is_whole`]) need no slot and should not be inserted.
pub struct Reassembly {
    slots: Box<[Slot]>,
    /// `words_per_slot` * [`WORD_BYTES`] bytes for each slot.
    bytes: Box<[u8]>,
    /// A bit for each byte that has arrived.
    arrived: Box<[u64]>,
    /// The slots completed in this batch; never longer than the capacity it was built with.
    completed: Vec<u32>,
    words_per_slot: usize,
    max_message_len: usize,
    timeout_millis: u64,
    /// Counts the messages begun: the order of their age, whatever the clock does.
    begun: u64,
}

#[derive(Clone, Copy)]
struct Slot {
    state: State,
    flow: u64,
    message_seq: u16,
    msg_type: HandshakeType,
    length: u32,
    missing: u32,
    started: UnixMillis,
    /// The value of [`Reassembly::begun`] that this message got: tells a slot's uses apart.
    serial: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Filling,
    Complete,
}

/// A completed message in a [`Reassembly`], until the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotId {
    index: u32,
    serial: u64,
}

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// It was the last that was missing: the message can be read.
    Complete(SlotId),
    /// Its message was completed earlier in this batch. Nothing is new.
    AlreadyComplete(SlotId),
    /// More must come.
    Incomplete,
    /// It was dropped, and nothing was changed.
    Refused(Refusal),
}

/// Why a fragment was dropped. The reasons are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The message is longer than the pool's slots.
    MessageTooLong,
    /// Its message was completed in this batch, with another type or length.
    Inconsistent,
    /// It carries nothing of a message that is not empty.
    Empty,
    /// All slots that the flow may use hold messages completed in this batch.
    Full,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MessageTooLong => "a message longer than the pool's slots",
            Self::Inconsistent => "a fragment of another type or length than its message",
            Self::Empty => "an empty fragment of a message that is not empty",
            Self::Full => "all slots are taken in this batch",
        })
    }
}

impl std::error::Error for Refusal {}

impl Reassembly {
    /// A pool for at least `slots` messages of up to `max_message_len` bytes each. A message that
    /// is not whole `timeout` after its first fragment starts anew.
    ///
    /// # Errors
    /// [`Error::Config`] if a size is 0, or too large to address.
    pub fn new(slots: usize, max_message_len: usize, timeout: Duration) -> Result<Self, Error> {
        if slots == 0 || max_message_len == 0 {
            return Err(Error::Config("reassembly: no slots or no message bytes"));
        }
        let too_large = Error::Config("reassembly: too much memory");
        let slots = slots.checked_next_multiple_of(WAYS).ok_or(too_large)?;
        u32::try_from(slots).map_err(|_| too_large)?;
        let words_per_slot = max_message_len.div_ceil(WORD_BYTES);
        let words = slots.checked_mul(words_per_slot).ok_or(too_large)?;
        let bytes = words.checked_mul(WORD_BYTES).ok_or(too_large)?;
        if bytes > isize::MAX as usize / 2 {
            return Err(too_large);
        }
        Ok(Self {
            slots: vec![Slot::FREE; slots].into(),
            bytes: vec![0; bytes].into(),
            arrived: vec![0; words].into(),
            completed: Vec::with_capacity(slots),
            words_per_slot,
            max_message_len,
            timeout_millis: millis(timeout),
            begun: 0,
        })
    }

    /// The memory that the pool has taken, in bytes. It takes no more.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.slots)
            + size_of_val(&*self.bytes)
            + size_of_val(&*self.arrived)
            + self.completed.capacity() * size_of::<u32>()
    }

    /// Frees the slots of the messages completed so far: their [`SlotId`]s mean nothing any more.
    pub fn begin_batch(&mut self) {
        for index in self.completed.drain(..) {
            if let Some(slot) = self.slots.get_mut(index as usize) {
                slot.state = State::Free;
            }
        }
    }

    /// Takes in a fragment that came at `now`. `flow` stands for the peer's address, under a hash
    /// whose key peers do not know: else they could choose whose slots they take.
    pub fn insert(&mut self, flow: u64, fragment: &Fragment<'_>, now: UnixMillis) -> Outcome {
        if fragment.length as usize > self.max_message_len {
            return Outcome::Refused(Refusal::MessageTooLong);
        }
        if fragment.body.is_empty() && fragment.length != 0 {
            return Outcome::Refused(Refusal::Empty);
        }
        if let Some(index) = self.slot_of(flow, fragment.message_seq, now) {
            let slot = &self.slots[index];
            let is_alike = slot.msg_type == fragment.msg_type && slot.length == fragment.length;
            if slot.state == State::Complete {
                return match is_alike {
                    true => Outcome::AlreadyComplete(slot.id(index)),
                    false => Outcome::Refused(Refusal::Inconsistent),
                };
            }
            if is_alike && let Some(outcome) = self.store(index, fragment) {
                return outcome;
            }
            // The peer has given that message up and begun another, or somebody forges: whose
            // fragments come together is served.
            self.slots[index].state = State::Free;
        }
        self.begin(flow, fragment, now)
            .and_then(|index| self.store(index, fragment))
            .unwrap_or(Outcome::Refused(Refusal::Full))
    }

    /// Takes the fragment into the slot of its message; `None` if it contradicts what has arrived.
    fn store(&mut self, index: usize, fragment: &Fragment<'_>) -> Option<Outcome> {
        let first_word = index * self.words_per_slot;
        let words = first_word..first_word + self.words_per_slot;
        let new = store(
            &mut self.bytes[words.start * WORD_BYTES..words.end * WORD_BYTES],
            &mut self.arrived[words],
            fragment.fragment_offset as usize,
            fragment.body,
        )?;
        let slot = &mut self.slots[index];
        slot.missing = slot.missing.saturating_sub(new);
        if slot.missing > 0 {
            return Some(Outcome::Incomplete);
        }
        slot.state = State::Complete;
        // Each slot is completed once until `begin_batch`, so this never grows.
        self.completed.push(index as u32);
        Some(Outcome::Complete(slot.id(index)))
    }

    /// The body of a completed message; empty if a batch has begun since.
    #[must_use]
    pub fn body(&self, id: SlotId) -> &[u8] {
        self.completed_slot(id).map_or(&[], |slot| {
            let start = id.index as usize * self.words_per_slot * WORD_BYTES;
            &self.bytes[start..start + slot.length as usize]
        })
    }

    /// The type and `message_seq` of a completed message; none if a batch has begun since.
    #[must_use]
    pub fn kind(&self, id: SlotId) -> Option<(HandshakeType, u16)> {
        self.completed_slot(id)
            .map(|slot| (slot.msg_type, slot.message_seq))
    }

    fn completed_slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots
            .get(id.index as usize)
            .filter(|slot| slot.state == State::Complete && slot.serial == id.serial)
    }

    /// The slots that a flow may use.
    fn ways(&self, flow: u64) -> std::ops::Range<usize> {
        let sets = (self.slots.len() / WAYS) as u128;
        let set = ((u128::from(flow) * sets) >> 64) as usize;
        set * WAYS..(set + 1) * WAYS
    }

    /// The slot in which the message is. One that has timed out is freed.
    fn slot_of(&mut self, flow: u64, message_seq: u16, now: UnixMillis) -> Option<usize> {
        let ways = self.ways(flow);
        let timeout_millis = self.timeout_millis;
        let mut found = None;
        for (index, slot) in ways.clone().zip(&mut self.slots[ways]) {
            if slot.state == State::Free || slot.flow != flow || slot.message_seq != message_seq {
                continue;
            }
            // A clock that stepped back far frees the slot too, rather than keep it for as long.
            let age = slot.started.0.abs_diff(now.0);
            if slot.state == State::Filling && age > timeout_millis {
                slot.state = State::Free;
            } else {
                found = Some(index);
            }
        }
        found
    }

    /// Begins a message, if need be in place of the oldest that is not whole: a client's fragments
    /// arrive together, so that what has waited longest is most likely abandoned. Refusing the
    /// newcomer would let a few bytes from forged addresses close the pool for a whole timeout.
    fn begin(&mut self, flow: u64, fragment: &Fragment<'_>, now: UnixMillis) -> Option<usize> {
        let ways = self.ways(flow);
        let (index, slot) = ways
            .clone()
            .zip(&mut self.slots[ways])
            .filter(|(_, slot)| slot.state != State::Complete)
            .min_by_key(|(_, slot)| match slot.state {
                State::Free => 0,
                _ => slot.serial,
            })?;
        self.begun += 1;
        *slot = Slot {
            state: State::Filling,
            flow,
            message_seq: fragment.message_seq,
            msg_type: fragment.msg_type,
            length: fragment.length,
            missing: fragment.length,
            started: now,
            serial: self.begun,
        };
        let first_word = index * self.words_per_slot;
        let words = (fragment.length as usize).div_ceil(WORD_BYTES);
        self.arrived[first_word..first_word + words].fill(0);
        Some(index)
    }
}

/// Prints nothing of the messages.
impl fmt::Debug for Reassembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reassembly")
            .field("slots", &self.slots.len())
            .field("max_message_len", &self.max_message_len)
            .field("completed", &self.completed.len())
            .finish_non_exhaustive()
    }
}

impl Slot {
    /// The name of the message in it, which is that of `index`.
    fn id(&self, index: usize) -> SlotId {
        SlotId {
            index: index as u32,
            serial: self.serial,
        }
    }

    const FREE: Self = Self {
        state: State::Free,
        flow: 0,
        message_seq: 0,
        msg_type: HandshakeType(0),
        length: 0,
        missing: 0,
        started: UnixMillis(0),
        serial: 0,
    };
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const TIMEOUT: Duration = Duration::from_millis(1000);
    const FLOW: u64 = 0x0123_4567_89ab_cdef;

    fn pool(slots: usize) -> Reassembly {
        Reassembly::new(slots, 300, TIMEOUT).unwrap()
    }

    fn part(message: &[u8], message_seq: u16, range: std::ops::Range<usize>) -> Fragment<'_> {
        Fragment {
            msg_type: HandshakeType::CLIENT_HELLO,
            length: message.len() as u32,
            message_seq,
            fragment_offset: range.start as u32,
            body: &message[range],
        }
    }

    #[test]
    fn trap_29_fragments_out_of_order_and_doubled_reassemble() {
        let message: Vec<u8> = (0..200).collect();
        let mut pool = pool(4);
        for range in [150..200, 40..100, 40..100, 90..160] {
            let outcome = pool.insert(FLOW, &part(&message, 0, range), NOW);
            assert_eq!(outcome, Outcome::Incomplete);
        }
        let Outcome::Complete(id) = pool.insert(FLOW, &part(&message, 0, 0..41), NOW) else {
            panic!("not complete")
        };
        assert_eq!(pool.body(id), message);
        assert_eq!(pool.kind(id), Some((HandshakeType::CLIENT_HELLO, 0)));

        // When a fragment of it comes once more, nothing happens
        let again = pool.insert(FLOW, &part(&message, 0, 0..41), NOW);
        assert_eq!(again, Outcome::AlreadyComplete(id));

        // And when the next batch begins, the message is gone and may come again
        pool.begin_batch();
        assert_eq!(pool.body(id), b"");
        assert_eq!(pool.kind(id), None);
        let again = pool.insert(FLOW, &part(&message, 0, 0..41), NOW);
        assert_eq!(again, Outcome::Incomplete);

        // And who kept the old name of the slot does not read another batch's message under it
        let whole = pool.insert(FLOW, &part(&message, 0, 0..200), NOW);
        assert!(matches!(whole, Outcome::Complete(new) if new != id));
        assert_eq!(pool.body(id), b"");
    }

    #[test]
    fn trap_29_a_message_is_of_one_piece_whatever_was_left_of_another() {
        let (given_up, message) = ([1; 100], [2; 100]);
        let longer = [3; 101];
        let other_type = Fragment {
            msg_type: HandshakeType::FINISHED,
            ..part(&message, 0, 0..10)
        };
        for left in [
            part(&given_up, 0, 10..30),
            part(&longer, 0, 10..30),
            other_type,
        ] {
            let mut pool = pool(4);
            let _ = pool.insert(FLOW, &left, NOW);
            let begun = pool.insert(FLOW, &part(&message, 0, 0..20), NOW);
            assert_eq!(begun, Outcome::Incomplete);
            let Outcome::Complete(id) = pool.insert(FLOW, &part(&message, 0, 20..100), NOW) else {
                panic!("not complete")
            };
            assert_eq!(pool.body(id), message);
        }
    }

    #[test]
    fn trap_29_what_was_completed_in_this_batch_stays_as_it_is() {
        let message = [7; 100];
        let mut pool = pool(4);
        let Outcome::Complete(id) = pool.insert(FLOW, &part(&message, 0, 0..100), NOW) else {
            panic!("not complete")
        };
        let again = pool.insert(FLOW, &part(&[8; 100], 0, 0..50), NOW);
        assert_eq!(again, Outcome::AlreadyComplete(id));
        let longer = pool.insert(FLOW, &part(&[8; 101], 0, 0..50), NOW);
        assert_eq!(longer, Outcome::Refused(Refusal::Inconsistent));
        let empty = pool.insert(FLOW, &part(&message, 0, 50..50), NOW);
        assert_eq!(empty, Outcome::Refused(Refusal::Empty));
        assert_eq!(pool.body(id), message);
    }

    #[test]
    fn trap_29_memory_is_taken_once_and_messages_are_bounded() {
        let pool_of = |slots, len| Reassembly::new(slots, len, TIMEOUT).map(|p| p.memory_bytes());
        assert!(pool_of(1000, 2000).unwrap() < 1000 * (2048 + 256 + 64 + 4) + 1000);
        assert!(matches!(pool_of(0, 1), Err(Error::Config(_))));
        assert!(matches!(pool_of(1, 0), Err(Error::Config(_))));
        assert!(matches!(pool_of(usize::MAX, 1), Err(Error::Config(_))));
        assert!(matches!(pool_of(4, usize::MAX), Err(Error::Config(_))));

        // Given a pool for messages of 300 bytes, flooded by other flows
        let mut pool = pool(8);
        let memory = pool.memory_bytes();
        for flow in 0..10_000_u64 {
            let flow = flow.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let _ = pool.insert(flow, &part(&[0; 300], 0, 0..1), NOW);
        }
        assert_eq!(pool.memory_bytes(), memory);

        // Then a client whose fragments come together is still served
        let message = [1; 300];
        let _ = pool.insert(FLOW, &part(&message, 0, 0..200), NOW);
        let outcome = pool.insert(FLOW, &part(&message, 0, 200..300), NOW);
        assert!(matches!(outcome, Outcome::Complete(_)));

        let longer = pool.insert(FLOW, &part(&[0; 301], 0, 0..1), NOW);
        assert_eq!(longer, Outcome::Refused(Refusal::MessageTooLong));
    }

    #[test]
    fn the_oldest_unfinished_message_gives_way_and_completed_ones_stay() {
        // Given four slots, two of them completed in this batch
        let message = [7; 100];
        let mut pool = pool(4);
        let mut completed = Vec::new();
        for seq in 0..2 {
            match pool.insert(FLOW, &part(&message, seq, 0..100), NOW) {
                Outcome::Complete(id) => completed.push(id),
                other => panic!("{other:?}"),
            }
        }
        let _ = pool.insert(FLOW, &part(&message, 2, 0..50), NOW);
        let _ = pool.insert(FLOW, &part(&message, 3, 0..50), NOW);

        // When a fifth message begins
        let _ = pool.insert(FLOW, &part(&message, 4, 0..50), NOW);

        // Then the third was forgotten, and the fourth was not
        let fourth = pool.insert(FLOW, &part(&message, 3, 50..100), NOW);
        assert!(matches!(fourth, Outcome::Complete(_)));
        let third = pool.insert(FLOW, &part(&message, 2, 50..100), NOW);
        assert_eq!(third, Outcome::Incomplete);
        let third = pool.insert(FLOW, &part(&message, 2, 0..50), NOW);
        assert!(matches!(third, Outcome::Complete(_)));

        // And when all four are complete, a newcomer has to wait for the next batch
        let full = pool.insert(FLOW, &part(&message, 5, 0..50), NOW);
        assert_eq!(full, Outcome::Refused(Refusal::Full));
        let why: Box<dyn std::error::Error> = Refusal::Full.into();
        assert_eq!(why.to_string(), "all slots are taken in this batch");
        for id in completed {
            assert_eq!(pool.body(id), message);
        }
        pool.begin_batch();
        let room = pool.insert(FLOW, &part(&message, 5, 0..50), NOW);
        assert_eq!(room, Outcome::Incomplete);
    }

    #[test]
    fn an_abandoned_message_starts_anew_after_the_timeout() {
        let message = [7; 100];
        let second_half_at = |now| {
            let mut pool = pool(4);
            let _ = pool.insert(FLOW, &part(&message, 0, 0..50), NOW);
            matches!(
                pool.insert(FLOW, &part(&message, 0, 50..100), now),
                Outcome::Complete(_)
            )
        };
        assert!(second_half_at(NOW.saturating_add(TIMEOUT)));
        assert!(!second_half_at(UnixMillis(NOW.0 + 1001)));
        // A clock that steps back a little does no harm, one that steps back far frees the slot
        assert!(second_half_at(UnixMillis(NOW.0 - 1000)));
        assert!(!second_half_at(UnixMillis(0)));
    }

    #[test]
    fn flows_and_messages_do_not_mix() {
        let (a, b) = ([1; 100], [2; 100]);
        let mut pool = pool(4);
        let _ = pool.insert(1, &part(&a, 0, 0..50), NOW);
        let _ = pool.insert(2, &part(&b, 0, 0..50), NOW);
        let _ = pool.insert(1, &part(&b, 1, 0..50), NOW);
        let Outcome::Complete(id) = pool.insert(1, &part(&a, 0, 50..100), NOW) else {
            panic!("not complete")
        };
        assert_eq!(pool.body(id), a);
    }

    proptest! {
        /// Every cut of a message, in any order and with parts doubled, gives the message.
        #[test]
        fn trap_29_every_cut_of_a_message_reassembles(
            message in proptest::collection::vec(any::<u8>(), 1..300),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(message.len())).collect();
            cuts.extend([0, message.len()]);
            cuts.sort_unstable();
            cuts.dedup();
            let parts: Vec<_> = cuts.windows(2).map(|w| w[0]..w[1]).collect();
            let mut sent: Vec<_> = order.iter().map(|i| i.get(&parts).clone()).collect();
            sent.extend(parts.into_iter().rev());

            let mut pool = pool(4);
            let mut complete = None;
            for range in sent {
                if let Outcome::Complete(id) = pool.insert(FLOW, &part(&message, 0, range), NOW) {
                    prop_assert!(complete.is_none());
                    complete = Some(id);
                }
            }
            prop_assert_eq!(pool.body(complete.unwrap()), message);
        }
    }
}

//! Fragments, against a reassembler that keeps every message in a list and every byte in an
//! `Option`.
#![no_main]

use std::time::Duration;

use dtls_session::UnixMillis;
use dtls_session::wire::{Fragment, HandshakeType, Outcome, Reassembly, Refusal, fragments};
use dtls_session_fuzz::common::NOW;
use dtls_session_fuzz::script::Script;
use libfuzzer_sys::fuzz_target;

/// Two sets of this many slots, chosen by the first bit of the flow.
const WAYS: usize = 4;
const MESSAGE_MAX: usize = 2_000;
const TIMEOUT_MS: u64 = 1_000;

/// The obviously right one.
#[derive(Default)]
struct Model {
    /// Oldest first.
    messages: Vec<Message>,
}

struct Message {
    flow: u64,
    message_seq: u16,
    msg_type: HandshakeType,
    body: Vec<Option<u8>>,
    begun: UnixMillis,
    complete: bool,
}

impl Message {
    /// Whether the fragment can be of this message.
    fn takes(&self, fragment: &Fragment<'_>) -> bool {
        let mut places = self
            .body
            .iter()
            .skip(fragment.fragment_offset as usize)
            .zip(fragment.body);
        self.is_alike(fragment) && places.all(|(is, new)| is.is_none_or(|is| is == *new))
    }

    fn is_alike(&self, fragment: &Fragment<'_>) -> bool {
        self.msg_type == fragment.msg_type && self.body.len() == fragment.length as usize
    }

    fn whole(&self) -> Option<Vec<u8>> {
        self.body.iter().copied().collect()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Whole(Vec<u8>),
    Already(Vec<u8>),
    Incomplete,
    Refused(Refusal),
}

impl Model {
    fn insert(&mut self, flow: u64, fragment: &Fragment<'_>, now: UnixMillis) -> Expected {
        if fragment.length as usize > MESSAGE_MAX {
            return Expected::Refused(Refusal::MessageTooLong);
        }
        if fragment.body.is_empty() && fragment.length > 0 {
            return Expected::Refused(Refusal::Empty);
        }
        let is_it = |m: &Message| m.flow == flow && m.message_seq == fragment.message_seq;
        let is_late = |m: &Message| !m.complete && m.begun.0.abs_diff(now.0) > TIMEOUT_MS;
        let is_other = |m: &Message| !m.complete && !m.takes(fragment);
        self.messages
            .retain(|m| !(is_it(m) && (is_late(m) || is_other(m))));
        if !self.messages.iter().any(is_it) {
            let same_set = |m: &Message| m.flow >> 63 == flow >> 63;
            if self.messages.iter().filter(|m| same_set(m)).count() == WAYS {
                let oldest = |m: &Message| same_set(m) && !m.complete;
                let Some(oldest) = self.messages.iter().position(oldest) else {
                    return Expected::Refused(Refusal::Full);
                };
                self.messages.remove(oldest);
            }
            self.messages.push(Message {
                flow,
                message_seq: fragment.message_seq,
                msg_type: fragment.msg_type,
                body: vec![None; fragment.length as usize],
                begun: now,
                complete: false,
            });
        }
        let Some(message) = self.messages.iter_mut().find(|m| is_it(m)) else {
            unreachable!("it was added if it was not there");
        };
        if !message.is_alike(fragment) {
            return Expected::Refused(Refusal::Inconsistent);
        }
        if message.complete {
            return Expected::Already(message.whole().unwrap_or_default());
        }
        let at = fragment.fragment_offset as usize;
        for (byte, new) in message.body[at..].iter_mut().zip(fragment.body) {
            byte.get_or_insert(*new);
        }
        match message.whole() {
            Some(body) => {
                message.complete = true;
                Expected::Whole(body)
            }
            None => Expected::Incomplete,
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let timeout = Duration::from_millis(TIMEOUT_MS);
    let mut pool = Reassembly::new(2 * WAYS, MESSAGE_MAX, timeout).expect("sizes make sense");
    let memory = pool.memory_bytes();
    let mut model = Model::default();
    let mut now = NOW;
    while !script.is_over() {
        let step = script.byte();
        // Some flows of one set, and some of the other.
        let flow = u64::from(step >> 4 & 7) | u64::from(step >> 7) << 63;
        let record = match step % 8 {
            // Any record.
            0 | 1 => script.bytes().to_vec(),
            // A fragment with a right header.
            2..=5 => {
                let message_seq = script.byte() % 3;
                let msg_type = 1 + script.byte() % 2;
                let length = u32::from(script.u16()) % (MESSAGE_MAX as u32 + 2);
                let offset = u32::from(script.u16()) % (length + 1);
                let len = u32::from(script.u16()) % (length - offset + 1);
                let header = dtls_session::wire::dtls_header(
                    HandshakeType(msg_type),
                    length,
                    message_seq.into(),
                    offset,
                    len,
                );
                // Of few messages, so that what overlaps is mostly the same, and sometimes not.
                let fill = script.byte() % 4;
                let body = (0..len).map(|i| fill.wrapping_add((offset + i) as u8));
                header.into_iter().chain(body).collect()
            }
            6 => {
                pool.begin_batch();
                model.messages.retain(|m| !m.complete);
                continue;
            }
            _ => {
                let ms = u64::from(script.u16()) % 3_000;
                now.0 = if step >> 7 == 0 {
                    now.0 + ms
                } else {
                    now.0 - ms
                };
                continue;
            }
        };
        for fragment in fragments(&record).flatten() {
            let expected = model.insert(flow, &fragment, now);
            let kind = Some((fragment.msg_type, fragment.message_seq));
            let outcome = match pool.insert(flow, &fragment, now) {
                Outcome::Complete(slot) => {
                    assert_eq!(pool.kind(slot), kind);
                    Expected::Whole(pool.body(slot).to_vec())
                }
                Outcome::AlreadyComplete(slot) => {
                    assert_eq!(pool.kind(slot), kind);
                    Expected::Already(pool.body(slot).to_vec())
                }
                Outcome::Incomplete => Expected::Incomplete,
                Outcome::Refused(why) => Expected::Refused(why),
            };
            assert_eq!(outcome, expected);
        }
        assert_eq!(pool.memory_bytes(), memory);
    }
});

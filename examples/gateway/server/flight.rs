//! A flight of handshake messages: packed into records, and sent until it is acknowledged
//! (RFC 9147, 5.5 and 5.8).

use std::ops::Range;
use std::time::Duration;

use dtls_session::UnixMillis;
use dtls_session::wire::{
    ContentType, Fragment, HANDSHAKE_HEADER_LEN, HandshakeType, dtls_header, fragments,
};

use super::ack::RecordNumber;
use super::outbox::Outbox;
use super::sender::{Level, Sender};

/// The longest wait between two retransmissions.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How often a flight is sent again when nobody asks for it. At 1 s for the first wait that takes
/// two minutes.
const SENT_BY_TIMER_MAX: u32 = 7;

/// How often a flight is sent without a sign that any of it arrives, before it is tried in shorter
/// datagrams.
const SENT_IN_VAIN_MAX: u32 = 3;

/// How many of the latest records sent are remembered, to know what an ACK names.
const NUMBERS_MAX: usize = 64;

/// What it is for: what follows when it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Handshake,
    Tickets,
    KeyUpdate,
    ConnectionIds,
}

/// A flight. Its messages are cut into records; a retransmission repeats those records, under new
/// record numbers, that were not acknowledged.
pub struct Flight {
    purpose: Purpose,
    bytes: Vec<u8>,
    records: Vec<Record>,
    /// Which record was sent under which number, the latest last.
    numbers: Vec<(RecordNumber, usize)>,
    first_wait: Duration,
    wait: Duration,
    sent_by_timer: u32,
    sent_in_vain: u32,
    last_sent: UnixMillis,
    due: Option<UnixMillis>,
}

struct Record {
    level: Level,
    range: Range<usize>,
    is_acknowledged: bool,
}

impl Flight {
    /// An empty flight, which is first sent again after `first_wait`.
    pub fn new(purpose: Purpose, first_wait: Duration) -> Self {
        // What is due again at once would be sent for ever.
        let first_wait = first_wait.max(Duration::from_millis(1));
        Self {
            purpose,
            bytes: Vec::new(),
            records: Vec::new(),
            numbers: Vec::new(),
            first_wait,
            wait: first_wait,
            sent_by_timer: 0,
            sent_in_vain: 0,
            last_sent: UnixMillis(0),
            due: None,
        }
    }

    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Adds a message behind those of the flight, in fragments that fit into records of `room`
    /// bytes of plaintext.
    pub fn push(
        &mut self,
        level: Level,
        room: usize,
        msg_type: HandshakeType,
        message_seq: u16,
        body: &[u8],
    ) {
        let whole = Fragment {
            msg_type,
            length: body.len() as u32,
            message_seq,
            fragment_offset: 0,
            body,
        };
        self.push_fragment(level, room, &whole);
    }

    fn push_fragment(&mut self, level: Level, room: usize, fragment: &Fragment<'_>) {
        let body = fragment.body;
        let mut offset = 0;
        loop {
            let start = self.record_with_room(level, room);
            let free = room - (self.bytes.len() - start) - HANDSHAKE_HEADER_LEN;
            let part = &body[offset..body.len().min(offset + free)];
            self.bytes.extend(dtls_header(
                fragment.msg_type,
                fragment.length,
                fragment.message_seq,
                fragment.fragment_offset + offset as u32,
                part.len() as u32,
            ));
            self.bytes.extend(part);
            offset += part.len();
            if let Some(record) = self.records.last_mut() {
                record.range.end = self.bytes.len();
            }
            if offset == body.len() {
                return;
            }
        }
    }

    /// Cuts what is not acknowledged into records that have no more than `room` at their level. What
    /// was sent before is no longer known by its numbers.
    fn cut_anew(&mut self, room: impl Fn(Level) -> usize) {
        let bytes = std::mem::take(&mut self.bytes);
        let records = std::mem::take(&mut self.records);
        self.numbers.clear();
        for record in records.into_iter().filter(|record| !record.is_acknowledged) {
            // They were written by this flight, so that all of them parse.
            for fragment in fragments(&bytes[record.range]).flatten() {
                self.push_fragment(record.level, room(record.level), &fragment);
            }
        }
    }

    /// Where the last record begins, once there is one that has room for more than a header.
    fn record_with_room(&mut self, level: Level, room: usize) -> usize {
        let end = self.bytes.len();
        match self.records.last() {
            Some(last)
                if last.level == level && end - last.range.start + HANDSHAKE_HEADER_LEN < room =>
            {
                last.range.start
            }
            _ => {
                self.records.push(Record {
                    level,
                    range: end..end,
                    is_acknowledged: false,
                });
                end
            }
        }
    }

    /// Sends it for the first time.
    pub fn send(&mut self, sender: &mut Sender, now: UnixMillis, out: &mut Outbox) {
        self.transmit(sender, now, out);
    }

    /// Sends again what is not acknowledged, since the peer shows that something is missing. Not
    /// more often than four times in the first wait: duplicates are no sign of loss, and nobody
    /// is to make this server send at will.
    pub fn repeat(&mut self, sender: &mut Sender, now: UnixMillis, out: &mut Outbox) {
        let since = Duration::from_millis(now.0.abs_diff(self.last_sent.0));
        if since >= self.first_wait / 4 {
            self.transmit(sender, now, out);
        }
    }

    /// Sends it again if its time has come, unless that was often enough: then it stops.
    pub fn on_timeout(&mut self, sender: &mut Sender, now: UnixMillis, out: &mut Outbox) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        if self.sent_by_timer >= SENT_BY_TIMER_MAX {
            self.stop();
            return;
        }
        self.sent_by_timer += 1;
        self.wait = (self.wait * 2).min(WAIT_MAX);
        self.transmit(sender, now, out);
    }

    /// The peer is there: sends again what has stopped, once for each of the longest waits.
    pub fn resume(&mut self, sender: &mut Sender, now: UnixMillis, out: &mut Outbox) {
        let has_stopped = self.due.is_none() && !self.is_acknowledged();
        if has_stopped && now.saturating_since(self.last_sent) >= WAIT_MAX {
            self.transmit(sender, now, out);
        }
    }

    /// When it is to be sent again.
    pub fn due(&self) -> Option<UnixMillis> {
        self.due
    }

    /// The peer will not need it again, or asks not to be sent it: no more by timer.
    pub fn stop(&mut self) {
        self.due = None;
    }

    /// Takes note of an ACK. `true` if it named a record of this flight that was not acknowledged.
    pub fn acknowledge(&mut self, number: RecordNumber) -> bool {
        let sent = self.numbers.iter().find(|(sent, _)| *sent == number);
        let record = sent.and_then(|(_, index)| self.records.get_mut(*index));
        let is_news =
            record.is_some_and(|record| !std::mem::replace(&mut record.is_acknowledged, true));
        if is_news {
            self.sent_in_vain = 0;
        }
        if self.is_acknowledged() {
            self.stop();
        }
        is_news
    }

    /// Bytes of it of which nobody said that they have arrived.
    fn missing_len(&self) -> usize {
        let missing = self.records.iter().filter(|record| !record.is_acknowledged);
        missing.map(|record| record.range.len()).sum()
    }

    /// All of it has arrived.
    pub fn is_acknowledged(&self) -> bool {
        self.records.iter().all(|record| record.is_acknowledged)
    }

    fn transmit(&mut self, sender: &mut Sender, now: UnixMillis, out: &mut Outbox) {
        if self.sent_in_vain >= SENT_IN_VAIN_MAX && sender.narrow(self.missing_len()) {
            self.cut_anew(|level| sender.room(level));
        }
        self.sent_in_vain = self.sent_in_vain.saturating_add(1);
        for (index, record) in self.records.iter().enumerate() {
            if record.is_acknowledged {
                continue;
            }
            let plaintext = &self.bytes[record.range.clone()];
            let sent = sender.send(record.level, ContentType::HANDSHAKE, plaintext, out);
            let Some(number) = sent else { break };
            if self.numbers.len() == NUMBERS_MAX {
                self.numbers.remove(0);
            }
            self.numbers.push((number, index));
        }
        self.last_sent = now;
        self.due = Some(now.saturating_add(self.wait));
    }
}

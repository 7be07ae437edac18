//! Records of one connection, and the handshake messages in them (RFC 9147, 4, 5.5 and 7).

use std::time::Duration;

use dtls_session::schedule::{RECORD_OVERHEAD_LEN, RecordOpener, RecordSealer};
use dtls_session::wire::{
    ContentType, HandshakeType, Outcome, Reassembly, Record, fragments, records,
};

use super::{Own, now, why};
use crate::Result;

/// Longer than any message of the gateway.
const MESSAGE_MAX: usize = 1 << 12;

pub(super) struct Records {
    /// By epoch, the newest last.
    pub(super) openers: Vec<RecordOpener>,
    pub(super) sealers: Vec<RecordSealer>,
    reassembly: Reassembly,
    /// The number of the next message of the server.
    next_message: u16,
    /// Complete messages whose turn has not come.
    early: Vec<(u16, HandshakeType, Vec<u8>)>,
    /// Epoch and number of handshake records that are to be acknowledged.
    to_acknowledge: Vec<(u64, u64)>,
}

impl Records {
    pub(super) fn new() -> Result<Self> {
        let reassembly = Reassembly::new(4, MESSAGE_MAX, Duration::from_secs(30));
        Ok(Self {
            openers: Vec::new(),
            sealers: Vec::new(),
            reassembly: reassembly.map_err(why("reassembly"))?,
            next_message: 0,
            early: Vec::new(),
            to_acknowledge: Vec::new(),
        })
    }

    /// Opens a record, if there is a key for it. Returns epoch and number with its content.
    fn open(&mut self, bytes: &[u8], epoch_bits: u8) -> Option<(u64, u64, ContentType, Vec<u8>)> {
        let has_bits = |opener: &&mut RecordOpener| opener.epoch() & 3 == u64::from(epoch_bits);
        let opener = self.openers.iter_mut().find(has_bits)?;
        let epoch = opener.epoch();
        let mut record = bytes.to_vec();
        let opened = opener.open(&mut record, 0).ok()?;
        Some((
            epoch,
            opened.sequence_number,
            opened.content_type,
            opened.plaintext.to_vec(),
        ))
    }

    fn take_in(&mut self, handshake: &[u8]) -> Result<()> {
        for fragment in fragments(handshake) {
            let fragment = fragment.map_err(why("a fragment"))?;
            let (seq, kind) = (fragment.message_seq, fragment.msg_type);
            let body = if fragment.is_whole() {
                fragment.body.to_vec()
            } else {
                self.reassembly.begin_batch();
                match self.reassembly.insert(0, &fragment, now()) {
                    Outcome::Complete(slot) => self.reassembly.body(slot).to_vec(),
                    _ => continue,
                }
            };
            let is_new = seq >= self.next_message && self.early.iter().all(|early| early.0 != seq);
            if is_new {
                self.early.push((seq, kind, body));
            }
        }
        Ok(())
    }

    /// The message whose turn it is, if it has come.
    fn next(&mut self) -> Option<(HandshakeType, Vec<u8>)> {
        let at = self
            .early
            .iter()
            .position(|early| early.0 == self.next_message)?;
        self.next_message += 1;
        let (_, kind, body) = self.early.swap_remove(at);
        Some((kind, body))
    }
}

impl Own {
    /// Takes in all that has come.
    pub(super) fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; 1 << 14];
        while let Some(len) = self.socket.receive(&mut buffer) {
            self.datagram(&buffer[..len])?;
        }
        Ok(())
    }

    /// Sends one record of the newest epoch.
    pub(super) fn send(&mut self, content_type: ContentType, content: &[u8]) -> Result<()> {
        let sealer = self.records.sealers.last_mut().ok_or("no keys yet")?;
        let record = seal(sealer, content_type, content)?;
        self.socket.send(&record);
        Ok(())
    }

    fn datagram(&mut self, datagram: &[u8]) -> Result<()> {
        for record in records(datagram, 0) {
            // What does not parse, or does not open, is dropped (RFC 9147, 4.5.2).
            match record {
                Ok(Record::Plaintext(record)) => {
                    self.content(record.content_type, record.fragment)?;
                }
                Ok(Record::Ciphertext(record)) => {
                    let opened = self.records.open(record.bytes, record.epoch_bits);
                    if let Some((epoch, number, content_type, content)) = opened {
                        if content_type == ContentType::HANDSHAKE {
                            self.records.to_acknowledge.push((epoch, number));
                        }
                        self.content(content_type, &content)?;
                    }
                }
                Err(_) => break,
            }
        }
        self.acknowledge()
    }

    fn content(&mut self, content_type: ContentType, content: &[u8]) -> Result<()> {
        match content_type {
            ContentType::HANDSHAKE => {
                self.records.take_in(content)?;
                while let Some((kind, body)) = self.records.next() {
                    self.message(kind, &body)?;
                }
            }
            ContentType::APPLICATION_DATA => self.data.push_back(content.to_vec()),
            // After the handshake the Finished is all that this client wants acknowledged.
            ContentType::ACK if self.agreed.is_some() && content.len() > 2 => self.finished = None,
            ContentType::ALERT if content.get(1) == Some(&0) => self.is_closed = true,
            ContentType::ALERT => return Err(format!("alert {:?}", content.get(1))),
            _ => {}
        }
        Ok(())
    }

    /// Acknowledges what came after the handshake: its own flights acknowledge the rest.
    fn acknowledge(&mut self) -> Result<()> {
        let numbers = std::mem::take(&mut self.records.to_acknowledge);
        let numbers = numbers.into_iter().filter(|(epoch, _)| *epoch > 2);
        let body: Vec<u8> = numbers
            .flat_map(|(epoch, number)| [epoch.to_be_bytes(), number.to_be_bytes()])
            .flatten()
            .collect();
        if body.is_empty() {
            return Ok(());
        }
        let len = u16::try_from(body.len()).map_err(why("an ACK"))?;
        self.send(ContentType::ACK, &[&len.to_be_bytes()[..], &body].concat())
    }
}

pub(super) fn seal(
    sealer: &mut RecordSealer,
    content_type: ContentType,
    content: &[u8],
) -> Result<Vec<u8>> {
    let mut record = vec![0; content.len() + RECORD_OVERHEAD_LEN];
    let len = sealer.seal(&[], content_type, content, &mut record);
    record.truncate(len.map_err(why("a record"))?);
    Ok(record)
}

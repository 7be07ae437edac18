//! What a connection does with a datagram: its records, one after the other, and what they carry
//! (RFC 9147, 4.5 and 7). What is in handshake messages is in `client_messages`.

use std::net::SocketAddr;

use dtls_session::schedule::{EarlyRecord, Opened};
use dtls_session::wire::{AlertDescription, ContentType, PLAINTEXT_HEADER_LEN, Record, records};

use super::ack::{self, RecordNumber};
use super::connection::{CLOSE_NOTIFY, CONNECTION_ID_LEN, Connection, State};
use super::event::{Closed, Event, Host};
use super::failure::Failure;
use super::flight::{Flight, Purpose};
use super::outbox::Outbox;
use super::receiver::{APPLICATION_EPOCH, Read};
use super::sender::{Level, Path};

impl Connection {
    /// Takes in a datagram from `peer`. What of it is not for this connection, or not authentic, is
    /// dropped in silence (RFC 9147, 4.5.2).
    pub fn receive(&mut self, datagram: &mut [u8], peer: SocketAddr, host: &mut Host<'_>) {
        if peer == self.peer() {
            self.sender.path.received(datagram.len());
        }
        let arrived = Arrived {
            peer,
            len: datagram.len(),
        };
        let mut rest = datagram;
        while let (false, Some(Ok(record))) =
            (self.is_closed(), records(rest, CONNECTION_ID_LEN).next())
        {
            let (len, epoch_bits) = match record {
                Record::Plaintext(record) => {
                    self.plaintext(record.content_type, host);
                    (PLAINTEXT_HEADER_LEN + record.fragment.len(), None)
                }
                Record::Ciphertext(record) => {
                    // Early data is sent before the client knows of an ID.
                    let is_ours = match record.connection_id {
                        Some(id) => self.connection_id.is_some_and(|ours| ours == *id),
                        None => self.connection_id.is_none() || record.epoch_bits == 1,
                    };
                    (record.bytes.len(), is_ours.then_some(record.epoch_bits))
                }
            };
            let Some((record, tail)) = rest.split_at_mut_checked(len) else {
                break;
            };
            rest = tail;
            if let Some(epoch_bits) = epoch_bits
                && let Err(failure) = self.ciphertext(record, epoch_bits, arrived, host)
            {
                self.fail(failure, host);
            }
        }
        self.acknowledge(host.out);
        if self.is_established() {
            self.issue_tickets(host);
            self.renew_keys(host);
            self.held.release(&mut self.sender, host.out);
        }
    }

    /// Anybody can send plaintext: it is a hint at most. A client that lacks the ServerHello has no
    /// keys to say so by.
    fn plaintext(&mut self, content_type: ContentType, host: &mut Host<'_>) {
        if !self.is_handshaking() {
            return;
        }
        match content_type {
            ContentType::ACK => self.repeat(host.now, host.out),
            // It cannot go on. Nothing more is sent by timer, and time will end the rest.
            ContentType::ALERT => self.flights.iter_mut().for_each(Flight::stop),
            _ => {}
        }
    }

    fn ciphertext(
        &mut self,
        record: &mut [u8],
        epoch_bits: u8,
        arrived: Arrived,
        host: &mut Host<'_>,
    ) -> Result<(), Failure> {
        let read = self
            .receiver
            .open(record, epoch_bits, CONNECTION_ID_LEN, host.now)?;
        match read {
            None => Ok(()),
            Some(Read::Early(EarlyRecord::ApplicationData(data))) => {
                self.tell(Event::EarlyData(data), host);
                Ok(())
            }
            Some(Read::Early(EarlyRecord::EndOfEarlyData)) => {
                if let State::Handshaking(handshake) = &mut self.state {
                    handshake.end_of_early_data = true;
                }
                Ok(())
            }
            Some(Read::Early(EarlyRecord::Alert(alert))) => {
                self.alert(&alert, host);
                Ok(())
            }
            Some(Read::Record { epoch, opened }) => {
                let number = RecordNumber {
                    epoch,
                    sequence_number: opened.sequence_number,
                };
                self.authentic(number, arrived);
                self.opened(number, opened, host)?;
                self.resume(host.now, host.out);
                Ok(())
            }
        }
    }

    /// A record of the client's in an epoch behind the ServerHello: it receives where it is.
    fn authentic(&mut self, number: RecordNumber, arrived: Arrived) {
        let is_newest = number > self.latest;
        self.latest = self.latest.max(number);
        if self.is_handshaking() {
            if arrived.peer == self.peer() {
                self.sender.path.verify();
            }
        } else if is_newest && arrived.peer != self.peer() {
            // It has moved (RFC 9146, 6), or somebody has forwarded the datagram: the new address
            // gets no more than three times what comes from there.
            self.sender.path = Path::unverified(arrived.peer, arrived.len);
        }
    }

    fn opened(
        &mut self,
        number: RecordNumber,
        opened: Opened<'_>,
        host: &mut Host<'_>,
    ) -> Result<(), Failure> {
        if self.is_established() {
            self.deadline = host.now.saturating_add(self.settings.idle_timeout);
        }
        match opened.content_type {
            ContentType::HANDSHAKE => self.messages(number, opened.plaintext, host),
            ContentType::ACK => self.acknowledged(opened.plaintext, host),
            ContentType::ALERT => {
                self.alert(opened.plaintext, host);
                Ok(())
            }
            ContentType::APPLICATION_DATA if number.epoch >= APPLICATION_EPOCH => {
                self.finished = None;
                self.tell(Event::Data(opened.plaintext), host);
                Ok(())
            }
            _ => Err(Failure(AlertDescription::UNEXPECTED_MESSAGE)),
        }
    }

    /// The client's alert: all but a few are fatal (RFC 8446, 6), and the few are not of DTLS 1.3.
    fn alert(&mut self, alert: &[u8], host: &mut Host<'_>) {
        let closed = match alert {
            [_, 0] => {
                self.send_alert([1, CLOSE_NOTIFY.0], host.out);
                Closed::CloseNotify
            }
            [_, description] => Closed::Alert(AlertDescription(*description)),
            _ => return,
        };
        self.end(closed, host);
    }

    fn acknowledged(&mut self, body: &[u8], host: &mut Host<'_>) -> Result<(), Failure> {
        let numbers = ack::read(body).ok_or(Failure(AlertDescription::DECODE_ERROR))?;
        let mut news = false;
        for number in numbers {
            for flight in &mut self.flights {
                news |= flight.acknowledge(number);
            }
        }
        if !self.flights.iter().all(Flight::is_acknowledged) {
            // Of what arrived in part, or of which nothing can be read, the rest is missing.
            for flight in self.flights.iter_mut().filter(|f| !f.is_acknowledged()) {
                match news {
                    true => flight.send(&mut self.sender, host.now, host.out),
                    false => flight.repeat(&mut self.sender, host.now, host.out),
                }
            }
            return Ok(());
        }
        // Only now do the next keys seal: what is sent again goes under the keys under which it was
        // first sent (RFC 9147, 4.2.1), and who lacks a message reads no KeyUpdate behind it.
        let done = std::mem::take(&mut self.flights);
        match done.iter().any(|f| f.purpose() == Purpose::KeyUpdate) {
            true => self.update_own_keys(),
            false => Ok(()),
        }
    }

    /// Acknowledges the handshake records of a datagram, in the highest epoch that the client can
    /// read (RFC 9147, 7).
    pub(super) fn acknowledge(&mut self, out: &mut Outbox) {
        let level = match self.state {
            State::Handshaking(_) => Level::Handshake,
            State::Established(_) => Level::Application,
            State::Closed => return,
        };
        if let Some(ack) = self.to_acknowledge.take_ack() {
            self.sender.send(level, ContentType::ACK, &ack, out);
        }
    }
}

/// Where a datagram came from, and how long it was.
#[derive(Clone, Copy)]
struct Arrived {
    peer: SocketAddr,
    len: usize,
}

//! Early data as the server receives it: the records of epoch 1, up to a limit and for a time
//! (RFC 8446, 4.2.10; RFC 9147, 4.2.1).

use std::fmt;

use super::opener::{Opened, RecordOpener, RecordRejected};
use super::record_keys::TrafficKeys;
use crate::wire::{ContentType, HandshakeType, fragments};
use crate::{Error, UnixMillis};

/// The epoch of early data (RFC 9147, 6.1).
pub const EARLY_DATA_EPOCH: u64 = 1;

/// Opens the early data of one connection.
///
/// Its keys are to live neither for ever nor only until the first record of epoch 3, which the
/// network may deliver before the last early data: once the handshake is complete, the host names
/// the time to [retire](Self::retire_at) them, and drops the opener then.
#[derive(Debug)]
pub struct EarlyDataOpener {
    opener: RecordOpener,
    max_early_data_size: u32,
    received: u64,
    retire_at: Option<UnixMillis>,
    retired: bool,
}

/// An authentic record of epoch 1, never seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyRecord<'r> {
    /// Early data for the application.
    ApplicationData(&'r [u8]),
    /// EndOfEarlyData. DTLS 1.3 omits it, and yet some clients send it (RFC 9147, 5.6). It says
    /// nothing: it enters no transcript, and early data that was sent before it may still come.
    EndOfEarlyData,
    /// An alert: its level and description (RFC 8446, 6).
    Alert([u8; 2]),
}

/// Why a record gave no early data. The reasons are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EarlyDataRejected {
    /// It was not opened: to be dropped in silence. The connection goes on.
    Record(RecordRejected),
    /// It is authentic, and with it the client has sent more than `max_early_data_size` bytes. The
    /// server should end the connection with unexpected_message (RFC 8446, 4.6.1).
    LimitExceeded,
    /// It is authentic, but nothing that a client may send in epoch 1.
    Unexpected(ContentType),
    /// The keys are retired: to be dropped in silence.
    Retired,
}

impl fmt::Display for EarlyDataRejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(why) => write!(f, "{why}"),
            Self::LimitExceeded => f.write_str("more early data than max_early_data_size"),
            Self::Unexpected(ContentType(code)) => {
                write!(f, "no early data, but content of type {code}")
            }
            Self::Retired => f.write_str("the keys of early data are retired"),
        }
    }
}

impl std::error::Error for EarlyDataRejected {}

impl EarlyDataOpener {
    /// Opens what is protected with `keys`, those of the client early traffic secret, up to
    /// `max_early_data_size` bytes of plaintext: what the ticket says.
    pub fn new(keys: &TrafficKeys, max_early_data_size: u32) -> Result<Self, Error> {
        Ok(Self {
            opener: RecordOpener::new(keys, EARLY_DATA_EPOCH)?,
            max_early_data_size,
            received: 0,
            retire_at: None,
            retired: false,
        })
    }

    /// From `time` on nothing is opened any more. Of several times the earliest counts.
    pub fn retire_at(&mut self, time: UnixMillis) {
        self.retire_at = Some(self.retire_at.map_or(time, |earlier| earlier.min(time)));
    }

    /// Whether the time to retire has come, so that the opener can be dropped. A clock that steps
    /// back does not revive it.
    pub fn is_retired(&mut self, now: UnixMillis) -> bool {
        self.retired |= self.retire_at.is_some_and(|time| now >= time);
        self.retired
    }

    /// Bytes of early data received: plaintext, without padding and content types.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// How many records did not authenticate.
    #[must_use]
    pub const fn forgeries(&self) -> u64 {
        self.opener.forgeries()
    }

    /// Opens `record`, which is one whole record with its unified header, in its place; see
    /// [`RecordOpener::open`].
    pub fn open<'r>(
        &mut self,
        record: &'r mut [u8],
        connection_id_len: usize,
        now: UnixMillis,
    ) -> Result<EarlyRecord<'r>, EarlyDataRejected> {
        if self.is_retired(now) {
            return Err(EarlyDataRejected::Retired);
        }
        let Opened {
            content_type,
            plaintext,
            ..
        } = self
            .opener
            .open(record, connection_id_len)
            .map_err(EarlyDataRejected::Record)?;
        match content_type {
            ContentType::APPLICATION_DATA => {
                self.received = self.received.saturating_add(plaintext.len() as u64);
                if self.received > u64::from(self.max_early_data_size) {
                    return Err(EarlyDataRejected::LimitExceeded);
                }
                Ok(EarlyRecord::ApplicationData(plaintext))
            }
            ContentType::HANDSHAKE if is_end_of_early_data(plaintext) => {
                Ok(EarlyRecord::EndOfEarlyData)
            }
            ContentType::ALERT => plaintext
                .try_into()
                .map(EarlyRecord::Alert)
                .map_err(|_| EarlyDataRejected::Unexpected(content_type)),
            other => Err(EarlyDataRejected::Unexpected(other)),
        }
    }
}

/// The message has no body, so that it is whole in one fragment.
fn is_end_of_early_data(plaintext: &[u8]) -> bool {
    let mut fragments = fragments(plaintext);
    let first = fragments.next();
    let is_end = matches!(first, Some(Ok(end))
        if end.msg_type == HandshakeType::END_OF_EARLY_DATA && end.length == 0);
    is_end && fragments.next().is_none()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schedule::{CipherSuite, LabelPrefix, RecordSealer, Secret};
    use crate::wire::{Malformed, dtls_header};

    const NOW: UnixMillis = UnixMillis(1_000_000);

    /// A client and a server with the same early traffic secret.
    fn pair(max_early_data_size: u32) -> (RecordSealer, EarlyDataOpener) {
        let suite = CipherSuite::Aes128GcmSha256;
        let secret = Secret::from_bytes(suite.hash(), &[9; 32]).unwrap();
        let keys = TrafficKeys::derive(LabelPrefix::Dtls13, suite, &secret).unwrap();
        (
            RecordSealer::new(&keys, EARLY_DATA_EPOCH).unwrap(),
            EarlyDataOpener::new(&keys, max_early_data_size).unwrap(),
        )
    }

    fn seal(client: &mut RecordSealer, content_type: ContentType, plaintext: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plaintext.len() + 64];
        let len = client.seal(&[], content_type, plaintext, &mut out).unwrap();
        out.truncate(len);
        out
    }

    fn refusal(server: &mut EarlyDataOpener, record: &[u8], now: u64) -> Option<EarlyDataRejected> {
        server.open(&mut record.to_vec(), 0, UnixMillis(now)).err()
    }

    fn data(client: &mut RecordSealer, len: usize) -> Vec<u8> {
        seal(client, ContentType::APPLICATION_DATA, &vec![0x61; len])
    }

    #[test]
    fn trap_34_the_limit_counts_plaintext_and_not_a_byte_more() {
        // Given a limit of 100 bytes, when exactly as many come in three records,
        let (mut client, mut server) = pair(100);
        for len in [40, 59, 1] {
            let mut record = data(&mut client, len);
            assert!(matches!(
                server.open(&mut record, 0, NOW),
                Ok(EarlyRecord::ApplicationData(data)) if data.len() == len
            ));
        }
        assert_eq!(server.received(), 100);
        // then an empty record still fits,
        assert!(server.open(&mut data(&mut client, 0), 0, NOW).is_ok());
        // and one more byte does not, nor anything after it.
        for len in [1, 0] {
            let refused = refusal(&mut server, &data(&mut client, len), NOW.0);
            assert_eq!(refused, Some(EarlyDataRejected::LimitExceeded));
        }
    }

    #[test]
    fn trap_34_replays_forgeries_and_alerts_do_not_count() {
        let (mut client, mut server) = pair(10);
        let record = data(&mut client, 10);
        assert!(server.open(&mut record.clone(), 0, NOW).is_ok());
        let replayed = refusal(&mut server, &record, NOW.0);
        assert_eq!(
            replayed,
            Some(EarlyDataRejected::Record(RecordRejected::Replayed))
        );
        let mut forged = data(&mut client, 10);
        *forged.last_mut().unwrap() ^= 1;
        let forged = refusal(&mut server, &forged, NOW.0);
        assert_eq!(
            forged,
            Some(EarlyDataRejected::Record(RecordRejected::NotAuthentic))
        );
        let mut alert = seal(&mut client, ContentType::ALERT, &[1, 0]);
        assert_eq!(
            server.open(&mut alert, 0, NOW),
            Ok(EarlyRecord::Alert([1, 0]))
        );
        assert_eq!((server.received(), server.forgeries()), (10, 1));
    }

    #[test]
    fn trap_33_keys_outlive_the_handshake_by_the_time_that_the_host_says() {
        let (mut client, mut server) = pair(100);
        let mut late = || data(&mut client, 1);
        // Given a complete handshake, and a second given for reordering,
        server.retire_at(UnixMillis(NOW.0 + 1000));
        server.retire_at(UnixMillis(NOW.0 + 5000));
        // when early data comes within it, then it is opened;
        assert!(server.open(&mut late(), 0, UnixMillis(NOW.0 + 999)).is_ok());
        // when it comes later, or once more after the clock stepped back, then it is not.
        for now in [NOW.0 + 1000, NOW.0] {
            let refused = refusal(&mut server, &late(), now);
            assert_eq!(refused, Some(EarlyDataRejected::Retired));
        }
        assert!(server.is_retired(NOW));
    }

    #[test]
    fn trap_36_end_of_early_data_is_told_apart_and_disturbs_nothing() {
        let (mut client, mut server) = pair(100);
        let before = data(&mut client, 3);
        let end = dtls_header(HandshakeType::END_OF_EARLY_DATA, 0, 1, 0, 0);
        let mut end = seal(&mut client, ContentType::HANDSHAKE, &end);
        assert_eq!(
            server.open(&mut end, 0, NOW),
            Ok(EarlyRecord::EndOfEarlyData)
        );
        // What was sent before it, and even what is sent after it, still comes in.
        for mut record in [before, data(&mut client, 3)] {
            let opened = server.open(&mut record, 0, NOW);
            assert_eq!(opened, Ok(EarlyRecord::ApplicationData(b"aaa")));
        }
        assert_eq!(server.received(), 6);
    }

    #[test]
    fn reasons_are_errors_that_say_why() {
        let why = |why: EarlyDataRejected| Box::<dyn std::error::Error>::from(why).to_string();
        let truncated = RecordRejected::Malformed(Malformed::Truncated);
        assert_eq!(
            why(EarlyDataRejected::Record(truncated)),
            "malformed record: a length points past the end"
        );
        assert_eq!(
            why(EarlyDataRejected::Unexpected(ContentType::ACK)),
            "no early data, but content of type 26"
        );
    }

    #[test]
    fn other_messages_in_epoch_1_are_unexpected() {
        let (mut client, mut server) = pair(100);
        let finished = dtls_header(HandshakeType::FINISHED, 0, 1, 0, 0);
        let end = dtls_header(HandshakeType::END_OF_EARLY_DATA, 0, 1, 0, 0);
        let long_end = [
            &dtls_header(HandshakeType::END_OF_EARLY_DATA, 1, 1, 0, 1),
            b"x".as_slice(),
        ];
        for (content_type, plaintext) in [
            (ContentType::HANDSHAKE, finished.to_vec()),
            (ContentType::HANDSHAKE, [end, finished].concat()),
            (ContentType::HANDSHAKE, long_end.concat()),
            (ContentType::HANDSHAKE, vec![]),
            // One record, one alert (RFC 8446, 5.1).
            (ContentType::ALERT, vec![]),
            (ContentType::ALERT, vec![2]),
            (ContentType::ALERT, vec![1, 0, 1, 0]),
            (ContentType::ACK, vec![0, 0]),
            (ContentType(99), vec![1]),
        ] {
            let mut record = seal(&mut client, content_type, &plaintext);
            let refused = server.open(&mut record, 0, NOW);
            assert_eq!(refused, Err(EarlyDataRejected::Unexpected(content_type)));
        }
    }
}

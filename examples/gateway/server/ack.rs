//! ACKs: which handshake records have arrived (RFC 9147, 7).

/// The number of a record, as an ACK names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordNumber {
    pub epoch: u64,
    pub sequence_number: u64,
}

const RECORD_NUMBER_LEN: usize = 16;

/// Records of one datagram that are acknowledged, at most. Who splits its messages further gets
/// them acknowledged when it sends them again.
const ACKNOWLEDGED_MAX: usize = 32;

/// The handshake records of a datagram, to be acknowledged once it has been read.
#[derive(Default)]
pub struct Received(Vec<RecordNumber>);

impl Received {
    pub fn add(&mut self, record: RecordNumber) {
        if self.0.len() < ACKNOWLEDGED_MAX && !self.0.contains(&record) {
            self.0.push(record);
        }
    }

    /// The body of the ACK that is due, if one is. Then all is acknowledged.
    pub fn take_ack(&mut self) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        // In numerically increasing order.
        self.0.sort_unstable();
        let ack = write(&self.0);
        self.0.clear();
        Some(ack)
    }
}

fn write(records: &[RecordNumber]) -> Vec<u8> {
    let len = (records.len() * RECORD_NUMBER_LEN) as u16;
    let mut ack = Vec::with_capacity(2 + usize::from(len));
    ack.extend(len.to_be_bytes());
    for record in records {
        ack.extend(record.epoch.to_be_bytes());
        ack.extend(record.sequence_number.to_be_bytes());
    }
    ack
}

/// The records that an ACK names; `None` if it does not parse.
pub fn read(ack: &[u8]) -> Option<impl Iterator<Item = RecordNumber> + '_> {
    let (len, records) = ack.split_first_chunk::<2>()?;
    let (numbers, rest) = records.as_chunks::<8>();
    let whole = rest.is_empty() && records.len() % RECORD_NUMBER_LEN == 0;
    if !whole || records.len() != usize::from(u16::from_be_bytes(*len)) {
        return None;
    }
    let record = |[epoch, number]: &[[u8; 8]; 2]| RecordNumber {
        epoch: u64::from_be_bytes(*epoch),
        sequence_number: u64::from_be_bytes(*number),
    };
    Some(numbers.as_chunks::<2>().0.iter().map(record))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn number(epoch: u64, sequence_number: u64) -> RecordNumber {
        RecordNumber {
            epoch,
            sequence_number,
        }
    }

    #[test]
    fn an_ack_is_laid_out_as_the_rfc_says_and_read_back() {
        let mut received = Received::default();
        for record in [number(2, 0x0102), number(2, 1), number(2, 0x0102)] {
            received.add(record);
        }
        let ack = received.take_ack().unwrap();
        let expected = [
            &[0, 32][..],
            &[0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 2],
        ];
        assert_eq!(ack, expected.concat());
        assert!(read(&ack).unwrap().eq([number(2, 1), number(2, 0x0102)]));
        assert!(received.take_ack().is_none());
    }

    #[test]
    fn an_empty_ack_is_one_and_a_cut_one_is_not() {
        assert_eq!(read(&[0, 0]).unwrap().count(), 0);
        for cut in [
            &[][..],
            &[0],
            &[0, 1, 0],
            &[0, 8, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0, 16],
        ] {
            assert!(read(cut).is_none(), "{cut:?}");
        }
    }

    #[test]
    fn an_ack_is_bounded_whatever_a_datagram_holds() {
        let mut received = Received::default();
        (0..10_000).for_each(|n| received.add(number(3, n)));
        assert!(received.take_ack().unwrap().len() <= 2 + 16 * ACKNOWLEDGED_MAX);
    }
}

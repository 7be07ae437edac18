//! Records of one epoch, lost, doubled, reordered and changed: each that was sealed opens once, if
//! it is neither too old nor too far ahead, and nothing else does.
#![no_main]

use std::collections::{HashMap, HashSet};

use dtls_session::schedule::{
    EARLY_DATA_EPOCH, EarlyDataOpener, EarlyDataRejected, EarlyRecord, LabelPrefix, RecordOpener,
    RecordRejected, RecordSealer, Secret, TrafficKeys,
};
use dtls_session::wire::{ContentType, Record, records};
use dtls_session::{SecureRandom, UnixMillis};
use dtls_session_fuzz::SUITES;
use dtls_session_fuzz::common::{NOW, Seeded};
use dtls_session_fuzz::script::{Script, edit};
use libfuzzer_sys::fuzz_target;

const WINDOW: u64 = 64;
/// How far ahead of the highest number 16 bits of a number tell which it is (RFC 9147, 4.2.2).
const REACH: u64 = 1 << 15;
const MAX_EARLY_DATA: u32 = 500;

/// What is opened with: the two have most in common.
enum Opener {
    Plain(RecordOpener),
    Early(EarlyDataOpener),
}

struct Sealed {
    content_type: ContentType,
    plaintext: Vec<u8>,
    number: u64,
}

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    let seed = script.seed();
    let suite = SUITES[script.one_of(SUITES.len())];
    let mut secret = [0; 48];
    let random = Seeded::new(seed);
    random.fill(&mut secret).expect("it never fails");
    let secret = Secret::from_bytes(suite.hash(), &secret[..suite.hash().output_len()]);
    let secret = secret.expect("as long as the hash");
    let keys = TrafficKeys::derive(LabelPrefix::Dtls13, suite, &secret).expect("keys");
    let kind = script.byte();
    let epoch = 1 + u64::from(kind >> 1 & 7);
    let (epoch, mut opener) = match kind & 1 {
        0 => (epoch, RecordOpener::new(&keys, epoch).map(Opener::Plain)),
        _ => {
            let early = EarlyDataOpener::new(&keys, MAX_EARLY_DATA).map(Opener::Early);
            (EARLY_DATA_EPOCH, early)
        }
    };
    let opener = opener.as_mut().expect("an epoch");
    let id = &b"the peer's"[..usize::from(kind >> 4) % 11];
    let mut sealer = RecordSealer::new(&keys, epoch).expect("an epoch");

    let mut sealed: Vec<Vec<u8>> = Vec::new();
    let mut by_bytes: HashMap<Vec<u8>, Sealed> = HashMap::new();
    let mut opened = HashSet::<u64>::new();
    let (mut received, mut retire_at, mut retired) = (0_u64, None::<u64>, false);
    let mut now = NOW;
    while !script.is_over() {
        let datagram = match script.one_of(8) {
            0..=2 => {
                let content_type = ContentType([23, 22, 21, 26, 0][script.one_of(5)]);
                let plaintext = script.bytes();
                let plaintext = &plaintext[..plaintext.len().min(300)];
                let mut record = vec![0; plaintext.len() + 64];
                let number = sealer.next_sequence_number();
                let len = sealer
                    .seal(id, content_type, plaintext, &mut record)
                    .expect("it fits");
                record.truncate(len);
                let known = Sealed {
                    content_type,
                    plaintext: plaintext.to_vec(),
                    number,
                };
                by_bytes.insert(record.clone(), known);
                sealed.push(record);
                continue;
            }
            3 => {
                now.0 += u64::from(script.byte());
                if script.byte() == 1
                    && let Opener::Early(early) = opener
                {
                    let time = now.0 + u64::from(script.byte());
                    early.retire_at(UnixMillis(time));
                    retire_at = Some(retire_at.map_or(time, |earlier| earlier.min(time)));
                }
                continue;
            }
            4 => {
                // Many that are lost.
                let mut room = [0; 64];
                for _ in 0..script.byte() {
                    let lost = sealer.seal(id, ContentType::ACK, &[0], &mut room);
                    lost.expect("it fits");
                }
                continue;
            }
            5 => script.bytes().to_vec(),
            kind => {
                let Some(record) = sealed.get(script.place(sealed.len())) else {
                    continue;
                };
                let mut record = record.clone();
                if kind == 6 {
                    edit(&mut script, &mut record);
                }
                record
            }
        };
        // One by one, as they lie in a datagram.
        for record in records(&datagram, id.len()).flatten() {
            let Record::Ciphertext(record) = record else {
                continue;
            };
            let known = by_bytes.get(record.bytes);
            let is_due = known.filter(|known| {
                let next = opened.iter().max().map_or(0, |highest| highest + 1);
                let number = known.number;
                let is_readable = number <= next + REACH || number < 2 * REACH;
                !opened.contains(&number) && number + WINDOW >= next && is_readable
            });
            retired |= retire_at.is_some_and(|time| now.0 >= time);
            let mut bytes = record.bytes.to_vec();
            match opener {
                Opener::Plain(opener) => {
                    let outcome = opener.open(&mut bytes, id.len());
                    let Some(known) = is_due else {
                        assert!(outcome.is_err(), "it was never sealed, or opened before");
                        continue;
                    };
                    opened.insert(known.number);
                    if holds_nothing(known) {
                        assert_eq!(outcome, Err(RecordRejected::NoContentType));
                        continue;
                    }
                    let outcome = outcome.expect("a genuine record");
                    assert_eq!(outcome.sequence_number, known.number);
                    check(known, outcome.content_type, outcome.plaintext);
                }
                Opener::Early(opener) => {
                    let outcome = opener.open(&mut bytes, id.len(), now);
                    if retired {
                        assert_eq!(outcome, Err(EarlyDataRejected::Retired));
                        continue;
                    }
                    let Some(known) = is_due else {
                        assert!(matches!(outcome, Err(EarlyDataRejected::Record(_))));
                        continue;
                    };
                    opened.insert(known.number);
                    if holds_nothing(known) {
                        let nothing = EarlyDataRejected::Record(RecordRejected::NoContentType);
                        assert_eq!(outcome, Err(nothing));
                        continue;
                    }
                    let (content_type, plaintext) = inner(known);
                    if content_type == ContentType::APPLICATION_DATA {
                        received += plaintext.len() as u64;
                    }
                    let exceeded = content_type == ContentType::APPLICATION_DATA
                        && received > MAX_EARLY_DATA.into();
                    match outcome {
                        Ok(EarlyRecord::ApplicationData(data)) => {
                            assert!(!exceeded);
                            check(known, ContentType::APPLICATION_DATA, data);
                        }
                        Ok(EarlyRecord::Alert(alert)) => check(known, ContentType::ALERT, &alert),
                        Ok(EarlyRecord::EndOfEarlyData) => {
                            assert_eq!(content_type, ContentType::HANDSHAKE);
                            assert_eq!((plaintext.len(), plaintext[0]), (12, 5));
                        }
                        Err(EarlyDataRejected::LimitExceeded) => assert!(exceeded),
                        Err(EarlyDataRejected::Unexpected(other)) => {
                            assert_eq!(other, content_type);
                            assert!(other != ContentType::ALERT || plaintext.len() != 2);
                        }
                        Err(other) => panic!("{other:?}"),
                    }
                    assert_eq!(opener.received(), received);
                }
            }
        }
    }
});

/// A content type of 0 is padding: what counts is the last byte that is not 0 (RFC 9147, 4).
fn inner(sealed: &Sealed) -> (ContentType, &[u8]) {
    if sealed.content_type.0 != 0 {
        return (sealed.content_type, &sealed.plaintext);
    }
    let at = sealed.plaintext.iter().rposition(|byte| *byte != 0);
    at.map_or((ContentType(0), &[]), |at| {
        (ContentType(sealed.plaintext[at]), &sealed.plaintext[..at])
    })
}

fn holds_nothing(sealed: &Sealed) -> bool {
    inner(sealed).0.0 == 0
}

fn check(sealed: &Sealed, content_type: ContentType, plaintext: &[u8]) {
    assert_eq!(inner(sealed), (content_type, plaintext));
}

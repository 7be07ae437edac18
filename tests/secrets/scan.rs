//! Searches the memory of this process for needles that it holds masked only.

use std::fs::{File, read_to_string};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard};

use crate::needles::{MASK, Needles, PIECE};

/// The tests of this file take turns: one must not meet what another still holds.
static TURN: Mutex<()> = Mutex::new(());

/// A thread that searches while the caller stands still, so that the caller's stack keeps what
/// was left there.
pub(crate) struct Scanner {
    ask: Sender<Needles>,
    answer: Receiver<Vec<Found>>,
    _turn: MutexGuard<'static, ()>,
}

/// Where a piece of a needle was met.
pub(crate) struct Found {
    name: String,
    address: u64,
    region: String,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (ask, asked) = channel::<Needles>();
        let (tell, answer) = channel();
        std::thread::spawn(move || {
            for needles in asked {
                if tell.send(search(&needles)).is_err() {
                    return;
                }
            }
        });
        Self {
            ask,
            answer,
            _turn: turn,
        }
    }

    fn find(&self, needles: &Needles) -> Vec<Found> {
        self.ask.send(needles.clone()).unwrap();
        self.answer.recv().unwrap()
    }

    /// In how many places pieces of them are.
    pub(crate) fn count(&self, needles: &Needles) -> usize {
        self.find(needles).len()
    }

    #[track_caller]
    pub(crate) fn assert_gone(&self, needles: &Needles) {
        let mut found = self.find(needles);
        found.dedup_by(|piece, before| piece.name == before.name);
        let here = &raw const found as u64;
        let places: Vec<_> = found
            .iter()
            .map(
                |Found {
                     name,
                     address,
                     region,
                 }| match here.checked_sub(*address) {
                    Some(below) if below < 1 << 20 => {
                        format!("{name}: {below} bytes below on the stack")
                    }
                    _ => format!("{name}: {address:x}, {region}"),
                },
            )
            .collect();
        assert!(places.is_empty(), "left in memory: {places:#?}");
    }

    /// Each of them is there: what [`assert_gone`](Self::assert_gone) says later means something.
    #[track_caller]
    pub(crate) fn assert_there(&self, needles: &Needles) {
        let found = self.find(needles);
        for name in needles.names() {
            assert!(
                found.iter().any(|found| found.name == name),
                "not in memory: {name}"
            );
        }
    }
}

/// Runs `work` deep in the stack, where nothing that runs after it overwrites what it leaves.
#[inline(never)]
pub(crate) fn deep<R>(work: impl FnOnce() -> R) -> R {
    let above = [0_u8; 64 * 1024];
    std::hint::black_box(&above);
    let result = work();
    std::hint::black_box(&above);
    result
}

fn search(needles: &Needles) -> Vec<Found> {
    const CHUNK: usize = 1 << 18;

    let memory = File::open("/proc/self/mem").unwrap();
    let maps = read_to_string("/proc/self/maps").unwrap();
    // By their first two bytes.
    let mut pieces: Vec<Vec<(&str, &[u8])>> = vec![Vec::new(); 1 << 16];
    for (name, piece) in needles.pieces() {
        let head = u16::from_ne_bytes([piece[0], piece[1]]);
        pieces[usize::from(head)].push((name, piece));
    }
    let mut found = Vec::new();
    // Where memory is copied to is itself memory, and not searched.
    let mut copy = vec![0_u8; CHUNK + PIECE];
    let own = copy.as_ptr_range();
    let own = own.start as u64..own.end as u64;
    for line in maps.lines() {
        let Some((range, region)) = writable(line) else {
            continue;
        };
        for part in [
            range.start..range.end.min(own.start),
            range.start.max(own.end)..range.end,
        ] {
            // Both are the whole region if the copy lies elsewhere.
            if part.is_empty() || part.start > range.start && own.end <= range.start {
                continue;
            }
            for start in part.clone().step_by(CHUNK) {
                let len = (part.end - start).min((CHUNK + PIECE) as u64) as usize;
                // A page that cannot be read, a guard page say, has nothing to find.
                let Ok(read) = memory.read_at(&mut copy[..len], start) else {
                    continue;
                };

                search_chunk(&copy[..read], start, &pieces, region, &mut found);
            }
        }
    }
    copy.fill(0);
    std::hint::black_box(&copy);
    found
}

fn search_chunk(
    chunk: &[u8],
    start: u64,
    pieces: &[Vec<(&str, &[u8])>],
    region: &str,
    found: &mut Vec<Found>,
) {
    for (line_at, line) in (0..).step_by(64).zip(chunk.chunks(64)) {
        if line == [0; 64] {
            continue;
        }
        for at in line_at..line_at + line.len() {
            let Some(window) = chunk.get(at..at + PIECE) else {
                break;
            };
            let head = u16::from_ne_bytes([window[0] ^ MASK, window[1] ^ MASK]);
            for (name, piece) in &pieces[usize::from(head)] {
                if window
                    .iter()
                    .zip(*piece)
                    .all(|(byte, masked)| byte ^ MASK == *masked)
                {
                    found.push(Found {
                        name: name.to_string(),
                        address: start + at as u64,
                        region: region.to_string(),
                    });
                }
            }
        }
    }
}

/// The addresses and the name of a region that can be read and written.
fn writable(line: &str) -> Option<(Range<u64>, &str)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let address = |hex| u64::from_str_radix(hex, 16).ok();
    fields.next()?.starts_with("rw").then_some(())?;
    let region = fields.nth(3).unwrap_or("anonymous");
    Some((address(start)?..address(end)?, region))
}

#[test]
fn what_is_there_is_found_wherever_it_is() {
    let scanner = Scanner::new();
    let needles = crate::needles::of_child("planted");
    scanner.assert_gone(&needles);
    // On the heap, at any alignment,
    for shift in 0..16 {
        let mut planted = vec![0; 64 + shift];
        needles.with("planted", |secret| {
            planted[shift..shift + 32].copy_from_slice(&secret[..32])
        });
        scanner.assert_there(&needles);
        planted.fill(0);
        std::hint::black_box(&planted);
        scanner.assert_gone(&needles);
    }
    // in a frame that is over,
    let leave = || {
        let mut frame = [0_u8; 32];
        needles.with("planted", |secret| frame.copy_from_slice(&secret[..32]));
        std::hint::black_box(&frame);
    };
    deep(leave);
    scanner.assert_there(&needles);
    deep(|| std::hint::black_box([0_u8; 64 * 1024])[0]);
    scanner.assert_gone(&needles);
    // and if it is a half of it only.
    let mut planted = vec![0; 16];
    needles.with("planted", |secret| planted.copy_from_slice(&secret[8..24]));
    scanner.assert_there(&needles);
    planted.fill(0);
    std::hint::black_box(&planted);
}

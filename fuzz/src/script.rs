//! Scripts: what the fuzzer writes and the targets act out.

use std::hash::{DefaultHasher, Hasher};

/// Bytes that say what happens, one thing after the other. Any bytes are a script, and one that
/// is over goes on with zeros.
#[derive(Clone, Debug)]
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// Reads `bytes` from the start.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A number that is another for other scripts: what follows from it, such as keys, tells the
    /// fuzzer nothing that it could use in another run.
    pub fn seed(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(self.0);
        hasher.finish()
    }

    /// Nothing is left.
    pub const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from(self.u32()) << 32 | u64::from(self.u32())
    }

    /// One of `len` things, by one byte.
    pub fn one_of(&mut self, len: usize) -> usize {
        usize::from(self.byte()) % len
    }

    /// A place below `len`, by two bytes; 0 if `len` is 0.
    pub fn place(&mut self, len: usize) -> usize {
        usize::from(self.u16()) % len.max(1)
    }

    /// So many bytes as the two before them say, or all that are left.
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.u16()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// The script that is read as `parts`, for the seeds.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Bytes that are read one by one.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// What [`Script::bytes`] reads.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend((bytes.len() as u16).to_be_bytes());
        self.0.extend(bytes);
        self
    }

    /// The script.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Changes `bytes` in one place, which may be behind their end.
pub fn edit(script: &mut Script<'_>, bytes: &mut Vec<u8>) {
    let at = script.place(bytes.len() + 1);
    let to_the_end = bytes.len() - at + 1;
    match script.one_of(6) {
        0 => {
            let bit = script.one_of(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        1 => {
            let to = script.byte();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
        }
        2 => {
            let to = script.bytes();
            bytes.splice(at..at, to.iter().copied());
        }
        3 => {
            let end = at + script.place(to_the_end);
            bytes.drain(at..end);
        }
        4 => {
            let end = at + script.place(to_the_end);
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        _ => bytes.truncate(at),
    }
    // Longer than any datagram: nothing new is to be seen there.
    bytes.truncate(1 << 16);
}

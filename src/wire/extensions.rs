//! The extensions of a handshake message (RFC 8446, 4.2), and that none comes twice.

use super::malformed::Malformed;
use super::reader::Reader;

/// The code of an extension (RFC 8446, 4.2).
pub(crate) mod extension_type {
    pub(crate) const SERVER_NAME: u16 = 0;
    pub(crate) const SUPPORTED_GROUPS: u16 = 10;
    pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(crate) const ALPN: u16 = 16;
    pub(crate) const PRE_SHARED_KEY: u16 = 41;
    pub(crate) const EARLY_DATA: u16 = 42;
    pub(crate) const SUPPORTED_VERSIONS: u16 = 43;
    pub(crate) const COOKIE: u16 = 44;
    pub(crate) const PSK_KEY_EXCHANGE_MODES: u16 = 45;
    pub(crate) const KEY_SHARE: u16 = 51;
    pub(crate) const CONNECTION_ID: u16 = 54;
}

/// Types below this are told by a bit each.
const LOW: u16 = 64;

/// Reads the extensions of a block (without its length) in order, each at most once.
pub(crate) struct Extensions<'a> {
    block: &'a [u8],
    reader: Reader<'a>,
    /// The types that came: a bit for each below [`LOW`], where the assigned ones are.
    low: u64,
    /// How many others came.
    high: usize,
}

impl<'a> Extensions<'a> {
    pub(crate) const fn new(block: &'a [u8]) -> Self {
        Self {
            block,
            reader: Reader::new(block),
            low: 0,
            high: 0,
        }
    }

    /// The next extension: its type and its data.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u16, &'a [u8])>, Malformed> {
        if self.reader.is_empty() {
            return match self.high {
                0 | 1 => Ok(None),
                _ => high_differ(self.block).map(|()| None),
            };
        }
        let &[t0, t1, l0, l1] = self.reader.array()?;
        let extension_type = u16::from_be_bytes([t0, t1]);
        let data = self.reader.take(u16::from_be_bytes([l0, l1]).into())?;
        if extension_type < LOW {
            let bit = 1 << extension_type;
            if self.low & bit != 0 {
                return Err(Malformed::DuplicateExtension);
            }
            self.low |= bit;
        } else {
            self.high += 1;
        }
        Ok(Some((extension_type, data)))
    }

    /// No extension follows.
    #[inline]
    pub(crate) const fn is_at_end(&self) -> bool {
        self.reader.is_empty()
    }
}

/// The types from [`LOW`] on all differ. A short list is enough for what clients send; who sends
/// more pays with one more pass over all his extensions.
#[cold]
fn high_differ(block: &[u8]) -> Result<(), Malformed> {
    let mut seen = [0; 8];
    let mut len = 0;
    let mut reader = Reader::new(block);
    while !reader.is_empty() {
        let extension_type = reader.u16()?;
        reader.vec16()?;
        if extension_type < LOW {
            continue;
        }
        if seen[..len].contains(&extension_type) {
            return Err(Malformed::DuplicateExtension);
        }
        let Some(free) = seen.get_mut(len) else {
            return all_differ(block);
        };
        *free = extension_type;
        len += 1;
    }
    Ok(())
}

/// A bit for each of the 65536 types: linear in the bytes received, whatever was sent.
#[cold]
fn all_differ(block: &[u8]) -> Result<(), Malformed> {
    let mut seen = [0_u64; 1 << 10];
    let mut reader = Reader::new(block);
    while !reader.is_empty() {
        let extension_type = usize::from(reader.u16()?);
        reader.vec16()?;
        let (word, bit) = (extension_type / 64, 1 << (extension_type % 64));
        if seen[word] & bit != 0 {
            return Err(Malformed::DuplicateExtension);
        }
        seen[word] |= bit;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn read(types: &[u16]) -> Result<Vec<u16>, Malformed> {
        let block: Vec<u8> = types
            .iter()
            .flat_map(|t| [t.to_be_bytes(), [0, 0]].concat())
            .collect();
        let mut extensions = Extensions::new(&block);
        let mut read = Vec::new();
        while let Some((extension_type, _)) = extensions.next()? {
            read.push(extension_type);
        }
        Ok(read)
    }

    proptest! {
        #[test]
        fn an_extension_that_comes_twice_is_found(
            // Few types in 40 places, so that both outcomes are common
            types in proptest::collection::vec(
                prop_oneof![0_u16..64, any::<u16>()], 0..40),
        ) {
            let all_differ = types.iter().collect::<HashSet<_>>().len() == types.len();
            let expected = if all_differ { Ok(types.clone()) } else { Err(Malformed::DuplicateExtension) };
            prop_assert_eq!(read(&types), expected);
        }
    }

    #[test]
    fn a_duplicate_among_few_unknown_types_is_found() {
        assert_eq!(read(&[1000, 43, 1001]), Ok(vec![1000, 43, 1001]));
        let twice = [1000, 43, 1001, 1000];
        assert_eq!(read(&twice), Err(Malformed::DuplicateExtension));
    }

    #[test]
    fn a_late_duplicate_among_many_unknown_types_is_found() {
        let mut types: Vec<u16> = (1000..1100).collect();
        assert_eq!(read(&types).as_ref(), Ok(&types));
        types.push(1050);
        assert_eq!(read(&types), Err(Malformed::DuplicateExtension));
    }
}

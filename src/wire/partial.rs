//! A message of which only parts have arrived.

/// Bytes whose arrival one word of a bitmap records.
pub(crate) const WORD_BYTES: usize = 64;

/// Copies what of `part` has not arrived yet to `offset` of a message, and returns how many bytes
/// these were. What has arrived stays as it is: a later fragment cannot change an earlier one.
pub(crate) fn store(message: &mut [u8], arrived: &mut [u64], offset: usize, part: &[u8]) -> u32 {
    let mut new = 0;
    let mut at = offset;
    let end = offset + part.len();
    while at < end {
        let (word, bit) = (at / WORD_BYTES, at % WORD_BYTES);
        let len = (end - at).min(WORD_BYTES - bit);
        let range = (u64::MAX >> (WORD_BYTES - len)) << bit;
        let before = arrived[word] & range;
        let source = &part[at - offset..at - offset + len];
        let target = &mut message[at..at + len];
        if before == 0 {
            target.copy_from_slice(source);
        } else if before != range {
            for (i, (to, from)) in target.iter_mut().zip(source).enumerate() {
                if before >> (bit + i) & 1 == 0 {
                    *to = *from;
                }
            }
        }
        arrived[word] |= range;
        new += (range & !before).count_ones();
        at += len;
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Overlapping parts disagree here about the content, so that it shows which one counted.
        #[test]
        fn trap_29_parts_in_any_order_are_kept_as_the_oracle_says(
            parts in proptest::collection::vec((0..300_usize, 0..300_usize, any::<u8>()), 1..30),
        ) {
            const LEN: usize = 300;
            let mut message = [0; LEN];
            let mut arrived = [0; LEN.div_ceil(WORD_BYTES)];
            let mut oracle = [None; LEN];
            for (offset, len, fill) in parts {
                let part = vec![fill; len.min(LEN - offset)];
                let missing_before = oracle.iter().filter(|byte| byte.is_none()).count();
                for (to, &from) in oracle[offset..].iter_mut().zip(&part) {
                    to.get_or_insert(from);
                }
                let missing = oracle.iter().filter(|byte| byte.is_none()).count();

                let new = store(&mut message, &mut arrived, offset, &part);

                prop_assert_eq!(new as usize, missing_before - missing);
                prop_assert!(message.iter().eq(oracle.iter().map(|byte| byte.as_ref().unwrap_or(&0))));
            }
        }
    }
}

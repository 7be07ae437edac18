//! A message of which only parts have arrived.

/// Bytes whose arrival one word of a bitmap records.
pub(crate) const WORD_BYTES: usize = 64;

/// Copies what of `part` has not arrived yet to `offset` of a message, and returns how many bytes
/// these were. `None` if it contradicts what has arrived: it is part of another message, and this
/// one is of no more use.
pub(crate) fn store(
    message: &mut [u8],
    arrived: &mut [u64],
    offset: usize,
    part: &[u8],
) -> Option<u32> {
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
        } else {
            for (i, (to, from)) in target.iter_mut().zip(source).enumerate() {
                if before >> (bit + i) & 1 == 0 {
                    *to = *from;
                } else if to != from {
                    return None;
                }
            }
        }
        arrived[word] |= range;
        new += (range & !before).count_ones();
        at += len;
    }
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Parts of two messages that differ in a few places: what contradicts begins anew.
        #[test]
        fn trap_29_parts_in_any_order_are_kept_as_the_oracle_says(
            parts in proptest::collection::vec((0..300_usize, 0..300_usize, any::<bool>()), 1..30),
            differ in proptest::collection::vec(0..300_usize, 0..5),
        ) {
            const LEN: usize = 300;
            let one: Vec<u8> = (0..LEN).map(|i| i as u8).collect();
            let mut other = one.clone();
            differ.iter().for_each(|at| other[*at] ^= 0x80);
            let mut message = [0; LEN];
            let mut arrived = [0; LEN.div_ceil(WORD_BYTES)];
            let mut oracle = [None; LEN];
            for (offset, len, which) in parts {
                let of = if which { &one } else { &other };
                let part = &of[offset..offset + len.min(LEN - offset)];
                let places = oracle[offset..].iter().zip(part);
                let contradicts = places.clone().any(|(is, new)| is.is_some_and(|is| is != *new));
                let missing = places.filter(|(is, _)| is.is_none()).count() as u32;

                let new = store(&mut message, &mut arrived, offset, part);

                prop_assert_eq!(new, (!contradicts).then_some(missing));
                if contradicts {
                    (message, oracle) = ([0; LEN], [None; LEN]);
                    arrived.fill(0);
                    continue;
                }
                for (to, from) in oracle[offset..].iter_mut().zip(part) {
                    *to = Some(*from);
                }
                let kept = oracle.iter().zip(&message);
                prop_assert!(kept.filter_map(|(is, kept)| Some((*is)? == *kept)).all(|same| same));
            }
        }
    }
}

//! The compression function of SHA-256 over four messages in turn with SHA-NI.
//!
//! An instruction of rounds takes four cycles, and a Zen 3 begins one in each: two messages leave
//! it idle for half of the time. A compression takes 0.8 of what it takes with two in turn, there;
//! not on every CPU ([`ShaNi::best_with_four`](super::sha_ni::ShaNi::best_with_four)).
#![allow(unsafe_code)]

/// Loads the chaining values, half by half, into the first eight registers behind xmm0.
macro_rules! load_halves {
    ($($half:literal)*) => {
        concat!($("vmovdqa xmm", $half, ", [{states} + 16*(", $half, " - 1)]\n",)*)
    };
}

/// Adds what the halves of the chaining values were before.
#[rustfmt::skip]
macro_rules! add_halves {
    ($($half:literal)*) => {
        concat!($(
            "vpaddd xmm", $half, ", xmm", $half, ", [{states} + 16*(", $half, " - 1)]\n",
            "vmovdqa [{states} + 16*(", $half, " - 1)], xmm", $half, "\n",
        )*)
    };
}

mod in_memory;
mod in_registers;

use super::sha_ni::{State, Words};

/// Takes each chaining value over its block, which may be overwritten.
#[inline]
#[target_feature(enable = "sha,avx")]
pub(super) fn compress(states: &mut [State; 4], blocks: &mut [Words; 4]) {
    // Shifting bytes over two registers is of the second.
    if is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512bw") {
        // SAFETY: both were detected, and the caller has the rest.
        unsafe { in_registers::compress(states, blocks) }
    } else {
        in_memory::compress(states, blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::wide::x86::sha_ni::{ShaNi, load_block};
    use proptest::prelude::*;
    use sha2::block_api::compress256;

    proptest! {
        /// The tests of what uses them see only the one that this CPU does best with.
        #[test]
        fn wherever_the_words_are_all_are_compressed_as_sha2_does(
            states in prop::array::uniform4(prop::array::uniform8(any::<u32>())),
            blocks in prop::array::uniform4(prop::array::uniform32(any::<[u8; 2]>())),
        ) {
            let Some(_) = ShaNi::detect() else {
                return Ok(());
            };
            let blocks = blocks.map(|pairs| std::array::from_fn(|byte| pairs[byte / 2][byte % 2]));
            // SAFETY: the features were detected.
            let ours = unsafe {
                let mut ours = states.map(|state| State::load(&state));
                in_memory::compress(&mut ours, &mut blocks.map(|block| load_block(&block)));
                ours.map(|state| state.to_array())
            };
            // SAFETY: the features were detected.
            let best = unsafe {
                let mut best = states.map(|state| State::load(&state));
                compress(&mut best, &mut blocks.map(|block| load_block(&block)));
                best.map(|state| state.to_array())
            };
            let mut expected = states;
            for (state, block) in expected.iter_mut().zip(blocks) {
                compress256(state, &[block]);
            }
            assert_eq!([ours, best], [expected; 2]);
        }
    }
}

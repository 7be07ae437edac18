//! With the words in memory, where most of them wait for later: four messages and their blocks do
//! not fit into sixteen registers, and a compiler moves chaining values out and in.
#![allow(unsafe_code)]

use std::arch::asm;

use super::super::K;
use super::super::sha_ni::{State, Words};

/// Four rounds of the message whose block begins at `$at`, with the words at `$row` of it.
#[rustfmt::skip]
macro_rules! rounds {
    ($row:literal, $at:literal, $abef:literal, $cdgh:literal) => {
        concat!(
            "vmovdqa xmm0, [{words} + ", $at, " + ", $row, "]\n",
            "vpaddd xmm0, xmm0, [{k} + ", $row, "]\n",
            "sha256rnds2 ", $cdgh, ", ", $abef, "\n",
            "vpshufd xmm0, xmm0, 0x0e\n",
            "sha256rnds2 ", $abef, ", ", $cdgh, "\n",
        )
    };
}

/// Replaces the words at `$w0` by those sixteen places behind. `$last` has the words before these,
/// and then these.
#[rustfmt::skip]
macro_rules! next_words {
    ($w0:literal, $w4:literal, $w8:literal, $at:literal, $last:literal) => {
        concat!(
            "vmovdqa xmm13, [{words} + ", $at, " + ", $w0, "]\n",
            "sha256msg1 xmm13, [{words} + ", $at, " + ", $w4, "]\n",
            "vpalignr xmm14, ", $last, ", [{words} + ", $at, " + ", $w8, "], 4\n",
            "vpaddd xmm13, xmm13, xmm14\n",
            "sha256msg2 xmm13, ", $last, "\n",
            "vmovdqa ", $last, ", xmm13\n",
            "vmovdqa [{words} + ", $at, " + ", $w0, "], xmm13\n",
        )
    };
}

/// Four rounds of each message, and the words for later.
macro_rules! row {
    ($w0:literal, $w4:literal, $w8:literal) => {
        concat!(
            rounds!($w0, "0", "xmm1", "xmm2"),
            next_words!($w0, $w4, $w8, "0", "xmm9"),
            rounds!($w0, "64", "xmm3", "xmm4"),
            next_words!($w0, $w4, $w8, "64", "xmm10"),
            rounds!($w0, "128", "xmm5", "xmm6"),
            next_words!($w0, $w4, $w8, "128", "xmm11"),
            rounds!($w0, "192", "xmm7", "xmm8"),
            next_words!($w0, $w4, $w8, "192", "xmm12"),
        )
    };
}

/// Four rounds of each message.
macro_rules! last_row {
    ($w0:literal) => {
        concat!(
            rounds!($w0, "0", "xmm1", "xmm2"),
            rounds!($w0, "64", "xmm3", "xmm4"),
            rounds!($w0, "128", "xmm5", "xmm6"),
            rounds!($w0, "192", "xmm7", "xmm8"),
        )
    };
}

/// Takes each chaining value over its block, which is overwritten.
#[target_feature(enable = "sha,avx")]
pub(super) fn compress(states: &mut [State; 4], blocks: &mut [Words; 4]) {
    // SAFETY: it reads and writes the two arguments, which are aligned to 16 bytes and lie in memory
    // as they are written in Rust, and reads K, which is as long as its loop reads. The caller has
    // the instructions.
    unsafe {
        asm!(
            // What others left in the upper halves of the registers, the instructions of SHA-NI
            // would have to carry along.
            "vzeroupper",
            load_halves!(1 2 3 4 5 6 7 8),
            "vmovdqa xmm9, [{words} + 48]",
            "vmovdqa xmm10, [{words} + 112]",
            "vmovdqa xmm11, [{words} + 176]",
            "vmovdqa xmm12, [{words} + 240]",
            "2:",
            row!("0", "16", "32"),
            row!("16", "32", "48"),
            row!("32", "48", "0"),
            row!("48", "0", "16"),
            "add {k}, 64",
            "dec {times:e}",
            "jnz 2b",
            last_row!("0"),
            last_row!("16"),
            last_row!("32"),
            last_row!("48"),
            add_halves!(1 2 3 4 5 6 7 8),
            states = in(reg) states,
            words = in(reg) blocks,
            k = inout(reg) K.as_ptr() => _,
            times = inout(reg) 3 => _,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack),
        );
    }
}

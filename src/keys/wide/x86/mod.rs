//! Four blocks in one register, with the instructions of x86-64.

mod aes;
mod gcm;
mod ghash;
mod memory;

use super::{Job, SEALED_MAX, TAG};

pub(super) use aes::RoundKeys;
pub(super) use gcm::GcmKey;

/// Whether the CPU has every instruction that is used here.
fn detected() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("vpclmulqdq")
}

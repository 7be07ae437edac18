//! What stands for the instructions of x86-64 elsewhere: nothing that exists.

use super::{BINDER_KEY_LEN, Digest, EARLY_SECRET_LEN, Secret, Sha256Job};

pub(super) const LANES: usize = 16;

type Jobs<'a, const KEY: usize, T> = [Option<Sha256Job<'a, KEY, T>>; LANES];

#[derive(Clone, Copy, Debug)]
pub(super) enum Avx512 {}

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        None
    }

    pub(super) fn enough(self) -> usize {
        match self {}
    }

    pub(super) fn alone(self) -> Self {
        match self {}
    }

    pub(super) fn binders(self, _: &mut Jobs<'_, BINDER_KEY_LEN, Digest>) {
        match self {}
    }

    pub(super) fn early_traffic_secrets(self, _: &mut Jobs<'_, EARLY_SECRET_LEN, Secret>) {
        match self {}
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ShaNi {}

impl ShaNi {
    pub(super) fn detect() -> Option<Self> {
        None
    }

    pub(super) fn compress(self, _: [&mut [u32; 8]; 2], _: [&[[u8; 64]]; 2]) {
        match self {}
    }
}

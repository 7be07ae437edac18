//! What stands for AVX-512 on other architectures: nothing that exists.

use super::{Digest, Job, Secret};

pub(super) const LANES: usize = 16;

pub(super) type Jobs<'a, T> = [Option<Job<'a, T>>; LANES];

#[derive(Clone, Copy, Debug)]
pub(super) enum Avx512 {}

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        None
    }

    pub(super) fn enough(self) -> usize {
        match self {}
    }

    #[cfg(test)]
    pub(super) fn with_enough(self, _: usize) -> Self {
        match self {}
    }

    pub(super) fn binders(self, _: &mut Jobs<'_, Digest>) {
        match self {}
    }

    pub(super) fn early_traffic_secrets(self, _: &mut Jobs<'_, Secret>) {
        match self {}
    }
}

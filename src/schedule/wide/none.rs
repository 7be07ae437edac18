//! What stands for the instructions of x86-64 elsewhere: nothing that exists.

use super::{Sha256EarlyTraffic, Sha256Hello};

pub(super) const LANES: usize = 16;

#[derive(Clone, Copy, Debug)]
pub(super) enum Avx512 {}

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        None
    }

    pub(super) fn client_hellos(self, _: &mut [Option<Sha256Hello<'_>>]) {
        match self {}
    }

    pub(super) fn early_traffic_secrets(self, _: &mut [Option<Sha256EarlyTraffic<'_>>]) {
        match self {}
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ShaNi {}

impl ShaNi {
    pub(super) fn detect() -> Option<Self> {
        None
    }

    pub(super) fn otherwise(self) -> Self {
        self
    }

    pub(super) fn best_with_four(self) -> bool {
        match self {}
    }

    pub(super) fn beats_avx512(self) -> bool {
        match self {}
    }

    pub(super) fn client_hellos<const N: usize>(self, _: &mut [Option<Sha256Hello<'_>>; N]) {
        match self {}
    }

    pub(super) fn early_traffic_secrets<const N: usize>(
        self,
        _: &mut [Option<Sha256EarlyTraffic<'_>>; N],
    ) {
        match self {}
    }
}

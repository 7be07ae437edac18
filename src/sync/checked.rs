//! Loom's atomics, any of whose operations can be given a bug from outside: the code that is
//! checked stays as it ships.
//!
//! The bug `"FILE OPERATION relaxed"` makes the operation relaxed where the file calls it,
//! `"FILE OPERATION split"` makes a load and a store of a read-modify-write.

use std::ops::BitOr;
use std::panic::Location;

use loom::sync::atomic;

use super::Ordering;
use super::mutant::seed;

enum Bug {
    None,
    Relaxed,
    Split,
}

/// The bug of this operation, where it was called.
#[track_caller]
fn bug(operation: &str) -> Bug {
    let Some(seed) = seed() else {
        return Bug::None;
    };
    let mut words = seed.split(' ');
    let file = Location::caller().file().rsplit('/').next();
    if words.next() != file || words.next() != Some(operation) {
        return Bug::None;
    }
    match words.next() {
        Some("relaxed") => Bug::Relaxed,
        Some("split") => Bug::Split,
        _ => Bug::None,
    }
}

#[track_caller]
fn weakened(operation: &str, order: Ordering) -> Ordering {
    match bug(operation) {
        Bug::Relaxed => Ordering::Relaxed,
        Bug::None | Bug::Split => order,
    }
}

/// A read-modify-write: `whole`, or its two halves.
macro_rules! rmw {
    ($operation:literal, $atomic:expr, $whole:expr, $update:expr) => {
        if let Bug::Split = bug($operation) {
            let before = $atomic.load(Ordering::Relaxed);
            match $update(before) {
                Some(after) => {
                    $atomic.store(after, Ordering::Relaxed);
                    Ok(before)
                }
                None => Err(before),
            }
        } else {
            $whole
        }
    };
}

macro_rules! atomic {
    ($name:ident $(<$t:ident>)?, $value:ty) => {
        pub(crate) struct $name $(<$t>)? (atomic::$name $(<$t>)?);

        #[allow(dead_code, unreachable_pub)]
        impl $(<$t>)? $name $(<$t>)? {
            #[track_caller]
            pub(crate) fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.0.load(weakened("load", order))
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, weakened("store", order));
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let success = weakened("compare_exchange", success);
                let failure = weakened("compare_exchange-failing", failure);
                rmw!(
                    "compare_exchange",
                    self.0,
                    self.0.compare_exchange(current, new, success, failure),
                    |before| (before == current).then_some(new)
                )
            }
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU64, u64);
atomic!(AtomicUsize, usize);
atomic!(AtomicPtr<T>, *mut T);

impl<T> AtomicPtr<T> {
    pub(crate) fn with_mut<R>(&mut self, f: impl FnOnce(&mut *mut T) -> R) -> R {
        self.0.with_mut(f)
    }
}

impl AtomicBool {
    #[track_caller]
    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(value, weakened("swap", order))
    }
}

macro_rules! integer {
    ($name:ident, $value:ty) => {
        #[allow(dead_code)]
        impl $name {
            #[track_caller]
            pub(crate) fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                update: impl FnMut($value) -> Option<$value> + Copy,
            ) -> Result<$value, $value> {
                let (mut halves, whole) = (update, update);
                rmw!(
                    "fetch_update",
                    self.0,
                    self.0.fetch_update(success, failure, whole),
                    halves
                )
            }

            integer!($value, fetch_add, "fetch_add", wrapping_add);
            integer!($value, fetch_sub, "fetch_sub", wrapping_sub);
            integer!($value, fetch_max, "fetch_max", max);
            integer!($value, fetch_or, "fetch_or", bitor);
        }
    };
    ($value:ty, $operation:ident, $name:literal, $on_values:ident) => {
        #[track_caller]
        pub(crate) fn $operation(&self, operand: $value, order: Ordering) -> $value {
            let before: Result<$value, $value> = rmw!(
                $name,
                self.0,
                Ok(self.0.$operation(operand, order)),
                |before: $value| Some(before.$on_values(operand))
            );
            before.unwrap_or_else(|before| before)
        }
    };
}

integer!(AtomicU64, u64);
integer!(AtomicUsize, usize);

//! Loom's atomics, any of whose operations can be given a bug from outside: the code that is
//! checked stays as it ships.
//!
//! And loom 0.7 forgets races: of the loads since the last store it keeps the last one only, so
//! that a thread that loads before it stores hides its store from all who loaded earlier, and the
//! orders in which they would have seen it are never tried. Here each load first passes a
//! [`Turnstile`] of its atomic, which is a race for whoever else loads, so that no order is left
//! out. `crossbeam-epoch` brings loom's atomics as they are: models over it begin with the writer.
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

/// Where the threads that load an atomic pass in some order, each of which loom tries.
struct Turnstile(atomic::AtomicUsize);

impl Turnstile {
    fn new() -> Self {
        Self(atomic::AtomicUsize::new(0))
    }

    fn pass(&self) {
        // An exchange that fails is a race with all others, and yet writes nothing and synchronizes
        // with nobody, so that it hides no other race.
        let failed = self
            .0
            .compare_exchange(1, 1, Ordering::Relaxed, Ordering::Relaxed);
        debug_assert!(failed.is_err());
    }
}

/// A read-modify-write: `whole`, or its two halves.
macro_rules! rmw {
    ($operation:literal, $place:expr, $whole:expr, $update:expr) => {
        if let Bug::Split = bug($operation) {
            $place.turnstile.pass();
            let before = $place.atomic.load(Ordering::Relaxed);
            match $update(before) {
                Some(after) => {
                    $place.atomic.store(after, Ordering::Relaxed);
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
        pub(crate) struct $name $(<$t>)? {
            atomic: atomic::$name $(<$t>)?,
            turnstile: Turnstile,
        }

        #[allow(dead_code, unreachable_pub)]
        impl $(<$t>)? $name $(<$t>)? {
            #[track_caller]
            pub(crate) fn new(value: $value) -> Self {
                Self {
                    atomic: atomic::$name::new(value),
                    turnstile: Turnstile::new(),
                }
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.turnstile.pass();
                self.atomic.load(weakened("load", order))
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.atomic.store(value, weakened("store", order));
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
                    self,
                    self.atomic.compare_exchange(current, new, success, failure),
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
        self.atomic.with_mut(f)
    }
}

impl AtomicBool {
    #[track_caller]
    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        self.atomic.swap(value, weakened("swap", order))
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
                self.turnstile.pass();
                let (mut halves, whole) = (update, update);
                rmw!(
                    "fetch_update",
                    self,
                    self.atomic.fetch_update(success, failure, whole),
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
                self,
                Ok(self.atomic.$operation(operand, order)),
                |before: $value| Some(before.$on_values(operand))
            );
            before.unwrap_or_else(|before| before)
        }
    };
}

integer!(AtomicU64, u64);
integer!(AtomicUsize, usize);

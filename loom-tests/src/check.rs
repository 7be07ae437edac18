//! How a model is run, and what its threads are.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::thread::{self, JoinHandle};

/// Runs `model` through all its executions.
pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
    run(None, model);
}

/// Runs `model` through the executions in which threads are interrupted at most `preemptions`
/// times.
pub(crate) fn check_bounded(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    run(Some(preemptions), model);
}

fn run(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.max_branches = MAX_BRANCHES;
    builder.preemption_bound = match std::env::var_os(UNBOUNDED) {
        Some(_) => None,
        None => preemptions,
    };
    let executions = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&executions);
    let begun = Instant::now();
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        model();
    });
    println!(
        "{}: {} executions in {:.1} s",
        std::thread::current().name().unwrap_or_default(),
        executions.load(Relaxed),
        begun.elapsed().as_secs_f32(),
    );
}

/// Set: no model has a bound.
const UNBOUNDED: &str = "DTLS_SESSION_LOOM_UNBOUNDED";

/// More steps than an execution has: beyond, loom takes it for one that never ends.
const MAX_BRANCHES: usize = 100_000;

/// A thread of the model.
pub(crate) struct Thread<T>(JoinHandle<Carried<T>>);

impl<T: 'static> Thread<T> {
    pub(crate) fn run(f: impl FnOnce() -> T + 'static) -> Self {
        let f = Carried(f);
        let thread = thread::Builder::new().stack_size(STACK_WORDS);
        Self(thread.spawn(move || Carried(f.take()())).unwrap())
    }

    pub(crate) fn join(self) -> T {
        self.0.join().unwrap().take()
    }
}

/// Room for cryptography.
const STACK_WORDS: usize = 1 << 15;

/// What a thread of the model is given and gives back, be it `Send` or not.
struct Carried<T>(T);

// SAFETY: loom's threads are coroutines of one real thread, so that nothing leaves it.
unsafe impl<T> Send for Carried<T> {}

impl<T> Carried<T> {
    fn take(self) -> T {
        self.0
    }
}

/// A value whose memory loom watches: reading it is an error if that races with writing it whole,
/// or with dropping it.
pub(crate) struct Watched(UnsafeCell<u32>);

// SAFETY: loom stops the execution in which two threads would race for it.
unsafe impl Send for Watched {}
// SAFETY: as above.
unsafe impl Sync for Watched {}

impl Watched {
    pub(crate) fn new(value: u32) -> Self {
        let watched = Self(UnsafeCell::new(0));
        watched.write(value);
        watched
    }

    pub(crate) fn read(&self) -> u32 {
        // SAFETY: loom has just checked that nobody writes.
        self.0.with(|place| unsafe { ptr::read(place) })
    }

    fn write(&self, value: u32) {
        // SAFETY: loom has just checked that nobody else reads or writes.
        self.0.with_mut(|place| unsafe { ptr::write(place, value) });
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.write(0);
    }
}

/// A value from which threads of the model borrow. It is dropped when they have ended.
pub(crate) struct Lent<T>(*mut T);

impl<T: 'static> Lent<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Box::into_raw(Box::new(value)))
    }

    pub(crate) fn lend(&self) -> &'static T {
        // SAFETY: the models drop `self` when all that they lent out is gone.
        unsafe { &*self.0 }
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        // SAFETY: it was a box, and it is dropped once.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

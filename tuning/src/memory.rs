//! What prefetching and huge pages do for the register of used tickets.

use crate::common::admission::Gateway;
use crate::common::contest::race;
use crate::common::replay::{Opened, SAMPLES};

/// How far ahead memory is asked for, in batches of 32.
pub(crate) const AHEAD: [usize; 4] = [0, 1, 2, 4];

/// Nanoseconds of a strike, by how far ahead its memory is asked for.
pub(crate) fn prefetch(gateway: &Gateway, rounds: usize) -> [f64; AHEAD.len()] {
    let laps = Opened::of(gateway, |opened| {
        let mut contestants = AHEAD.map(|batches| opened.fetched_ahead(batches));
        race(&mut contestants, rounds)
    });
    std::array::from_fn(|index| laps[index].ns)
}

/// Nanoseconds of a strike on huge pages, and on small ones, while `tickets` are out. `None` where
/// the system does not say how to do without huge pages.
pub(crate) fn pages(tickets: usize, rounds: usize) -> Option<[f64; 2]> {
    let gateway = || Gateway::new(tickets, SAMPLES.min(tickets / 2));
    let huge = gateway();
    let small = without_huge_pages(gateway)?;
    let laps = Opened::of(&huge, |huge| {
        Opened::of(&small, |small| {
            race(&mut [huge, small].map(Opened::strikes), rounds)
        })
    });
    Some([laps[0].ns, laps[1].ns])
}

/// Runs `work`, in which this process gets no huge pages.
#[cfg(target_os = "linux")]
fn without_huge_pages<R>(work: impl FnOnce() -> R) -> Option<R> {
    // SAFETY: it changes where memory lies, not what it holds.
    let set = |disabled: libc::c_ulong| unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, disabled, 0, 0, 0)
    };
    if set(1) != 0 {
        return None;
    }
    let done = work();
    set(0);
    Some(done)
}

#[cfg(not(target_os = "linux"))]
fn without_huge_pages<R>(_: impl FnOnce() -> R) -> Option<R> {
    None
}

//! The time of a gateway: that of the day when it started, and from then on a steady clock's.

use std::time::{Instant, SystemTime};

use dtls_session::UnixMillis;

/// Steps of the system's clock do not reach the timers, nor the ages of tickets.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    wall: UnixMillis,
    steady: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            wall: UnixMillis::from(SystemTime::now()),
            steady: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.wall.saturating_add(self.steady.elapsed())
    }
}

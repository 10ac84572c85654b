//! Time as a number: nanoseconds since 1970, never going back within one run.
//!
//! Message stamps must mean the same to the thread that sends and the one that receives, so all threads share the
//! origin that was read once from the wall clock and add a monotonic clock's distance from it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    origin_ns: u64,
}

impl Clock {
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_ns: nanos(wall) }
    }

    #[inline]
    pub fn now(&self) -> u64 {
        self.origin_ns + nanos(self.origin.elapsed())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

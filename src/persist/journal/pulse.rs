//! Whether the journal's writer gets on, for whoever watches over the node.
//!
//! The writer notes when it begins a piece of work (a commit, a sync, another try at a write that has failed) and when it
//! waits for work. A disk that refuses is no standstill, as the writer tries again; a call of the system that does not come
//! back is one, and so is a thread that has ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What the writer notes of itself.
pub struct Pulse {
    born: Instant,
    /// When the work at hand was begun, in milliseconds after `born` and one more; 0 while there is none.
    since: AtomicU64,
    ended: AtomicBool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { born: Instant::now(), since: AtomicU64::new(0), ended: AtomicBool::new(false) }
    }
}

impl Pulse {
    /// A piece of work is begun.
    pub fn works(&self, now: Instant) {
        self.since.store(self.millis(now) + 1, Relaxed);
    }

    /// There is nothing to do, or nothing that can be done.
    pub fn rests(&self) {
        self.since.store(0, Relaxed);
    }

    /// Notes the end of the thread when it is dropped, a panic included.
    pub fn until_dropped(&self) -> impl Drop + '_ {
        Lifetime(self)
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// How long the writer has been at the same piece of work.
    pub fn standstill(&self, now: Instant) -> Duration {
        match self.since.load(Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis((self.millis(now) + 1).saturating_sub(since)),
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX - 1)
    }
}

struct Lifetime<'a>(&'a Pulse);

impl Drop for Lifetime<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_goes_on_for_long_is_a_standstill_and_waiting_for_work_is_none() {
        let (pulse, begun) = (Pulse::default(), Instant::now());
        let later = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(pulse.standstill(later(100)), Duration::ZERO);
        pulse.works(begun);
        assert_eq!(pulse.standstill(later(100)).as_secs(), 100);
        pulse.works(later(90));
        assert_eq!(pulse.standstill(later(100)).as_secs(), 10);
        assert_eq!(pulse.standstill(begun), Duration::ZERO, "of an earlier look at the clock");
        pulse.rests();
        assert_eq!(pulse.standstill(later(100)), Duration::ZERO);
    }

    #[test]
    fn a_thread_that_panics_has_ended() {
        let pulse = std::sync::Arc::new(Pulse::default());
        let of_thread = std::sync::Arc::clone(&pulse);
        let ended = std::thread::spawn(move || {
            let _until_dropped = of_thread.until_dropped();
            assert!(of_thread.has_ended(), "it goes on");
        });
        assert!(ended.join().is_err() && pulse.has_ended());
    }
}

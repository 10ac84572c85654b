//! The time of day, as everything that compares it with stored times gets it: milliseconds since 1970.
//!
//! One [`Clock`] belongs to a node. Tests and simulations use one that stands still until they move it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time in milliseconds since 1970.
#[derive(Debug, Default)]
pub struct Clock {
    /// The time of a clock that is moved by hand; 0 is the system's.
    by_hand: AtomicU64,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `ms` (not 0) until [`Clock::set`] moves it.
    pub fn by_hand(ms: u64) -> Self {
        Self { by_hand: AtomicU64::new(ms.max(1)) }
    }

    /// Moves a clock; from then on it is moved by hand.
    pub fn set(&self, ms: u64) {
        self.by_hand.store(ms.max(1), Ordering::Relaxed);
    }

    /// Milliseconds since 1970; 0 when the system's clock stands before that.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        match self.by_hand.load(Ordering::Relaxed) {
            0 => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(0)),
            ms => ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_moved_by_hand_stands_still() {
        let clock = Clock::by_hand(5);
        assert_eq!(clock.now_ms(), 5);
        clock.set(9);
        assert_eq!(clock.now_ms(), 9);
        assert!(Clock::system().now_ms() > 1_600_000_000_000);
    }
}

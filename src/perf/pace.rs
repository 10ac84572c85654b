//! When is a producer's next message due?

/// A constant rate from a starting time on. Message `n` is due `n` intervals after the start, however late others were.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    start: u64,
    /// Nanoseconds.
    interval: f64,
}

impl Pace {
    pub fn new(per_second: f64, start: u64) -> Self {
        Self { start, interval: 1e9 / per_second }
    }

    pub fn due(&self, n: u64) -> u64 {
        self.start.saturating_add((n as f64 * self.interval) as u64)
    }

    /// How many messages are due by now, counted from the start.
    pub fn allowed(&self, now: u64) -> u64 {
        if now < self.start { 0 } else { ((now - self.start) as f64 / self.interval) as u64 + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fall_due_one_after_the_other() {
        let pace = Pace::new(1000.0, 5_000_000);
        assert_eq!((pace.due(0), pace.due(3)), (5_000_000, 8_000_000));
        assert_eq!((pace.allowed(0), pace.allowed(5_000_000), pace.allowed(7_500_000)), (0, 1, 3));
    }
}

//! How much has been read back from segments. Reading is rare enough for its counters to be added to by several threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What a message takes at most that is read by itself, and that the system has in memory.
const FROM_MEMORY: Duration = Duration::from_micros(10);

/// Reads of messages that had left memory, their bytes, and the time that they took.
#[derive(Debug, Default)]
pub struct Reading {
    reads: AtomicU64,
    bytes: AtomicU64,
    micros: AtomicU64,
    is_slow: AtomicBool,
}

impl Reading {
    pub fn note(&self, bytes: u64, took: Duration) {
        self.reads.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The same of so many messages that were read one by one.
    pub fn note_one_by_one(&self, count: usize, bytes: u64, took: Duration) {
        self.note(bytes, took);
        if let Some(each) = u32::try_from(count).ok().and_then(|count| took.checked_div(count)) {
            self.is_slow.store(each > FROM_MEMORY, Relaxed);
        }
    }

    /// Whether the last messages that were read one by one came from the disk: the system did not have them in memory.
    pub fn is_slow(&self) -> bool {
        self.is_slow.load(Relaxed)
    }

    pub fn reads(&self) -> u64 {
        self.reads.load(Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub fn micros(&self) -> u64 {
        self.micros.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reading_says_whether_messages_come_from_the_disk() {
        let reading = Reading::default();
        let slow_after = |count, micros| {
            reading.note_one_by_one(count, 100, Duration::from_micros(micros));
            reading.is_slow()
        };
        assert!(!slow_after(100, 300), "from memory");
        assert!(slow_after(100, 15_000));
        assert!(slow_after(0, 5), "nothing was read, and nothing is known");
        assert!(!slow_after(1, 3));
        assert_eq!((reading.reads(), reading.bytes(), reading.micros()), (4, 400, 15_308));
    }
}

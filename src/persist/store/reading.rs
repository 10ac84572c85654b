//! How much has been read back from segments. Reading is rare enough for its counters to be added to by several threads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Reads of messages that had left memory, their bytes, and the time that they took.
#[derive(Debug, Default)]
pub struct Reading {
    reads: AtomicU64,
    bytes: AtomicU64,
    micros: AtomicU64,
}

impl Reading {
    pub fn note(&self, bytes: u64, took: Duration) {
        self.reads.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
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

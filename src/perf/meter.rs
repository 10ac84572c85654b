//! What the connections' threads tell the one that watches them, and what it tells them.
//!
//! Every thread has a [`Meter`] of its own, which it updates once a turn, so that counting costs nothing per message
//! and no two threads write to the same cache line.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::failure::Failure;
use super::histogram::Histogram;

/// One connection's counters, since the start.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Meter {
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// Received for the first time by that queue's consumers.
    pub unique: AtomicU64,
    /// Deliveries that should come of what was sent.
    pub expected: AtomicU64,
    pub confirmed: AtomicU64,
    pub refused: AtomicU64,
    pub returned: AtomicU64,
    /// Confirmed or refused are still outstanding for these.
    pub unconfirmed: AtomicU64,
    pub blocked: AtomicBool,
    latencies: Mutex<Latencies>,
}

/// In nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    pub confirm: Histogram,
    pub end_to_end: Histogram,
}

impl Latencies {
    pub fn merge(&mut self, other: &Self) {
        self.confirm.merge(&other.confirm);
        self.end_to_end.merge(&other.end_to_end);
    }
}

/// A latency and how many messages had it.
pub type Waits = Vec<(u64, u64)>;

impl Meter {
    /// Moves what a turn measured into the histograms.
    pub fn record(&self, confirm: &mut Waits, end_to_end: &mut Waits) {
        if confirm.is_empty() && end_to_end.is_empty() {
            return;
        }
        let mut latencies = self.latencies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        confirm.drain(..).for_each(|(wait, n)| latencies.confirm.record(wait, n));
        end_to_end.drain(..).for_each(|(wait, n)| latencies.end_to_end.record(wait, n));
    }

    /// The latencies since they were last taken.
    pub fn take_latencies(&self) -> Latencies {
        std::mem::take(&mut *self.latencies.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub fn add(counter: &AtomicU64, n: u64) {
        if n > 0 {
            // Only the owner writes.
            counter.store(counter.load(Relaxed) + n, Relaxed);
        }
    }
}

/// What all threads share.
#[derive(Debug, Default)]
pub struct Orders {
    /// No more messages are to be published.
    pub stop: AtomicBool,
    /// Acknowledge, close and return.
    pub finish: AtomicBool,
    /// Connections that still publish or wait for confirms.
    pub producing: AtomicUsize,
    failure: Mutex<Option<Failure>>,
}

impl Orders {
    /// The first failure is the one that is told.
    pub fn fail(&self, failure: Failure) {
        let mut slot = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        slot.get_or_insert(failure);
        self.stop.store(true, Relaxed);
        self.finish.store(true, Relaxed);
    }

    pub fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

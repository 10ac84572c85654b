//! Adding up what all connections have counted.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::meter::{Latencies, Meter};

/// The counters of all connections, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub sent: u64,
    pub received: u64,
    pub unique: u64,
    pub expected: u64,
    pub confirmed: u64,
    pub refused: u64,
    pub returned: u64,
    pub unconfirmed: u64,
    /// Connections that the broker has blocked.
    pub blocked: u64,
}

/// What happened since the last sample.
#[derive(Clone, Debug)]
pub struct Sample {
    pub seconds: f64,
    pub sent: u64,
    pub received: u64,
    pub confirmed: u64,
    pub blocked: u64,
    pub latencies: Latencies,
}

pub struct Sampler {
    meters: Vec<Arc<Meter>>,
    last: (Instant, Totals),
    /// Since the measurement began.
    latencies: Latencies,
}

impl Sampler {
    pub fn new(meters: Vec<Arc<Meter>>) -> Self {
        Self { meters, last: (Instant::now(), Totals::default()), latencies: Latencies::default() }
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for meter in &self.meters {
            // Before what it is compared with, so that nothing seems to have arrived before it was sent.
            totals.unique += meter.unique.load(Relaxed);
            totals.expected += meter.expected.load(Relaxed);
            totals.sent += meter.sent.load(Relaxed);
            totals.received += meter.received.load(Relaxed);
            totals.confirmed += meter.confirmed.load(Relaxed);
            totals.refused += meter.refused.load(Relaxed);
            totals.returned += meter.returned.load(Relaxed);
            totals.unconfirmed += meter.unconfirmed.load(Relaxed);
            totals.blocked += u64::from(meter.blocked.load(Relaxed));
        }
        totals
    }

    pub fn sample(&mut self) -> Sample {
        let (now, totals, latencies) = (Instant::now(), self.totals(), self.collect());
        let (before, last) = std::mem::replace(&mut self.last, (now, totals));
        Sample {
            seconds: (now - before).as_secs_f64().max(1e-9),
            sent: totals.sent - last.sent,
            received: totals.received - last.received,
            confirmed: totals.confirmed - last.confirmed,
            blocked: totals.blocked,
            latencies,
        }
    }

    /// Forgets the warm-up.
    pub fn restart_latencies(&mut self) {
        self.collect();
        self.latencies = Latencies::default();
    }

    /// All latencies since the measurement began.
    pub fn latencies(&mut self) -> Latencies {
        self.collect();
        self.latencies.clone()
    }

    fn collect(&mut self) -> Latencies {
        let mut fresh = Latencies::default();
        for meter in &self.meters {
            fresh.merge(&meter.take_latencies());
        }
        self.latencies.merge(&fresh);
        fresh
    }
}

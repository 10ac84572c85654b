//! Rates that must be kept: so many messages, or bytes, per second.
//!
//! A [`Bucket`] is the pure core: it fills with the rate, holds a second's worth, and what is taken may leave it in debt,
//! for a batch is taken as a whole. A [`Throttle`] is what all connections that share a limit share: asked before a batch
//! how much may be in it, told afterwards what was, and asked how long to wait. Whoever waits is whoever publishes: the
//! connection keeps the publish that is too many and reads no more until there are tokens.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;

/// The time of throttles: nanoseconds since it was asked for first.
pub fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// A token bucket. Times are nanoseconds since any moment, and never go back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    per_second: u64,
    /// Tokens times [`SECOND`], so that nothing is lost to rounding: at most a second's worth, and below 0 in debt.
    level: i128,
    /// When the level was true.
    at: u64,
}

impl Bucket {
    /// A full one. At least one token a second comes.
    pub fn new(per_second: u64, now: u64) -> Self {
        let per_second = per_second.max(1);
        Self { per_second, level: i128::from(per_second) * SECOND, at: now }
    }

    /// What may be taken without debt. Where less than a token is there, nothing is.
    pub fn available(&mut self, now: u64) -> u64 {
        self.fill(now);
        u64::try_from(self.level / SECOND).unwrap_or(0)
    }

    /// Takes tokens, whether they are there or not.
    pub fn take(&mut self, tokens: u64, now: u64) {
        self.fill(now);
        self.level = self.level.saturating_sub(i128::from(tokens) * SECOND);
    }

    /// How long until a token is there.
    pub fn wait(&mut self, now: u64) -> Duration {
        self.fill(now);
        let missing = u128::try_from(SECOND - self.level).unwrap_or(0);
        Duration::from_nanos(u64::try_from(missing.div_ceil(u128::from(self.per_second))).unwrap_or(u64::MAX))
    }

    fn fill(&mut self, now: u64) {
        let rate = i128::from(self.per_second);
        let passed = i128::from(now.saturating_sub(self.at));
        let filled = self.level.saturating_add(passed.saturating_mul(rate));
        self.level = filled.min(rate * SECOND);
        self.at = self.at.max(now);
    }
}

/// Most messages and bytes per second; none is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rates {
    pub messages: Option<u64>,
    pub bytes: Option<u64>,
}

impl Rates {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How much a batch may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub messages: u64,
    pub bytes: u64,
}

impl Allowance {
    /// Nothing more goes into the batch.
    #[inline]
    pub fn is_used_up(&self) -> bool {
        self.messages == 0 || self.bytes == 0
    }

    /// Notes messages. The last one may have more bytes than are left.
    #[inline]
    pub fn use_up(&mut self, messages: u64, bytes: u64) {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// What both leave.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { messages: self.messages.min(other.messages), bytes: self.bytes.min(other.bytes) }
    }
}

/// The buckets of a user, a virtual host or a queue.
#[derive(Debug)]
pub struct Throttle {
    rates: Rates,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Throttle {
    pub fn new(rates: Rates, now: u64) -> Self {
        let bucket = |rate: Option<u64>| rate.map(|per_second| Bucket::new(per_second, now));
        let buckets = Buckets { messages: bucket(rates.messages), bytes: bucket(rates.bytes) };
        Self { rates, buckets: Mutex::new(buckets) }
    }

    pub fn rates(&self) -> Rates {
        self.rates
    }

    /// What the next batch may hold.
    pub fn allowance(&self, now: u64) -> Allowance {
        let mut buckets = self.buckets.lock();
        let Buckets { messages, bytes } = &mut *buckets;
        let left = |bucket: &mut Option<Bucket>| bucket.as_mut().map_or(u64::MAX, |bucket| bucket.available(now));
        Allowance { messages: left(messages), bytes: left(bytes) }
    }

    /// Takes what a batch has held.
    pub fn take(&self, messages: u64, bytes: u64, now: u64) {
        let mut buckets = self.buckets.lock();
        if let Some(bucket) = &mut buckets.messages {
            bucket.take(messages, now);
        }
        if let Some(bucket) = &mut buckets.bytes {
            bucket.take(bytes, now);
        }
    }

    /// How long until something may be published again.
    pub fn wait(&self, now: u64) -> Duration {
        let mut buckets = self.buckets.lock();
        let Buckets { messages, bytes } = &mut *buckets;
        let waits = [messages, bytes].into_iter().flatten().map(|bucket| bucket.wait(now));
        waits.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;

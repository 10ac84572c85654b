//! The rates that a connection has to keep: how much of what it publishes is carried out now, and how long the rest waits.
//!
//! The throttles are looked up when the broker's have changed; without any, a read costs one comparison. With some, a
//! read asks them once before and tells them once after.

use std::sync::Arc;
use std::time::Duration;

use crate::rate::{Allowance, Throttle, now};
use crate::vhost::throttles::Throttles;

/// Shortest wait: tokens gather meanwhile, and nobody is woken for each of them.
const SHORTEST: Duration = Duration::from_millis(5);

/// A connection's share in the throttles that it is under.
#[derive(Debug, Default)]
pub struct Pacing {
    throttles: Vec<Arc<Throttle>>,
    /// The throttles' epoch when they were looked up; 0 is never.
    epoch: u64,
    /// Of the read that is being carried out.
    allowance: Option<Allowance>,
    messages: u64,
    bytes: u64,
}

impl Pacing {
    /// A read is about to be carried out.
    #[inline]
    pub fn begin(&mut self, all: &Throttles, user: &str, vhost: &str) {
        if self.epoch != all.epoch() {
            self.epoch = all.epoch();
            self.throttles = all.of(user, vhost);
        }
        if !self.throttles.is_empty() {
            let now = now();
            let least = self.throttles.iter().map(|throttle| throttle.allowance(now)).reduce(Allowance::and);
            self.allowance = least;
        }
    }

    /// Nothing more may be published in this read.
    #[inline]
    pub fn is_used_up(&self) -> bool {
        self.allowance.is_some_and(|allowance| allowance.is_used_up())
    }

    /// Whether anything has to be counted.
    #[inline]
    pub fn counts(&self) -> bool {
        self.allowance.is_some()
    }

    /// Notes what is published.
    pub fn note(&mut self, messages: u64, bytes: u64) {
        self.messages += messages;
        self.bytes += bytes;
        if let Some(allowance) = &mut self.allowance {
            allowance.use_up(messages, bytes);
        }
    }

    /// The read has been carried out.
    #[inline]
    pub fn end(&mut self) {
        if self.allowance.take().is_some() && (self.messages > 0 || self.bytes > 0) {
            let now = now();
            self.throttles.iter().for_each(|throttle| throttle.take(self.messages, self.bytes, now));
            (self.messages, self.bytes) = (0, 0);
        }
    }

    /// How long a publish that did not fit in has to wait.
    pub fn wait(&self) -> Duration {
        let now = now();
        self.throttles.iter().map(|throttle| throttle.wait(now)).max().unwrap_or_default().max(SHORTEST)
    }

    /// The rates have been changed since.
    pub fn is_stale(&self, all: &Throttles) -> bool {
        self.epoch != all.epoch()
    }
}

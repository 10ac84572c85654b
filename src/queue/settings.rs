//! What is in force for a queue: its arguments and the policies that match it, merged.
//!
//! A queue has one [`Settings`] at a time and gets another when a policy changes. [`Sources::resolve`] is where arguments,
//! policies and operator policies are merged.

mod resolve;

use std::sync::Arc;

pub use crate::dedup::Deduplication;
use crate::rate::Rates;

pub use resolve::{Note, Sources};

/// What becomes of a message that a full queue is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The oldest messages make room.
    #[default]
    DropHead,
    /// The new one is refused, and its publisher gets a nack.
    RejectPublish,
    /// The same, and it is dead-lettered.
    RejectPublishDlx,
}

/// Where dead letters of a queue go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeadLettering {
    pub exchange: Arc<str>,
    /// Instead of the message's own routing keys.
    pub key: Option<Arc<str>>,
    /// They stay in the queue until their targets have them.
    pub at_least_once: bool,
}

/// Which returned messages are held back before they are delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryOf {
    All,
    /// Those whose delivery has failed: rejected with requeue, or the consumer's channel has ended.
    Failed,
    /// Those that a consumer has given back by `basic.nack` or `basic.recover`.
    Returned,
}

/// How long returned messages are held back. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    pub of: RetryOf,
    /// The first time.
    pub min: u64,
    pub max: Option<u64>,
    /// The time doubles with every return instead of growing by `min`.
    pub exponential: bool,
}

impl Retry {
    /// How long a message is held back that has been returned so many times.
    pub fn delay(&self, returned: u32) -> u64 {
        let factor = match (self.exponential, returned) {
            (_, 0) => 1,
            (true, n) => 1_u64.checked_shl(n - 1).unwrap_or(u64::MAX),
            (false, n) => u64::from(n),
        };
        self.min.saturating_mul(factor).min(self.max.unwrap_or(u64::MAX))
    }
}

/// What is in force for a queue. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How long a message may wait.
    pub message_ttl: Option<u64>,
    /// How long the queue may be unused.
    pub expires: Option<u64>,
    /// Most ready messages.
    pub max_length: Option<u64>,
    /// Most bytes of the bodies of ready messages.
    pub max_bytes: Option<u64>,
    pub overflow: Overflow,
    pub dead_letters: Option<DeadLettering>,
    /// A message that has been returned more often is a dead letter.
    pub delivery_limit: Option<u32>,
    /// Deliveries carry the header `x-delivery-count`.
    pub shows_delivery_count: bool,
    pub retry: Option<Retry>,
    /// Highest priority; `None` is a queue without.
    pub max_priority: Option<u8>,
    pub deduplication: Option<Deduplication>,
    /// How long a delivery may stay unacked.
    pub consumer_timeout: Option<u64>,
    /// How fast it may be published to.
    pub publish_rates: Rates,
    /// Bytes of bodies at which its publishers wait.
    pub max_stored_bytes: Option<u64>,
    /// The policy that applies, by name.
    pub policy: Option<Arc<str>>,
    pub operator_policy: Option<Arc<str>>,
}

impl Settings {
    /// Its publishers may have to wait.
    pub fn limits_publishers(&self) -> bool {
        !self.publish_rates.is_none() || self.max_stored_bytes.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_held_back_longer_and_longer_up_to_a_limit() {
        let mut retry = Retry { of: RetryOf::All, min: 100, max: Some(450), exponential: false };
        let delays = |retry: &Retry| (1..=5).map(|n| retry.delay(n)).collect::<Vec<_>>();
        assert_eq!(delays(&retry), [100, 200, 300, 400, 450]);
        retry.exponential = true;
        assert_eq!(delays(&retry), [100, 200, 400, 450, 450]);
        assert_eq!(Retry { max: None, ..retry }.delay(u32::MAX), u64::MAX);
    }
}

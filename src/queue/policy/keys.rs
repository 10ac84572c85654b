//! The keys of policies: what each may be, for whom it is, and whether it does anything here.

use serde_json::Value as Json;

use super::term::term;
use super::{
    ALTERNATE_EXCHANGE, CONSUMER_TIMEOUT, DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY, DEAD_LETTER_STRATEGY, DEDUPLICATION,
    DELIVERY_LIMIT, EXPIRES, MAX_BYTES, MAX_LENGTH, MAX_PUBLISH_BYTES_RATE, MAX_PUBLISH_RATE, MAX_STORED_BYTES,
    MESSAGE_TTL, OVERFLOW, QUEUE_VERSION, RETRY_BACKOFF, RETRY_MAX, RETRY_MIN, RETRY_TYPE,
};
use crate::config::QueueType;

/// What a value must be.
enum Of {
    Text,
    Flag,
    Any,
    /// An integer from here on.
    From(i64),
    Between(i64, i64),
    One(&'static [&'static str]),
    Age,
}

/// One key.
pub struct Key {
    name: &'static str,
    of: Of,
    /// What a wrong value is not, in RabbitMQ's words.
    noun: &'static str,
    /// Operator policies may have it.
    pub operator: bool,
    unknown_to: &'static [QueueType],
    pub has_effect: bool,
}

impl Key {
    /// Checks a value.
    pub fn check(&self, value: &Json) -> Result<(), String> {
        let integer = value.as_i64();
        let is_valid = match &self.of {
            Of::Text => value.is_string(),
            Of::Flag => value.is_boolean(),
            Of::Any => true,
            Of::From(low) => integer.is_some_and(|n| n >= *low),
            Of::Between(low, high) => integer.is_some_and(|n| (*low..=*high).contains(&n)),
            Of::One(known) => value.as_str().is_some_and(|text| known.contains(&text)),
            Of::Age => value.as_str().is_some_and(|text| crate::queue::arguments::is_age(text.as_bytes())),
        };
        if is_valid { Ok(()) } else { Err(format!("{} is not a valid {}", term(value), self.noun)) }
    }

    /// Whether queues of a type know it.
    pub fn suits(&self, kind: QueueType) -> bool {
        !self.unknown_to.contains(&kind)
    }

    const fn new(name: &'static str, of: Of, noun: &'static str) -> Self {
        Self { name, of, noun, operator: false, unknown_to: &[], has_effect: true }
    }

    const fn operator(mut self) -> Self {
        self.operator = true;
        self
    }

    const fn not_of(mut self, kinds: &'static [QueueType]) -> Self {
        self.unknown_to = kinds;
        self
    }

    const fn idle(mut self) -> Self {
        self.has_effect = false;
        self
    }
}

const NO_STREAMS: &[QueueType] = &[QueueType::Stream];
const ONLY_CLASSIC: &[QueueType] = &[QueueType::Quorum, QueueType::Stream];
const ONLY_QUORUM: &[QueueType] = &[QueueType::Classic, QueueType::Stream];
const ONLY_STREAMS: &[QueueType] = &[QueueType::Classic, QueueType::Quorum];

const KEYS: &[Key] = &[
    Key::new(ALTERNATE_EXCHANGE, Of::Text, "alternate exchange name"),
    Key::new(DEAD_LETTER_EXCHANGE, Of::Text, "dead letter exchange name").not_of(NO_STREAMS),
    Key::new(DEAD_LETTER_KEY, Of::Text, "dead letter routing key").not_of(NO_STREAMS),
    Key::new(DEAD_LETTER_STRATEGY, Of::One(&["at-most-once", "at-least-once"]), "dead letter strategy")
        .not_of(ONLY_QUORUM),
    Key::new(MESSAGE_TTL, Of::From(0), "message TTL").operator().not_of(NO_STREAMS),
    Key::new(EXPIRES, Of::From(1), "queue expiry").operator().not_of(NO_STREAMS),
    Key::new(MAX_LENGTH, Of::From(0), "maximum length").operator().not_of(NO_STREAMS),
    Key::new(MAX_BYTES, Of::From(0), "maximum length in bytes").operator(),
    Key::new(OVERFLOW, Of::One(&["drop-head", "reject-publish", "reject-publish-dlx"]), "overflow value")
        .operator()
        .not_of(NO_STREAMS),
    Key::new(DELIVERY_LIMIT, Of::From(i64::MIN), "delivery limit").operator().not_of(NO_STREAMS),
    Key::new(RETRY_TYPE, Of::One(&["disabled", "all", "failed", "returned"]), "delayed retry type").not_of(NO_STREAMS),
    Key::new(RETRY_MIN, Of::From(0), "delayed retry minimum").not_of(NO_STREAMS),
    Key::new(RETRY_MAX, Of::From(0), "delayed retry maximum").not_of(NO_STREAMS),
    Key::new(RETRY_BACKOFF, Of::One(&["linear", "exponential"]), "delayed retry backoff").not_of(NO_STREAMS),
    Key::new(MAX_PUBLISH_RATE, Of::From(0), "publish rate").operator().not_of(NO_STREAMS),
    Key::new(MAX_PUBLISH_BYTES_RATE, Of::From(0), "publish rate in bytes").operator().not_of(NO_STREAMS),
    Key::new(MAX_STORED_BYTES, Of::From(0), "maximum of stored bytes").operator().not_of(NO_STREAMS),
    Key::new(DEDUPLICATION, Of::Flag, "message deduplication value").not_of(NO_STREAMS),
    Key::new(CONSUMER_TIMEOUT, Of::From(0), "consumer timeout").not_of(NO_STREAMS),
    Key::new("consumer-disconnected-timeout", Of::From(0), "consumer disconnected timeout").not_of(ONLY_QUORUM).idle(),
    Key::new("max-in-memory-length", Of::From(0), "maximum memory in bytes").operator().not_of(ONLY_QUORUM).idle(),
    Key::new("max-in-memory-bytes", Of::From(0), "maximum memory in bytes").operator().not_of(ONLY_QUORUM).idle(),
    Key::new("queue-mode", Of::One(&["default", "lazy"]), "queue-mode value").not_of(ONLY_CLASSIC).idle(),
    Key::new(QUEUE_VERSION, Of::Between(1, 2), "queue version").operator().not_of(ONLY_CLASSIC).idle(),
    Key::new("queue-leader-locator", Of::One(LOCATORS), "queue leader locator value").idle(),
    Key::new("queue-master-locator", Of::One(LOCATORS), "queue master locator").not_of(ONLY_CLASSIC).idle(),
    Key::new("initial-cluster-size", Of::From(0), "cluster size").not_of(ONLY_STREAMS).idle(),
    Key::new("target-group-size", Of::From(1), "target count").operator().not_of(ONLY_QUORUM).idle(),
    Key::new("max-age", Of::Age, "max age").not_of(ONLY_STREAMS).idle(),
    Key::new("stream-max-segment-size-bytes", Of::From(0), "segment size").not_of(ONLY_STREAMS).idle(),
    Key::new("stream-filter-size-bytes", Of::Between(16, 255), "filter size. Valid range is 16-255")
        .not_of(ONLY_STREAMS)
        .idle(),
    Key::new("federation-upstream", Of::Text, "federation upstream name").idle(),
    Key::new("federation-upstream-set", Of::Text, "federation upstream set name").idle(),
    Key::new("federation-upstream-pattern", Of::Text, "federation upstream pattern").idle(),
    Key::new("shards-per-node", Of::From(0), "number of shards").idle(),
    Key::new("ha-mode", Of::Any, "").operator().not_of(ONLY_CLASSIC).idle(),
    Key::new("ha-params", Of::Any, "").operator().not_of(ONLY_CLASSIC).idle(),
    Key::new("ha-sync-mode", Of::Any, "").operator().not_of(ONLY_CLASSIC).idle(),
    Key::new("ha-sync-batch-size", Of::Any, "").not_of(ONLY_CLASSIC).idle(),
    Key::new("ha-promote-on-shutdown", Of::Any, "").not_of(ONLY_CLASSIC).idle(),
    Key::new("ha-promote-on-failure", Of::Any, "").not_of(ONLY_CLASSIC).idle(),
];

const LOCATORS: &[&str] = &["client-local", "balanced", "random", "least-leaders", "min-masters"];

/// The key of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

//! What a policy may set, and how it is checked: RabbitMQ's keys, values and texts.
//!
//! A [`Definition`] is read from JSON once, when a policy is set or loaded, and is valid then. It knows to which queue types
//! it can apply: one that has a key which a type does not know leaves the queues of that type alone, as in RabbitMQ.

mod keys;
mod mirroring;
pub mod term;
#[cfg(test)]
mod tests;

use serde_json::Value as Json;

use crate::config::QueueType;

pub const MESSAGE_TTL: &str = "message-ttl";
pub const EXPIRES: &str = "expires";
pub const MAX_LENGTH: &str = "max-length";
pub const MAX_BYTES: &str = "max-length-bytes";
pub const OVERFLOW: &str = "overflow";
pub const DEAD_LETTER_EXCHANGE: &str = "dead-letter-exchange";
pub const DEAD_LETTER_KEY: &str = "dead-letter-routing-key";
pub const DEAD_LETTER_STRATEGY: &str = "dead-letter-strategy";
pub const DELIVERY_LIMIT: &str = "delivery-limit";
pub const CONSUMER_TIMEOUT: &str = "consumer-timeout";
pub const RETRY_TYPE: &str = "delayed-retry-type";
pub const RETRY_MIN: &str = "delayed-retry-min";
pub const RETRY_MAX: &str = "delayed-retry-max";
pub const RETRY_BACKOFF: &str = "delayed-retry-backoff";
pub const MAX_PUBLISH_RATE: &str = "max-publish-rate";
pub const MAX_PUBLISH_BYTES_RATE: &str = "max-publish-bytes-rate";
pub const MAX_STORED_BYTES: &str = "max-stored-bytes";
pub const DEDUPLICATION: &str = "x-message-deduplication";
pub const ALTERNATE_EXCHANGE: &str = "alternate-exchange";
const QUEUE_VERSION: &str = "queue-version";

/// The settings of a policy or an operator policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition(serde_json::Map<String, Json>);

impl Definition {
    /// Checks a definition; `operator` for that of an operator policy, which may set less.
    ///
    /// # Errors
    /// Why it is refused, in RabbitMQ's words. Nothing of it counts then.
    pub fn new(value: &Json, operator: bool) -> Result<Self, String> {
        let settings = match value {
            Json::Object(settings) if settings.is_empty() => return Err("no policy provided".to_owned()),
            Json::Object(settings) => settings,
            other => return Err(format!("definition must be a dictionary: {}", term::term(other))),
        };
        let mut unknown = Vec::new();
        for (key, value) in settings {
            match keys::find(key).filter(|known| known.operator || !operator) {
                Some(known) => known.check(value)?,
                None => unknown.push((key, value)),
            }
        }
        mirroring::check(settings)?;
        if unknown.is_empty() {
            return Ok(Self(settings.clone()));
        }
        Err(format!("{} are not recognised policy settings", term::pairs(unknown.into_iter())))
    }

    pub fn settings(&self) -> &serde_json::Map<String, Json> {
        &self.0
    }

    pub fn int(&self, key: &str) -> Option<i64> {
        self.0.get(key)?.as_i64()
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        self.0.get(key)?.as_bool()
    }

    /// Whether it can apply to queues of a type: all of its keys mean something to them.
    pub fn suits(&self, kind: QueueType) -> bool {
        self.0.keys().all(|key| keys::find(key).is_none_or(|known| known.suits(kind)))
    }

    /// Keys that are accepted and change nothing here.
    pub fn without_effect(&self) -> Vec<&str> {
        self.0.keys().filter(|key| keys::find(key).is_some_and(|known| !known.has_effect)).map(String::as_str).collect()
    }

    /// What is in force of a policy and an operator policy together: the smaller limit, and the operator's overflow.
    pub fn merged(policy: Option<&Self>, operator: Option<&Self>) -> serde_json::Map<String, Json> {
        let mut merged = policy.map(|p| p.0.clone()).unwrap_or_default();
        for (key, value) in operator.iter().flat_map(|o| &o.0) {
            let value = match (merged.get(key).and_then(Json::as_i64), value.as_i64()) {
                (Some(own), Some(cap)) if key == DELIVERY_LIMIT => stricter_delivery_limit(own, cap).into(),
                (Some(own), Some(cap)) if key != QUEUE_VERSION => own.min(cap).into(),
                _ => value.clone(),
            };
            merged.insert(key.clone(), value);
        }
        merged
    }
}

/// The one that allows fewer deliveries; a negative one is no limit.
pub fn stricter_delivery_limit(a: i64, b: i64) -> i64 {
    if a < 0 || b < 0 { a.max(b) } else { a.min(b) }
}

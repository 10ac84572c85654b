//! What a queue may be declared with: RabbitMQ's rules and texts for every `x-` argument.
//!
//! Every argument is checked, also those that mean nothing here. An unknown argument is kept and shown, and never compared.

mod checks;
#[cfg(test)]
mod tests;

pub use checks::is_age;
use checks::{
    boolean, dead_letter_key, dead_letter_strategy, expires, int, integer, locator, max_age, max_priority, message_ttl,
    not_empty, not_negative, not_zero, overflow, queue_mode, queue_type, queue_version, retry_backoff, retry_type,
    text,
};

pub use crate::config::QueueType;
use crate::frames::{Table, Value};

pub const QUEUE_TYPE: &str = "x-queue-type";
pub const SINGLE_ACTIVE: &str = "x-single-active-consumer";
pub const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
pub const DEAD_LETTER_KEY: &str = "x-dead-letter-routing-key";
pub const DEAD_LETTER_STRATEGY: &str = "x-dead-letter-strategy";
pub const EXPIRES: &str = "x-expires";
pub const MESSAGE_TTL: &str = "x-message-ttl";
pub const MAX_LENGTH: &str = "x-max-length";
pub const MAX_BYTES: &str = "x-max-length-bytes";
pub const MAX_PRIORITY_KEY: &str = "x-max-priority";
pub const OVERFLOW: &str = "x-overflow";
pub const DELIVERY_LIMIT: &str = "x-delivery-limit";
pub const CONSUMER_TIMEOUT: &str = "x-consumer-timeout";
pub const RETRY_TYPE: &str = "x-delayed-retry-type";
pub const RETRY_MIN: &str = "x-delayed-retry-min";
pub const RETRY_MAX: &str = "x-delayed-retry-max";
pub const RETRY_BACKOFF: &str = "x-delayed-retry-backoff";
pub const MAX_PUBLISH_RATE: &str = "x-max-publish-rate";
pub const MAX_PUBLISH_BYTES_RATE: &str = "x-max-publish-bytes-rate";
pub const MAX_STORED_BYTES: &str = "x-max-stored-bytes";
pub const DEDUPLICATION: &str = "x-message-deduplication";
pub const CACHE_SIZE: &str = "x-cache-size";
pub const CACHE_TTL: &str = "x-cache-ttl";
pub const DEDUPLICATION_HEADER: &str = "x-deduplication-header";

/// Longest time-out in milliseconds: ten years.
pub const MAX_EXPIRY_MS: i64 = 315_360_000_000;
const MAX_PRIORITY: i64 = 255;

impl QueueType {
    /// The value of `x-queue-type`.
    pub fn parse(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"classic" => Self::Classic,
            b"quorum" => Self::Quorum,
            b"stream" => Self::Stream,
            _ => return None,
        })
    }

    /// The name that RabbitMQ's error texts use.
    fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
            Self::Stream => "rabbit_stream_queue",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Classic => 1,
            Self::Quorum => 2,
            Self::Stream => 4,
        }
    }
}

const ALL: u8 = 7;
const NOT_STREAM: u8 = 3;
const CLASSIC: u8 = 1;
const QUORUM: u8 = 2;
const STREAM: u8 = 4;

type Check = fn(&Value, &Table) -> Result<(), String>;

/// One argument: its name, its check, the queue types that know it.
struct Rule(&'static str, Check, u8);

/// Every argument that some queue type knows. `x-delivery-limit` and `x-delayed-retry-*` are a quorum queue's in RabbitMQ;
/// here classic queues have them too. Rates and quotas are this broker's own.
const RULES: &[Rule] = &[
    Rule(EXPIRES, expires, NOT_STREAM),
    Rule(MESSAGE_TTL, message_ttl, NOT_STREAM),
    Rule(DEAD_LETTER_EXCHANGE, text, NOT_STREAM),
    Rule(DEAD_LETTER_KEY, dead_letter_key, NOT_STREAM),
    Rule(DEAD_LETTER_STRATEGY, dead_letter_strategy, QUORUM),
    Rule(MAX_LENGTH, not_negative, NOT_STREAM),
    Rule(MAX_BYTES, not_negative, ALL),
    Rule("x-max-in-memory-length", not_negative, QUORUM),
    Rule("x-max-in-memory-bytes", not_negative, QUORUM),
    Rule(MAX_PRIORITY_KEY, max_priority, CLASSIC),
    Rule(OVERFLOW, overflow, NOT_STREAM),
    Rule("x-queue-mode", queue_mode, CLASSIC),
    Rule("x-queue-version", queue_version, CLASSIC),
    Rule(SINGLE_ACTIVE, boolean, ALL),
    Rule(QUEUE_TYPE, queue_type, ALL),
    Rule("x-quorum-initial-group-size", not_zero, QUORUM | STREAM),
    Rule("x-initial-cluster-size", not_zero, QUORUM | STREAM),
    Rule("x-quorum-target-group-size", not_zero, QUORUM),
    Rule("x-queue-leader-locator", locator, ALL),
    Rule("x-queue-master-locator", text, NOT_STREAM),
    Rule(DELIVERY_LIMIT, integer, NOT_STREAM),
    Rule(CONSUMER_TIMEOUT, not_negative, NOT_STREAM),
    Rule(RETRY_TYPE, retry_type, NOT_STREAM),
    Rule(RETRY_MIN, not_negative, NOT_STREAM),
    Rule(RETRY_MAX, not_negative, NOT_STREAM),
    Rule(RETRY_BACKOFF, retry_backoff, NOT_STREAM),
    Rule(MAX_PUBLISH_RATE, not_negative, NOT_STREAM),
    Rule(MAX_PUBLISH_BYTES_RATE, not_negative, NOT_STREAM),
    Rule(MAX_STORED_BYTES, not_negative, NOT_STREAM),
    Rule(DEDUPLICATION, boolean, NOT_STREAM),
    Rule(CACHE_SIZE, not_zero, NOT_STREAM),
    Rule(CACHE_TTL, expires, NOT_STREAM),
    Rule(DEDUPLICATION_HEADER, not_empty, NOT_STREAM),
    Rule("x-max-age", max_age, STREAM),
    Rule("x-stream-max-segment-size-bytes", not_negative, STREAM),
    Rule("x-stream-filter-size-bytes", not_negative, STREAM),
];

/// Checks all arguments. The error is the explanation of a 406, without the name of the code; `queue` is the text
/// `queue 'q' in vhost '/'`.
///
/// # Errors
/// Names the first argument that is wrong, in RabbitMQ's words.
pub fn check(queue: &str, arguments: &Table) -> Result<QueueType, String> {
    for Rule(key, check, _) in RULES {
        if let Some(value) = arguments.get(key) {
            check(value, arguments).map_err(|term| format!("invalid arg '{key}' for {queue}: {term}"))?;
        }
    }
    let kind = type_of(arguments);
    for (key, _) in arguments.iter() {
        if RULES.iter().any(|Rule(k, _, types)| *k == key && types & kind.bit() == 0) {
            return Err(format!("invalid arg '{key}' for {queue} of queue type {}", kind.module()));
        }
    }
    Ok(kind)
}

/// The type that these arguments ask for.
pub fn type_of(arguments: &Table) -> QueueType {
    match arguments.get(QUEUE_TYPE) {
        Some(Value::LongStr(name)) => QueueType::parse(name).unwrap_or_default(),
        _ => QueueType::default(),
    }
}

/// Compares the arguments that this type of queue knows with those of a second declaration.
///
/// # Errors
/// The explanation of a 406, in RabbitMQ's words.
pub fn check_equivalent(queue: &str, kind: QueueType, current: &Table, received: &Table) -> Result<(), String> {
    for Rule(key, _, types) in RULES {
        if types & kind.bit() == 0 {
            continue;
        }
        if *key == QUEUE_TYPE {
            continue;
        }
        check_argument_equivalent(queue, key, current.get(key), received.get(key))?;
    }
    if type_of(current) == type_of(received) {
        return Ok(());
    }
    check_argument_equivalent(queue, QUEUE_TYPE, current.get(QUEUE_TYPE), received.get(QUEUE_TYPE))
}

/// Compares one argument of two declarations of the same thing; `thing` is its text, as `exchange 'e' in vhost '/'`.
///
/// # Errors
/// The explanation of a 406, in RabbitMQ's words.
pub fn check_argument_equivalent(
    thing: &str,
    key: &str,
    current: Option<&Value>,
    received: Option<&Value>,
) -> Result<(), String> {
    let (shown_current, shown_received) = match (current, received) {
        (None, None) => return Ok(()),
        (Some(a), Some(b)) if equivalent(a, b) => return Ok(()),
        (Some(a), Some(b)) => (format!("'{}'", show(a)), format!("'{}'", show(b))),
        (a, b) => (show_typed(a), show_typed(b)),
    };
    Err(format!("inequivalent arg '{key}' for {thing}: received {shown_received} but current is {shown_current}"))
}

/// Integers of any width are equal when their values are.
fn equivalent(a: &Value, b: &Value) -> bool {
    match (a.as_int(), b.as_int()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn show_typed(value: Option<&Value>) -> String {
    match value {
        None => "none".to_owned(),
        Some(v) => format!("the value '{}' of type '{}'", show(v), v.type_name()),
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Bool(b) => b.to_string(),
        Value::LongStr(s) => String::from_utf8_lossy(s).into_owned(),
        Value::Timestamp(t) => t.to_string(),
        Value::F32(f) => f.to_string(),
        Value::F64(f) => f.to_string(),
        Value::Void => "undefined".to_owned(),
        other => match other.as_int() {
            Some(n) => n.to_string(),
            None => format!("{other:?}"),
        },
    }
}

/// The priority of a consumer, from its arguments; 0 when it has none.
///
/// # Errors
/// The explanation of a 406, in RabbitMQ's words.
pub fn consumer_priority(queue: &str, arguments: &Table) -> Result<i64, String> {
    let key = "x-priority";
    match arguments.get(key) {
        None => Ok(0),
        Some(value) => int(value).map_err(|term| format!("invalid arg '{key}' for {queue}: {term}")),
    }
}

/// A time-out in milliseconds, for queues and messages.
///
/// # Errors
/// RabbitMQ's term for a negative or too large value.
pub fn check_expiry(ms: i64) -> Result<(), String> {
    match ms {
        ..0 => Err(format!("{{value_negative,{ms}}}")),
        0..=MAX_EXPIRY_MS => Ok(()),
        _ => Err(format!("{{value_too_large,{ms}}}")),
    }
}

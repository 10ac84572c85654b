//! What a queue may be declared with: RabbitMQ's rules and texts for every `x-` argument.
//!
//! Every argument is checked, also those whose effect is not built yet (see [`without_effect`]). An unknown argument
//! is kept and shown, and never compared.

pub use crate::config::QueueType;
use crate::frames::{Table, Value};

pub const QUEUE_TYPE: &str = "x-queue-type";
pub const SINGLE_ACTIVE: &str = "x-single-active-consumer";
pub const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
const DEAD_LETTER_KEY: &str = "x-dead-letter-routing-key";

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

/// Every argument that some queue type knows. `x-delivery-limit` is a quorum queue's in RabbitMQ; here classic queues
/// have it too.
const RULES: &[Rule] = &[
    Rule("x-expires", expires, NOT_STREAM),
    Rule("x-message-ttl", message_ttl, NOT_STREAM),
    Rule(DEAD_LETTER_EXCHANGE, text, NOT_STREAM),
    Rule(DEAD_LETTER_KEY, dead_letter_key, NOT_STREAM),
    Rule("x-dead-letter-strategy", dead_letter_strategy, QUORUM),
    Rule("x-max-length", not_negative, NOT_STREAM),
    Rule("x-max-length-bytes", not_negative, ALL),
    Rule("x-max-in-memory-length", not_negative, QUORUM),
    Rule("x-max-in-memory-bytes", not_negative, QUORUM),
    Rule("x-max-priority", max_priority, CLASSIC),
    Rule("x-overflow", overflow, NOT_STREAM),
    Rule("x-queue-mode", queue_mode, CLASSIC),
    Rule("x-queue-version", queue_version, CLASSIC),
    Rule(SINGLE_ACTIVE, boolean, ALL),
    Rule(QUEUE_TYPE, queue_type, ALL),
    Rule("x-quorum-initial-group-size", not_zero, QUORUM | STREAM),
    Rule("x-initial-cluster-size", not_zero, QUORUM | STREAM),
    Rule("x-quorum-target-group-size", not_zero, QUORUM),
    Rule("x-queue-leader-locator", locator, ALL),
    Rule("x-queue-master-locator", text, NOT_STREAM),
    Rule("x-delivery-limit", integer, NOT_STREAM),
    Rule("x-consumer-timeout", not_negative, NOT_STREAM),
    Rule("x-max-age", max_age, STREAM),
    Rule("x-stream-max-segment-size-bytes", not_negative, STREAM),
    Rule("x-stream-filter-size-bytes", not_negative, STREAM),
];

/// Arguments that are checked and kept, and do nothing yet.
const WITHOUT_EFFECT: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    DEAD_LETTER_EXCHANGE,
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-delivery-limit",
    "x-consumer-timeout",
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
    let kind = match arguments.get(QUEUE_TYPE) {
        Some(Value::LongStr(name)) => QueueType::parse(name).unwrap_or_default(),
        _ => QueueType::default(),
    };
    for (key, _) in arguments.iter() {
        if RULES.iter().any(|Rule(k, _, types)| *k == key && types & kind.bit() == 0) {
            return Err(format!("invalid arg '{key}' for {queue} of queue type {}", kind.module()));
        }
    }
    Ok(kind)
}

/// Arguments of this queue that are accepted and have no effect yet, for the log.
pub fn without_effect(arguments: &Table) -> Vec<&'static str> {
    WITHOUT_EFFECT.iter().copied().filter(|key| arguments.get(key).is_some()).collect()
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
    let type_of = |table: &Table| match table.get(QUEUE_TYPE) {
        Some(Value::LongStr(name)) => QueueType::parse(name).unwrap_or_default(),
        _ => QueueType::default(),
    };
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

fn unacceptable(value: &Value) -> String {
    format!("{{unacceptable_type,{}}}", value.type_name())
}

fn int(value: &Value) -> Result<i64, String> {
    value.as_int().ok_or_else(|| format!("\"expected integer, got {}\"", value.type_name()))
}

fn integer(value: &Value, _: &Table) -> Result<(), String> {
    int(value).map(drop)
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

fn non_negative(value: &Value) -> Result<i64, String> {
    match int(value)? {
        n if n < 0 => Err(format!("{{value_negative,{n}}}")),
        n => Ok(n),
    }
}

fn not_negative(value: &Value, _: &Table) -> Result<(), String> {
    non_negative(value).map(drop)
}

fn not_zero(value: &Value, _: &Table) -> Result<(), String> {
    if non_negative(value)? == 0 { Err("{value_zero,0}".to_owned()) } else { Ok(()) }
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

fn message_ttl(value: &Value, _: &Table) -> Result<(), String> {
    check_expiry(int(value)?)
}

fn expires(value: &Value, _: &Table) -> Result<(), String> {
    match int(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        ms => check_expiry(ms),
    }
}

fn max_priority(value: &Value, _: &Table) -> Result<(), String> {
    match non_negative(value)? {
        n if n > MAX_PRIORITY => Err(format!("{{max_value_exceeded,{n}}}")),
        _ => Ok(()),
    }
}

fn longstr(value: &Value) -> Result<&[u8], String> {
    match value {
        Value::LongStr(s) => Ok(s),
        other => Err(unacceptable(other)),
    }
}

fn text(value: &Value, _: &Table) -> Result<(), String> {
    longstr(value).map(drop)
}

fn one_of(value: &Value, known: &[&str], error: &str) -> Result<(), String> {
    let s = longstr(value)?;
    if known.iter().any(|k| k.as_bytes() == s) { Ok(()) } else { Err(error.to_owned()) }
}

fn dead_letter_key(value: &Value, arguments: &Table) -> Result<(), String> {
    longstr(value)?;
    match arguments.get(DEAD_LETTER_EXCHANGE) {
        Some(_) => Ok(()),
        None => Err("routing_key_but_no_dlx_defined".to_owned()),
    }
}

fn dead_letter_strategy(value: &Value, _: &Table) -> Result<(), String> {
    one_of(value, &["at-most-once", "at-least-once"], "invalid_dlx_strategy")
}

fn overflow(value: &Value, _: &Table) -> Result<(), String> {
    one_of(value, &["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow")
}

fn locator(value: &Value, _: &Table) -> Result<(), String> {
    let known = ["client-local", "balanced", "min-masters", "random", "least-leaders"];
    one_of(value, &known, "invalid_queue_locator_arg")
}

fn queue_mode(value: &Value, _: &Table) -> Result<(), String> {
    let s = String::from_utf8_lossy(longstr(value)?);
    if matches!(&*s, "default" | "lazy") { Ok(()) } else { Err(format!("\"unsupported queue mode '{s}'\"")) }
}

fn queue_version(value: &Value, _: &Table) -> Result<(), String> {
    match non_negative(value)? {
        1 | 2 => Ok(()),
        n => Err(format!("\"unsupported queue version '{n}'\"")),
    }
}

fn queue_type(value: &Value, _: &Table) -> Result<(), String> {
    let name = longstr(value)?;
    // An empty or "undefined" type asks for the virtual host's default.
    if name.is_empty() || name == b"undefined" || QueueType::parse(name).is_some() {
        return Ok(());
    }
    Err(format!("\"unsupported queue type '{}'\"", String::from_utf8_lossy(name)))
}

fn boolean(value: &Value, _: &Table) -> Result<(), String> {
    if matches!(value, Value::Bool(_)) { Ok(()) } else { Err(unacceptable(value)) }
}

fn max_age(value: &Value, _: &Table) -> Result<(), String> {
    let s = longstr(value)?;
    let valid = s.split_last().is_some_and(|(unit, digits)| {
        b"YMDhms".contains(unit) && digits.iter().all(u8::is_ascii_digit) && digits.iter().any(|d| *d != b'0')
    });
    if valid { Ok(()) } else { Err("invalid_max_age".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = "queue 'q' in vhost '/'";

    fn table(entries: &[(&str, Value)]) -> Table {
        entries.iter().cloned().collect()
    }

    #[test]
    fn wrong_values_are_named_as_rabbitmq_names_them() {
        let cases = [
            ("x-message-ttl", Value::I32(-1), "{value_negative,-1}"),
            ("x-message-ttl", Value::I64(315_360_000_001), "{value_too_large,315360000001}"),
            ("x-message-ttl", Value::text("10"), "\"expected integer, got longstr\""),
            ("x-message-ttl", Value::Timestamp(1), "\"expected integer, got timestamp\""),
            ("x-expires", Value::U8(0), "{value_zero,0}"),
            ("x-max-length", Value::I32(-7), "{value_negative,-7}"),
            ("x-overflow", Value::text("x"), "invalid_overflow"),
            ("x-overflow", Value::I32(1), "{unacceptable_type,signedint}"),
            ("x-max-priority", Value::I32(256), "{max_value_exceeded,256}"),
            ("x-single-active-consumer", Value::text("true"), "{unacceptable_type,longstr}"),
            ("x-queue-type", Value::text("x"), "\"unsupported queue type 'x'\""),
            ("x-queue-version", Value::I32(3), "\"unsupported queue version '3'\""),
            ("x-dead-letter-routing-key", Value::text("k"), "routing_key_but_no_dlx_defined"),
            ("x-max-age", Value::text("0h"), "invalid_max_age"),
        ];
        for (key, value, term) in cases {
            let error = check(QUEUE, &table(&[(key, value)])).unwrap_err();
            assert_eq!(error, format!("invalid arg '{key}' for queue 'q' in vhost '/': {term}"));
        }
    }

    #[test]
    fn an_argument_of_another_type_is_refused_and_an_unknown_one_accepted() {
        let error = check(QUEUE, &table(&[("x-max-age", Value::text("1h"))])).unwrap_err();
        assert_eq!(error, "invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_classic_queue");
        assert_eq!(check(QUEUE, &table(&[("x-mine", Value::Void)])), Ok(QueueType::Classic));
    }

    #[test]
    fn declarations_are_compared_by_value() {
        let compare = |a: &[(&str, Value)], b: &[(&str, Value)]| {
            check_equivalent(QUEUE, QueueType::Classic, &table(a), &table(b))
        };
        let ttl = |v| [("x-message-ttl", v)];
        assert_eq!(compare(&ttl(Value::I32(10)), &ttl(Value::I64(10))), Ok(()));
        assert_eq!(compare(&[("x-mine", Value::I32(1))], &[]), Ok(()));
        assert_eq!(compare(&[], &[(QUEUE_TYPE, Value::text("classic"))]), Ok(()));
        assert_eq!(
            compare(&ttl(Value::I32(1000)), &[]).unwrap_err(),
            "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': \
             received none but current is the value '1000' of type 'signedint'"
        );
        assert_eq!(
            compare(&ttl(Value::I32(20)), &ttl(Value::I32(10))).unwrap_err(),
            "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '10' but current is '20'"
        );
    }
}

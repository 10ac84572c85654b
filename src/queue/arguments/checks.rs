//! What each argument of a queue may be. An error is the term that RabbitMQ's text ends with.

use super::{DEAD_LETTER_EXCHANGE, MAX_PRIORITY, QueueType, check_expiry};
use crate::frames::{Table, Value};

fn unacceptable(value: &Value) -> String {
    format!("{{unacceptable_type,{}}}", value.type_name())
}

pub fn int(value: &Value) -> Result<i64, String> {
    value.as_int().ok_or_else(|| format!("\"expected integer, got {}\"", value.type_name()))
}

pub fn integer(value: &Value, _: &Table) -> Result<(), String> {
    int(value).map(drop)
}

fn non_negative(value: &Value) -> Result<i64, String> {
    match int(value)? {
        n if n < 0 => Err(format!("{{value_negative,{n}}}")),
        n => Ok(n),
    }
}

pub fn not_negative(value: &Value, _: &Table) -> Result<(), String> {
    non_negative(value).map(drop)
}

pub fn not_zero(value: &Value, _: &Table) -> Result<(), String> {
    if non_negative(value)? == 0 { Err("{value_zero,0}".to_owned()) } else { Ok(()) }
}

pub fn message_ttl(value: &Value, _: &Table) -> Result<(), String> {
    check_expiry(int(value)?)
}

pub fn expires(value: &Value, _: &Table) -> Result<(), String> {
    match int(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        ms => check_expiry(ms),
    }
}

pub fn max_priority(value: &Value, _: &Table) -> Result<(), String> {
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

pub fn text(value: &Value, _: &Table) -> Result<(), String> {
    longstr(value).map(drop)
}

fn one_of(value: &Value, known: &[&str], error: &str) -> Result<(), String> {
    let s = longstr(value)?;
    if known.iter().any(|k| k.as_bytes() == s) { Ok(()) } else { Err(error.to_owned()) }
}

pub fn dead_letter_key(value: &Value, arguments: &Table) -> Result<(), String> {
    longstr(value)?;
    match arguments.get(DEAD_LETTER_EXCHANGE) {
        Some(_) => Ok(()),
        None => Err("routing_key_but_no_dlx_defined".to_owned()),
    }
}

pub fn dead_letter_strategy(value: &Value, _: &Table) -> Result<(), String> {
    one_of(value, &["at-most-once", "at-least-once"], "invalid_dlx_strategy")
}

pub fn overflow(value: &Value, _: &Table) -> Result<(), String> {
    one_of(value, &["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow")
}

pub fn locator(value: &Value, _: &Table) -> Result<(), String> {
    let known = ["client-local", "balanced", "min-masters", "random", "least-leaders"];
    one_of(value, &known, "invalid_queue_locator_arg")
}

pub fn queue_mode(value: &Value, _: &Table) -> Result<(), String> {
    let s = String::from_utf8_lossy(longstr(value)?);
    if matches!(&*s, "default" | "lazy") { Ok(()) } else { Err(format!("\"unsupported queue mode '{s}'\"")) }
}

pub fn queue_version(value: &Value, _: &Table) -> Result<(), String> {
    match non_negative(value)? {
        1 | 2 => Ok(()),
        n => Err(format!("\"unsupported queue version '{n}'\"")),
    }
}

pub fn queue_type(value: &Value, _: &Table) -> Result<(), String> {
    let name = longstr(value)?;
    // An empty or "undefined" type asks for the virtual host's default.
    if name.is_empty() || name == b"undefined" || QueueType::parse(name).is_some() {
        return Ok(());
    }
    Err(format!("\"unsupported queue type '{}'\"", String::from_utf8_lossy(name)))
}

pub fn boolean(value: &Value, _: &Table) -> Result<(), String> {
    if matches!(value, Value::Bool(_)) { Ok(()) } else { Err(unacceptable(value)) }
}

pub fn max_age(value: &Value, _: &Table) -> Result<(), String> {
    if is_age(longstr(value)?) { Ok(()) } else { Err("invalid_max_age".to_owned()) }
}

/// Whether this is a number with a unit, `1h` for example, and not nothing.
pub fn is_age(text: &[u8]) -> bool {
    text.split_last().is_some_and(|(unit, digits)| {
        b"YMDhms".contains(unit) && digits.iter().all(u8::is_ascii_digit) && digits.iter().any(|d| *d != b'0')
    })
}

pub fn retry_type(value: &Value, _: &Table) -> Result<(), String> {
    one_of(value, &["disabled", "all", "failed", "returned"], "invalid_delayed_retry_type")
}

pub fn retry_backoff(value: &Value, _: &Table) -> Result<(), String> {
    one_of(value, &["linear", "exponential"], "invalid_delayed_retry_backoff")
}

pub fn not_empty(value: &Value, _: &Table) -> Result<(), String> {
    if longstr(value)?.is_empty() { Err("\"expected a name, got an empty one\"".to_owned()) } else { Ok(()) }
}

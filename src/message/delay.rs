//! Delayed messages: when a message is due by its headers, and what it looks like once it has been held back.
//!
//! Two headers ask for a delay. `x-deliver-at` is a time, in milliseconds since 1970 (a timestamp is in seconds);
//! `x-delay` is a number of milliseconds from now on. The time wins where both are there, also when it has passed.
//! Whatever stands there and is no [`number`] asks for nothing. There is no longest delay.
//!
//! A message that was held back carries both headers negated: consumers see that and how long it was delayed, and no
//! delayed exchange that it comes to again holds it back another time.

use std::num::NonZeroU64;

use super::headers::{self, Fate, integer, number};
use crate::frames::table::{self, ValueRef};

const DELAY: &[u8] = b"x-delay";
const DELIVER_AT: &[u8] = b"x-deliver-at";

/// When a message with these headers (the inside of their table) is due; `None` when that is now.
pub fn due(headers: &[u8], now: u64) -> Option<NonZeroU64> {
    let at = match table::find(headers, DELIVER_AT).and_then(time) {
        Some(at) => u64::try_from(at).ok()?,
        None => now.saturating_add(u64::try_from(table::find(headers, DELAY).and_then(number)?).ok()?),
    };
    NonZeroU64::new(at).filter(|at| at.get() > now)
}

/// The property list of a message that has been held back.
pub fn delivered(properties: &[u8]) -> Vec<u8> {
    headers::edit(properties, |name, value| {
        let asked = match name {
            DELAY => number(value),
            DELIVER_AT => time(value),
            _ => None,
        };
        asked.filter(|ms| *ms > 0).map_or(Fate::Stays, |ms| Fate::Becomes(integer(-ms)))
    })
}

fn time(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Timestamp(seconds) => Some(i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)),
        other => number(other),
    }
}

#[cfg(test)]
mod tests;

//! From a queue's arguments, its policy and its operator policy to what is in force.
//!
//! | setting | rule |
//! |---|---|
//! | times, lengths, rates, delivery limit, consumer timeout | the smallest of all three |
//! | dead-lettering, delayed retries, deduplication | the argument, otherwise the policy |
//! | overflow | the operator's, otherwise the argument, otherwise the policy |

use std::sync::Arc;

use super::{DeadLettering, Deduplication, Overflow, Retry, RetryOf, Settings};
use crate::dedup;
use crate::frames::{Table, Value};
use crate::queue::arguments::{self, QueueType};
use crate::queue::policy::{self, Definition, stricter_delivery_limit};
use crate::rate::Rates;

/// Deliveries of a quorum queue whose arguments and policies say nothing of it.
const QUORUM_DELIVERY_LIMIT: i64 = 20;

/// What a queue's settings are made of.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    pub kind: QueueType,
    pub arguments: &'a Table,
    /// Name and definition.
    pub policy: Option<(&'a Arc<str>, &'a Definition)>,
    pub operator: Option<(&'a Arc<str>, &'a Definition)>,
}

/// Something that was asked for and is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Note {
    #[error(
        "dead-letter-strategy at-least-once needs overflow reject-publish: dead letters are passed on at most once"
    )]
    AtMostOnce,
    #[error("a quorum queue does not know overflow reject-publish-dlx: its oldest messages make room")]
    NoRejectPublishDlx,
    #[error("a routing key or strategy for dead letters is of no use without a dead-letter exchange")]
    NoDeadLetterExchange,
    #[error("delayed retries need delayed-retry-min: returned messages are not held back")]
    NoRetryMin,
}

impl Sources<'_> {
    /// The settings, and what could not be had.
    pub fn resolve(&self) -> (Settings, Vec<Note>) {
        let mut notes = Vec::new();
        let overflow = self.overflow(&mut notes);
        let settings = Settings {
            message_ttl: self.smallest(arguments::MESSAGE_TTL, policy::MESSAGE_TTL),
            expires: self.smallest(arguments::EXPIRES, policy::EXPIRES),
            max_length: self.smallest(arguments::MAX_LENGTH, policy::MAX_LENGTH),
            max_bytes: self.smallest(arguments::MAX_BYTES, policy::MAX_BYTES),
            overflow,
            dead_letters: self.dead_letters(overflow, &mut notes),
            delivery_limit: self.delivery_limit(),
            shows_delivery_count: self.kind == QueueType::Quorum || self.delivery_limit().is_some(),
            retry: self.retry(&mut notes),
            max_priority: self.max_priority(),
            deduplication: self.deduplication(),
            consumer_timeout: self.smallest(arguments::CONSUMER_TIMEOUT, policy::CONSUMER_TIMEOUT),
            publish_rates: Rates {
                messages: self.smallest(arguments::MAX_PUBLISH_RATE, policy::MAX_PUBLISH_RATE),
                bytes: self.smallest(arguments::MAX_PUBLISH_BYTES_RATE, policy::MAX_PUBLISH_BYTES_RATE),
            },
            max_stored_bytes: self.smallest(arguments::MAX_STORED_BYTES, policy::MAX_STORED_BYTES),
            policy: self.policy.map(|(name, _)| Arc::clone(name)),
            operator_policy: self.operator.map(|(name, _)| Arc::clone(name)),
        };
        (settings, notes)
    }

    fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.policy.iter().chain(&self.operator).map(|(_, definition)| *definition)
    }

    /// What is said of a number: in the argument, the policy, the operator policy.
    fn numbers(&self, argument: &str, key: &str) -> impl Iterator<Item = i64> {
        let argument = self.arguments.get(argument).and_then(Value::as_int);
        argument.into_iter().chain(self.definitions().filter_map(move |definition| definition.int(key)))
    }

    fn smallest(&self, argument: &str, key: &str) -> Option<u64> {
        self.numbers(argument, key).min().map(not_negative)
    }

    /// The argument, otherwise what the policies say.
    fn text(&self, argument: &str, key: &str) -> Option<&str> {
        let own = text_argument(self.arguments, argument);
        own.or_else(|| self.definitions().find_map(|definition| definition.text(key)))
    }

    fn number(&self, argument: &str, key: &str) -> Option<u64> {
        self.numbers(argument, key).next().map(not_negative)
    }

    fn overflow(&self, notes: &mut Vec<Note>) -> Overflow {
        let of_operator = self.operator.and_then(|(_, definition)| definition.text(policy::OVERFLOW));
        match of_operator.or_else(|| self.text(arguments::OVERFLOW, policy::OVERFLOW)) {
            Some("reject-publish") => Overflow::RejectPublish,
            Some("reject-publish-dlx") if self.kind == QueueType::Quorum => {
                notes.push(Note::NoRejectPublishDlx);
                Overflow::DropHead
            }
            Some("reject-publish-dlx") => Overflow::RejectPublishDlx,
            _ => Overflow::DropHead,
        }
    }

    fn dead_letters(&self, overflow: Overflow, notes: &mut Vec<Note>) -> Option<DeadLettering> {
        let key = self.text(arguments::DEAD_LETTER_KEY, policy::DEAD_LETTER_KEY);
        let strategy = self.text(arguments::DEAD_LETTER_STRATEGY, policy::DEAD_LETTER_STRATEGY);
        let Some(exchange) = self.text(arguments::DEAD_LETTER_EXCHANGE, policy::DEAD_LETTER_EXCHANGE) else {
            if key.is_some() || strategy.is_some() {
                notes.push(Note::NoDeadLetterExchange);
            }
            return None;
        };
        let wanted = strategy == Some("at-least-once");
        let at_least_once = wanted && overflow == Overflow::RejectPublish;
        if wanted && !at_least_once {
            notes.push(Note::AtMostOnce);
        }
        Some(DeadLettering { exchange: exchange.into(), key: key.map(Into::into), at_least_once })
    }

    fn delivery_limit(&self) -> Option<u32> {
        let said = self.numbers(arguments::DELIVERY_LIMIT, policy::DELIVERY_LIMIT).reduce(stricter_delivery_limit);
        let of_type = (self.kind == QueueType::Quorum).then_some(QUORUM_DELIVERY_LIMIT);
        let limit = said.or(of_type).filter(|limit| *limit >= 0)?;
        Some(u32::try_from(limit).unwrap_or(u32::MAX))
    }

    fn retry(&self, notes: &mut Vec<Note>) -> Option<Retry> {
        let of = match self.text(arguments::RETRY_TYPE, policy::RETRY_TYPE)? {
            "all" => RetryOf::All,
            "failed" => RetryOf::Failed,
            "returned" => RetryOf::Returned,
            _ => return None,
        };
        let Some(min) = self.number(arguments::RETRY_MIN, policy::RETRY_MIN).filter(|min| *min > 0) else {
            notes.push(Note::NoRetryMin);
            return None;
        };
        let max = self.number(arguments::RETRY_MAX, policy::RETRY_MAX);
        let exponential = self.text(arguments::RETRY_BACKOFF, policy::RETRY_BACKOFF) == Some("exponential");
        Some(Retry { of, min, max, exponential })
    }

    /// 0 is a queue without priorities.
    fn max_priority(&self) -> Option<u8> {
        let highest = self.arguments.get(arguments::MAX_PRIORITY_KEY)?.as_int()?;
        u8::try_from(highest).ok().filter(|highest| *highest > 0)
    }

    fn deduplication(&self) -> Option<Deduplication> {
        let is_on = match self.arguments.get(arguments::DEDUPLICATION) {
            Some(Value::Bool(is_on)) => *is_on,
            _ => self.definitions().find_map(|definition| definition.flag(policy::DEDUPLICATION)).unwrap_or(false),
        };
        is_on.then(|| Deduplication::of(self.arguments))
    }
}

impl Deduplication {
    /// What the arguments of a queue describe, whether or not they switch it on. Without a size and a time, an identifier is
    /// remembered while its message is in the queue.
    pub fn of(arguments: &Table) -> Self {
        let number = |key: &str| arguments.get(key).and_then(Value::as_int);
        let size = number(arguments::CACHE_SIZE).and_then(|n| usize::try_from(n).ok());
        let ttl = number(arguments::CACHE_TTL).map(not_negative);
        let header = text_argument(arguments, arguments::DEDUPLICATION_HEADER);
        let while_kept = size.is_none() && ttl.is_none();
        Self {
            size: size.unwrap_or(if while_kept { dedup::MOST_KEPT } else { dedup::DEFAULT_SIZE }),
            ttl,
            header: header.unwrap_or(dedup::HEADER).into(),
            while_kept,
        }
    }
}

fn text_argument<'a>(arguments: &'a Table, key: &str) -> Option<&'a str> {
    match arguments.get(key)? {
        Value::LongStr(text) => std::str::from_utf8(text).ok(),
        _ => None,
    }
}

fn not_negative(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

#[cfg(test)]
mod tests;

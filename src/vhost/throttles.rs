//! How fast users, and the publishers of virtual hosts and queues, may publish, and how much may be stored of it.
//!
//! Those of users and virtual hosts are kept as global parameters, `publish-rates.user.NAME` and `publish-rates.vhost.NAME`,
//! whose value is an object of `max-publish-rate` (messages per second), `max-publish-bytes-rate` and `max-stored-bytes`; so
//! they are in every export and every tool that knows parameters can set them. Those of queues are among their settings.
//! A change counts at once: connections look at the epochs with every read. [`super::quotas`] measures what is stored.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::broker::Broker;
use super::command::Command;
use super::quotas::{Limit, Measured};
use crate::persist::Record;
use crate::persist::record::GlobalParameterRecord;
use crate::queue::Queue;
use crate::rate::{Rates, now};

/// What the names of these parameters begin with.
const PREFIX: &str = "publish-rates.";

/// The value of such a parameter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Shape {
    max_publish_rate: Option<u64>,
    max_publish_bytes_rate: Option<u64>,
    max_stored_bytes: Option<u64>,
}

/// The rates that have been set.
#[derive(Debug, Default)]
pub struct Throttles {
    /// By what follows [`PREFIX`].
    pub(super) all: RwLock<HashMap<String, Arc<Limit>>>,
    /// Those of queues that somebody publishes to, by the queue's number.
    pub(super) queues: RwLock<HashMap<u64, Weak<Limit>>>,
    epoch: AtomicU64,
}

impl Throttles {
    /// Moves with every change.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Those that a user's connection to a virtual host has to keep.
    pub fn of(&self, user: &str, vhost: &str) -> Vec<Arc<Limit>> {
        let all = self.all.read();
        let names = [format!("user.{user}"), format!("vhost.{vhost}")];
        names.iter().filter_map(|name| all.get(name).cloned()).collect()
    }

    /// A global parameter has been set, or removed.
    pub(super) fn note(&self, name: &str, value: Option<&str>) {
        let Some(whose) = name.strip_prefix(PREFIX) else { return };
        let (rates, most_stored) = value.and_then(|value| read(value).ok()).unwrap_or_default();
        let measured = match whose.split_once('.') {
            Some(("vhost", name)) => Measured::Vhost(name.into()),
            _ => Measured::PublishedTo(Box::default()),
        };
        let mut all = self.all.write();
        match rates.is_none() && most_stored.is_none() {
            true => drop(all.remove(whose)),
            false => drop(all.insert(whose.to_owned(), Arc::new(Limit::new(rates, most_stored, measured, now())))),
        }
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// That of a queue, which all share who publish to it.
    pub fn of_queue(&self, queue: &Arc<Queue>) -> Option<Arc<Limit>> {
        let settings = queue.settings();
        if !settings.limits_publishers() {
            return None;
        }
        let (rates, most_stored) = (settings.publish_rates, settings.max_stored_bytes);
        let mut queues = self.queues.write();
        if let Some(limit) = queues.get(&queue.id).and_then(Weak::upgrade).filter(|l| l.is(rates, most_stored)) {
            return Some(limit);
        }
        let measured = Measured::Queue(Arc::downgrade(queue));
        let limit = Arc::new(Limit::new(rates, most_stored, measured, now()));
        queues.insert(queue.id, Arc::downgrade(&limit));
        Some(limit)
    }
}

/// What a rate is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of<'a> {
    User(&'a str),
    Vhost(&'a str),
}

impl<'a> Of<'a> {
    /// Whose rates a record of the catalog sets.
    pub(super) fn owner(record: &'a Record) -> Option<Self> {
        let Record::GlobalParameter(parameter) = record else { return None };
        match parameter.name.strip_prefix(PREFIX)?.split_once('.')? {
            ("user", name) => Some(Self::User(name)),
            ("vhost", name) => Some(Self::Vhost(name)),
            _ => None,
        }
    }

    fn parameter(self) -> String {
        match self {
            Self::User(name) => format!("{PREFIX}user.{name}"),
            Self::Vhost(name) => format!("{PREFIX}vhost.{name}"),
        }
    }
}

/// The names of rates, as limits have names.
pub const NAMES: [&str; 3] = ["max-publish-rate", "max-publish-bytes-rate", "max-stored-bytes"];

impl Broker {
    /// The rates that are set, by [`NAMES`].
    pub fn rates(&self, of: Of<'_>) -> Map<String, Json> {
        let found = self.global_parameter(&of.parameter());
        found.and_then(|parameter| serde_json::from_str(&parameter.value).ok()).unwrap_or_default()
    }

    /// The user or virtual host is gone, and its rates with it.
    pub(super) fn forget_rates(&self, of: Of<'_>) {
        let name = of.parameter();
        self.throttles.note(&name, None);
        self.global_parameters.remove(&name);
    }

    /// The command that sets one of them, or with none or a negative number removes it.
    pub fn change_rate(&self, of: Of<'_>, name: &str, limit: Option<i64>) -> Command {
        let mut rates = self.rates(of);
        match limit.filter(|limit| *limit >= 0) {
            Some(limit) => drop(rates.insert(name.to_owned(), limit.into())),
            None => drop(rates.remove(name)),
        }
        let name = of.parameter();
        match rates.is_empty() && self.global_parameter(&name).is_some() {
            true => Command::ClearGlobalParameter { name },
            false => {
                Command::SetGlobalParameter(GlobalParameterRecord { name, value: Json::Object(rates).to_string() })
            }
        }
    }
}

/// Whether a global parameter of that name is a rate.
pub fn is_rate(parameter: &str) -> bool {
    parameter.starts_with(PREFIX)
}

/// Checks a parameter before it is set: one with such a name has to be one.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(name: &str, value: &str) -> Result<(), String> {
    let Some(whose) = name.strip_prefix(PREFIX) else { return Ok(()) };
    if !["user.", "vhost."].iter().any(|kind| whose.strip_prefix(kind).is_some_and(|rest| !rest.is_empty())) {
        return Err(format!("'{name}' must be {PREFIX}user.NAME or {PREFIX}vhost.NAME"));
    }
    read(value).map(drop).map_err(|error| format!("the value of '{name}' is no object of rates: {error}"))
}

/// The rates, and how much may be stored.
fn read(value: &str) -> Result<(Rates, Option<u64>), serde_json::Error> {
    let Shape { max_publish_rate, max_publish_bytes_rate, max_stored_bytes } = serde_json::from_str(value)?;
    Ok((Rates { messages: max_publish_rate, bytes: max_publish_bytes_rate }, max_stored_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_come_change_and_go() {
        let throttles = Throttles::default();
        let rates = || throttles.of("u", "v").iter().map(|limit| limit.rates()).collect::<Vec<_>>();
        throttles.note("publish-rates.user.u", Some(r#"{"max-publish-rate": 5}"#));
        throttles.note("publish-rates.vhost.v", Some(r#"{"max-publish-bytes-rate": 7}"#));
        throttles.note("publish-rates.user.other", Some(r#"{"max-publish-rate": 1}"#));
        let user = Rates { messages: Some(5), bytes: None };
        let vhost = Rates { messages: None, bytes: Some(7) };
        assert_eq!(rates(), [user, vhost]);
        let before = throttles.epoch();
        throttles.note("publish-rates.user.u", None);
        assert_eq!(rates(), [vhost]);
        assert_ne!(throttles.epoch(), before);
        throttles.note("something else", None);
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        assert!(check("cluster_name", "\"x\"").is_ok());
        assert!(check("publish-rates.user.u", r#"{"max-publish-rate": 5}"#).is_ok());
        let bad = [
            ("publish-rates.queue.q", "{}"),
            ("publish-rates.user.", "{}"),
            ("publish-rates.user.u", "5"),
            ("publish-rates.user.u", r#"{"max-publish-rate": -1}"#),
            ("publish-rates.vhost.v", r#"{"max-rate": 1}"#),
        ];
        for (name, value) in bad {
            assert!(check(name, value).is_err(), "{name} {value}");
        }
    }
}

//! How fast users, and the publishers of virtual hosts, may publish.
//!
//! The rates are kept as global parameters, `publish-rates.user.NAME` and `publish-rates.vhost.NAME`, whose value is an
//! object of `max-publish-rate` (messages per second) and `max-publish-bytes-rate`; so they are in every export and every
//! tool that knows parameters can set them. A change counts at once: connections look at the epoch with every read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::broker::Broker;
use super::command::Command;
use crate::persist::record::GlobalParameterRecord;
use crate::rate::{Rates, Throttle, now};

/// What the names of these parameters begin with.
const PREFIX: &str = "publish-rates.";

/// The value of such a parameter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Shape {
    max_publish_rate: Option<u64>,
    max_publish_bytes_rate: Option<u64>,
}

/// The rates that have been set.
#[derive(Debug, Default)]
pub struct Throttles {
    /// By what follows [`PREFIX`].
    all: RwLock<HashMap<String, Arc<Throttle>>>,
    epoch: AtomicU64,
}

impl Throttles {
    /// Moves with every change.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Those that a user's connection to a virtual host has to keep.
    pub fn of(&self, user: &str, vhost: &str) -> Vec<Arc<Throttle>> {
        let all = self.all.read();
        let names = [format!("user.{user}"), format!("vhost.{vhost}")];
        names.iter().filter_map(|name| all.get(name).cloned()).collect()
    }

    /// A global parameter has been set, or removed.
    pub(super) fn note(&self, name: &str, value: Option<&str>) {
        let Some(whose) = name.strip_prefix(PREFIX) else { return };
        let rates = value.and_then(|value| read(value).ok()).unwrap_or_default();
        let mut all = self.all.write();
        match rates.is_none() {
            true => drop(all.remove(whose)),
            false => drop(all.insert(whose.to_owned(), Arc::new(Throttle::new(rates, now())))),
        }
        self.epoch.fetch_add(1, Ordering::Release);
    }
}

/// What a rate is of.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    User(&'a str),
    Vhost(&'a str),
}

impl Of<'_> {
    fn parameter(self) -> String {
        match self {
            Self::User(name) => format!("{PREFIX}user.{name}"),
            Self::Vhost(name) => format!("{PREFIX}vhost.{name}"),
        }
    }
}

/// The names of rates, as limits have names.
pub const NAMES: [&str; 2] = ["max-publish-rate", "max-publish-bytes-rate"];

impl Broker {
    /// The rates that are set, by [`NAMES`].
    pub fn rates(&self, of: Of<'_>) -> Map<String, Json> {
        let found = self.global_parameter(&of.parameter());
        found.and_then(|parameter| serde_json::from_str(&parameter.value).ok()).unwrap_or_default()
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

fn read(value: &str) -> Result<Rates, serde_json::Error> {
    let Shape { max_publish_rate, max_publish_bytes_rate } = serde_json::from_str(value)?;
    Ok(Rates { messages: max_publish_rate, bytes: max_publish_bytes_rate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_come_change_and_go() {
        let throttles = Throttles::default();
        let rates = || throttles.of("u", "v").iter().map(|throttle| throttle.rates()).collect::<Vec<_>>();
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

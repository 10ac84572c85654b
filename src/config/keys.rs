//! The table of all keys, and finding a setting's key in it.
//!
//! A row says everything about its key: the name, the default as one would write it, a line of help, and the function
//! that reads a value. `$x` in a name stands for one word of the operator's choice.

mod defaults;
mod limits;
mod logging;
mod logins;
mod network;
mod node;
mod storage;
pub mod tls;
mod web;

use std::path::PathBuf;

use super::draft::Draft;
use super::error::{ConfigError, Problem};
use super::parse::{Setting, words};
use super::rabbitmq;
use super::value::{self, Expected};

/// All keys, in the order of the example file.
pub const SECTIONS: &[Section] = &[
    Section { title: "Network", keys: network::NETWORK },
    Section { title: "TLS of AMQP", keys: tls::AMQP },
    Section { title: "Logins", keys: logins::LOGINS },
    Section { title: "Logins that another service decides", keys: logins::HTTP },
    Section { title: "TLS towards that service", keys: tls::AUTH_HTTP },
    Section { title: "How long that service's answers hold", keys: logins::CACHE },
    Section { title: "Logins with tokens (OAuth 2)", keys: logins::OAUTH2 },
    Section { title: "What is made at the first start and with each vhost", keys: defaults::DEFAULTS },
    Section { title: "Definitions that are loaded at the start", keys: defaults::DEFINITIONS },
    Section { title: "Limits", keys: limits::LIMITS },
    Section { title: "Memory", keys: storage::MEMORY },
    Section { title: "Disk", keys: storage::DISK },
    Section { title: "The HTTP API", keys: web::MANAGEMENT },
    Section { title: "TLS of the HTTP API", keys: tls::MANAGEMENT },
    Section { title: "Metrics", keys: web::PROMETHEUS },
    Section { title: "TLS of metrics", keys: tls::PROMETHEUS },
    Section { title: "Logging", keys: logging::LOGGING },
    Section { title: "Logging to a syslog server", keys: logging::SYSLOG },
    Section { title: "The node", keys: node::NODE },
    Section { title: "Events", keys: node::EVENTS },
];

/// A group of keys.
pub struct Section {
    pub title: &'static str,
    pub keys: &'static [Key],
}

/// One key.
pub struct Key {
    /// As in `rabbit.conf`.
    pub name: &'static str,
    pub help: &'static str,
    pub shown: Shown,
    /// False when it is accepted only so that a file written for RabbitMQ loads.
    pub has_effect: bool,
    /// True when it can be changed while the broker runs.
    pub reloads: bool,
    /// Reads a value: the word that stands for `$x` (empty when there is none), and the value.
    pub set: fn(&mut Draft, &str, &str) -> Result<(), Expected>,
}

/// What the example file shows.
pub enum Shown {
    /// The default value, as one would write it.
    Default(&'static str),
    /// The default value of a key with a `$x`: the word and the value.
    DefaultOf(&'static str, &'static str),
    /// There is no default; a value that one could write, and the word for `$x`.
    Example(&'static str, &'static str),
}

impl Key {
    /// The word that stands for `$x`, when this is the key; an empty one when the key has no `$x`.
    fn matches(&self, key: &[String]) -> Option<String> {
        let mut variable = String::new();
        let mut names = self.name.split('.');
        for word in key {
            match names.next()? {
                name if name.starts_with('$') => variable.clone_from(word),
                name if name == word => {}
                _ => return None,
            }
        }
        names.next().is_none().then_some(variable)
    }

    /// Whether a key as it is written in a file is this one.
    pub fn is(&self, key: &str) -> bool {
        self.matches(&words(key).collect::<Vec<_>>()).is_some()
    }

    /// The name with that word for `$x`.
    pub fn written(&self, word: &str) -> String {
        let words: Vec<_> = self.name.split('.').map(|name| if name.starts_with('$') { word } else { name }).collect();
        words.join(".")
    }
}

type Set = fn(&mut Draft, &str, &str) -> Result<(), Expected>;

const fn key(name: &'static str, default: &'static str, help: &'static str, set: Set) -> Key {
    Key { name, help, shown: Shown::Default(default), has_effect: true, reloads: false, set }
}

/// A key without a default; `word` is for its `$x`.
const fn optional(name: &'static str, word: &'static str, example: &'static str, help: &'static str, set: Set) -> Key {
    Key { name, help, shown: Shown::Example(word, example), has_effect: true, reloads: false, set }
}

/// A key that can be changed while the broker runs.
const fn live(mut key: Key) -> Key {
    key.reloads = true;
    key
}

const fn without_effect(mut key: Key) -> Key {
    key.has_effect = false;
    key
}

fn set_text(target: &mut String, text: &str) -> Result<(), Expected> {
    if text.is_empty() {
        return Err("a text that is not empty".to_owned());
    }
    text.clone_into(target);
    Ok(())
}

/// A text that may be empty: the empty pattern denies everything.
fn set_option(target: &mut Option<String>, text: &str) -> Result<(), Expected> {
    *target = Some(text.to_owned());
    Ok(())
}

fn set_path(target: &mut Option<PathBuf>, text: &str) -> Result<(), Expected> {
    *target = Some(value::path(text)?);
    Ok(())
}

/// Of `key.$n = ...`: entries in the order of their numbers, words behind them by name.
fn numbered(n: &str) -> (u64, String) {
    (n.parse().unwrap_or(u64::MAX), n.to_owned())
}

fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// Puts a setting into the draft.
pub fn apply(draft: &mut Draft, setting: &Setting) -> Result<(), ConfigError> {
    let error = |problem| ConfigError { origin: setting.origin.clone(), problem };
    let key: Vec<_> = words(&setting.key).collect();
    let Some((row, variable)) = all().find_map(|row| Some((row, row.matches(&key)?))) else {
        draft.doubts.push(doubt(setting));
        return Ok(());
    };
    (row.set)(draft, &variable, &setting.value).map_err(|expected| {
        error(Problem::Value { key: setting.key.clone(), value: shown_value(setting), expected })
    })?;
    if !row.has_effect {
        draft.doubts.push(error(Problem::NoEffect(setting.key.clone())));
    }
    Ok(())
}

/// Passwords stay out of error messages.
pub fn shown_value(setting: &Setting) -> String {
    if is_secret(&setting.key) { "***".to_owned() } else { setting.value.clone() }
}

/// Whether a key's value is nobody's business.
pub fn is_secret(key: &str) -> bool {
    key.ends_with("pass") || key.ends_with("password")
}

/// Whether a key's value can be changed while the broker runs.
pub fn can_reload(key: &str) -> bool {
    all().any(|row| row.reloads && row.is(key))
}

/// What becomes of a key that means nothing is decided when all settings are in.
fn doubt(setting: &Setting) -> ConfigError {
    let key = setting.key.clone();
    let problem = match rabbitmq::knows(&key) {
        true => Problem::NoMeaning(key),
        false => Problem::UnknownKey { nearest: nearest(&key), key },
    };
    ConfigError { origin: setting.origin.clone(), problem }
}

/// The known key that is written most like this one. Its `$x` is filled with the word in the same place.
fn nearest(key: &str) -> String {
    let written: Vec<_> = key.split('.').collect();
    let filled = |row: &Key| {
        let fill = |(at, name)| match written.get(at) {
            Some(word) if str::starts_with(name, '$') => *word,
            _ => name,
        };
        row.name.split('.').enumerate().map(fill).collect::<Vec<_>>().join(".")
    };
    all().map(filled).min_by_key(|name| strsim::damerau_levenshtein(name, key)).unwrap_or_default()
}

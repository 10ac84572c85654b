//! What a configuration comes to: every key with its value and where that comes from; and what differs between two.

use std::collections::BTreeMap;

use super::keys::{self, SECTIONS, Shown};
use super::{Config, Origin};

/// One key as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    pub key: String,
    /// None when it is not set and has no default. Secrets are `***`.
    pub value: Option<String>,
    /// None for a default.
    pub origin: Option<Origin>,
}

/// What a new configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys whose new values are in force now.
    pub applied: Vec<String>,
    /// Keys whose new values count from the next start on.
    pub at_restart: Vec<String>,
}

impl Config {
    /// Every key, in the order of the example file.
    pub fn effective(&self) -> Vec<Effective> {
        SECTIONS.iter().flat_map(|section| section.keys).flat_map(|row| self.effective_of(row)).collect()
    }

    /// The settings of a row; its default when there are none.
    fn effective_of(&self, row: &keys::Key) -> Vec<Effective> {
        let set = self.settings.iter().filter(|setting| row.is(&setting.key)).map(|setting| Effective {
            key: setting.key.clone(),
            value: Some(keys::shown_value(setting)),
            origin: Some(setting.origin.clone()),
        });
        let set: Vec<_> = set.collect();
        if !set.is_empty() {
            return set;
        }
        let (key, value) = match row.shown {
            Shown::Default(value) => (row.name.to_owned(), Some(value)),
            Shown::DefaultOf(word, value) => (row.written(word), Some(value)),
            Shown::Example(..) => (row.name.to_owned(), None),
        };
        let value = value.map(|value| if keys::is_secret(&key) { "***".to_owned() } else { value.to_owned() });
        vec![Effective { key, value, origin: None }]
    }

    /// What differs in a newer configuration; of keys that cannot be changed while the broker runs, that too.
    pub fn changes(&self, newer: &Self) -> Changes {
        let (old, new) = (self.values(), newer.values());
        let mut changes = Changes::default();
        let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for key in keys.into_iter().filter(|key| old.get(*key) != new.get(*key)) {
            let list = if keys::can_reload(key) { &mut changes.applied } else { &mut changes.at_restart };
            list.push(key.clone());
        }
        changes
    }

    /// Values by key, in clear.
    fn values(&self) -> BTreeMap<String, String> {
        let defaults = self.effective().into_iter().filter(|entry| entry.origin.is_none());
        let mut values: BTreeMap<_, _> = defaults.filter_map(|entry| Some((entry.key, entry.value?))).collect();
        values.extend(self.settings.iter().map(|setting| (setting.key.clone(), setting.value.clone())));
        values
    }
}

/// As lines of a `rabbit.conf`, with the origins as comments.
pub fn print(effective: &[Effective]) -> String {
    let line = |entry: &Effective| match (&entry.value, &entry.origin) {
        (Some(value), Some(origin)) => format!("{} = {}  # {origin}\n", entry.key, quoted(value)),
        (Some(value), None) => format!("{} = {}  # default\n", entry.key, quoted(value)),
        (None, _) => format!("# {} is not set\n", entry.key),
    };
    effective.iter().map(line).collect()
}

fn quoted(value: &str) -> String {
    if value.is_empty() || value.contains('#') || value.starts_with('\'') {
        format!("'{value}'")
    } else {
        value.to_owned()
    }
}

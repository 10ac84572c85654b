//! What is wrong with a file, so that whoever wrote it finds the place.

use std::fmt;

use serde::Serialize;

use crate::persist::Record;
use crate::vhost::names::{exchange_text, queue_text};

/// How many problems a text lists; a file of another kind altogether has one for each of its items.
const LISTED: usize = 100;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// For example `queue 'q' in vhost '/'`, or `queues[3]` where there is no name.
    pub item: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{}, field '{field}': {}", self.item, self.reason),
            None => write!(f, "{}: {}", self.item, self.reason),
        }
    }
}

/// Why definitions were not taken: nothing has been changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(LISTED).enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        match self.0.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// What kind of thing a record is.
pub fn kind(record: &Record) -> &'static str {
    match record {
        Record::Vhost(_) => "vhost",
        Record::User(_) => "user",
        Record::Permission(_) => "permission",
        Record::TopicPermission(_) => "topic permission",
        Record::VhostLimits(_) => "limits",
        Record::Policy(policy) if policy.operator => "operator policy",
        Record::Policy(_) => "policy",
        Record::Parameter(_) => "parameter",
        Record::GlobalParameter(_) => "global parameter",
        Record::Exchange(_) => "exchange",
        Record::Queue(_) => "queue",
        Record::Binding(_) => "binding",
    }
}

/// The name of what a record is; a binding has none.
pub fn name(record: &Record) -> &str {
    match record {
        Record::Vhost(v) => &v.name,
        Record::User(u) => &u.name,
        Record::Permission(p) => &p.user,
        Record::TopicPermission(p) => &p.user,
        Record::VhostLimits(l) => &l.vhost,
        Record::Policy(p) => &p.name,
        Record::Parameter(p) => &p.name,
        Record::GlobalParameter(p) => &p.name,
        Record::Exchange(e) => &e.name,
        Record::Queue(q) => &q.name,
        Record::Binding(_) => "",
    }
}

/// A record as a problem or a difference calls it.
pub fn item(record: &Record) -> String {
    let kind = kind(record);
    match record {
        Record::Vhost(_) | Record::User(_) | Record::GlobalParameter(_) => format!("{kind} '{}'", name(record)),
        Record::Permission(p) => format!("permission of user '{}' in vhost '{}'", p.user, p.vhost),
        Record::TopicPermission(p) => {
            let exchange = &p.permission.exchange;
            format!("topic permission of user '{}' for exchange '{exchange}' in vhost '{}'", p.user, p.vhost)
        }
        Record::VhostLimits(l) => format!("limits of vhost '{}'", l.vhost),
        Record::Policy(p) => format!("{kind} '{}' in vhost '{}'", p.name, p.vhost),
        Record::Parameter(p) => format!("{} '{}' in vhost '{}'", p.component, p.name, p.vhost),
        Record::Exchange(e) => exchange_text(&e.vhost, &e.name),
        Record::Queue(q) => queue_text(&q.vhost, &q.name),
        Record::Binding(b) => {
            let to = if b.to_exchange { "exchange" } else { "queue" };
            let arguments = if b.arguments.is_empty() { "" } else { " and arguments" };
            format!(
                "binding from exchange '{}' to {to} '{}' with key '{}'{arguments} in vhost '{}'",
                b.source, b.destination, b.key, b.vhost
            )
        }
    }
}

//! One policy, checked and compiled.

use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::auth::Pattern;
use crate::config::QueueType;
use crate::persist::record::{ApplyTo, PolicyRecord};
use crate::queue::policy::Definition;
use crate::queue::policy::term::{pairs, term};

/// What a policy may apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    Queue(QueueType),
    Exchange,
}

/// A policy.
#[derive(Debug)]
pub struct Policy {
    pub record: PolicyRecord,
    pub name: Arc<str>,
    pub definition: Definition,
    pattern: Pattern,
}

impl Policy {
    /// Checks a policy.
    ///
    /// # Errors
    /// Everything that is wrong with it, in RabbitMQ's words.
    pub fn new(record: PolicyRecord) -> Result<Self, String> {
        let json: Result<Json, _> = serde_json::from_str(&record.definition);
        let definition = match &json {
            Ok(json) => Definition::new(json, record.operator),
            Err(error) => Err(format!("definition should be a JSON object: {error}")),
        };
        match (definition, compile(&record.pattern)) {
            (Ok(definition), Ok(pattern)) => {
                Ok(Self { name: record.name.as_str().into(), record, definition, pattern })
            }
            (definition, pattern) => Err(failed(&[pattern.err(), definition.err()])),
        }
    }

    /// Whether it can apply to things of a kind with this name.
    pub fn applies_to(&self, thing: Thing, name: &str) -> bool {
        let is_of_kind = matches!(
            (self.record.apply_to, thing),
            (ApplyTo::All, _)
                | (ApplyTo::Queues, Thing::Queue(_))
                | (ApplyTo::ClassicQueues, Thing::Queue(QueueType::Classic))
                | (ApplyTo::QuorumQueues, Thing::Queue(QueueType::Quorum))
                | (ApplyTo::Streams, Thing::Queue(QueueType::Stream))
                | (ApplyTo::Exchanges, Thing::Exchange)
        );
        let suits = match thing {
            Thing::Queue(kind) => self.definition.suits(kind),
            Thing::Exchange => true,
        };
        is_of_kind && suits && self.pattern.matches(name)
    }

    /// Whether its pattern matches the name, whatever has it.
    pub fn matches(&self, name: &str) -> bool {
        self.pattern.matches(name)
    }

    /// All names that it matches begin with this.
    pub fn prefix(&self) -> String {
        self.pattern.prefix()
    }

    /// The smallest counts.
    pub fn rank(&self) -> (Reverse<i64>, &str) {
        (Reverse(self.record.priority), &self.name)
    }

    /// Keys of it that are accepted and change nothing here.
    pub fn keys_without_effect(&self) -> Vec<&str> {
        self.definition.without_effect()
    }
}

/// Of a policy the empty pattern matches every name.
fn compile(pattern: &str) -> Result<Pattern, String> {
    let source = if pattern.is_empty() { ".*" } else { pattern };
    Pattern::new(source).map_err(|e| format!("pattern should be a regular expression but is invalid: {}", e.reason))
}

/// RabbitMQ's text for what has failed.
fn failed(errors: &[Option<String>]) -> String {
    let lines: String = errors.iter().flatten().map(|error| format!("{error}\n")).collect();
    format!("Validation failed\n\n{lines}")
}

/// A policy from its JSON, as the HTTP API and definitions have it.
///
/// # Errors
/// Everything that is wrong with it, in RabbitMQ's words.
pub fn from_json(vhost: &str, name: &str, json: &Json, operator: bool) -> Result<PolicyRecord, String> {
    let mut errors = Vec::new();
    let missing = |key: &str| Some(format!("Key \"{key}\" not found in {name}"));
    let priority = match json.get("priority") {
        None => 0,
        Some(priority) => priority.as_i64().unwrap_or_else(|| {
            errors.push(Some(format!("priority should be a number, actually was {}", term(priority))));
            0
        }),
    };
    let pattern = match json.get("pattern") {
        Some(Json::String(pattern)) => pattern.clone(),
        Some(other) => {
            errors.push(Some(format!("pattern should be a regular expression but is invalid: {}", term(other))));
            String::new()
        }
        None => {
            errors.push(missing("pattern"));
            String::new()
        }
    };
    let apply_to = match json.get("apply-to") {
        None => ApplyTo::All,
        Some(text) => text.as_str().and_then(ApplyTo::parse).unwrap_or_else(|| {
            let shown = text.as_str().map_or_else(|| term(text), str::to_owned);
            errors.push(Some(format!(
                "apply-to '{shown}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', \
                 'streams', 'exchanges', or 'all'"
            )));
            ApplyTo::All
        }),
    };
    let definition = json.get("definition").map(Json::to_string).unwrap_or_else(|| {
        errors.push(missing("definition"));
        String::new()
    });
    const KNOWN: [&str; 6] = ["vhost", "name", "pattern", "apply-to", "definition", "priority"];
    if let Json::Object(map) = json
        && let strange = map.iter().filter(|(key, _)| !KNOWN.contains(&key.as_str())).collect::<Vec<_>>()
        && !strange.is_empty()
    {
        errors.push(Some(format!("Unrecognised terms {} in {name}", pairs(strange.into_iter()))));
    }
    if !errors.is_empty() {
        return Err(failed(&errors));
    }
    let (vhost, name) = (vhost.to_owned(), name.to_owned());
    let policy = Policy::new(PolicyRecord { vhost, name, operator, pattern, apply_to, priority, definition })?;
    Ok(policy.record)
}

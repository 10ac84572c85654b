//! What a user may do in a vhost: three patterns over the names of queues and exchanges, and two more over routing keys
//! for each topic exchange that has them.
//!
//! The patterns are compiled into [`Rules`] when they are set, with `{username}` and `{vhost}` filled in.

mod pattern;

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use pattern::{Pattern, PatternError};

/// What one does with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    Configure,
    Write,
    Read,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        })
    }
}

/// A user's permissions in a vhost, as they were set: regular expressions over resource names. An empty one allows
/// nothing with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    pub configure: String,
    pub write: String,
    pub read: String,
}

impl Permissions {
    /// Everything is allowed.
    pub fn all() -> Self {
        Self { configure: ".*".to_owned(), write: ".*".to_owned(), read: ".*".to_owned() }
    }
}

/// A user's permissions on the routing keys of one exchange. `{username}` and `{vhost}` stand for the user's name and
/// the vhost's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPermission {
    pub exchange: String,
    /// For publishing.
    pub write: String,
    /// For binding.
    pub read: String,
}

/// A user's permissions in a vhost, compiled.
#[derive(Debug)]
pub struct Rules {
    configure: Pattern,
    write: Pattern,
    read: Pattern,
    /// By exchange.
    topics: HashMap<String, TopicRule>,
}

#[derive(Debug)]
struct TopicRule {
    write: Pattern,
    read: Pattern,
}

impl Rules {
    /// Compiles the permissions of `user` in `vhost`.
    pub fn compile<'a>(
        user: &str,
        vhost: &str,
        permissions: &Permissions,
        topics: impl IntoIterator<Item = &'a TopicPermission>,
    ) -> Result<Self, PatternError> {
        let variables = [("username", user), ("vhost", vhost)];
        let topics = topics.into_iter().map(|topic| {
            let write = Pattern::with_variables(&topic.write, &variables)?;
            let read = Pattern::with_variables(&topic.read, &variables)?;
            Ok((topic.exchange.clone(), TopicRule { write, read }))
        });
        Ok(Self {
            configure: Pattern::new(&permissions.configure)?,
            write: Pattern::new(&permissions.write)?,
            read: Pattern::new(&permissions.read)?,
            topics: topics.collect::<Result<_, _>>()?,
        })
    }

    /// Whether the user may do this with the queue or exchange of that name. The default exchange is asked for as
    /// `amq.default`.
    pub fn allows(&self, access: Access, resource: &str) -> bool {
        match access {
            Access::Configure => &self.configure,
            Access::Write => &self.write,
            Access::Read => &self.read,
        }
        .matches(resource)
    }

    /// Whether the user may publish to (write) or bind to (read) that routing key of the exchange. An exchange without
    /// topic permissions allows every key, and configure has nothing to do with keys.
    pub fn topic_allows(&self, access: Access, exchange: &str, routing_key: &str) -> bool {
        let Some(rule) = self.topics.get(exchange) else { return true };
        match access {
            Access::Configure => true,
            Access::Write => rule.write.matches(routing_key),
            Access::Read => rule.read.matches(routing_key),
        }
    }

    /// Whether any exchange has topic permissions: if not, [`Self::topic_allows`] need not be asked.
    pub fn has_topics(&self) -> bool {
        !self.topics.is_empty()
    }
}

#[cfg(test)]
mod tests;

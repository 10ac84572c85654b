//! Durable objects and their keys.

use serde::{Deserialize, Serialize};

use crate::auth::{Permissions, TopicPermission, User};
use crate::frames::Table;

/// A virtual host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VhostRecord {
    pub name: String,
    pub description: String,
    pub tags: Vec<String>,
    pub default_queue_type: Option<String>,
}

/// An exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExchangeRecord {
    pub vhost: String,
    pub name: String,
    pub kind: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: Table,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueRecord {
    pub vhost: String,
    pub name: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub arguments: Table,
    /// The queue's name in the message store: random, never 0 and never used again; 0 for a queue that is not stored.
    pub id: u64,
}

impl QueueRecord {
    /// A name in the message store that no other queue has, had or will have.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new_id() -> Result<u64, getrandom::Error> {
        loop {
            let id = getrandom::u64()?;
            if id != 0 {
                return Ok(id);
            }
        }
    }
}

/// A binding from an exchange to a queue or another exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BindingRecord {
    pub vhost: String,
    pub source: String,
    pub destination: String,
    pub to_exchange: bool,
    pub key: String,
    pub arguments: Table,
}

/// What a user may do in a virtual host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PermissionRecord {
    pub user: String,
    pub vhost: String,
    pub permissions: Permissions,
}

/// What routing keys a user may use with an exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicPermissionRecord {
    pub user: String,
    pub vhost: String,
    pub permission: TopicPermission,
}

/// One object of the catalog. The order of the variants is the order in which they are loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    Vhost(VhostRecord),
    User(User),
    Permission(PermissionRecord),
    TopicPermission(TopicPermissionRecord),
    Exchange(ExchangeRecord),
    Queue(QueueRecord),
    Binding(BindingRecord),
}

impl Record {
    /// The key in the store: the kind, then each part of the name with its length before it.
    pub fn key(&self) -> Vec<u8> {
        match self {
            Self::Vhost(v) => key(1, &[v.name.as_bytes()]),
            Self::User(u) => key(2, &[u.name.as_bytes()]),
            Self::Permission(p) => key(3, &[p.vhost.as_bytes(), p.user.as_bytes()]),
            Self::TopicPermission(p) => {
                key(4, &[p.vhost.as_bytes(), p.user.as_bytes(), p.permission.exchange.as_bytes()])
            }
            Self::Exchange(e) => key(5, &[e.vhost.as_bytes(), e.name.as_bytes()]),
            Self::Queue(q) => key(6, &[q.vhost.as_bytes(), q.name.as_bytes()]),
            Self::Binding(b) => {
                let mut arguments = Vec::new();
                b.arguments.clone().sorted().encode(&mut arguments);
                let to = [u8::from(b.to_exchange)];
                key(
                    7,
                    &[
                        b.vhost.as_bytes(),
                        b.source.as_bytes(),
                        &to,
                        b.destination.as_bytes(),
                        b.key.as_bytes(),
                        &arguments,
                    ],
                )
            }
        }
    }
}

fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![kind];
    for part in parts {
        key.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        key.extend_from_slice(part);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(vhost: &str, name: &str) -> Record {
        Record::Queue(QueueRecord {
            vhost: vhost.into(),
            name: name.into(),
            durable: true,
            auto_delete: false,
            arguments: Table::default(),
            id: 1,
        })
    }

    #[test]
    fn names_cannot_run_into_one_another() {
        assert_ne!(queue("a", "bc").key(), queue("ab", "c").key());
        assert_ne!(queue("a\0", "b").key(), queue("a", "\0b").key());
    }
}

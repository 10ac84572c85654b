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
    /// It cannot be deleted; none where nobody has said.
    pub protected: Option<bool>,
}

impl VhostRecord {
    pub fn is_protected(&self) -> bool {
        self.protected == Some(true)
    }
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
    /// The store's name for what the exchange itself keeps: random, never used again; 0 for one that keeps nothing.
    pub id: u64,
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

/// A name in the message store that nothing else has, had or will have.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_store_id() -> Result<u64, getrandom::Error> {
    loop {
        let id = getrandom::u64()?;
        if id != 0 {
            return Ok(id);
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

/// What a policy can apply to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplyTo {
    #[default]
    All,
    Queues,
    ClassicQueues,
    QuorumQueues,
    Streams,
    Exchanges,
}

impl ApplyTo {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::All, "all"),
        (Self::Queues, "queues"),
        (Self::ClassicQueues, "classic_queues"),
        (Self::QuorumQueues, "quorum_queues"),
        (Self::Streams, "streams"),
        (Self::Exchanges, "exchanges"),
    ];

    /// As RabbitMQ writes it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(this, _)| *this == self).map_or("", |(_, name)| name)
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(this, _)| *this)
    }
}

/// A policy, or an operator policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyRecord {
    pub vhost: String,
    pub name: String,
    pub operator: bool,
    /// A regular expression for the names of what it applies to.
    pub pattern: String,
    pub apply_to: ApplyTo,
    pub priority: i64,
    /// What it sets: a JSON object.
    pub definition: String,
}

/// What a virtual host may have; before what the configuration says. A negative number is no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VhostLimitsRecord {
    pub vhost: String,
    pub max_connections: Option<i64>,
    pub max_queues: Option<i64>,
}

/// A runtime parameter of a plugin that RabbitMQ has, as a shovel or the upstream of a federation: kept and shown as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParameterRecord {
    pub vhost: String,
    pub component: String,
    pub name: String,
    /// Any JSON.
    pub value: String,
}

/// A parameter of the whole cluster, as its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GlobalParameterRecord {
    pub name: String,
    /// Any JSON.
    pub value: String,
}

/// One object of the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    Vhost(VhostRecord),
    User(User),
    Permission(PermissionRecord),
    TopicPermission(TopicPermissionRecord),
    Exchange(ExchangeRecord),
    Queue(QueueRecord),
    Binding(BindingRecord),
    Policy(PolicyRecord),
    VhostLimits(VhostLimitsRecord),
    Parameter(ParameterRecord),
    GlobalParameter(GlobalParameterRecord),
}

impl Record {
    /// The order in which records are loaded, so that everything finds what it needs: policies come before what they
    /// apply to.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Vhost(_) => 0,
            Self::User(_) => 1,
            Self::Permission(_) => 2,
            Self::TopicPermission(_) => 3,
            Self::VhostLimits(_) => 4,
            Self::Policy(_) => 5,
            Self::Parameter(_) => 6,
            Self::GlobalParameter(_) => 7,
            Self::Exchange(_) => 8,
            Self::Queue(_) => 9,
            Self::Binding(_) => 10,
        }
    }

    /// The virtual host that it is, or is in.
    pub fn vhost(&self) -> Option<&str> {
        Some(match self {
            Self::User(_) | Self::GlobalParameter(_) => return None,
            Self::Vhost(v) => &v.name,
            Self::Permission(p) => &p.vhost,
            Self::TopicPermission(p) => &p.vhost,
            Self::Exchange(e) => &e.vhost,
            Self::Queue(q) => &q.vhost,
            Self::Binding(b) => &b.vhost,
            Self::Policy(p) => &p.vhost,
            Self::VhostLimits(l) => &l.vhost,
            Self::Parameter(p) => &p.vhost,
        })
    }

    /// The user that it is, or who has it.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::User(u) => Some(&u.name),
            Self::Permission(p) => Some(&p.user),
            Self::TopicPermission(p) => Some(&p.user),
            _ => None,
        }
    }

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
            Self::Policy(p) => key(8 + u8::from(p.operator), &[p.vhost.as_bytes(), p.name.as_bytes()]),
            Self::VhostLimits(l) => key(10, &[l.vhost.as_bytes()]),
            Self::Parameter(p) => key(11, &[p.vhost.as_bytes(), p.component.as_bytes(), p.name.as_bytes()]),
            Self::GlobalParameter(p) => key(12, &[p.name.as_bytes()]),
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

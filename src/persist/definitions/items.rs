//! The items of a definitions file, with RabbitMQ's names in RabbitMQ's order, and the catalog's records as items and back.
//!
//! Where items are of one virtual host only, they name none.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::DefinitionsError;
use super::arguments::Arguments;
use super::parameters::{GlobalParameterDefinition, ParameterDefinition, PolicyDefinition};
use crate::auth::{Hashing, Permissions, TopicPermission, User};
use crate::persist::record::{
    BindingRecord, ExchangeRecord, PermissionRecord, QueueRecord, Record, TopicPermissionRecord, VhostRecord,
    new_store_id,
};

#[derive(Serialize, Deserialize)]
pub struct UserDefinition {
    name: String,
    /// Empty for a user without a password.
    password_hash: String,
    hashing_algorithm: Hashing,
    tags: Vec<String>,
    #[serde(default)]
    limits: UserLimits,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UserLimits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_connections: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_channels: Option<i64>,
}

/// Versions of RabbitMQ look for description and tags in different places.
#[derive(Serialize, Deserialize)]
pub struct VhostDefinition {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    tags: Vec<String>,
    metadata: VhostMetadata,
}

#[derive(Serialize, Deserialize)]
struct VhostMetadata {
    description: String,
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_queue_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protected_from_deletion: Option<bool>,
}

#[derive(Serialize, Deserialize)]
pub struct PermissionDefinition {
    user: String,
    vhost: String,
    configure: String,
    write: String,
    read: String,
}

#[derive(Serialize, Deserialize)]
pub struct TopicPermissionDefinition {
    user: String,
    vhost: String,
    exchange: String,
    write: String,
    read: String,
}

#[derive(Serialize, Deserialize)]
pub struct QueueDefinition {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vhost: Option<String>,
    durable: bool,
    auto_delete: bool,
    #[serde(flatten)]
    arguments: Arguments,
    /// Hexadecimal: as a number it would be too large for many a reader of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store_id: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub struct ExchangeDefinition {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vhost: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    #[serde(flatten)]
    arguments: Arguments,
    /// As that of a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store_id: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub struct BindingDefinition {
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vhost: Option<String>,
    destination: String,
    destination_type: DestinationType,
    routing_key: String,
    #[serde(flatten)]
    arguments: Arguments,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DestinationType {
    Queue,
    Exchange,
}

/// What a reader of items is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Everything, for a copy that the catalog is rebuilt from: numbers in the store, and arguments to the bit.
    Backup,
    /// What RabbitMQ would tell, and arguments exactly only where JSON would change their meaning.
    Shared,
}

impl Detail {
    fn arguments(self, table: &crate::frames::Table) -> Arguments {
        match self {
            Self::Backup => Arguments::exact(table),
            Self::Shared => Arguments::meant(table),
        }
    }

    fn store_id(self, id: u64) -> Option<String> {
        (self == Self::Backup && id != 0).then(|| format!("{id:016x}"))
    }
}

/// One object as its item.
///
/// # Errors
/// When it cannot be said in JSON.
pub fn item(record: Record, detail: Detail) -> Result<Json, DefinitionsError> {
    Ok(match record {
        Record::Vhost(vhost) => json!(VhostDefinition::of(vhost)),
        Record::User(user) => json!(UserDefinition::of(user)),
        Record::Permission(permission) => json!(PermissionDefinition::of(permission)),
        Record::TopicPermission(permission) => json!(TopicPermissionDefinition::of(permission)),
        Record::Exchange(exchange) => json!(ExchangeDefinition::of(exchange, detail)),
        Record::Queue(queue) => json!(QueueDefinition::of(queue, detail)),
        Record::Binding(binding) => json!(BindingDefinition::of(binding, detail)),
        Record::Policy(policy) => json!(PolicyDefinition::of(policy)?),
        Record::VhostLimits(limits) => json!(ParameterDefinition::limits(limits)),
        Record::Parameter(parameter) => json!(ParameterDefinition::of(parameter)?),
        Record::GlobalParameter(parameter) => json!(GlobalParameterDefinition::of(parameter)?),
    })
}

impl VhostDefinition {
    pub fn of(record: VhostRecord) -> Self {
        let VhostRecord { name, description, tags, default_queue_type, protected: protected_from_deletion } = record;
        let (described, tagged) = (description.clone(), tags.clone());
        let metadata =
            VhostMetadata { description: described, tags: tagged, default_queue_type, protected_from_deletion };
        Self { name, description, tags, metadata }
    }

    pub fn record(self) -> Record {
        let VhostMetadata { description, tags, default_queue_type, protected_from_deletion: protected } = self.metadata;
        Record::Vhost(VhostRecord { name: self.name, description, tags, default_queue_type, protected })
    }
}

impl UserDefinition {
    pub fn of(user: User) -> Self {
        let User { name, password_hash, hashing, tags, max_connections, max_channels } = user;
        let limits = UserLimits { max_connections, max_channels };
        let password_hash = password_hash.unwrap_or_default();
        Self { name, password_hash, hashing_algorithm: hashing, tags, limits }
    }

    pub fn record(self) -> Record {
        let UserLimits { max_connections, max_channels } = self.limits;
        let password_hash = Some(self.password_hash).filter(|hash| !hash.is_empty());
        let (name, hashing, tags) = (self.name, self.hashing_algorithm, self.tags);
        Record::User(User { name, password_hash, hashing, tags, max_connections, max_channels })
    }
}

impl PermissionDefinition {
    pub fn of(record: PermissionRecord) -> Self {
        let PermissionRecord { user, vhost, permissions } = record;
        let Permissions { configure, write, read } = permissions;
        Self { user, vhost, configure, write, read }
    }

    pub fn record(self) -> Record {
        let permissions = Permissions { configure: self.configure, write: self.write, read: self.read };
        Record::Permission(PermissionRecord { user: self.user, vhost: self.vhost, permissions })
    }
}

impl TopicPermissionDefinition {
    pub fn of(record: TopicPermissionRecord) -> Self {
        let TopicPermissionRecord { user, vhost, permission } = record;
        let TopicPermission { exchange, write, read } = permission;
        Self { user, vhost, exchange, write, read }
    }

    pub fn record(self) -> Record {
        let permission = TopicPermission { exchange: self.exchange, write: self.write, read: self.read };
        Record::TopicPermission(TopicPermissionRecord { user: self.user, vhost: self.vhost, permission })
    }
}

impl ExchangeDefinition {
    pub fn of(record: ExchangeRecord, detail: Detail) -> Self {
        let ExchangeRecord { vhost, name, kind, durable, auto_delete, internal, arguments, id } = record;
        let (arguments, store_id) = (detail.arguments(&arguments), detail.store_id(id));
        Self { name, vhost: Some(vhost), kind, durable, auto_delete, internal, arguments, store_id }
    }

    pub fn record(self) -> Result<Record, DefinitionsError> {
        let arguments = self.arguments.table(&self.name)?;
        let id = stored_id(self.store_id).unwrap_or(0);
        let Self { name, vhost, kind, durable, auto_delete, internal, .. } = self;
        let vhost = named(vhost, &name)?;
        Ok(Record::Exchange(ExchangeRecord { vhost, name, kind, durable, auto_delete, internal, arguments, id }))
    }

    pub fn without_vhost(self) -> Self {
        Self { vhost: None, ..self }
    }
}

impl QueueDefinition {
    pub fn of(record: QueueRecord, detail: Detail) -> Self {
        let QueueRecord { vhost, name, durable, auto_delete, arguments, id } = record;
        let (arguments, store_id) = (detail.arguments(&arguments), detail.store_id(id));
        Self { name, vhost: Some(vhost), durable, auto_delete, arguments, store_id }
    }

    pub fn record(self) -> Result<Record, DefinitionsError> {
        let arguments = self.arguments.table(&self.name)?;
        let id = match stored_id(self.store_id) {
            Some(id) => id,
            None => new_store_id().map_err(|e| DefinitionsError::Number(self.name.clone(), e))?,
        };
        let Self { name, vhost, durable, auto_delete, .. } = self;
        let vhost = named(vhost, &name)?;
        Ok(Record::Queue(QueueRecord { vhost, name, durable, auto_delete, arguments, id }))
    }

    pub fn without_vhost(self) -> Self {
        Self { vhost: None, ..self }
    }
}

fn stored_id(text: Option<String>) -> Option<u64> {
    text.and_then(|id| u64::from_str_radix(&id, 16).ok()).filter(|id| *id != 0)
}

fn named(vhost: Option<String>, of: &str) -> Result<String, DefinitionsError> {
    vhost.ok_or_else(|| DefinitionsError::NoVhost(of.to_owned()))
}

impl BindingDefinition {
    pub fn of(record: BindingRecord, detail: Detail) -> Self {
        let BindingRecord { vhost, source, destination, to_exchange, key, arguments } = record;
        let destination_type = if to_exchange { DestinationType::Exchange } else { DestinationType::Queue };
        let (vhost, arguments) = (Some(vhost), detail.arguments(&arguments));
        Self { source, vhost, destination, destination_type, routing_key: key, arguments }
    }

    pub fn record(self) -> Result<Record, DefinitionsError> {
        let arguments = self.arguments.table(&self.destination)?;
        let to_exchange = self.destination_type == DestinationType::Exchange;
        let Self { source, vhost, destination, routing_key: key, .. } = self;
        let vhost = named(vhost, &destination)?;
        Ok(Record::Binding(BindingRecord { vhost, source, destination, to_exchange, key, arguments }))
    }

    pub fn without_vhost(self) -> Self {
        Self { vhost: None, ..self }
    }
}

//! The catalog as a definitions file, in RabbitMQ's format, and back.
//!
//! What JSON cannot say stands beside what it can: `arguments` is what RabbitMQ would write, and where types or order are
//! lost in that, `arguments_amqp` has the table in AMQP's own encoding, base64. `store_id` is the queue's number in the
//! message store. RabbitMQ skips both.
//!
//! The first line holds a CRC32C of everything after it; so the file is JSON for everybody, and damage to it is found.

mod arguments;
mod parameters;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use arguments::Arguments;

use super::data_dir::now;
use super::record::{
    BindingRecord, ExchangeRecord, PermissionRecord, QueueRecord, Record, TopicPermissionRecord, VhostRecord,
    new_store_id,
};
use crate::auth::{Hashing, Permissions, TopicPermission, User};
use parameters::{ParameterDefinition, PolicyDefinition};

/// The level of RabbitMQ whose format this is.
const RABBIT_VERSION: &str = "3.13.7";
const FORMAT: u32 = 1;

/// Why a definitions file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    #[error("its first line holds no checksum")]
    NoChecksum,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it was written by a newer version of Leveret (format {0})")]
    Newer(u32),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("the arguments of {0} cannot be read")]
    Arguments(String),
    #[error("the parameter {0} cannot be read")]
    Parameter(String),
    #[error("no number for queue {0}: {1}")]
    Number(String, getrandom::Error),
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

#[derive(Serialize, Deserialize)]
struct File {
    rabbit_version: String,
    leveret: About,
    #[serde(default)]
    users: Vec<UserDefinition>,
    #[serde(default)]
    vhosts: Vec<VhostDefinition>,
    #[serde(default)]
    permissions: Vec<PermissionDefinition>,
    #[serde(default)]
    topic_permissions: Vec<TopicPermissionDefinition>,
    #[serde(default)]
    parameters: Vec<ParameterDefinition>,
    global_parameters: [Json; 0],
    #[serde(default)]
    policies: Vec<PolicyDefinition>,
    #[serde(default)]
    queues: Vec<QueueDefinition>,
    #[serde(default)]
    exchanges: Vec<ExchangeDefinition>,
    #[serde(default)]
    bindings: Vec<BindingDefinition>,
}

#[derive(Serialize, Deserialize)]
struct About {
    format: u32,
    written: String,
}

#[derive(Serialize, Deserialize)]
struct UserDefinition {
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

#[derive(Serialize, Deserialize)]
struct VhostDefinition {
    name: String,
    metadata: VhostMetadata,
}

#[derive(Serialize, Deserialize)]
struct VhostMetadata {
    description: String,
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_queue_type: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct PermissionDefinition {
    user: String,
    vhost: String,
    configure: String,
    write: String,
    read: String,
}

#[derive(Serialize, Deserialize)]
struct TopicPermissionDefinition {
    user: String,
    vhost: String,
    exchange: String,
    write: String,
    read: String,
}

#[derive(Serialize, Deserialize)]
struct QueueDefinition {
    name: String,
    vhost: String,
    durable: bool,
    auto_delete: bool,
    #[serde(flatten)]
    arguments: Arguments,
    /// Hexadecimal: as a number it would be too large for many a reader of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store_id: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ExchangeDefinition {
    name: String,
    vhost: String,
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
struct BindingDefinition {
    source: String,
    vhost: String,
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

/// The file of these records, as it is now.
///
/// # Errors
/// When a record cannot be written as JSON.
pub fn write(records: Vec<Record>) -> Result<Vec<u8>, DefinitionsError> {
    let mut file = File {
        rabbit_version: RABBIT_VERSION.to_owned(),
        leveret: About { format: FORMAT, written: now() },
        users: Vec::new(),
        vhosts: Vec::new(),
        permissions: Vec::new(),
        topic_permissions: Vec::new(),
        parameters: Vec::new(),
        global_parameters: [],
        policies: Vec::new(),
        queues: Vec::new(),
        exchanges: Vec::new(),
        bindings: Vec::new(),
    };
    for record in records {
        file.add(record)?;
    }
    let mut json = serde_json::to_vec_pretty(&file)?;
    // The brace that opens it comes before the checksum.
    json.drain(..1);
    json.push(b'\n');
    Ok([first_line(&json).as_bytes(), &json].concat())
}

fn first_line(rest: &[u8]) -> String {
    format!("{{ \"crc32c\": \"{:08x}\",", crc32c::crc32c(rest))
}

/// The records of a file, in the order in which they are loaded, and when it was written.
///
/// # Errors
/// When it is damaged or not ours.
pub fn read(bytes: &[u8]) -> Result<(Vec<Record>, String), DefinitionsError> {
    let (line, rest) = bytes.split_at_checked(first_line(b"").len()).ok_or(DefinitionsError::NoChecksum)?;
    if !line.starts_with(b"{ \"crc32c\": \"") {
        return Err(DefinitionsError::NoChecksum);
    }
    if line != first_line(rest).as_bytes() {
        return Err(DefinitionsError::Checksum);
    }
    let about: Json = serde_json::from_slice(bytes)?;
    let format = about.pointer("/leveret/format").and_then(Json::as_u64).and_then(|f| u32::try_from(f).ok());
    match format {
        Some(FORMAT) => {}
        newer => return Err(DefinitionsError::Newer(newer.unwrap_or_default())),
    }
    let file: File = serde_json::from_value(about)?;
    let written = file.leveret.written.clone();
    Ok((file.records()?, written))
}

impl File {
    fn add(&mut self, record: Record) -> Result<(), DefinitionsError> {
        match record {
            Record::Vhost(VhostRecord { name, description, tags, default_queue_type }) => {
                let metadata = VhostMetadata { description, tags, default_queue_type };
                self.vhosts.push(VhostDefinition { name, metadata });
            }
            Record::User(User { name, password_hash, hashing, tags, max_connections, max_channels }) => {
                let limits = UserLimits { max_connections, max_channels };
                let password_hash = password_hash.unwrap_or_default();
                self.users.push(UserDefinition { name, password_hash, hashing_algorithm: hashing, tags, limits });
            }
            Record::Permission(PermissionRecord { user, vhost, permissions }) => {
                let Permissions { configure, write, read } = permissions;
                self.permissions.push(PermissionDefinition { user, vhost, configure, write, read });
            }
            Record::TopicPermission(TopicPermissionRecord { user, vhost, permission }) => {
                let TopicPermission { exchange, write, read } = permission;
                self.topic_permissions.push(TopicPermissionDefinition { user, vhost, exchange, write, read });
            }
            Record::Exchange(ExchangeRecord { vhost, name, kind, durable, auto_delete, internal, arguments, id }) => {
                let arguments = Arguments::of(&arguments);
                let store_id = (id != 0).then(|| format!("{id:016x}"));
                self.exchanges.push(ExchangeDefinition {
                    name,
                    vhost,
                    kind,
                    durable,
                    auto_delete,
                    internal,
                    arguments,
                    store_id,
                });
            }
            Record::Queue(QueueRecord { vhost, name, durable, auto_delete, arguments, id }) => {
                let (arguments, store_id) = (Arguments::of(&arguments), Some(format!("{id:016x}")));
                self.queues.push(QueueDefinition { name, vhost, durable, auto_delete, arguments, store_id });
            }
            Record::Binding(BindingRecord { vhost, source, destination, to_exchange, key, arguments }) => {
                let destination_type = if to_exchange { DestinationType::Exchange } else { DestinationType::Queue };
                let arguments = Arguments::of(&arguments);
                let routing_key = key;
                let binding =
                    BindingDefinition { source, vhost, destination, destination_type, routing_key, arguments };
                self.bindings.push(binding);
            }
            Record::Policy(policy) if policy.operator => self.parameters.push(ParameterDefinition::policy(policy)?),
            Record::Policy(policy) => self.policies.push(PolicyDefinition::of(policy)?),
            Record::VhostLimits(limits) => self.parameters.push(ParameterDefinition::limits(limits)),
        }
        Ok(())
    }

    fn records(self) -> Result<Vec<Record>, DefinitionsError> {
        let mut records = Vec::new();
        records.extend(self.vhosts.into_iter().map(VhostDefinition::record));
        records.extend(self.users.into_iter().map(UserDefinition::record));
        records.extend(self.permissions.into_iter().map(PermissionDefinition::record));
        records.extend(self.topic_permissions.into_iter().map(TopicPermissionDefinition::record));
        for exchange in self.exchanges {
            records.push(exchange.record()?);
        }
        for queue in self.queues {
            records.push(queue.record()?);
        }
        for binding in self.bindings {
            records.push(binding.record()?);
        }
        for policy in self.policies {
            records.push(policy.record()?);
        }
        for parameter in self.parameters {
            records.push(parameter.record()?);
        }
        records.sort_by_key(Record::rank);
        Ok(records)
    }
}

impl VhostDefinition {
    fn record(self) -> Record {
        let VhostMetadata { description, tags, default_queue_type } = self.metadata;
        Record::Vhost(VhostRecord { name: self.name, description, tags, default_queue_type })
    }
}

impl UserDefinition {
    fn record(self) -> Record {
        let UserLimits { max_connections, max_channels } = self.limits;
        let password_hash = Some(self.password_hash).filter(|hash| !hash.is_empty());
        let (name, hashing, tags) = (self.name, self.hashing_algorithm, self.tags);
        Record::User(User { name, password_hash, hashing, tags, max_connections, max_channels })
    }
}

impl PermissionDefinition {
    fn record(self) -> Record {
        let permissions = Permissions { configure: self.configure, write: self.write, read: self.read };
        Record::Permission(PermissionRecord { user: self.user, vhost: self.vhost, permissions })
    }
}

impl TopicPermissionDefinition {
    fn record(self) -> Record {
        let permission = TopicPermission { exchange: self.exchange, write: self.write, read: self.read };
        Record::TopicPermission(TopicPermissionRecord { user: self.user, vhost: self.vhost, permission })
    }
}

impl ExchangeDefinition {
    fn record(self) -> Result<Record, DefinitionsError> {
        let arguments = self.arguments.table(&self.name)?;
        let id = stored_id(self.store_id).unwrap_or(0);
        let Self { name, vhost, kind, durable, auto_delete, internal, .. } = self;
        Ok(Record::Exchange(ExchangeRecord { vhost, name, kind, durable, auto_delete, internal, arguments, id }))
    }
}

impl QueueDefinition {
    fn record(self) -> Result<Record, DefinitionsError> {
        let arguments = self.arguments.table(&self.name)?;
        let id = match stored_id(self.store_id) {
            Some(id) => id,
            None => new_store_id().map_err(|e| DefinitionsError::Number(self.name.clone(), e))?,
        };
        let Self { name, vhost, durable, auto_delete, .. } = self;
        Ok(Record::Queue(QueueRecord { vhost, name, durable, auto_delete, arguments, id }))
    }
}

fn stored_id(text: Option<String>) -> Option<u64> {
    text.and_then(|id| u64::from_str_radix(&id, 16).ok()).filter(|id| *id != 0)
}

impl BindingDefinition {
    fn record(self) -> Result<Record, DefinitionsError> {
        let arguments = self.arguments.table(&self.destination)?;
        let to_exchange = self.destination_type == DestinationType::Exchange;
        let Self { source, vhost, destination, routing_key: key, .. } = self;
        Ok(Record::Binding(BindingRecord { vhost, source, destination, to_exchange, key, arguments }))
    }
}

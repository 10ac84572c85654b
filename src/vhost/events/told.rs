//! The events of commands: what is told of each object, by RabbitMQ's names.

use serde_json::Value as Json;

use super::Event;
use crate::auth::User;
use crate::frames::{Table, Value};
use crate::persist::record::{
    BindingRecord, ExchangeRecord, PermissionRecord, PolicyRecord, QueueRecord, TopicPermissionRecord,
    VhostLimitsRecord, VhostRecord,
};

pub fn vhost_created(record: &VhostRecord) -> Event {
    Event::new("vhost.created")
        .text("name", &record.name)
        .flag("tracing", false)
        .text("description", &record.description)
        .texts("tags", record.tags.iter().map(String::as_str))
        .text("default_queue_type", record.default_queue_type.as_deref().unwrap_or("undefined"))
}

pub fn vhost_deleted(name: &str) -> Event {
    Event::new("vhost.deleted").text("name", name)
}

pub fn exchange_created(record: &ExchangeRecord, policy: Option<&str>) -> Event {
    Event::new("exchange.created")
        .text("name", &record.name)
        .text("vhost", &record.vhost)
        .text("type", &record.kind)
        .flag("durable", record.durable)
        .flag("auto_delete", record.auto_delete)
        .flag("internal", record.internal)
        .arguments("arguments", &record.arguments)
        .text("policy", policy.unwrap_or_default())
}

pub fn exchange_deleted(vhost: &str, name: &str) -> Event {
    Event::new("exchange.deleted").text("name", name).text("vhost", vhost)
}

/// `owner` names the connection of an exclusive queue.
pub fn queue_created(record: &QueueRecord, owner: Option<&str>) -> Event {
    Event::new("queue.created")
        .text("name", &record.name)
        .text("vhost", &record.vhost)
        .flag("durable", record.durable)
        .flag("auto_delete", record.auto_delete)
        .arguments("arguments", &record.arguments)
        .text("owner_pid", owner.unwrap_or_default())
        .flag("exclusive", owner.is_some())
}

pub fn queue_deleted(vhost: &str, name: &str) -> Event {
    Event::new("queue.deleted").text("name", name).text("vhost", vhost)
}

/// A consumer whose queue is deleted.
pub fn consumer_ended(vhost: &str, queue: &str, tag: &[u8], channel: &str) -> Event {
    Event::new("consumer.deleted")
        .text("consumer_tag", tag)
        .text("channel", channel)
        .text("queue", queue)
        .text("vhost", vhost)
}

pub fn binding(key: &'static str, record: &BindingRecord) -> Event {
    Event::new(key)
        .text("source_name", &record.source)
        .text("vhost", &record.vhost)
        .text("source_kind", "exchange")
        .text("destination_name", &record.destination)
        .text("destination_kind", if record.to_exchange { "exchange" } else { "queue" })
        .text("routing_key", &record.key)
        .arguments("arguments", &record.arguments)
}

pub fn policy_set(record: &PolicyRecord) -> Event {
    Event::new("policy.set")
        .text("name", &record.name)
        .text("vhost", &record.vhost)
        .text("pattern", &record.pattern)
        .text("apply-to", record.apply_to.name())
        .number("priority", record.priority)
        .with("definition", &definition(record))
}

pub fn policy_cleared(record: &PolicyRecord) -> Event {
    let key = if record.operator { "operator.policy.cleared" } else { "policy.cleared" };
    Event::new(key).text("name", &record.name).text("vhost", &record.vhost)
}

/// An operator policy is a parameter as well.
pub fn operator_policy_set(record: &PolicyRecord) -> Event {
    let value: Table = [
        ("pattern", Value::text(&record.pattern)),
        ("definition", definition(record)),
        ("priority", Value::I64(record.priority)),
        ("apply-to", Value::text(record.apply_to.name())),
    ]
    .into_iter()
    .collect();
    parameter_set("operator_policy", &record.vhost, &record.name, &Value::Table(value))
}

pub fn parameter_set(component: &str, vhost: &str, name: &str, value: &Value) -> Event {
    let event = Event::new("parameter.set").text("component", component);
    event.text("name", name).text("vhost", vhost).with("value", value)
}

pub fn parameter_cleared(component: &str, vhost: &str, name: &str) -> Event {
    Event::new("parameter.cleared").text("component", component).text("name", name).text("vhost", vhost)
}

pub fn global_parameter_set(name: &str, value: &Value) -> Event {
    Event::new("parameter.set").text("component", "global").text("name", name).with("value", value)
}

pub fn global_parameter_cleared(name: &str) -> Event {
    Event::new("parameter.cleared").text("component", "global").text("name", name)
}

fn definition(record: &PolicyRecord) -> Value {
    from_text(&record.definition)
}

/// JSON as headers have it; what is none is no value.
pub fn from_text(json: &str) -> Value {
    serde_json::from_str(json).map_or(Value::Void, |json| from_json(&json))
}

fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Void,
        Json::Bool(on) => Value::Bool(*on),
        Json::Number(n) => n.as_i64().map_or_else(|| Value::F64(n.as_f64().unwrap_or_default()), Value::I64),
        Json::String(text) => Value::text(text),
        Json::Array(items) => Value::Array(items.iter().map(from_json).collect()),
        Json::Object(entries) => Value::Table(entries.iter().map(|(k, v)| (k.as_str(), from_json(v))).collect()),
    }
}

/// What is different about a user that is put, in RabbitMQ's order.
pub fn user_put(user: &User, before: Option<&User>) -> Vec<Event> {
    let event = |key| Event::new(key).text("name", &user.name);
    let mut events = Vec::new();
    match before {
        None => events.push(event("user.created")),
        Some(before) if before.password_hash != user.password_hash => {
            let key = if user.password_hash.is_some() { "user.password.changed" } else { "user.password.cleared" };
            events.push(event(key));
        }
        Some(_) => {}
    }
    if before.is_none_or(|before| before.tags != user.tags) {
        events.push(event("user.tags.set").texts("tags", user.tags.iter().map(String::as_str)));
    }
    events
}

pub fn user_deleted(name: &str) -> Event {
    Event::new("user.deleted").text("name", name)
}

pub fn permission_created(record: &PermissionRecord) -> Event {
    let permissions = &record.permissions;
    permission("permission.created", &record.user, &record.vhost)
        .text("configure", &permissions.configure)
        .text("write", &permissions.write)
        .text("read", &permissions.read)
}

pub fn topic_permission_created(record: &TopicPermissionRecord) -> Event {
    permission("topic.permission.created", &record.user, &record.vhost)
        .text("exchange", &record.permission.exchange)
        .text("write", &record.permission.write)
        .text("read", &record.permission.read)
}

/// The beginning of an event about permissions, or all of it.
pub fn permission(key: &'static str, user: &str, vhost: &str) -> Event {
    Event::new(key).text("user", user).text("vhost", vhost)
}

pub fn vhost_limits_set(record: &VhostLimitsRecord) -> Event {
    let limits = [("max-connections", record.max_connections), ("max-queues", record.max_queues)];
    with_limits(Event::new("vhost.limits.set").text("name", "limits").text("vhost", &record.vhost), limits)
}

pub fn vhost_limits_cleared(vhost: &str) -> Event {
    Event::new("vhost.limits.cleared").text("name", "limits").text("vhost", vhost)
}

/// The limits of a user; without any they are cleared.
pub fn user_limits(user: &User) -> Event {
    let limits = [("max-connections", user.max_connections), ("max-channels", user.max_channels)];
    let is_set = limits.iter().any(|(_, limit)| limit.is_some());
    let key = if is_set { "user.limits.set" } else { "user.limits.cleared" };
    with_limits(Event::new(key).text("name", "limits").text("username", &user.name), limits)
}

fn with_limits(event: Event, limits: [(&str, Option<i64>); 2]) -> Event {
    limits.into_iter().fold(event, |event, (name, limit)| match limit {
        Some(limit) => event.number(name, limit),
        None => event,
    })
}

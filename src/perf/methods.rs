//! The methods that a client sends while it sets up, with everything that is always the same filled in.

use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable, ShortString};

use crate::frames::{Table, Value};

use super::options::Argument;
use super::uri::Uri;

/// A name of at most 255 bytes; the options are checked to make no longer ones.
fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap_or_default()
}

fn table(entries: impl IntoIterator<Item = (String, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(short(&key), value);
    }
    table
}

pub fn start_ok(uri: &Uri) -> AMQPClass {
    let yes = |names: &[&str]| table(names.iter().map(|n| ((*n).to_owned(), AMQPValue::Boolean(true))));
    let capabilities = yes(&[
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "publisher_confirms",
    ]);
    let text = |value: &str| AMQPValue::LongString(value.into());
    let client_properties = table([
        ("product".into(), text("leveret perf")),
        ("version".into(), text(env!("CARGO_PKG_VERSION"))),
        ("capabilities".into(), AMQPValue::FieldTable(capabilities)),
    ]);
    AMQPClass::Connection(connection::AMQPMethod::StartOk(connection::StartOk {
        client_properties,
        mechanism: short("PLAIN"),
        response: format!("\0{}\0{}", uri.user, uri.password).into(),
        locale: short("en_US"),
    }))
}

pub fn tune_ok(channel_max: u16, frame_max: u32, heartbeat: u16) -> AMQPClass {
    let ok = connection::TuneOk { channel_max, frame_max, heartbeat };
    AMQPClass::Connection(connection::AMQPMethod::TuneOk(ok))
}

pub fn open(vhost: &str) -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::Open(connection::Open { virtual_host: short(vhost) }))
}

pub fn close() -> AMQPClass {
    let close = connection::Close { reply_code: 200, reply_text: short("the run is over"), class_id: 0, method_id: 0 };
    AMQPClass::Connection(connection::AMQPMethod::Close(close))
}

pub fn close_ok() -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}))
}

pub fn channel_open() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}))
}

pub fn flow_ok(active: bool) -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::FlowOk(channel::FlowOk { active }))
}

pub fn confirm_select() -> AMQPClass {
    AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false }))
}

pub fn qos(prefetch_count: u16) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Qos(basic::Qos { prefetch_count, global: false }))
}

/// Without an answer: the next thing to come may be a delivery, and an error closes the channel anyway.
pub fn consume(queue: &str, tag: &str, no_ack: bool) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: short(queue),
        consumer_tag: short(tag),
        no_local: false,
        no_ack,
        exclusive: false,
        nowait: true,
        arguments: FieldTable::default(),
    }))
}

/// How queues are declared throughout a run.
#[derive(Clone, Debug)]
pub struct QueueShape {
    pub durable: bool,
    pub arguments: Vec<(String, Argument)>,
}

impl QueueShape {
    pub fn declare(&self, name: &str) -> AMQPClass {
        let arguments = self.arguments.iter().map(|(key, value)| (key.clone(), argument(value)));
        declare_queue(name, self.durable, false, table(arguments))
    }
}

/// Asks for a queue that must exist.
pub fn inspect_queue(name: &str) -> AMQPClass {
    declare_queue(name, false, true, FieldTable::default())
}

fn declare_queue(name: &str, durable: bool, passive: bool, arguments: FieldTable) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: short(name),
        passive,
        durable,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments,
    }))
}

fn argument(value: &Argument) -> AMQPValue {
    match value {
        Argument::Int(n) => AMQPValue::LongLongInt(*n),
        Argument::Bool(b) => AMQPValue::Boolean(*b),
        Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
    }
}

pub fn delete_queue(name: &str) -> AMQPClass {
    let delete = queue::Delete { queue: short(name), if_unused: false, if_empty: false, nowait: false };
    AMQPClass::Queue(queue::AMQPMethod::Delete(delete))
}

pub fn declare_exchange(name: &str, kind: &str) -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: short(name),
        kind: short(kind),
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: FieldTable::default(),
    }))
}

pub fn delete_exchange(name: &str) -> AMQPClass {
    let delete = exchange::Delete { exchange: short(name), if_unused: false, nowait: false };
    AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete))
}

pub fn bind(queue: &str, exchange: &str, key: &str, arguments: &Table) -> AMQPClass {
    let arguments = arguments.iter().filter_map(|(k, v)| Some((k.to_owned(), binding_argument(v)?)));
    AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short(key),
        nowait: false,
        arguments: table(arguments),
    }))
}

/// The kinds of values that the bindings of a run have.
fn binding_argument(value: &Value) -> Option<AMQPValue> {
    match value {
        Value::LongStr(bytes) => Some(AMQPValue::LongString(bytes.clone().into())),
        Value::I32(n) => Some(AMQPValue::LongInt(*n)),
        _ => None,
    }
}

//! Methods as a client sends them: `queue_declare("q").durable().arg("x-expires", 1000)`.

use leveret::frames::{Table, Value};

/// One method with its arguments. On the wire every method has plain fields first, then flags, then a table.
#[derive(Clone, Debug)]
pub struct Method {
    pub class: u16,
    pub method: u16,
    fields: Vec<u8>,
    flags: &'static [&'static str],
    set: u8,
    table: Option<Table>,
}

impl Method {
    pub fn new(class: u16, method: u16) -> Self {
        Self { class, method, fields: vec![], flags: &[], set: 0, table: None }
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.fields.extend(bytes);
        self
    }

    pub fn octet(self, n: u8) -> Self {
        self.bytes(&[n])
    }

    pub fn short(self, n: u16) -> Self {
        self.bytes(&n.to_be_bytes())
    }

    pub fn long(self, n: u32) -> Self {
        self.bytes(&n.to_be_bytes())
    }

    pub fn longlong(self, n: u64) -> Self {
        self.bytes(&n.to_be_bytes())
    }

    /// A shortstr; bytes, since tests also send what is no UTF-8.
    pub fn text(self, s: impl AsRef<[u8]>) -> Self {
        let s = s.as_ref();
        self.octet(u8::try_from(s.len()).expect("a shortstr")).bytes(s)
    }

    pub fn long_text(self, s: impl AsRef<[u8]>) -> Self {
        let s = s.as_ref();
        self.long(u32::try_from(s.len()).expect("a longstr")).bytes(s)
    }

    pub fn table(mut self, table: Table) -> Self {
        self.table = Some(table);
        self
    }

    /// Names the bits of the flags octet, lowest first.
    fn flags(mut self, names: &'static [&'static str]) -> Self {
        self.flags = names;
        self
    }

    fn flag(mut self, name: &str) -> Self {
        let bit = self.flags.iter().position(|n| *n == name).unwrap_or_else(|| panic!("no flag {name} here"));
        self.set |= 1 << bit;
        self
    }

    /// Adds an argument to the table.
    pub fn arg(mut self, key: &str, value: impl IntoValue) -> Self {
        self.table.as_mut().expect("a method with arguments").insert(key, value.into_value());
        self
    }

    /// The payload of the method frame.
    pub fn payload(&self) -> Vec<u8> {
        let mut out = [self.class.to_be_bytes(), self.method.to_be_bytes()].concat();
        out.extend(&self.fields);
        if !self.flags.is_empty() {
            out.push(self.set);
        }
        if let Some(table) = &self.table {
            table.encode(&mut out);
        }
        out
    }
}

macro_rules! flags {
    ($($name:ident)*) => {
        impl Method { $(pub fn $name(self) -> Self { self.flag(stringify!($name)) })* }
    };
}
flags! { passive durable exclusive auto_delete internal nowait if_unused if_empty no_local no_ack }
flags! { global mandatory immediate multiple requeue active }

/// What can be an argument's or a header's value.
pub trait IntoValue {
    fn into_value(self) -> Value;
}

macro_rules! values {
    ($($from:ty => $variant:ident)*) => {
        $(impl IntoValue for $from { fn into_value(self) -> Value { Value::$variant(self) } })*
    };
}
values! { bool => Bool i8 => I8 u8 => U8 i16 => I16 u16 => U16 i32 => I32 u32 => U32 i64 => I64 f64 => F64 Table => Table }

impl IntoValue for &str {
    fn into_value(self) -> Value {
        Value::text(self)
    }
}

impl IntoValue for &String {
    fn into_value(self) -> Value {
        Value::text(self)
    }
}

impl IntoValue for Value {
    fn into_value(self) -> Value {
        self
    }
}

impl<const N: usize> IntoValue for [&str; N] {
    fn into_value(self) -> Value {
        Value::Array(self.iter().map(Value::text).collect())
    }
}

// connection and channel

pub fn start_ok(properties: Table, mechanism: &str, response: &[u8]) -> Method {
    // The table comes first here, so it is written as a plain field.
    let mut table = vec![];
    properties.encode(&mut table);
    Method::new(10, 11).bytes(&table).text(mechanism).long_text(response).text("en_US")
}

pub fn tune_ok(channel_max: u16, frame_max: u32, heartbeat: u16) -> Method {
    Method::new(10, 31).short(channel_max).long(frame_max).short(heartbeat)
}

pub fn connection_open(vhost: &str) -> Method {
    Method::new(10, 40).text(vhost).text("").flags(&["insist"])
}

pub fn connection_close() -> Method {
    Method::new(10, 50).short(200).text("bye").short(0).short(0)
}

pub fn connection_close_ok() -> Method {
    Method::new(10, 51)
}

pub fn update_secret(secret: &str) -> Method {
    Method::new(10, 70).long_text(secret).text("a reason")
}

pub fn channel_open() -> Method {
    Method::new(20, 10).text("")
}

pub fn channel_flow() -> Method {
    Method::new(20, 20).flags(&["active"])
}

pub fn channel_close() -> Method {
    Method::new(20, 40).short(200).text("bye").short(0).short(0)
}

pub fn channel_close_ok() -> Method {
    Method::new(20, 41)
}

pub fn access_request(realm: &str) -> Method {
    Method::new(30, 10).text(realm).flags(&["exclusive", "passive", "active", "write", "read"])
}

// exchange

pub fn exchange_declare(name: &str, kind: &str) -> Method {
    let flags = &["passive", "durable", "auto_delete", "internal", "nowait"];
    Method::new(40, 10).short(0).text(name).text(kind).flags(flags).table(Table::default())
}

pub fn exchange_delete(name: &str) -> Method {
    Method::new(40, 20).short(0).text(name).flags(&["if_unused", "nowait"])
}

pub fn exchange_bind(destination: &str, source: &str, key: &str) -> Method {
    exchange_binding(30, destination, source, key)
}

pub fn exchange_unbind(destination: &str, source: &str, key: &str) -> Method {
    exchange_binding(40, destination, source, key)
}

fn exchange_binding(method: u16, destination: &str, source: &str, key: &str) -> Method {
    let names = Method::new(40, method).short(0).text(destination).text(source).text(key);
    names.flags(&["nowait"]).table(Table::default())
}

// queue

pub fn queue_declare(name: &str) -> Method {
    let flags = &["passive", "durable", "exclusive", "auto_delete", "nowait"];
    Method::new(50, 10).short(0).text(name).flags(flags).table(Table::default())
}

pub fn queue_bind(queue: &str, exchange: &str, key: &str) -> Method {
    let names = Method::new(50, 20).short(0).text(queue).text(exchange).text(key);
    names.flags(&["nowait"]).table(Table::default())
}

pub fn queue_unbind(queue: &str, exchange: &str, key: &str) -> Method {
    Method::new(50, 50).short(0).text(queue).text(exchange).text(key).table(Table::default())
}

pub fn queue_purge(queue: &str) -> Method {
    Method::new(50, 30).short(0).text(queue).flags(&["nowait"])
}

pub fn queue_delete(queue: &str) -> Method {
    Method::new(50, 40).short(0).text(queue).flags(&["if_unused", "if_empty", "nowait"])
}

// basic

pub fn basic_qos(prefetch: u16) -> Method {
    basic_qos_size(0, prefetch)
}

pub fn basic_qos_size(size: u32, prefetch: u16) -> Method {
    Method::new(60, 10).long(size).short(prefetch).flags(&["global"])
}

pub fn basic_consume(queue: &str, tag: &str) -> Method {
    let flags = &["no_local", "no_ack", "exclusive", "nowait"];
    Method::new(60, 20).short(0).text(queue).text(tag).flags(flags).table(Table::default())
}

pub fn basic_cancel(tag: &str) -> Method {
    Method::new(60, 30).text(tag).flags(&["nowait"])
}

pub fn basic_publish(exchange: &str, key: &str) -> Method {
    Method::new(60, 40).short(0).text(exchange).text(key).flags(&["mandatory", "immediate"])
}

pub fn basic_get(queue: &str) -> Method {
    Method::new(60, 70).short(0).text(queue).flags(&["no_ack"])
}

pub fn basic_ack(tag: u64) -> Method {
    Method::new(60, 80).longlong(tag).flags(&["multiple"])
}

pub fn basic_reject(tag: u64) -> Method {
    Method::new(60, 90).longlong(tag).flags(&["requeue"])
}

pub fn basic_nack(tag: u64) -> Method {
    Method::new(60, 120).longlong(tag).flags(&["multiple", "requeue"])
}

pub fn basic_recover_async() -> Method {
    Method::new(60, 100).flags(&["requeue"])
}

pub fn basic_recover() -> Method {
    Method::new(60, 110).flags(&["requeue"])
}

// confirm and tx

pub fn confirm_select() -> Method {
    Method::new(85, 10).flags(&["nowait"])
}

pub fn tx_select() -> Method {
    Method::new(90, 10)
}

pub fn tx_commit() -> Method {
    Method::new(90, 20)
}

pub fn tx_rollback() -> Method {
    Method::new(90, 30)
}

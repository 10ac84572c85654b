//! The firehose: what `amq.rabbitmq.trace` is given for every message that is published or delivered while a vhost is
//! traced.
//!
//! An [`Entry`] has the traced message's body, and headers that tell what message it was and what became of it, with
//! the names and types that RabbitMQ gives them.

use super::MessageView;
use super::headers::{self, Fate};
use crate::frames::content::{Cut, named};
use crate::frames::method::split_route;
use crate::frames::table::{self, ValueRef};
use crate::frames::{Value, write};

/// The exchange that entries are published to.
pub const EXCHANGE: &str = "amq.rabbitmq.trace";

/// What happened to a message.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// It was published and routed to these queues.
    Publish {
        routed: &'a [&'a str],
    },
    Deliver {
        queue: &'a str,
        redelivered: bool,
    },
}

/// Whose doing it was.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub node: &'a str,
    pub vhost: &'a str,
    /// The connection's name.
    pub connection: &'a str,
    pub channel: u16,
    pub user: &'a str,
}

/// What is published to the exchange, beside the traced message's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Vec<u8>,
    pub properties: Vec<u8>,
}

/// The entry for an event; `None` for messages that are entries themselves.
pub fn entry(message: MessageView<'_>, event: Event<'_>, origin: &Origin<'_>) -> Option<Entry> {
    let (exchange, _) = split_route(message.route);
    if exchange == EXCHANGE.as_bytes() {
        return None;
    }
    let key = match event {
        Event::Publish { .. } => [b"publish.", exchange].concat(),
        Event::Deliver { queue, .. } => [b"deliver.", queue.as_bytes()].concat(),
    };
    let mut headers = Vec::new();
    table::put_entry(&mut headers, "exchange_name", &Value::LongStr(exchange.to_vec()));
    table::put_entry(&mut headers, "routing_keys", &routing_keys(message));
    write::short(&mut headers, b"properties");
    table::put_long(&mut headers, b'F', &properties(message.properties));
    let mut put = |name, value| table::put_entry(&mut headers, name, &value);
    put("node", Value::text(origin.node));
    if let Event::Deliver { redelivered, .. } = event {
        put("redelivered", Value::I32(redelivered.into()));
    }
    put("vhost", Value::text(origin.vhost));
    put("connection", Value::text(origin.connection));
    put("channel", Value::I32(origin.channel.into()));
    put("user", Value::text(origin.user));
    if let Event::Publish { routed } = event {
        put("routed_queues", Value::Array(routed.iter().map(Value::text).collect()));
    }
    Some(Entry { key, properties: Cut::default().close(Some(&headers), None) })
}

/// The message's own key, and those of CC and BCC.
fn routing_keys(message: MessageView<'_>) -> Value {
    let (_, own) = split_route(message.route);
    let inside = Cut::open(message.properties).ok().and_then(|cut| cut.headers).unwrap_or_default();
    let listed = |name| headers::routing_keys(inside, name).unwrap_or_default().into_iter().map(Value::text);
    Value::Array(std::iter::once(Value::LongStr(own.to_vec())).chain(listed(b"CC")).chain(listed(b"BCC")).collect())
}

/// The inside of a table of all properties. The headers keep their bytes but for those that nobody is shown.
fn properties(list: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(list.len() + 64);
    for (name, value) in named(list).unwrap_or_default() {
        write::short(&mut out, name.as_bytes());
        match value {
            ValueRef::Table(inside) => {
                let fate = |key: &[u8], _: ValueRef<'_>| if headers::is_hidden(key) { Fate::Goes } else { Fate::Stays };
                table::put_long(&mut out, b'F', &headers::rewritten(inside, fate));
            }
            ValueRef::LongStr(text) => table::put_long(&mut out, b'S', text),
            ValueRef::Timestamp(seconds) => {
                headers::integer(i64::try_from(seconds).unwrap_or(i64::MAX)).encode(&mut out);
            }
            other => headers::integer(headers::number(other).unwrap_or_default()).encode(&mut out),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frames::{Properties, Table};

    const ORIGIN: Origin<'_> = Origin { node: "n@h", vhost: "/", connection: "a -> b", channel: 3, user: "guest" };

    fn headers_of(entry: &Entry) -> Table {
        Table::parse(Properties::parse(&entry.properties).unwrap().headers.unwrap()).unwrap()
    }

    fn table(entries: &[(&str, Value)]) -> Table {
        entries.iter().cloned().collect()
    }

    fn texts(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(Value::text).collect())
    }

    /// Content type, headers, delivery mode, timestamp, cluster id.
    fn list() -> Vec<u8> {
        let mut bytes = vec![0b1011_0000, 0b0100_0100, 1, b't'];
        table(&[("CC", texts(&["c"])), ("BCC", texts(&["b"])), ("a", Value::I8(1))]).encode(&mut bytes);
        bytes.push(2);
        bytes.extend(5_000_000_000_u64.to_be_bytes());
        bytes.extend([1, b'c']);
        bytes
    }

    #[test]
    fn e117_a_publish_is_told_with_all_that_rabbitmq_tells() {
        let properties = list();
        let message =
            MessageView { route: b"\x01e\x01k", properties: &properties, body: b"", ..MessageView::default() };
        let entry = entry(message, Event::Publish { routed: &["q1", "q2"] }, &ORIGIN).unwrap();
        assert_eq!(entry.key, b"publish.e");
        let shown = table(&[
            ("content_type", Value::text("t")),
            ("headers", Value::Table(table(&[("CC", texts(&["c"])), ("a", Value::I8(1))]))),
            ("delivery_mode", Value::I32(2)),
            ("timestamp", Value::I64(5_000_000_000)),
            ("cluster_id", Value::text("c")),
        ]);
        let expected = table(&[
            ("exchange_name", Value::text("e")),
            ("routing_keys", texts(&["k", "c", "b"])),
            ("properties", Value::Table(shown)),
            ("node", Value::text("n@h")),
            ("vhost", Value::text("/")),
            ("connection", Value::text("a -> b")),
            ("channel", Value::I32(3)),
            ("user", Value::text("guest")),
            ("routed_queues", texts(&["q1", "q2"])),
        ]);
        assert_eq!(headers_of(&entry), expected);
    }

    #[test]
    fn e117_a_delivery_names_its_queue() {
        let message = MessageView { route: b"\0\x01q", properties: &[0, 0], body: b"", ..MessageView::default() };
        let entry = entry(message, Event::Deliver { queue: "q", redelivered: true }, &ORIGIN).unwrap();
        assert_eq!(entry.key, b"deliver.q");
        let headers = headers_of(&entry);
        assert_eq!(headers.get("redelivered"), Some(&Value::I32(1)));
        assert_eq!(headers.get("exchange_name"), Some(&Value::text("")));
        assert_eq!(headers.get("properties"), Some(&Value::Table(Table::default())));
        assert_eq!(headers.get("routed_queues"), None);
    }

    #[test]
    fn e117_what_is_told_is_not_told_again() {
        let message = MessageView {
            route: b"\x12amq.rabbitmq.trace\x09publish.e",
            properties: &[0, 0],
            body: b"",
            ..MessageView::default()
        };
        assert_eq!(entry(message, Event::Deliver { queue: "q", redelivered: false }, &ORIGIN), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_told_without_harm(properties in any::<Vec<u8>>(), route in any::<Vec<u8>>()) {
            let message = MessageView { route: &route, properties: &properties, body: b"", ..MessageView::default() };
            let entry = entry(message, Event::Publish { routed: &[] }, &ORIGIN).unwrap();
            prop_assert!(Properties::parse(&entry.properties).is_ok());
        }
    }
}

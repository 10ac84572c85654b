//! What has happened in the broker, as it is published to the exchange `amq.rabbitmq.event`: a routing key, and headers
//! with the names and types that RabbitMQ gives them. Such a message has no body.

use crate::frames::{Table, Value, table};

/// The exchange that events are published to.
pub const EXCHANGE: &str = "amq.rabbitmq.event";

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The routing key, such as `queue.created`.
    pub key: &'static str,
    /// The inside of the table of headers.
    headers: Vec<u8>,
}

impl Event {
    pub fn new(key: &'static str) -> Self {
        Self { key, headers: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &Value) -> Self {
        table::put_entry(&mut self.headers, name, value);
        self
    }

    #[must_use]
    pub fn text(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        self.with(name, &Value::LongStr(text.as_ref().to_vec()))
    }

    #[must_use]
    pub fn flag(self, name: &str, on: bool) -> Self {
        self.with(name, &Value::Bool(on))
    }

    #[must_use]
    pub fn number(self, name: &str, n: impl Into<i64>) -> Self {
        self.with(name, &Value::I64(n.into()))
    }

    #[must_use]
    pub fn texts<'a>(self, name: &str, texts: impl Iterator<Item = &'a str>) -> Self {
        self.with(name, &Value::Array(texts.map(Value::text).collect()))
    }

    /// A table that clients have given, as RabbitMQ shows it: a list of its entries, each written as a term.
    #[must_use]
    pub fn arguments(self, name: &str, arguments: &Table) -> Self {
        let terms = arguments.iter().map(|(key, value)| Value::LongStr(term(key.as_bytes(), value).into_bytes()));
        self.with(name, &Value::Array(terms.collect()))
    }

    /// The event's property list; `at` is when it happened, in milliseconds since 1970.
    pub fn properties(&self, at: u64) -> Vec<u8> {
        const HEADERS_MODE_TIMESTAMP: [u8; 2] = 0x3040_u16.to_be_bytes();
        let mut headers = self.headers.clone();
        table::put_entry(&mut headers, "timestamp_in_ms", &Value::I64(i64::try_from(at).unwrap_or(i64::MAX)));
        let mut out = HEADERS_MODE_TIMESTAMP.to_vec();
        // What is told of an object is not much longer than the frames that it was declared with.
        out.extend(u32::try_from(headers.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(headers);
        out.push(2);
        out.extend((at / 1000).to_be_bytes());
        out
    }
}

/// `{<<"key">>,type,value}`
fn term(key: &[u8], value: &Value) -> String {
    format!("{{{},{},{}}}", binary(key), value.type_name(), shown(value))
}

fn shown(value: &Value) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.join(","));
    match value {
        Value::Bool(on) => on.to_string(),
        Value::I8(n) => n.to_string(),
        Value::U8(n) => n.to_string(),
        Value::I16(n) => n.to_string(),
        Value::U16(n) => n.to_string(),
        Value::I32(n) => n.to_string(),
        Value::U32(n) => n.to_string(),
        Value::I64(n) => n.to_string(),
        Value::Timestamp(n) => n.to_string(),
        Value::F32(n) => format!("{n:?}"),
        Value::F64(n) => format!("{n:?}"),
        Value::Decimal(scale, n) => format!("{{{scale},{n}}}"),
        Value::LongStr(text) | Value::Bytes(text) => binary(text),
        Value::Array(items) => {
            list(items.iter().map(|item| format!("{{{},{}}}", item.type_name(), shown(item))).collect())
        }
        Value::Table(table) => list(table.iter().map(|(key, value)| term(key.as_bytes(), value)).collect()),
        Value::Void => "undefined".to_owned(),
    }
}

/// A text between quotes where it can be shown, otherwise its bytes.
fn binary(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => {
            format!("<<\"{}\">>", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
        _ => format!("<<{}>>", bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::Properties;

    #[test]
    fn an_event_has_its_time_and_its_headers() {
        let event = Event::new("queue.created").text("name", "q").flag("durable", true).number("n", 3);
        let bytes = event.properties(1_700_000_000_123);
        let properties = Properties::parse(&bytes).unwrap();
        assert!(properties.is_persistent());
        let headers = Table::parse(properties.headers.unwrap()).unwrap();
        assert_eq!(headers.get("name"), Some(&Value::text("q")));
        assert_eq!(headers.get("durable"), Some(&Value::Bool(true)));
        assert_eq!(headers.get("n"), Some(&Value::I64(3)));
        assert_eq!(headers.get("timestamp_in_ms"), Some(&Value::I64(1_700_000_000_123)));
        assert!(bytes.ends_with(&1_700_000_000_u64.to_be_bytes()));
    }

    #[test]
    fn arguments_are_shown_as_rabbitmq_shows_them() {
        let inner: Table = [("ok", Value::Bool(true))].into_iter().collect();
        let arguments: Table = [
            ("x-max-length", Value::I64(5)),
            ("alternate-exchange", Value::text("a\"e")),
            ("capabilities", Value::Table(inner)),
            ("list", Value::Array(vec![Value::I32(-1), Value::Void])),
            ("raw", Value::LongStr(vec![0, 255])),
        ]
        .into_iter()
        .collect();
        let event = Event::new("queue.created").arguments("arguments", &arguments);
        let bytes = event.properties(0);
        let headers = Table::parse(Properties::parse(&bytes).unwrap().headers.unwrap()).unwrap();
        let expected = [
            "{<<\"x-max-length\">>,long,5}",
            "{<<\"alternate-exchange\">>,longstr,<<\"a\\\"e\">>}",
            "{<<\"capabilities\">>,table,[{<<\"ok\">>,bool,true}]}",
            "{<<\"list\">>,array,[{signedint,-1},{void,undefined}]}",
            "{<<\"raw\">>,longstr,<<0,255>>}",
        ];
        assert_eq!(headers.get("arguments"), Some(&Value::Array(expected.iter().map(Value::text).collect())));
    }
}

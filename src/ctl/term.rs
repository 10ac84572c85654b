//! A value in a list: what the HTTP API says in JSON, with what it loses on the way to RabbitMQ's terminal output: whether
//! a word is an atom, whether an object is an AMQP table.

use std::fmt;

use serde_json::{Map, Number, Value as Json};

use crate::visible::visible;

/// A value as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// Nothing: an empty cell.
    Absent,
    Bool(bool),
    Number(Number),
    /// A string, `<<"...">>` in Erlang's notation.
    Text(String),
    /// A word, without quotes wherever it stands.
    Atom(String),
    List(Vec<Term>),
    /// An AMQP table.
    Table(Vec<(String, Term)>),
    /// A definition, which is shown as JSON.
    Object(Map<String, Json>),
}

/// How a value of the HTTP API is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// Strings are words.
    Atoms,
    /// Objects are AMQP tables.
    Table,
    /// An AMQP version, written `{0,9,1}`.
    Protocol,
    /// The pid of a channel's connection, which differs from the channel's in the last number only.
    Connection,
    /// Objects stay JSON.
    Json,
    /// The names of objects in a list, or of one.
    Names,
}

impl Term {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn read(value: &Json, kind: Kind) -> Self {
        match (value, kind) {
            (Json::Null, _) => Self::Absent,
            (Json::Bool(value), _) => Self::Bool(*value),
            (Json::Number(value), _) => Self::Number(value.clone()),
            (Json::String(text), Kind::Atoms) => Self::Atom(text.clone()),
            (Json::String(text), Kind::Protocol) => Self::Atom(protocol(text)),
            (Json::String(text), Kind::Connection) => Self::Text(connection(text)),
            (Json::String(text), _) => Self::Text(text.clone()),
            (Json::Object(object), Kind::Names) => object.get("name").map_or(Self::Absent, |n| Self::read(n, kind)),
            // What has no arguments is an empty list in some answers.
            (Json::Array(items), Kind::Table) if items.is_empty() => Self::Table(Vec::new()),
            (Json::Array(items), _) => Self::List(items.iter().map(|item| Self::read(item, kind)).collect()),
            (Json::Object(object), Kind::Json) => Self::Object(object.clone()),
            (Json::Object(object), _) => {
                Self::Table(object.iter().map(|(name, value)| (name.clone(), Self::read(value, Kind::Table))).collect())
            }
        }
    }

    /// As a cell of a table.
    pub fn cell(&self) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Text(text) | Self::Atom(text) => visible(text),
            Self::List(items) if items.iter().all(|item| matches!(item, Self::Atom(_))) => {
                let words: Vec<_> = items.iter().map(Self::cell).collect();
                format!("[{}]", words.join(", "))
            }
            Self::Object(object) => Json::Object(object.clone()).to_string(),
            other => other.nested().to_string(),
        }
    }

    /// As it stands inside another.
    fn nested(&self) -> Nested<'_> {
        Nested(self)
    }

    /// In Erlang's notation.
    pub fn erlang(&self) -> String {
        match self {
            Self::Absent => "''".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(text) => format!("<<{}>>", quoted(text)),
            Self::Atom(text) => text.clone(),
            Self::List(items) => format!("[{}]", joined(items.iter().map(Self::erlang))),
            Self::Table(pairs) => {
                let pair = |(name, value): &(String, Self)| {
                    format!("{{<<{}>>,{},{}}}", quoted(name), value.amqp_type(), value.erlang())
                };
                format!("[{}]", joined(pairs.iter().map(pair)))
            }
            Self::Object(object) => format!("<<{}>>", quoted(&Json::Object(object.clone()).to_string())),
        }
    }

    /// As JSON; AMQP tables are lists of name, type and value.
    pub fn json(&self) -> Json {
        match self {
            Self::Absent => Json::String(String::new()),
            Self::Bool(value) => Json::Bool(*value),
            Self::Number(value) => Json::Number(value.clone()),
            Self::Text(text) | Self::Atom(text) => Json::String(text.clone()),
            Self::List(items) => Json::Array(items.iter().map(Self::json).collect()),
            Self::Table(pairs) => {
                let triple = |(name, value): &(String, Self)| {
                    Json::Array(vec![name.as_str().into(), value.amqp_type().into(), value.json()])
                };
                Json::Array(pairs.iter().map(triple).collect())
            }
            Self::Object(object) => Json::Object(object.clone()),
        }
    }

    /// The AMQP type that a value most probably had: JSON does not say which width a number came in.
    fn amqp_type(&self) -> &'static str {
        match self {
            Self::Absent => "void",
            Self::Bool(_) => "bool",
            Self::Number(number) => match number.as_i64() {
                Some(value) if i32::try_from(value).is_ok() => "signedint",
                Some(_) => "long",
                None => "double",
            },
            Self::Text(_) | Self::Atom(_) => "longstr",
            Self::List(_) => "array",
            Self::Table(_) | Self::Object(_) => "table",
        }
    }
}

struct Nested<'a>(&'a Term);

impl fmt::Display for Nested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Term::Text(text) => f.write_str(&quoted(text)),
            Term::List(items) => write!(f, "[{}]", joined(items.iter().map(|item| item.nested().to_string()))),
            Term::Table(pairs) => {
                let pair = |(name, value): &(String, Term)| format!("{{{},{}}}", quoted(name), value.nested());
                write!(f, "[{}]", joined(pairs.iter().map(pair)))
            }
            other => f.write_str(&other.erlang()),
        }
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", visible(&text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// `<node.1.7.0>` for the channel `<node.1.7.3>`.
fn connection(channel: &str) -> String {
    channel.rsplit_once('.').map_or_else(|| channel.to_owned(), |(start, _)| format!("{start}.0>"))
}

/// `AMQP 0-9-1` as `{0,9,1}`.
fn protocol(text: &str) -> String {
    text.strip_prefix("AMQP ").map_or_else(|| text.to_owned(), |version| format!("{{{}}}", version.replace('-', ",")))
}

#[cfg(test)]
mod tests;

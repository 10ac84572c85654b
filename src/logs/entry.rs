//! One thing that has happened, and its forms.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::time::stamp;
use crate::config::LogLevel;

/// Longest text of an entry, in bytes; the rest is cut off.
pub const LONGEST: usize = 8 << 10;

/// One thing that has happened.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Microseconds since 1970.
    pub at: u64,
    pub level: LogLevel,
    /// What lines show as category.
    pub category: String,
    pub is_audit: bool,
    /// Not for the log exchange: publishing to it has said it.
    pub is_apart: bool,
    pub text: String,
    pub fields: Vec<(&'static str, Value)>,
}

impl Entry {
    /// Something that happens now.
    pub fn now(level: LogLevel, text: String) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64);
        Self { at, level, category: "default".to_owned(), is_audit: false, is_apart: false, text, fields: Vec::new() }
    }

    /// A line for people: time, level, category, text, as RabbitMQ writes them, which has a process where the category is.
    pub fn plain(&self) -> String {
        let mut line = format!("{} [{}] <{}> ", stamp(self.at), self.level.name(), self.category);
        escape(&mut line, &self.text);
        for (name, value) in &self.fields {
            let _ = write!(line, " {name}={value}");
        }
        line
    }

    /// The same as JSON.
    pub fn json(&self) -> String {
        let mut object = Map::new();
        object.insert("time".to_owned(), stamp(self.at).into());
        if !self.is_audit {
            object.insert("level".to_owned(), self.level.name().into());
            object.insert("domain".to_owned(), format!("rabbitmq.{}", self.category).into());
        }
        for (name, value) in &self.fields {
            object.insert((*name).to_owned(), value.clone());
        }
        let text = if self.is_audit { "what" } else { "msg" };
        object.insert(text.to_owned(), self.text.clone().into());
        Value::Object(object).to_string()
    }
}

/// One entry is one line, whatever names clients have thought of.
fn escape(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
}

/// At most that many bytes of a text.
pub fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_json() {
        let entry = Entry {
            at: 1_700_000_000_123_456,
            level: LogLevel::Warning,
            category: "channel".to_owned(),
            is_audit: false,
            is_apart: false,
            text: "no queue 'a\nb\"'".to_owned(),
            fields: vec![("code", 404.into())],
        };
        assert_eq!(entry.plain(), "2023-11-14 22:13:20.123456+00:00 [warning] <channel> no queue 'a\\nb\"' code=404");
        let json: Value = serde_json::from_str(&entry.json()).unwrap();
        assert_eq!(json["msg"], "no queue 'a\nb\"'");
        assert_eq!(
            (&json["level"], &json["domain"], &json["code"]),
            (&"warning".into(), &"rabbitmq.channel".into(), &404.into())
        );
        assert!(!entry.json().contains('\n'));
        assert_eq!(cut("ä".repeat(LONGEST)).len(), LONGEST + 3);
    }
}

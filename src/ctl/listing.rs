//! The columns of lists: how they are called, and where the HTTP API has them.

use super::term::{Kind, Term};
use serde_json::{Map, Value as Json};

/// A column that a list can show.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    /// The field of the HTTP API, with dots between the names of nested ones.
    pub field: &'static str,
    pub kind: Kind,
}

impl Column {
    /// A column that is called like its field.
    pub const fn plain(name: &'static str) -> Self {
        Self { name, field: name, kind: Kind::Plain }
    }

    pub const fn of(name: &'static str, field: &'static str) -> Self {
        Self { name, field, kind: Kind::Plain }
    }

    pub const fn as_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Its value in an object.
    pub fn term(&self, object: &Map<String, Json>) -> Term {
        // Some fields have dots in their own names.
        if let Some(value) = object.get(self.field) {
            return Term::read(value, self.kind);
        }
        let mut names = self.field.split('.');
        let mut found = names.next().and_then(|name| object.get(name));
        for name in names {
            found = found.and_then(|value| value.get(name));
        }
        found.map_or(Term::Absent, |value| Term::read(value, self.kind))
    }
}

/// The columns that are asked for, by words that may hold several with commas between; the given ones when there are none.
pub fn chosen(columns: &'static [Column], words: &[String], default: &[&str]) -> Vec<&'static Column> {
    let named: Vec<&str> = words.iter().flat_map(|word| word.split(',')).filter(|name| !name.is_empty()).collect();
    let names = if named.is_empty() { default } else { &named };
    names.iter().filter_map(|name| columns.iter().find(|column| column.name == *name)).collect()
}

/// What to ask the HTTP API for: the fields of the columns, each once.
pub fn fields(columns: &[&Column]) -> String {
    let mut fields: Vec<&str> = Vec::new();
    for column in columns {
        if !fields.contains(&column.field) {
            fields.push(column.field);
        }
    }
    fields.join(",")
}

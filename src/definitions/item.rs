//! One item of a file, read field by field: what is missing or of a wrong type is noted with item and field.

use serde_json::{Map, Value as Json};

use super::problem::Problem;
use crate::frames::Table;
use crate::persist::definitions::{checked_table, decode_arguments};

/// Longest name of anything: AMQP's short strings.
const LONGEST_NAME: usize = 255;

/// An item.
pub struct Item<'a> {
    /// As problems call it.
    what: String,
    fields: &'a Map<String, Json>,
    /// The virtual host of an item that names none.
    scope: Option<&'a str>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Item<'a> {
    pub fn new(
        what: String,
        fields: &'a Map<String, Json>,
        scope: Option<&'a str>,
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        Self { what, fields, scope, problems }
    }

    /// An object in it, read as a part of it.
    pub fn inside<'b>(&'b mut self, fields: &'b Map<String, Json>) -> Item<'b> {
        Item { what: self.what.clone(), fields, scope: None, problems: self.problems }
    }

    /// Notes what is wrong with a field.
    pub fn wrong<T>(&mut self, field: &str, reason: impl Into<String>) -> Option<T> {
        let (item, reason) = (self.what.clone(), reason.into());
        self.problems.push(Problem { item, field: Some(field.to_owned()), reason });
        None
    }

    /// Notes what is wrong with it as a whole.
    pub fn wrong_as_a_whole<T>(&mut self, reason: impl Into<String>) -> Option<T> {
        self.problems.push(Problem { item: self.what.clone(), field: None, reason: reason.into() });
        None
    }

    /// A field that is there; RabbitMQ writes `undefined` or null for some that are not.
    pub fn get(&self, field: &str) -> Option<&'a Json> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    pub fn text(&mut self, field: &str) -> Option<String> {
        match self.get(field) {
            Some(Json::String(text)) => Some(text.clone()),
            Some(other) => self.wrong(field, expected("a string", other)),
            None => self.wrong(field, "it is missing"),
        }
    }

    pub fn text_or(&mut self, field: &str, default: &str) -> Option<String> {
        if self.get(field).is_none() { Some(default.to_owned()) } else { self.text(field) }
    }

    /// A name as AMQP can carry it.
    pub fn name(&mut self, field: &str) -> Option<String> {
        let name = self.text(field)?;
        self.check_length(field, name)
    }

    /// A name that is not empty.
    pub fn full_name(&mut self, field: &str) -> Option<String> {
        match self.name(field)?.as_str() {
            "" => self.wrong(field, "it is empty"),
            name => Some(name.to_owned()),
        }
    }

    pub fn name_or(&mut self, field: &str, default: &str) -> Option<String> {
        let name = self.text_or(field, default)?;
        self.check_length(field, name)
    }

    fn check_length(&mut self, field: &str, name: String) -> Option<String> {
        if name.len() <= LONGEST_NAME {
            return Some(name);
        }
        self.wrong(field, format!("it has {} bytes, a name has {LONGEST_NAME} at most", name.len()))
    }

    pub fn vhost(&mut self) -> Option<String> {
        match self.scope {
            Some(vhost) => Some(vhost.to_owned()),
            None => self.name("vhost"),
        }
    }

    pub fn flag_or(&mut self, field: &str, default: bool) -> Option<bool> {
        match self.get(field) {
            None => Some(default),
            Some(Json::Bool(flag)) => Some(*flag),
            Some(other) => self.wrong(field, expected("true or false", other)),
        }
    }

    /// An object; RabbitMQ writes an empty one as an empty list in places.
    pub fn object_or_empty(&mut self, field: &str) -> Option<Map<String, Json>> {
        match self.get(field) {
            None => Some(Map::new()),
            Some(Json::Object(map)) => Some(map.clone()),
            Some(Json::Array(items)) if items.is_empty() => Some(Map::new()),
            Some(other) => self.wrong(field, expected("an object", other)),
        }
    }

    /// Tags: a list, or one string with commas between them, as before RabbitMQ 3.9.
    pub fn tags(&mut self, field: &str) -> Option<Vec<String>> {
        match self.get(field) {
            None => Some(Vec::new()),
            Some(Json::String(text)) => {
                Some(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect())
            }
            Some(Json::Array(items)) => {
                let tags: Option<_> = items.iter().map(|tag| tag.as_str().map(str::to_owned)).collect();
                tags.or_else(|| self.wrong(field, "expected a list of strings"))
            }
            Some(other) => self.wrong(field, expected("a list of strings", other)),
        }
    }

    /// A limit in an object of limits.
    pub fn limit(&mut self, field: &str, limits: &Map<String, Json>, key: &str) -> Option<Option<i64>> {
        match limits.get(key) {
            None | Some(Json::Null) => Some(None),
            Some(value) => match value.as_i64() {
                Some(limit) => Some(Some(limit)),
                None => self.wrong(&format!("{field}.{key}"), expected("an integer", value)),
            },
        }
    }

    /// The arguments of a declaration.
    pub fn arguments(&mut self) -> Option<Table> {
        if let Some(encoded) = self.get("arguments_amqp") {
            let table = encoded.as_str().and_then(decode_arguments);
            return table.or_else(|| self.wrong("arguments_amqp", "it is not a table in AMQP's encoding, base64"));
        }
        let json = self.object_or_empty("arguments")?;
        checked_table(&json).map_err(|why| self.wrong::<Table>("arguments", why)).ok()
    }
}

pub fn expected(what: &str, found: &Json) -> String {
    let kind = match found {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    };
    format!("expected {what}, got {kind}")
}

//! Tables in JSON: as RabbitMQ writes them, and beside that exactly where JSON loses something.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::DefinitionsError;
use crate::frames::table::MAX_DEPTH;
use crate::frames::{Table, Value};

/// Longest key of a table, in bytes: AMQP's short strings.
const LONGEST_KEY: usize = 255;

/// The arguments of a declaration.
#[derive(Serialize, Deserialize)]
pub struct Arguments {
    arguments: serde_json::Map<String, Json>,
    /// The inside of the table in AMQP's encoding, base64; it counts where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arguments_amqp: Option<String>,
}

impl Arguments {
    /// With everything that JSON does not keep.
    pub fn exact(table: &Table) -> Self {
        Self::beside(table, is_plain_table(table))
    }

    /// With what JSON would change the meaning of: whether an integer is short or long does not count, nor their order.
    pub fn meant(table: &Table) -> Self {
        Self::beside(table, means_the_same_table(table))
    }

    fn beside(table: &Table, is_kept: bool) -> Self {
        let arguments_amqp = (!is_kept).then(|| {
            let mut encoded = Vec::new();
            table.encode(&mut encoded);
            // Without the length before it.
            STANDARD.encode(encoded.get(4..).unwrap_or_default())
        });
        Self { arguments: table_to_json(table), arguments_amqp }
    }

    /// The table of what is called `of` in errors.
    pub fn table(&self, of: &str) -> Result<Table, DefinitionsError> {
        let unreadable = || DefinitionsError::Arguments(of.to_owned());
        match &self.arguments_amqp {
            Some(encoded) => decode_arguments(encoded).ok_or_else(unreadable),
            None => Ok(table_from_json(&self.arguments)),
        }
    }
}

/// The table of what stands in `arguments_amqp`.
pub fn decode_arguments(encoded: &str) -> Option<Table> {
    Table::parse(&STANDARD.decode(encoded).ok()?).ok()
}

/// Whether a table comes back from JSON as it was. Most integers of clients are shorter than the `long` that JSON's become.
fn is_plain_table(table: &Table) -> bool {
    let mut last: Option<&str> = None;
    table.iter().all(|(key, value)| last.replace(key).is_none_or(|last| last < key) && is_plain(value))
}

fn is_plain(value: &Value) -> bool {
    match value {
        Value::Bool(_) | Value::I64(_) | Value::Void => true,
        Value::LongStr(bytes) => std::str::from_utf8(bytes).is_ok(),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Table(table) => is_plain_table(table),
        _ => false,
    }
}

fn means_the_same_table(table: &Table) -> bool {
    table.iter().all(|(_, value)| means_the_same(value))
}

fn means_the_same(value: &Value) -> bool {
    match value {
        // A number that is not finite has no JSON, and one that is whole comes back as an integer.
        Value::F64(v) => v.is_finite() && v.fract() != 0.0,
        Value::F32(_) | Value::Decimal(..) | Value::Timestamp(_) | Value::Bytes(_) => false,
        Value::Array(items) => items.iter().all(means_the_same),
        Value::Table(table) => means_the_same_table(table),
        Value::LongStr(bytes) => std::str::from_utf8(bytes).is_ok(),
        _ => true,
    }
}

/// As RabbitMQ shows a table in JSON.
pub fn table_to_json(table: &Table) -> serde_json::Map<String, Json> {
    let mut json = serde_json::Map::new();
    for (key, value) in table.iter() {
        // Where a key occurs twice, the first one counts.
        json.entry(key).or_insert_with(|| to_json(value));
    }
    json
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Bool(v) => (*v).into(),
        Value::F32(v) => (*v).into(),
        Value::F64(v) => (*v).into(),
        Value::Decimal(scale, v) => (f64::from(*v) / 10f64.powi(i32::from(*scale))).into(),
        Value::LongStr(bytes) | Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Timestamp(v) => (*v).into(),
        Value::Table(table) => Json::Object(table_to_json(table)),
        Value::Void => Json::Null,
        integer => integer.as_int().into(),
    }
}

/// The table that JSON stands for, when AMQP can carry it.
///
/// # Errors
/// Why it cannot.
pub fn checked_table(json: &serde_json::Map<String, Json>) -> Result<Table, String> {
    if depth(json.values()) > MAX_DEPTH {
        return Err(format!("it is nested more than {MAX_DEPTH} deep"));
    }
    if let Some(key) = longest_key(json).filter(|key| key.len() > LONGEST_KEY) {
        let start: String = key.chars().take(40).collect();
        return Err(format!("its key '{start}...' has more than {LONGEST_KEY} bytes"));
    }
    Ok(table_from_json(json))
}

/// How deep values are nested; the parser of JSON has bounded that.
pub fn depth<'a>(values: impl Iterator<Item = &'a Json>) -> usize {
    let below = |value: &Json| match value {
        Json::Array(items) => depth(items.iter()),
        Json::Object(map) => depth(map.values()),
        _ => 0,
    };
    values.map(|value| 1 + below(value)).max().unwrap_or(0)
}

fn longest_key(json: &serde_json::Map<String, Json>) -> Option<&str> {
    fn inside(value: &Json) -> Option<&str> {
        match value {
            Json::Array(items) => items.iter().filter_map(inside).max_by_key(|key| key.len()),
            Json::Object(map) => longest_key(map),
            _ => None,
        }
    }
    let keys = json.iter().flat_map(|(key, value)| [Some(key.as_str()), inside(value)]);
    keys.flatten().max_by_key(|key| key.len())
}

/// The table that JSON stands for; its integers are long.
pub fn table_from_json(json: &serde_json::Map<String, Json>) -> Table {
    json.iter().map(|(key, value)| (key.as_str(), from_json(value))).collect()
}

fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Void,
        Json::Bool(v) => Value::Bool(*v),
        Json::Number(n) => n.as_i64().map_or_else(|| Value::F64(n.as_f64().unwrap_or(f64::NAN)), Value::I64),
        Json::String(text) => Value::text(text),
        Json::Array(items) => Value::Array(items.iter().map(from_json).collect()),
        Json::Object(table) => Value::Table(table_from_json(table)),
    }
}

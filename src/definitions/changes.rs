//! What differs between an object as it is and as it shall be, field by field.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::persist::Record;
use crate::persist::definitions::{Detail, item};

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    pub field: String,
    pub from: Json,
    pub to: Json,
}

/// The fields that differ. The hash of a password is never shown.
pub fn changes(from: &Record, to: &Record) -> Vec<FieldChange> {
    let (from, to) = (fields(from), fields(to));
    let mut names: Vec<_> = from.keys().chain(to.keys()).cloned().collect();
    names.sort();
    names.dedup();
    let value = |fields: &Map<String, Json>, name: &str| fields.get(name).cloned().unwrap_or_default();
    let differs = names.into_iter().filter_map(|field| {
        let (from, to) = (value(&from, &field), value(&to, &field));
        if from == to {
            return None;
        }
        let is_secret = field == "password_hash";
        let shown = |value: Json| if is_secret { "(hidden)".into() } else { value };
        Some(FieldChange { field, from: shown(from), to: shown(to) })
    });
    differs.collect()
}

/// The fields of an item, those inside of others among them by their whole names.
fn fields(record: &Record) -> Map<String, Json> {
    let mut flat = Map::new();
    if let Ok(Json::Object(fields)) = item(record.clone(), Detail::Shared) {
        for (name, value) in fields {
            match value {
                // Description and tags of a virtual host stand beside it too.
                Json::Object(inside) if name == "metadata" => {
                    inside.into_iter().for_each(|(name, value)| drop(flat.insert(name, value)));
                }
                Json::Object(inside) => {
                    inside.into_iter().for_each(|(key, value)| drop(flat.insert(format!("{name}.{key}"), value)));
                }
                value => drop(flat.insert(name, value)),
            }
        }
    }
    flat
}

//! The body of a request as an object of known fields, read with errors that name the field.

use serde_json::{Map, Value as Json};

use super::ApiError;
use crate::frames::Table;
use crate::persist::definitions::checked_table;

/// The fields of a body.
pub struct Fields(Map<String, Json>);

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn wrong(name: &str, expected: &str, value: &Json) -> ApiError {
    ApiError::bad_request(format!("field '{name}' should be {expected}, but is {}", kind(value)))
}

/// What the path says already: `rabbitmqadmin` says it in the body too, of every object.
const OF_THE_PATH: [&str; 5] = ["vhost", "name", "user", "exchange", "queue"];

impl Fields {
    /// # Errors
    /// 400 when there is another field than these, so that a misspelt one is not taken for one that was left out.
    pub fn known(fields: Map<String, Json>, names: &[&str]) -> Result<Self, ApiError> {
        let is_known = |key: &str| names.contains(&key) || OF_THE_PATH.contains(&key);
        match fields.keys().find(|key| !is_known(key)) {
            None => Ok(Self(fields)),
            Some(other) => {
                let names = names.join(", ");
                Err(ApiError::bad_request(format!("unknown field '{other}'; known ones are {names}")))
            }
        }
    }

    /// A field that is there and not null.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A field, taken out.
    pub fn take(&mut self, name: &str) -> Option<Json> {
        self.0.remove(name)
    }

    /// # Errors
    /// 400 for what is no string.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let value = self.get(name);
        value.map(|value| value.as_str().ok_or_else(|| wrong(name, "a string", value))).transpose()
    }

    /// # Errors
    /// 400 when it is missing, or no string.
    pub fn needed_text(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// A boolean, or the words `true` and `false`.
    ///
    /// # Errors
    /// 400 for everything else.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let flag = |value: &Json| match value {
            Json::Bool(flag) => Ok(*flag),
            Json::String(text) if text == "true" => Ok(true),
            Json::String(text) if text == "false" || text.is_empty() => Ok(false),
            other => Err(wrong(name, "true or false", other)),
        };
        self.get(name).map(flag).transpose()
    }

    /// A whole number, or the digits of one.
    ///
    /// # Errors
    /// 400 for everything else.
    pub fn int(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let int = |value: &Json| {
            let found = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
            found.ok_or_else(|| wrong(name, "a whole number", value))
        };
        self.get(name).map(int).transpose()
    }

    /// # Errors
    /// 400 for what is no object. An empty list is an empty object, as PHP writes one.
    pub fn object(&self, name: &str) -> Result<Map<String, Json>, ApiError> {
        match self.get(name) {
            None => Ok(Map::new()),
            Some(Json::Object(object)) => Ok(object.clone()),
            Some(Json::Array(list)) if list.is_empty() => Ok(Map::new()),
            Some(other) => Err(wrong(name, "an object", other)),
        }
    }

    /// An object as the arguments of a declaration.
    ///
    /// # Errors
    /// 400 for what is no object, or cannot be carried by AMQP.
    pub fn table(&self, name: &str) -> Result<Table, ApiError> {
        table(name, &self.object(name)?)
    }

    /// A list of strings, or one string with commas.
    ///
    /// # Errors
    /// 400 for everything else.
    pub fn words(&self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let words = |value: &Json| match value {
            Json::String(text) => Ok(split(text)),
            Json::Array(items) => {
                let words = items.iter().map(|item| item.as_str().map(str::to_owned));
                words.collect::<Option<_>>().ok_or_else(|| wrong(name, "a list of strings", value))
            }
            other => Err(wrong(name, "a list of strings", other)),
        };
        self.get(name).map(words).transpose()
    }
}

/// The arguments of a declaration that were found in a field.
///
/// # Errors
/// 400 for what cannot be carried by AMQP.
pub fn table(name: &str, object: &Map<String, Json>) -> Result<Table, ApiError> {
    checked_table(object).map_err(|why| ApiError::bad_request(format!("field '{name}': {why}")))
}

/// That a field is missing.
pub fn missing(name: &str) -> ApiError {
    ApiError::bad_request(format!("field '{name}' is missing"))
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(json: &Json) -> Fields {
        Fields(json.as_object().unwrap().clone())
    }

    #[test]
    fn values_of_tools_are_understood() {
        let fields =
            fields(&json!({ "n": "12", "on": "true", "tags": "a, b", "list": ["c"], "args": [], "none": null }));
        assert_eq!(fields.int("n").unwrap(), Some(12));
        assert_eq!(fields.flag("on").unwrap(), Some(true));
        assert_eq!(fields.words("tags").unwrap().unwrap(), ["a", "b"]);
        assert_eq!(fields.words("list").unwrap().unwrap(), ["c"]);
        assert!(fields.object("args").unwrap().is_empty());
        assert_eq!(fields.text("none").unwrap(), None);
    }

    #[test]
    fn errors_name_the_field() {
        let fields = fields(&json!({ "n": true, "list": [1], "text": 1, "args": "x" }));
        let errors = [
            fields.int("n").unwrap_err(),
            fields.words("list").unwrap_err(),
            fields.text("text").unwrap_err(),
            fields.object("args").unwrap_err(),
            fields.needed_text("more").unwrap_err(),
        ];
        let expected = [
            "field 'n' should be a whole number, but is a boolean",
            "field 'list' should be a list of strings, but is a list",
            "field 'text' should be a string, but is a number",
            "field 'args' should be an object, but is a string",
            "field 'more' is missing",
        ];
        assert_eq!(errors.map(|e| e.reason), expected);
    }
}

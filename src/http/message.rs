//! Messages in JSON, and properties from it, as RabbitMQ's HTTP API has them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use super::ApiError;
use crate::frames::method::split_route;
use crate::frames::{Table, Value, content};
use crate::message::MessageView;
use crate::persist::definitions::{checked_table, table_to_json};

/// How payloads are shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Also what is text is shown in base64.
    pub base64: bool,
    /// Most bytes of a payload.
    pub most: usize,
}

impl Shown {
    /// # Errors
    /// 400 for an encoding that is none.
    pub fn new(encoding: &str, truncate: Option<i64>) -> Result<Self, ApiError> {
        let base64 = match encoding {
            "auto" => false,
            "base64" => true,
            _ => return Err(ApiError::bad_request("Unsupported encoding. Please use auto or base64.")),
        };
        let most = match truncate {
            None => usize::MAX,
            Some(most) => usize::try_from(most)
                .map_err(|_| ApiError::bad_request(format!("truncate should be 0 or more, but is {most}")))?,
        };
        Ok(Self { base64, most })
    }

    /// What every list shows of a message.
    pub fn message(self, view: MessageView<'_>, properties: &[u8]) -> Map<String, Json> {
        let (exchange, key) = split_route(view.route);
        let cut = view.body.get(..self.most).unwrap_or(view.body);
        let (payload, encoding) = match std::str::from_utf8(cut) {
            Ok(text) if !self.base64 => (text.to_owned(), "string"),
            _ => (STANDARD.encode(cut), "base64"),
        };
        let pairs = [
            ("payload_bytes", json!(view.body.len())),
            ("exchange", String::from_utf8_lossy(exchange).into()),
            ("routing_key", String::from_utf8_lossy(key).into()),
            ("properties", properties_to_json(properties)),
            ("payload", payload.into()),
            ("payload_encoding", encoding.into()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// The properties that a message has, by name.
fn properties_to_json(properties: &[u8]) -> Json {
    let named = content::named(properties).unwrap_or_default();
    let owned = named.into_iter().filter_map(|(name, value)| Some((name, value.to_owned().ok()?)));
    Json::Object(table_to_json(&owned.collect::<Table>()))
}

/// Properties as they lie in a message.
///
/// # Errors
/// 400 for one that does not exist, or cannot have its value.
pub fn properties_from_json(properties: &Map<String, Json>) -> Result<Vec<u8>, ApiError> {
    let table = checked_table(properties).map_err(|why| ApiError::bad_request(format!("field 'properties': {why}")))?;
    let given: Vec<_> =
        table.iter().filter(|(_, value)| **value != Value::Void).map(|(name, value)| (name, value.clone())).collect();
    content::list(&given).map_err(|e| ApiError::bad_request(e.to_string()))
}

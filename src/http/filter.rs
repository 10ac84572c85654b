//! Which messages of a queue are meant: by routing key, exchange, headers, message-id and age.

use super::ApiError;
use super::call::Query;
use crate::auth::Pattern;
use crate::frames::method::split_route;
use crate::frames::{Properties, Value, table};
use crate::queue::inventory::Listed;

/// The conditions of a query; all of them must hold.
#[derive(Default)]
pub struct Filter {
    key: Option<Pattern>,
    exchange: Option<String>,
    /// Name and value, which is compared as text.
    headers: Vec<(String, String)>,
    message_id: Option<String>,
    /// Milliseconds since they were published.
    min_age: Option<u64>,
    max_age: Option<u64>,
    positions: Vec<u64>,
}

/// What a query may say: conditions, then which of those messages are taken, and how they are shown.
const KNOWN: &[&str] = &[
    "key",
    "exchange",
    "header",
    "message_id",
    "min_age",
    "max_age",
    "position",
    "from",
    "count",
    "truncate",
    "encoding",
];

impl Filter {
    /// A name that is not known is refused: a condition that is misspelt would take messages that nobody meant.
    ///
    /// # Errors
    /// 400 that names the condition which cannot be understood.
    pub fn parse(query: &Query) -> Result<Self, ApiError> {
        if let Some(other) = query.other_than(KNOWN) {
            return Err(ApiError::bad_request(format!(
                "unknown parameter '{other}'; known ones are {}",
                KNOWN.join(", ")
            )));
        }
        let bad = |name: &str, expected: &str| ApiError::bad_request(format!("'{name}' should be {expected}"));
        let age = |name: &str| -> Result<Option<u64>, ApiError> {
            let Some(text) = query.get(name) else { return Ok(None) };
            let seconds: f64 = text.parse().map_err(|_| bad(name, "a number of seconds"))?;
            if !(0.0..1e12).contains(&seconds) {
                return Err(bad(name, "a number of seconds from 0 on"));
            }
            Ok(Some((seconds * 1000.0) as u64))
        };
        let header = |text: &str| {
            let (name, value) = text.split_once(':').ok_or_else(|| bad("header", "NAME:VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        let position = |text: &str| text.parse().map_err(|_| bad("position", "a whole number"));
        let key = query.get("key").map(Pattern::new).transpose();
        Ok(Self {
            key: key.map_err(|e| bad("key", &format!("a regular expression: {e}")))?,
            exchange: query.get("exchange").map(str::to_owned),
            headers: query.all("header").map(header).collect::<Result<_, ApiError>>()?,
            message_id: query.get("message_id").map(str::to_owned),
            min_age: age("min_age")?,
            max_age: age("max_age")?,
            positions: query.all("position").map(position).collect::<Result<_, ApiError>>()?,
        })
    }

    /// Whether every message is meant.
    pub fn is_empty(&self) -> bool {
        let Self { key, exchange, headers, message_id, min_age, max_age, positions } = self;
        let has_age = min_age.is_some() || max_age.is_some();
        key.is_none()
            && exchange.is_none()
            && message_id.is_none()
            && headers.is_empty()
            && !has_age
            && positions.is_empty()
    }

    /// Whether a message is meant; `now` in milliseconds since 1970.
    pub fn takes(&self, listed: &Listed, now: u64) -> bool {
        let view = listed.message.view();
        let (exchange, key) = split_route(view.route);
        let age = now.saturating_sub(listed.message.traits().at);
        (self.positions.is_empty() || self.positions.contains(&listed.position))
            && self.min_age.is_none_or(|least| age >= least)
            && self.max_age.is_none_or(|most| age <= most)
            && self.exchange.as_ref().is_none_or(|name| name.as_bytes() == exchange)
            && self.key.as_ref().is_none_or(|pattern| std::str::from_utf8(key).is_ok_and(|key| pattern.matches(key)))
            && self.has_properties(view.properties)
    }

    fn has_properties(&self, properties: &[u8]) -> bool {
        if self.headers.is_empty() && self.message_id.is_none() {
            return true;
        }
        let Ok(found) = Properties::parse(properties) else { return false };
        let headers = found.headers.unwrap_or_default();
        let has = |(name, expected): &(String, String)| {
            let value = table::find(headers, name.as_bytes()).and_then(|value| value.to_owned().ok());
            value.is_some_and(|value| match &value {
                Value::Bool(on) => on.to_string() == *expected,
                Value::F64(number) => number.to_string() == *expected,
                other => match (other.as_text(), other.as_int()) {
                    (Some(text), _) => text == *expected,
                    (None, number) => number.is_some_and(|number| number.to_string() == *expected),
                },
            })
        };
        self.message_id.as_ref().is_none_or(|id| found.message_id == Some(id.as_bytes()))
            && self.headers.iter().all(has)
    }
}

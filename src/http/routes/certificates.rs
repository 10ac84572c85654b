//! Whether a certificate of the node ends soon.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::health::{failed, ok};
use crate::config::{Config, TlsOptions};
use crate::http::route::Outcome;
use crate::http::{ApiError, Call, figures};
use crate::tls;

const DAY: u64 = 86_400;

/// Seconds of a unit of time.
fn seconds(unit: &str) -> Option<u64> {
    match unit {
        "days" => Some(DAY),
        "weeks" => Some(7 * DAY),
        "months" => Some(30 * DAY),
        "years" => Some(365 * DAY),
        _ => None,
    }
}

/// 503 with the files that have a certificate which ends within the time of the path.
pub fn check(call: &Call) -> Outcome {
    let text = call.path("within");
    let within: u64 = text.parse().map_err(|_| ApiError::bad_request(format!("'{text}' is not a whole number")))?;
    let unknown = || ApiError::bad_request("Time unit not recognised. Supported units: days, weeks, months, years.");
    let within = within.saturating_mul(seconds(call.path("unit")).ok_or_else(unknown)?);
    let until = (call.broker().clock.now_ms() / 1000).saturating_add(within);
    // With files that were named since the start.
    let config = call.broker().newest_config();
    let expired: Vec<Json> = call
        .http
        .node
        .listeners()
        .iter()
        .filter_map(|listener| {
            let options = options_of(&config, listener.protocol)?;
            let mut found = expiring(options.certfile.as_deref(), "certfile", until);
            found.extend(expiring(options.cacertfile.as_deref(), "cacertfile", until));
            if found.is_empty() {
                return None;
            }
            found.insert("node".to_owned(), call.http.node_name().into());
            found.insert("protocol".to_owned(), listener.protocol.into());
            found.insert("interface".to_owned(), listener.address.ip().to_string().into());
            found.insert("port".to_owned(), listener.address.port().to_string().into());
            Some(Json::Object(found))
        })
        .collect();
    match expired.is_empty() {
        true => ok(Json::Null),
        false => failed("Certificates expiring", json!({ "expired": expired })),
    }
}

/// The TLS options of the listeners of a protocol; none of those without TLS.
fn options_of<'a>(config: &'a Config, protocol: &str) -> Option<&'a TlsOptions> {
    match protocol {
        "amqp/ssl" => Some(&config.tls.options),
        "https" => Some(&config.management.ssl.tls),
        "https/prometheus" => Some(&config.prometheus.ssl.tls),
        _ => None,
    }
}

/// A file, when one of its certificates ends before a time or it cannot be read, and when they end.
fn expiring(file: Option<&Path>, kind: &str, until: u64) -> serde_json::Map<String, Json> {
    let Some(file) = file else { return serde_json::Map::new() };
    let ends = match tls::ends(file) {
        Ok(ends) if ends.iter().all(|end| *end > until) => return serde_json::Map::new(),
        Ok(ends) => ends.into_iter().map(|end| figures::time(end.saturating_mul(1000)).into()).collect(),
        Err(error) => vec![Json::from(error)],
    };
    [(kind.to_owned(), file.display().to_string().into()), (format!("{kind}_expires_on"), Json::Array(ends))]
        .into_iter()
        .collect()
}

//! Which origins' pages may call the API from a browser.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config::Management;

/// Adds what a browser asks for, when the request comes from an origin that is allowed. `is_preflight`: it asks first.
pub fn allow(config: &Management, request: &HeaderMap, answer: &mut HeaderMap, is_preflight: bool) {
    let Some(origin) = request.get(header::ORIGIN) else { return };
    if !config.cors_origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes()) {
        return;
    }
    let mut set = |name: HeaderName, value: &HeaderValue| answer.insert(name, value.clone());
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, &HeaderValue::from_static("true"));
    set(header::VARY, &HeaderValue::from_static("origin"));
    if !is_preflight {
        set(header::ACCESS_CONTROL_EXPOSE_HEADERS, &HeaderValue::from_static("location"));
        return;
    }
    if let Some(headers) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        set(header::ACCESS_CONTROL_ALLOW_HEADERS, headers);
    }
    if let Some(age) = config.cors_max_age {
        set(header::ACCESS_CONTROL_MAX_AGE, &HeaderValue::from(age.as_secs()));
    }
}

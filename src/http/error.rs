//! What a request is refused with, in RabbitMQ's form: a status, a word and a reason.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::answer::json_response;
use crate::frames::{Refusal, ReplyCode};

/// The realm that a client without credentials is told.
pub const REALM: &str = "Basic realm=\"RabbitMQ Management\"";

/// Why a request gets no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub status: StatusCode,
    pub error: &'static str,
    pub reason: String,
    /// The client is asked for credentials.
    pub asks: bool,
}

impl ApiError {
    pub fn new(status: StatusCode, error: &'static str, reason: impl Into<String>) -> Self {
        Self { status, error, reason: reason.into(), asks: false }
    }

    pub fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// The object that the path names is not there.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    /// Something else is not there.
    pub fn missing(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", reason)
    }

    /// The caller is known and may not.
    pub fn not_authorised(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorised", reason)
    }

    /// The caller is not known.
    pub fn not_authenticated() -> Self {
        let error = Self::new(StatusCode::UNAUTHORIZED, "not_authorized", "Not_Authorized");
        Self { asks: true, ..error }
    }

    pub fn method_not_allowed(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", reason)
    }

    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason)
    }

    pub fn internal(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", reason)
    }
}

/// A refusal of the broker, as RabbitMQ's HTTP API passes it on.
impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal.code {
            ReplyCode::NotFound => Self::missing(refusal.text),
            ReplyCode::AccessRefused => Self::not_authorised("Access refused."),
            ReplyCode::InternalError => Self::internal(refusal.text),
            _ => Self::bad_request(refusal.text),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &json!({ "error": self.error, "reason": self.reason }));
        if self.asks {
            let realm = axum::http::HeaderValue::from_static(REALM);
            response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, realm);
        }
        response
    }
}

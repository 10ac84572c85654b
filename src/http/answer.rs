//! What a route answers.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value as Json;

use super::ApiError;
use crate::vhost::Applied;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    content: Content,
    /// The change of the catalog that must be on disk before the client hears of it.
    pub(super) durable_at: Option<u64>,
}

#[derive(Debug)]
enum Content {
    Nothing,
    /// A media type, and what is of it.
    Text(&'static str, String),
    Stream(&'static str, Body),
}

impl Answer {
    fn new(status: StatusCode, content: Content) -> Self {
        Self { status, headers: Vec::new(), content, durable_at: None }
    }

    pub fn json(value: &impl Serialize) -> Result<Self, ApiError> {
        Self::json_with(StatusCode::OK, value)
    }

    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn json_with(status: StatusCode, value: &impl Serialize) -> Result<Self, ApiError> {
        let text = serde_json::to_string(value).map_err(|e| ApiError::internal(e.to_string()))?;
        Ok(Self::new(status, Content::Text("application/json", text)))
    }

    /// A text that is JSON already.
    pub fn json_text(text: String) -> Self {
        Self::new(StatusCode::OK, Content::Text("application/json", text))
    }

    pub fn html(page: impl Into<String>) -> Self {
        Self::new(StatusCode::OK, Content::Text("text/html; charset=utf-8", page.into()))
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::text_with(StatusCode::OK, text)
    }

    pub fn text_with(status: StatusCode, text: impl Into<String>) -> Self {
        Self::new(status, Content::Text("text/plain; charset=utf-8", text.into()))
    }

    /// What comes bit by bit.
    pub fn stream(media_type: &'static str, body: Body) -> Self {
        Self::new(StatusCode::OK, Content::Stream(media_type, body))
    }

    /// 201: there is a new object.
    pub fn created() -> Self {
        Self::new(StatusCode::CREATED, Content::Nothing)
    }

    /// 204: done.
    pub fn done() -> Self {
        Self::new(StatusCode::NO_CONTENT, Content::Nothing)
    }

    /// 201 for what is new, 204 for what was there.
    pub fn put(is_new: bool) -> Self {
        if is_new { Self::created() } else { Self::done() }
    }

    /// With another header. A value that cannot stand in one is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Given only once the change is on disk. Of several changes the last counts.
    #[must_use]
    pub fn after(mut self, applied: &Applied) -> Self {
        self.durable_at = self.durable_at.max(applied.durable_at);
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let (media_type, body) = match self.content {
            Content::Nothing => (None, Body::empty()),
            Content::Text(media_type, text) => (Some(media_type), Body::from(text)),
            Content::Stream(media_type, body) => (Some(media_type), body),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Some(media_type) = media_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        headers.extend(self.headers);
        response
    }
}

/// A small JSON text.
pub fn json_response(status: StatusCode, value: &Json) -> Response {
    let answer = Answer::new(status, Content::Text("application/json", value.to_string()));
    answer.into_response()
}

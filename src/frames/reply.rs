//! Reply codes: their numbers, their names, and whether they close a channel or the connection.

use serde::{Deserialize, Serialize};

macro_rules! reply_codes {
    ($($variant:ident = $code:literal $name:literal $scope:ident,)*) => {
        /// An AMQP 0-9-1 reply code (specification 1.2.2, names as RabbitMQ prints them).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ReplyCode { $($variant,)* }

        impl ReplyCode {
            /// The number on the wire.
            pub fn code(self) -> u16 {
                match self { $(Self::$variant => $code,)* }
            }

            /// The name that opens every reply text.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// True when an error of this code closes the connection, false when only the channel.
            pub fn is_hard(self) -> bool {
                match self { $(Self::$variant => reply_codes!(@$scope),)* }
            }
        }
    };
    (@channel) => { false };
    (@connection) => { true };
}

reply_codes! {
    ContentTooLarge = 311 "CONTENT_TOO_LARGE" channel,
    NoRoute = 312 "NO_ROUTE" channel,
    NoConsumers = 313 "NO_CONSUMERS" channel,
    ConnectionForced = 320 "CONNECTION_FORCED" connection,
    InvalidPath = 402 "INVALID_PATH" connection,
    AccessRefused = 403 "ACCESS_REFUSED" channel,
    NotFound = 404 "NOT_FOUND" channel,
    ResourceLocked = 405 "RESOURCE_LOCKED" channel,
    PreconditionFailed = 406 "PRECONDITION_FAILED" channel,
    FrameError = 501 "FRAME_ERROR" connection,
    SyntaxError = 502 "SYNTAX_ERROR" connection,
    CommandInvalid = 503 "COMMAND_INVALID" connection,
    ChannelError = 504 "CHANNEL_ERROR" connection,
    UnexpectedFrame = 505 "UNEXPECTED_FRAME" connection,
    ResourceError = 506 "RESOURCE_ERROR" connection,
    NotAllowed = 530 "NOT_ALLOWED" connection,
    NotImplemented = 540 "NOT_IMPLEMENTED" connection,
    InternalError = 541 "INTERNAL_ERROR" connection,
}

/// What the broker refuses, with the explanation that the client gets to read. Whether it closes the channel or the
/// connection follows from the code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} - {text}", code.name())]
pub struct Refusal {
    pub code: ReplyCode,
    pub text: String,
}

impl Refusal {
    pub fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub fn precondition_failed(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::PreconditionFailed, text)
    }

    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotFound, text)
    }

    pub fn access_refused(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::AccessRefused, text)
    }

    pub fn not_allowed(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotAllowed, text)
    }

    pub fn not_implemented(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotImplemented, text)
    }

    /// The text as it goes over the wire.
    pub fn reply_text(&self) -> String {
        reply_text(self.code, &self.text)
    }
}

/// `<CODE_NAME> - <explanation>`; what is longer than the 255 bytes of a shortstr is cut and ends in `...`.
pub fn reply_text(code: ReplyCode, explanation: &str) -> String {
    let mut text = format!("{} - {explanation}", code.name());
    if text.len() > 255 {
        let mut end = 252;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_a_character() {
        let text = reply_text(ReplyCode::NotFound, &"ä".repeat(200));
        assert!(text.len() <= 255 && text.len() >= 254);
        assert!(text.ends_with("ä..."));
        assert!(text.starts_with("NOT_FOUND - ä"));
    }
}

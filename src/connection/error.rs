//! What went wrong on a connection, and with which method.

use crate::frames::{DecodeError, FrameError, MethodId, Refusal, ReplyCode};

/// A refusal together with the method that caused it. It closes the channel or, for hard codes, the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub refusal: Refusal,
    pub method: MethodId,
}

impl Failure {
    pub fn new(refusal: Refusal, method: MethodId) -> Self {
        Self { refusal, method }
    }

    /// A frame arrived that the channel's state does not allow.
    pub fn unexpected_frame(text: impl Into<String>, method: MethodId) -> Self {
        Self::new(Refusal::new(ReplyCode::UnexpectedFrame, text), method)
    }

    pub fn channel_error(text: impl Into<String>, method: MethodId) -> Self {
        Self::new(Refusal::new(ReplyCode::ChannelError, text), method)
    }

    /// Bytes that cannot be decoded.
    pub fn undecodable(error: DecodeError, method: MethodId) -> Self {
        let refusal = match error {
            DecodeError::MalformedUtf8 => Refusal::new(ReplyCode::FrameError, "Malformed UTF-8 in shortstr"),
            DecodeError::UnknownMethod(..) => Refusal::new(ReplyCode::CommandInvalid, "unimplemented method"),
            other => Refusal::new(
                ReplyCode::FrameError,
                format!("cannot decode method {}.{}: {other}", method.class, method.method),
            ),
        };
        Self::new(refusal, method)
    }

    /// A stream that cannot be cut into frames.
    pub fn broken_stream(error: &FrameError) -> Self {
        Self::new(Refusal::new(ReplyCode::FrameError, error.to_string()), MethodId::NONE)
    }
}

//! Bytes to AMQP 0-9-1 and back. This floor knows nothing of queues, connections or the network.
//!
//! A read buffer goes through [`frame::split`], which cuts off one frame at a time without copying. A method frame's
//! payload goes to [`method::decode`]: publish, ack, nack, reject and get are decoded in place into borrowed slices;
//! every other ("cold") method is first checked byte by byte against its [`shape`] (lengths, UTF-8, table depth), so
//! that errors are exact and nothing recursive or unchecked is left, and is then handed to `amq-protocol` for its
//! typed form. Content headers are checked once by [`content::Properties::parse`] and their bytes are kept as they
//! came. Answers are appended to a byte buffer by [`write`].

pub mod content;
pub mod frame;
pub mod method;
pub mod reader;
pub mod reply;
pub mod shape;
pub mod table;
pub mod write;

pub use content::{ContentHeader, Properties};
pub use frame::{Frame, FrameError, FrameKind};
pub use method::{Method, MethodId};
pub use reader::{DecodeError, Reader};
pub use reply::{Refusal, ReplyCode};
pub use table::{Table, Value};

/// Smallest `frame_max` that a peer may negotiate (AMQP 0-9-1, section 4.2.2: frame-min-size).
pub const FRAME_MIN_SIZE: u32 = 4096;
/// Bytes that a frame adds to its payload: type, channel, size and the end octet.
pub const FRAME_OVERHEAD: usize = 8;
/// Hard limit of a message body in bytes, whatever the configuration says (as RabbitMQ's).
pub const BODY_HARD_LIMIT: u64 = 512 * 1024 * 1024;

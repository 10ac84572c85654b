//! One channel's protocol state: frames in, [`Input`]s and [`Failure`]s out. No I/O, no clock, no broker.
//!
//! A publish whose three parts lie one after the other in the read buffer is recognised by [`whole_publish`] without
//! touching any state. Everything else goes through [`Channel::receive`], which checks that frames come in an order that
//! the protocol allows and puts contents together. After the broker has sent `channel.close` ([`Channel::closing`])
//! everything but the client's answer is dropped.

use std::ops::Range;

use amq_protocol::protocol::{AMQPClass, channel};

use super::error::Failure;
use crate::frames::method::{self, Publish};
use crate::frames::{BODY_HARD_LIMIT, ContentHeader, Frame, FrameKind, Method, MethodId, Refusal, ReplyCode, frame};
use crate::message::memory::MemoryAccount;
use crate::message::{Layout, MessageView, Traits};

/// A publish with its content.
#[derive(Debug, PartialEq, Eq)]
pub struct Publication<'a> {
    pub mandatory: bool,
    pub immediate: bool,
    /// The body's size in bytes; the body itself is missing when it is over the limit.
    pub body_size: u64,
    pub content: Content<'a>,
}

/// The bytes of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// As it lies in the read buffer.
    InPlace { bytes: &'a [u8], layout: Layout },
    /// Put together from frames of several reads.
    Assembled { route: Vec<u8>, properties: Vec<u8>, body: Vec<u8> },
}

impl Content<'_> {
    pub fn view(&self) -> MessageView<'_> {
        match self {
            Self::InPlace { bytes, layout } => {
                let get = |r: &Range<u32>| bytes.get(r.start as usize..r.end as usize).unwrap_or_default();
                let (route, properties, body) = (get(&layout.route), get(&layout.properties), get(&layout.body));
                MessageView { route, properties, body, hidden: false }
            }
            Self::Assembled { route, properties, body } => MessageView { route, properties, body, hidden: false },
        }
    }
}

/// What a frame amounts to.
#[derive(Debug, PartialEq)]
pub enum Input<'a> {
    /// Nothing yet, or nothing that counts.
    Nothing,
    Open,
    /// The client closes the channel.
    Close,
    /// The client has confirmed the broker's close.
    CloseOk,
    /// The client closes a channel that the broker is closing: answer it, and go on waiting.
    CloseCrossed,
    Publish(Publication<'a>),
    Method(MethodId, Method<'a>),
}

#[derive(Debug)]
enum State {
    New,
    Open,
    /// Publish seen, header expected.
    Header(Announced),
    Body(Assembly),
    /// `channel.close` sent, `close-ok` expected.
    Closing,
}

#[derive(Debug)]
struct Announced {
    route: Vec<u8>,
    mandatory: bool,
    immediate: bool,
}

/// A content that is being put together. Its body is charged to the node's memory as it grows, never beforehand.
#[derive(Debug)]
struct Assembly {
    announced: Announced,
    properties: Vec<u8>,
    body: Vec<u8>,
    body_size: u64,
    received: u64,
    /// The body is over the limit: it is counted and not kept.
    discard: bool,
    memory: &'static MemoryAccount,
}

impl Drop for Assembly {
    fn drop(&mut self) {
        self.memory.sub(self.body.len());
    }
}

/// The protocol state of one channel.
#[derive(Debug)]
pub struct Channel {
    state: State,
    max_message_size: u64,
    memory: &'static MemoryAccount,
}

const HEADER_EXPECTED: &str = "expected content header for class 60, got non content header frame instead";
const BODY_EXPECTED: &str = "expected content body, got non content body frame instead";
const METHOD_EXPECTED: &str = "expected method frame, got non method frame instead";
const CHANNEL_OPEN: MethodId = MethodId::new(20, 10);

impl Channel {
    /// A channel whose number has been seen for the first time. `max_message_size` is in bytes.
    pub fn new(max_message_size: u64, memory: &'static MemoryAccount) -> Self {
        Self { state: State::New, max_message_size, memory }
    }

    /// True between publishes: [`whole_publish`] may be used.
    #[inline]
    pub fn is_between_contents(&self) -> bool {
        matches!(self.state, State::Open)
    }

    pub fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing)
    }

    /// Bytes of a body that has begun to arrive.
    pub fn assembling(&self) -> u64 {
        match &self.state {
            State::Body(assembly) => assembly.received,
            _ => 0,
        }
    }

    /// The broker has sent `channel.close`.
    pub fn closing(&mut self) {
        self.state = State::Closing;
    }

    /// Takes one frame of this channel.
    ///
    /// # Errors
    /// When the frame cannot be decoded or does not belong here. All of these close the connection.
    pub fn receive<'a>(&mut self, frame: Frame<'a>) -> Result<Input<'a>, Failure> {
        match &self.state {
            State::Closing => Ok(answer_while_closing(frame)),
            State::New => self.open(frame),
            State::Open => match frame.kind {
                FrameKind::Method => self.method(frame.payload),
                _ => Err(Failure::unexpected_frame(METHOD_EXPECTED, MethodId::NONE)),
            },
            State::Header(_) => self.header(frame),
            State::Body(_) => self.body(frame),
        }
    }

    fn open(&mut self, frame: Frame<'_>) -> Result<Input<'static>, Failure> {
        if frame.kind != FrameKind::Method {
            return Err(Failure::unexpected_frame(METHOD_EXPECTED, MethodId::NONE));
        }
        let id = method::id(frame.payload).map_err(|e| Failure::undecodable(e, MethodId::NONE))?;
        if id != CHANNEL_OPEN {
            return Err(Failure::channel_error("expected 'channel.open'", id));
        }
        method::decode(frame.payload).map_err(|e| Failure::undecodable(e, id))?;
        self.state = State::Open;
        Ok(Input::Open)
    }

    fn method<'a>(&mut self, payload: &'a [u8]) -> Result<Input<'a>, Failure> {
        let id = method::id(payload).map_err(|e| Failure::undecodable(e, MethodId::NONE))?;
        match method::decode(payload).map_err(|e| Failure::undecodable(e, id))? {
            Method::Publish(Publish { route, mandatory, immediate }) => {
                self.state = State::Header(Announced { route: route.to_vec(), mandatory, immediate });
                Ok(Input::Nothing)
            }
            Method::Cold(class) => match *class {
                AMQPClass::Channel(channel::AMQPMethod::Open(_)) => {
                    Err(Failure::channel_error("second 'channel.open' seen", id))
                }
                AMQPClass::Channel(channel::AMQPMethod::Close(_)) => Ok(Input::Close),
                // An answer to a close that was never sent is ignored, as RabbitMQ does.
                AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)) => Ok(Input::Nothing),
                _ => check_qos(id, payload).map(|()| Input::Method(id, Method::Cold(class))),
            },
            method => Ok(Input::Method(id, method)),
        }
    }

    fn header(&mut self, frame: Frame<'_>) -> Result<Input<'static>, Failure> {
        if frame.kind != FrameKind::Header {
            return Err(Failure::unexpected_frame(HEADER_EXPECTED, MethodId::PUBLISH));
        }
        let header = check_header(frame.payload)?;
        let State::Header(announced) = std::mem::replace(&mut self.state, State::Open) else {
            return Ok(Input::Nothing);
        };
        let assembly = Assembly {
            announced,
            properties: header.properties.to_vec(),
            body: Vec::new(),
            body_size: header.body_size,
            received: 0,
            discard: header.body_size > self.max_message_size,
            memory: self.memory,
        };
        Ok(self.proceed(assembly))
    }

    fn body<'a>(&mut self, frame: Frame<'a>) -> Result<Input<'a>, Failure> {
        if frame.kind != FrameKind::Body {
            return Err(Failure::unexpected_frame(BODY_EXPECTED, MethodId::PUBLISH));
        }
        let State::Body(mut assembly) = std::mem::replace(&mut self.state, State::Open) else {
            return Ok(Input::Nothing);
        };
        assembly.received += frame.payload.len() as u64;
        if assembly.received > assembly.body_size {
            let text = "content body frame exceeds remaining content size";
            return Err(Failure::new(Refusal::new(ReplyCode::FrameError, text), MethodId::PUBLISH));
        }
        if !assembly.discard {
            // Grown in proportion to what has come, not to what was announced.
            let missing = usize::try_from(assembly.body_size).unwrap_or(usize::MAX) - assembly.body.len();
            if assembly.body.capacity() - assembly.body.len() < frame.payload.len() {
                assembly.body.reserve_exact(missing.min(frame.payload.len().max(assembly.body.len())));
            }
            assembly.body.extend_from_slice(frame.payload);
            self.memory.add(frame.payload.len());
        }
        Ok(self.proceed(assembly))
    }

    /// The content is complete, or waits for its next frame.
    fn proceed(&mut self, mut assembly: Assembly) -> Input<'static> {
        if assembly.received < assembly.body_size {
            self.state = State::Body(assembly);
            return Input::Nothing;
        }
        let body = std::mem::take(&mut assembly.body);
        self.memory.sub(body.len());
        let content = Content::Assembled {
            route: std::mem::take(&mut assembly.announced.route),
            properties: std::mem::take(&mut assembly.properties),
            body,
        };
        let Announced { mandatory, immediate, .. } = assembly.announced;
        Input::Publish(Publication { mandatory, immediate, body_size: assembly.body_size, content })
    }
}

/// `basic.qos` with a prefetch size is refused; `amq-protocol` does not keep the field.
fn check_qos(id: MethodId, payload: &[u8]) -> Result<(), Failure> {
    match payload.get(4..8) {
        Some(&[a, b, c, d]) if id == MethodId::new(60, 10) && [a, b, c, d] != [0; 4] => {
            let size = u32::from_be_bytes([a, b, c, d]);
            Err(Failure::new(Refusal::not_implemented(format!("prefetch_size!=0 ({size})")), id))
        }
        _ => Ok(()),
    }
}

/// Class and announced size of a content header.
fn check_header(payload: &[u8]) -> Result<ContentHeader<'_>, Failure> {
    let header = ContentHeader::parse(payload).map_err(|e| Failure::undecodable(e, MethodId::PUBLISH))?;
    if header.class_id != 60 {
        let text = format!("expected content header for class 60, got one for class {} instead", header.class_id);
        return Err(Failure::unexpected_frame(text, MethodId::PUBLISH));
    }
    if header.body_size > BODY_HARD_LIMIT {
        let text = format!("content body size {} exceeds maximum allowed size {BODY_HARD_LIMIT}", header.body_size);
        return Err(Failure::new(Refusal::new(ReplyCode::FrameError, text), MethodId::PUBLISH));
    }
    Ok(header)
}

fn answer_while_closing(frame: Frame<'_>) -> Input<'static> {
    if frame.kind != FrameKind::Method {
        return Input::Nothing;
    }
    match method::id(frame.payload) {
        Ok(MethodId { class: 20, method: 41 }) => Input::CloseOk,
        Ok(MethodId { class: 20, method: 40 }) => Input::CloseCrossed,
        _ => Input::Nothing,
    }
}

/// A publish that lies whole at the front of a buffer: method, header and at most one body frame of one channel, in a
/// row. Also says how many bytes it takes. `None` when it is anything else, incomplete or wrong: then the frames go
/// through [`Channel::receive`], which finds the exact error.
#[inline]
pub fn whole_publish(buffer: &[u8], frame_max: u32, max_message_size: u64) -> Option<(u16, Publication<'_>, usize)> {
    // The method's id is looked at first: this is tried on every frame.
    if buffer.get(7..11)? != [0, 60, 0, 40] {
        return None;
    }
    let (first, after_method) = frame::split(buffer, frame_max).ok()??;
    let Ok(Method::Publish(publish)) = method::decode(first.payload) else { return None };
    let (second, used) = frame::split(buffer.get(after_method..)?, frame_max).ok()??;
    if first.kind != FrameKind::Method || second.kind != FrameKind::Header || second.channel != first.channel {
        return None;
    }
    let header = ContentHeader::parse(second.payload).ok()?;
    if header.class_id != 60 || header.body_size > max_message_size {
        return None;
    }
    let mut end = after_method + used;
    let mut body = &[][..];
    if header.body_size > 0 {
        let (third, used) = frame::split(buffer.get(end..)?, frame_max).ok()??;
        if third.kind != FrameKind::Body || third.channel != first.channel {
            return None;
        }
        if third.payload.len() as u64 != header.body_size {
            return None;
        }
        body = third.payload;
        end += used;
    }
    let bytes = buffer.get(..end)?;
    let range = |part: &[u8]| {
        let start = if part.is_empty() { 0 } else { part.as_ptr() as usize - bytes.as_ptr() as usize };
        // A frame is shorter than 4 GiB; a buffer that holds three is refused above if it is not.
        u32::try_from(start).ok().zip(u32::try_from(start + part.len()).ok()).map(|(a, b)| a..b)
    };
    let (route, properties, body) = (range(publish.route)?, range(header.properties)?, range(body)?);
    // What is kept of the message begins with its route.
    let offset = route.start;
    let shift = |r: Range<u32>| r.start.saturating_sub(offset)..r.end.saturating_sub(offset);
    // What queues need to know of it is filled in once its properties have been read.
    let traits = Traits::default();
    let layout = Layout { route: shift(route), properties: shift(properties), body: shift(body), traits };
    let content = Content::InPlace { bytes: bytes.get(offset as usize..)?, layout };
    let Publish { mandatory, immediate, .. } = publish;
    Some((first.channel, Publication { mandatory, immediate, body_size: header.body_size, content }, end))
}

#[cfg(test)]
mod tests;

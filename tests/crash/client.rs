//! A client without opinions: bytes out, methods and messages in, and an error when the broker is gone.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use amq_protocol::protocol::{AMQPClass, channel, connection};
use leveret::frames::content::ContentHeader;
use leveret::frames::frame::{FrameKind, split};
use leveret::frames::method::{self as decoded, MethodId, decode};
use leveret::frames::{Table, write};

use super::broker::PATIENCE;
use super::method::{self, Method};

const FRAME_MAX: u32 = 131_072;

/// The connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Without a word, as when the broker was killed.
    Cut,
    /// `connection.close` or `channel.close`.
    Closed { code: u16, text: String },
}

/// What the broker sends.
#[derive(Debug)]
pub enum Incoming {
    Message {
        channel: u16,
        message: Message,
    },
    /// The answer to publishes.
    Confirm {
        tag: u64,
        multiple: bool,
        ok: bool,
    },
    Method {
        channel: u16,
        method: Box<AMQPClass>,
    },
}

/// A message that was delivered, or got; then without a consumer tag.
#[derive(Debug, Default)]
pub struct Message {
    pub consumer_tag: Option<String>,
    pub tag: u64,
    pub redelivered: bool,
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

struct Partial {
    message: Message,
    /// Known once the header is there.
    size: Option<u64>,
}

pub struct Client {
    stream: TcpStream,
    read: Vec<u8>,
    used: usize,
    partial: HashMap<u16, Partial>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Self, End> {
        let stream = TcpStream::connect(address).map_err(|_| End::Cut)?;
        stream.set_nodelay(true).map_err(|_| End::Cut)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(|_| End::Cut)?;
        let mut client = Self { stream, read: vec![], used: 0, partial: HashMap::new() };
        client.write(b"AMQP\0\0\x09\x01")?;
        client.expect_method("connection.start")?;
        client.send(0, &method::start_ok(Table::default(), "PLAIN", b"\0guest\0guest"))?;
        client.expect_method("connection.tune")?;
        client.send(0, &method::tune_ok(2047, FRAME_MAX, 0))?;
        client.send(0, &method::connection_open("/"))?;
        client.expect_method("connection.open-ok")?;
        Ok(client)
    }

    pub fn send(&mut self, channel: u16, method: &Method) -> Result<(), End> {
        let payload = method.payload();
        let [c0, c1] = channel.to_be_bytes();
        let mut bytes = vec![1, c0, c1];
        bytes.extend(u32::try_from(payload.len()).expect("a method of less than 4 GiB").to_be_bytes());
        bytes.extend(payload);
        bytes.extend(write::FRAME_END);
        self.write(&bytes)
    }

    pub fn publish(&mut self, channel: u16, exchange: &str, key: &str, message: &Message) -> Result<(), End> {
        let mut bytes = vec![];
        let short = |text: &str| [&[u8::try_from(text.len()).expect("a shortstr")], text.as_bytes()].concat();
        write::publish(&mut bytes, channel, &[short(exchange), short(key)].concat(), false);
        write::header(&mut bytes, channel, message.body.len() as u64, &message.properties);
        write::body(&mut bytes, channel, &message.body, FRAME_MAX);
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        match self.stream.write_all(bytes) {
            Err(e) if is_timeout(&e) => panic!("the broker does not read"),
            // What the broker said before it went is worth more than that it went.
            other => other.or_else(|_| self.last_words()),
        }
    }

    /// Reads to the end for the reason why the connection was closed.
    fn last_words(&mut self) -> Result<(), End> {
        while self.next(PATIENCE)?.is_some() {}
        Err(End::Cut)
    }

    fn expect_method(&mut self, what: &str) -> Result<(), End> {
        match self.next(PATIENCE)? {
            Some(Incoming::Method { .. }) => Ok(()),
            other => panic!("{other:?} instead of {what}"),
        }
    }

    /// The next thing that comes within this time.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Incoming>, End> {
        let end = Instant::now() + patience;
        loop {
            if let Some(incoming) = self.next_read()? {
                return Ok(Some(incoming));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.fill(left)? {
                return Ok(None);
            }
        }
    }

    /// The next thing that has been read whole.
    fn next_read(&mut self) -> Result<Option<Incoming>, End> {
        loop {
            let Some((frame, used)) = split(&self.read[self.used..], FRAME_MAX).expect("a frame from the broker")
            else {
                return Ok(None);
            };
            let (kind, channel, payload) = (frame.kind, frame.channel, frame.payload.to_vec());
            self.used += used;
            if let Some(incoming) = self.take_in(kind, channel, &payload)? {
                return Ok(Some(incoming));
            }
        }
    }

    /// Reads more; false when nothing comes in time.
    fn fill(&mut self, patience: Duration) -> Result<bool, End> {
        self.read.drain(..self.used);
        self.used = 0;
        self.stream.set_read_timeout(Some(patience.max(Duration::from_millis(1)))).map_err(|_| End::Cut)?;
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(End::Cut),
            Ok(n) => {
                self.read.extend(&chunk[..n]);
                Ok(true)
            }
            Err(e) if is_timeout(&e) => Ok(false),
            Err(_) => Err(End::Cut),
        }
    }

    fn take_in(&mut self, kind: FrameKind, channel: u16, payload: &[u8]) -> Result<Option<Incoming>, End> {
        match kind {
            FrameKind::Heartbeat => Ok(None),
            FrameKind::Method => self.take_in_method(channel, payload),
            FrameKind::Header => {
                let header = ContentHeader::parse(payload).expect("a content header");
                let partial = self.partial.get_mut(&channel).expect("a method before its header");
                partial.size = Some(header.body_size);
                partial.message.properties = header.properties.to_vec();
                Ok(self.finish(channel))
            }
            FrameKind::Body => {
                let partial = self.partial.get_mut(&channel).expect("a header before its body");
                partial.message.body.extend(payload);
                Ok(self.finish(channel))
            }
        }
    }

    fn take_in_method(&mut self, channel: u16, payload: &[u8]) -> Result<Option<Incoming>, End> {
        let method = match decode(payload).expect("a method from the broker") {
            decoded::Method::Deliver { consumer_tag, delivery_tag: tag, redelivered, .. } => {
                let consumer_tag = Some(String::from_utf8_lossy(consumer_tag).into_owned());
                self.begin(channel, Message { consumer_tag, tag, redelivered, ..Message::default() });
                return Ok(None);
            }
            decoded::Method::GetOk { delivery_tag: tag, redelivered, .. } => {
                self.begin(channel, Message { tag, redelivered, ..Message::default() });
                return Ok(None);
            }
            decoded::Method::Ack { delivery_tag: tag, multiple } => {
                return Ok(Some(Incoming::Confirm { tag, multiple, ok: true }));
            }
            decoded::Method::Nack { delivery_tag: tag, multiple, .. } => {
                return Ok(Some(Incoming::Confirm { tag, multiple, ok: false }));
            }
            decoded::Method::Cold(method) => method,
            other => panic!("the broker sent {other:?}"),
        };
        match *method {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
                Err(End::Closed { code: close.reply_code, text: close.reply_text.to_string() })
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                Err(End::Closed { code: close.reply_code, text: close.reply_text.to_string() })
            }
            AMQPClass::Connection(connection::AMQPMethod::Blocked(_) | connection::AMQPMethod::Unblocked(_)) => {
                Ok(None)
            }
            _ => Ok(Some(Incoming::Method { channel, method })),
        }
    }

    fn begin(&mut self, channel: u16, message: Message) {
        self.partial.insert(channel, Partial { message, size: None });
    }

    /// Hands the message over when all of its body is there.
    fn finish(&mut self, channel: u16) -> Option<Incoming> {
        let is_whole = |p: &Partial| p.size == Some(p.message.body.len() as u64);
        self.partial.get(&channel).filter(|partial| is_whole(partial))?;
        let message = self.partial.remove(&channel)?.message;
        Some(Incoming::Message { channel, message })
    }
}

/// Whether a method is the answer to another.
pub fn answers(method: &AMQPClass, to: &Method) -> bool {
    let id = MethodId::of(method);
    id.class == to.class && (id.method == to.method + 1 || (to.class, to.method, id.method) == (60, 70, 72))
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

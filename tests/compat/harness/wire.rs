//! The socket: bytes out, frames in, frames put together and sorted by channel.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use amq_protocol::protocol::{AMQPClass, connection};
use leveret::frames::content::ContentHeader;
use leveret::frames::frame::{self, FrameKind};
use leveret::frames::method::{self, Method, split_route};
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use super::message::Kind;
use super::{Incoming, Message, PATIENCE, Props, connection_close_ok};

/// A socket, or one with TLS.
pub trait Stream: Read + Write {
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

pub struct Wire {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
    pub frame_max: u32,
    pub heartbeats: usize,
    inbox: HashMap<u16, VecDeque<Incoming>>,
    /// Messages whose header or body has not come whole.
    partial: HashMap<u16, Partial>,
}

struct Partial {
    message: Message,
    /// Known once the header is there.
    body_size: Option<u64>,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(Box::new(Self::socket(address)))
    }

    /// A TCP connection, with nothing said on it.
    pub fn socket(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the broker accepts connections");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        stream
    }

    pub fn over(stream: Box<dyn Stream>) -> Self {
        let (inbox, partial) = Default::default();
        Self { stream, read: vec![], frame_max: 131_072, heartbeats: 0, inbox, partial }
    }

    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker takes what is written");
    }

    /// Writes to a broker that may have hung up.
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Says that nothing more will be written, which is how a client hangs up and still hears the answer.
    pub fn shut_down_writing(&self) {
        let _ = self.stream.tcp().shutdown(std::net::Shutdown::Write);
    }

    /// Whatever arrives next, or nothing when the broker has hung up.
    #[track_caller]
    fn read_some(&mut self, waiting_for: &str) -> usize {
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(n) => {
                self.read.extend(&chunk[..n]);
                n
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("waited {PATIENCE:?} in vain for {waiting_for}")
            }
            Err(_) => 0,
        }
    }

    /// Everything until the broker hangs up, frame or not.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.read_some("the end of the connection") > 0 {}
        std::mem::take(&mut self.read)
    }

    /// The broker closes the connection or just hangs up.
    #[track_caller]
    pub fn expect_any_end(&mut self) {
        if self.next(0, "the end of the connection").is_some() {
            self.try_write(&frame_bytes(1, 0, &connection_close_ok().payload()));
            while self.read_frame("the end of the connection") {}
        }
    }

    /// The next frame as it is, or `None` when the broker has hung up.
    #[track_caller]
    pub fn next_raw_frame(&mut self, waiting_for: &str) -> Option<(FrameKind, u16, Vec<u8>)> {
        loop {
            let split = frame::split(&self.read, 0).expect("a frame from the broker");
            if let Some((frame, used)) = split {
                let frame = (frame.kind, frame.channel, frame.payload.to_vec());
                self.read.drain(..used);
                assert!(used <= self.frame_max as usize, "a frame of {used} bytes is larger than frame_max");
                return Some(frame);
            }
            if self.read_some(waiting_for) == 0 {
                return None;
            }
        }
    }

    /// Takes in one frame; false when the broker has hung up.
    #[track_caller]
    pub fn read_frame(&mut self, waiting_for: &str) -> bool {
        let Some((kind, channel, payload)) = self.next_raw_frame(waiting_for) else { return false };
        self.take_in(kind, channel, &payload);
        true
    }

    /// The next thing on `channel`, or `None` when the broker has hung up or closes the connection.
    #[track_caller]
    pub fn next(&mut self, channel: u16, waiting_for: &str) -> Option<Incoming> {
        loop {
            if let Some(incoming) = self.inbox.entry(channel).or_default().pop_front() {
                return Some(incoming);
            }
            if (channel != 0 && self.is_closing()) || !self.read_frame(waiting_for) {
                return None;
            }
        }
    }

    /// The next method on `channel`; messages and confirms before it stay where they are.
    #[track_caller]
    pub fn next_method(&mut self, channel: u16, waiting_for: &str) -> Option<AMQPClass> {
        loop {
            let queue = self.pending(channel);
            if let Some(at) = queue.iter().position(|i| matches!(i, Incoming::Method(_)))
                && let Some(Incoming::Method(method)) = queue.remove(at)
            {
                return Some(*method);
            }
            if (channel != 0 && self.is_closing()) || !self.read_frame(waiting_for) {
                return None;
            }
        }
    }

    /// What came on `channel` and was not asked for yet, without waiting.
    pub fn pending(&mut self, channel: u16) -> &mut VecDeque<Incoming> {
        self.inbox.entry(channel).or_default()
    }

    fn is_closing(&self) -> bool {
        let close = |i: &Incoming| matches!(i, Incoming::Method(m) if is_connection_close(m));
        self.inbox.get(&0).is_some_and(|queue| queue.iter().any(close))
    }

    fn take_in(&mut self, kind: FrameKind, channel: u16, payload: &[u8]) {
        match kind {
            FrameKind::Heartbeat => self.heartbeats += 1,
            FrameKind::Method => self.take_in_method(channel, payload),
            FrameKind::Header => {
                let header = ContentHeader::parse(payload).expect("a content header");
                let partial = self.partial.get_mut(&channel).expect("a method before its header");
                partial.body_size = Some(header.body_size);
                partial.message.props = Props::decode(header.properties);
                self.finish(channel);
            }
            FrameKind::Body => {
                let partial = self.partial.get_mut(&channel).expect("a header before its body");
                assert!(!payload.is_empty(), "an empty body frame");
                partial.message.body.extend(payload);
                self.finish(channel);
            }
        }
    }

    fn take_in_method(&mut self, channel: u16, payload: &[u8]) {
        assert!(!self.partial.contains_key(&channel), "a method in the middle of a message");
        let message = |kind, route: &[u8]| {
            let (exchange, routing_key) = split_route(route);
            Message { kind, exchange: text(exchange), routing_key: text(routing_key), ..Message::default() }
        };
        let incoming = match method::decode(payload).expect("a method from the broker") {
            Method::Deliver { consumer_tag, delivery_tag, redelivered, route } => {
                let consumer_tag = text(consumer_tag);
                let message = Message { consumer_tag, delivery_tag, redelivered, ..message(Kind::Deliver, route) };
                return self.begin(channel, message);
            }
            Method::GetOk { delivery_tag, redelivered, route, message_count } => {
                let message = Message { delivery_tag, redelivered, message_count, ..message(Kind::GetOk, route) };
                return self.begin(channel, message);
            }
            Method::Return { code, text: reply, route } => {
                let message = Message { reply: (code, text(reply)), ..message(Kind::Return, route) };
                return self.begin(channel, message);
            }
            Method::Ack { delivery_tag, multiple } => Incoming::Ack { tag: delivery_tag, multiple },
            Method::Nack { delivery_tag, multiple, .. } => Incoming::Nack { tag: delivery_tag, multiple },
            Method::Cold(class) => Incoming::Method(class),
            other => panic!("a broker does not send {other:?}"),
        };
        self.pending(channel).push_back(incoming);
    }

    fn begin(&mut self, channel: u16, message: Message) {
        self.partial.insert(channel, Partial { message, body_size: None });
    }

    /// Hands the message over when all of its body is there.
    fn finish(&mut self, channel: u16) {
        let whole = |p: &Partial| p.body_size == Some(p.message.body.len() as u64);
        if self.partial.get(&channel).is_some_and(whole)
            && let Some(partial) = self.partial.remove(&channel)
        {
            self.pending(channel).push_back(Incoming::Message(Box::new(partial.message)));
        }
    }
}

pub fn is_connection_close(method: &AMQPClass) -> bool {
    matches!(method, AMQPClass::Connection(connection::AMQPMethod::Close(_)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One frame as bytes.
pub fn frame_bytes(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(channel.to_be_bytes());
    out.extend(u32::try_from(payload.len()).expect("a payload of less than 4 GiB").to_be_bytes());
    out.extend(payload);
    out.push(0xCE);
    out
}

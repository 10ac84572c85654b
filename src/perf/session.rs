//! One connection while it is being set up: handshake and calls that wait for their answer.
//!
//! A [`Session`] blocks. When its channels are ready it is taken apart and its socket goes to the connection's event
//! loop, together with what has been read already.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::Duration;

use amq_protocol::protocol::connection::AMQPMethod;
use amq_protocol::protocol::{AMQPClass, channel, connection};

use crate::frames::frame::{FrameKind, split};
use crate::frames::method::{Method, decode};
use crate::frames::write;

use super::failure::Failure;
use super::inbox::{FRAME_MAX, Inbox};
use super::methods;
use super::options::Options;
use super::socket::Socket;
use super::uri::Uri;

/// How long an answer may take. Deleting an exchange with very many bindings takes some brokers minutes.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long each answer of the handshake may take: a broker that has no room for more connections often says nothing.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// Calls that are under way at once in [`Session::pipeline`].
const PIPELINE: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeats {
    /// For connections that nobody looks after for minutes.
    Off,
    /// As the broker proposes.
    On,
}

pub struct Session {
    pub stream: Socket,
    pub inbox: Inbox,
    pub frame_max: u32,
    pub channel_max: u16,
    /// Seconds; 0 is none.
    pub heartbeat: u16,
    out: Vec<u8>,
}

impl Session {
    pub fn open(options: &Options, heartbeats: Heartbeats) -> Result<Self, Failure> {
        let uri = &options.uri;
        let address = format!("{}:{}", uri.host, uri.port);
        let stream =
            TcpStream::connect((uri.host.as_str(), uri.port)).map_err(|cause| Failure::Connect { address, cause })?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(HANDSHAKE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let stream = match options.tls()? {
            Some(config) => Socket::with_tls(stream, &uri.host, &config)?,
            None => Socket::Plain(stream),
        };
        let out = b"AMQP\0\0\x09\x01".to_vec();
        let inbox = Inbox::new();
        let mut session = Self { stream, inbox, frame_max: FRAME_MAX, channel_max: 0, heartbeat: 0, out };
        session.handshake(uri, heartbeats)?;
        session.stream.raw().set_read_timeout(Some(PATIENCE))?;
        Ok(session)
    }

    fn handshake(&mut self, uri: &Uri, heartbeats: Heartbeats) -> Result<(), Failure> {
        self.flush()?;
        match self.answer()? {
            AMQPClass::Connection(AMQPMethod::Start(_)) => {}
            other => return Err(unexpected(&other)),
        }
        let tune = match self.call(0, &methods::start_ok(uri)) {
            Ok(AMQPClass::Connection(AMQPMethod::Tune(tune))) => tune,
            Ok(other) => return Err(unexpected(&other)),
            Err(Failure::Cut(_)) => return Err(Failure::Cut(" at login: are user and password right?")),
            Err(other) => return Err(other),
        };
        // Zero is "no limit" in each of these.
        self.frame_max = if tune.frame_max == 0 { FRAME_MAX } else { tune.frame_max.min(FRAME_MAX) };
        self.channel_max = if tune.channel_max == 0 { u16::MAX } else { tune.channel_max };
        self.heartbeat = if heartbeats == Heartbeats::On { tune.heartbeat } else { 0 };
        self.send(0, &methods::tune_ok(self.channel_max, self.frame_max, self.heartbeat));
        match self.call(0, &methods::open(&uri.vhost)) {
            Ok(AMQPClass::Connection(AMQPMethod::OpenOk(_))) => Ok(()),
            Ok(other) => Err(unexpected(&other)),
            Err(Failure::Cut(_)) => Err(Failure::Cut(" when the vhost was opened: may this user use it?")),
            Err(other) => Err(other),
        }
    }

    /// Sends one method with the next flush.
    pub fn send(&mut self, channel: u16, method: &AMQPClass) {
        write::cold(&mut self.out, channel, method);
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        self.stream.write_all(&self.out).map_err(timed_out)?;
        self.out.clear();
        Ok(())
    }

    /// Sends a method and waits for its answer.
    pub fn call(&mut self, channel: u16, method: &AMQPClass) -> Result<AMQPClass, Failure> {
        self.send(channel, method);
        self.flush()?;
        self.answer()
    }

    /// Many calls, without waiting for each answer before the next; their answers are dropped.
    pub fn pipeline(&mut self, channel: u16, calls: impl IntoIterator<Item = AMQPClass>) -> Result<(), Failure> {
        let mut waiting = 0;
        for call in calls {
            self.send(channel, &call);
            waiting += 1;
            if waiting == PIPELINE {
                self.flush()?;
                // Half of them stay under way, so that the broker never waits for us.
                while waiting > PIPELINE / 2 {
                    self.answer()?;
                    waiting -= 1;
                }
            }
        }
        self.flush()?;
        (0..waiting).try_for_each(|_| self.answer().map(drop))
    }

    /// The next method that answers something.
    fn answer(&mut self) -> Result<AMQPClass, Failure> {
        loop {
            match self.next_method()? {
                (_, AMQPClass::Connection(AMQPMethod::Close(close))) => {
                    self.send(0, &methods::close_ok());
                    self.flush()?;
                    return Err(connection_closed(&close));
                }
                (channel, AMQPClass::Channel(channel::AMQPMethod::Close(close))) => {
                    return Err(channel_closed(channel, &close));
                }
                (_, AMQPClass::Connection(AMQPMethod::Blocked(_) | AMQPMethod::Unblocked(_))) => {}
                (_, answer) => return Ok(answer),
            }
        }
    }

    fn next_method(&mut self) -> Result<(u16, AMQPClass), Failure> {
        loop {
            if self.inbox.unread().starts_with(b"AMQP") {
                return Err(Failure::Protocol("it speaks another version of AMQP".into()));
            }
            let cut = split(self.inbox.unread(), self.frame_max).map_err(|e| Failure::Protocol(e.to_string()))?;
            if let Some((frame, n)) = cut {
                let method = match frame.kind {
                    FrameKind::Method => Some(decode(frame.payload).map_err(|e| Failure::Protocol(e.to_string()))?),
                    _ => None,
                };
                let found = match method {
                    Some(Method::Cold(class)) => Some((frame.channel, *class)),
                    _ => None,
                };
                self.inbox.used(n);
                if let Some(found) = found {
                    return Ok(found);
                }
            } else if self.inbox.fill(&mut self.stream).map_err(timed_out)? == 0 {
                return Err(Failure::Cut(""));
            }
        }
    }

    /// Says good-bye; what happens to the socket then is of no interest.
    pub fn close(mut self) {
        let _ = self.call(0, &methods::close());
    }
}

pub fn connection_closed(close: &connection::Close) -> Failure {
    Failure::ConnectionClosed { code: close.reply_code, text: close.reply_text.to_string() }
}

pub fn channel_closed(channel: u16, close: &channel::Close) -> Failure {
    Failure::ChannelClosed { channel, code: close.reply_code, text: close.reply_text.to_string() }
}

fn unexpected(method: &AMQPClass) -> Failure {
    Failure::Protocol(format!("{method:?}"))
}

fn timed_out(error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Silent,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Failure::Cut(""),
        _ => Failure::Io(error),
    }
}

//! A connection and its channels, with the sentences that tests are made of.

use std::cell::{Cell, RefCell, RefMut};
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;

use amq_protocol::protocol::{AMQPClass, basic, channel, connection, queue};
use leveret::frames::method::MethodId;
use leveret::frames::{Table, Value};

use super::message::Kind;
use super::method::*;
use super::wire::{Wire, frame_bytes};
use super::{Incoming, Message, Props, eventually, props};

/// How to open a connection.
pub struct Options {
    pub user: String,
    pub password: String,
    pub vhost: String,
    pub client_properties: Table,
    pub channel_max: u16,
    pub frame_max: u32,
    pub heartbeat: u16,
}

impl Default for Options {
    fn default() -> Self {
        let (user, password) = ("guest".into(), "guest".into());
        let capabilities =
            ["authentication_failure_close", "consumer_cancel_notify", "connection.blocked", "basic.nack"];
        let client_properties = capable_of(&capabilities);
        Self {
            user,
            password,
            vhost: "/".into(),
            client_properties,
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 0,
        }
    }
}

impl Options {
    pub fn log_in_as(&mut self, user: &str) {
        self.user = user.into();
        self.password = user.into();
    }
}

/// Client properties that announce these capabilities.
pub fn capable_of(capabilities: &[&str]) -> Table {
    let known: Table = capabilities.iter().map(|name| (*name, Value::Bool(true))).collect();
    [("capabilities", Value::Table(known))].into_iter().collect()
}

/// A connection. It is also its own channel 0.
pub struct Client {
    zero: Channel,
    opened: Cell<u16>,
    server_properties: RefCell<Table>,
}

impl Deref for Client {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.zero
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self::over(Wire::connect(address))
    }

    /// A client on a socket that is there already.
    pub fn over(wire: Wire) -> Self {
        let wire = Rc::new(RefCell::new(wire));
        Self { zero: Channel { wire, number: 0 }, opened: Cell::new(0), server_properties: RefCell::default() }
    }

    #[track_caller]
    pub fn handshake(&self, options: &Options) {
        self.log_in(options);
        self.send(tune_ok(options.channel_max, options.frame_max, options.heartbeat));
        self.wire().frame_max = if options.frame_max == 0 { u32::MAX } else { options.frame_max };
        self.call(connection_open(&options.vhost));
    }

    /// The handshake up to the broker's `tune`.
    #[track_caller]
    pub fn log_in(&self, options: &Options) -> connection::Tune {
        self.greet();
        let response = format!("\0{}\0{}", options.user, options.password);
        self.send(start_ok(options.client_properties.clone(), "PLAIN", response.as_bytes()));
        self.expect_tune()
    }

    /// Sends the protocol header and waits for `start`.
    #[track_caller]
    pub fn greet(&self) -> connection::Start {
        self.send_bytes(b"AMQP\0\0\x09\x01");
        self.expect_start()
    }

    #[track_caller]
    pub fn expect_start(&self) -> connection::Start {
        match self.expect_method("connection.start") {
            AMQPClass::Connection(connection::AMQPMethod::Start(start)) => {
                self.server_properties.replace(to_table(&start.server_properties));
                start
            }
            other => panic!("not connection.start: {other:?}"),
        }
    }

    #[track_caller]
    pub fn expect_tune(&self) -> connection::Tune {
        match self.expect_method("connection.tune") {
            AMQPClass::Connection(connection::AMQPMethod::Tune(tune)) => tune,
            other => panic!("not connection.tune: {other:?}"),
        }
    }

    /// A server property, empty where there is none.
    pub fn server_text(&self, key: &str) -> String {
        let properties = self.server_properties.borrow();
        properties.get(key).and_then(Value::as_text).unwrap_or_default().into_owned()
    }

    pub fn server_properties(&self) -> Table {
        self.server_properties.borrow().clone()
    }

    /// Opens the next channel.
    #[track_caller]
    pub fn channel(&self) -> Channel {
        self.opened.set(self.opened.get() + 1);
        let channel = self.unopened_channel(self.opened.get());
        channel.call(channel_open());
        channel
    }

    pub fn unopened_channel(&self, number: u16) -> Channel {
        Channel { wire: self.zero.wire.clone(), number }
    }

    /// Closes the connection in the polite way.
    #[track_caller]
    pub fn close(self) {
        self.call(connection_close());
    }
}

/// One channel of a connection.
#[derive(Clone)]
pub struct Channel {
    wire: Rc<RefCell<Wire>>,
    pub number: u16,
}

// Speaking.
impl Channel {
    pub fn wire(&self) -> RefMut<'_, Wire> {
        self.wire.borrow_mut()
    }

    #[track_caller]
    pub fn send_bytes(&self, bytes: &[u8]) {
        self.wire().write(bytes);
    }

    #[track_caller]
    pub fn send_frame(&self, kind: u8, payload: &[u8]) {
        self.send_bytes(&frame_bytes(kind, self.number, payload));
    }

    #[track_caller]
    pub fn send(&self, method: Method) {
        self.send_frame(1, &method.payload());
    }

    /// Sends a method and waits for the answer that belongs to it.
    #[track_caller]
    pub fn call(&self, method: Method) -> AMQPClass {
        let id = (method.class, method.method);
        self.send(method);
        self.expect_answer(id)
    }

    #[track_caller]
    pub fn publish(&self, exchange: &str, key: &str, body: &str) {
        self.publish_with(exchange, key, props(), body);
    }

    #[track_caller]
    pub fn publish_with(&self, exchange: &str, key: &str, props: Props, body: &str) {
        self.send_message(basic_publish(exchange, key), &props, body.as_bytes());
    }

    #[track_caller]
    pub fn send_message(&self, publish: Method, props: &Props, body: &[u8]) {
        self.send_bytes(&self.message_bytes(&publish, props, body));
    }

    /// A publish as frames: method, header, and body in as many frames as are needed.
    pub fn message_bytes(&self, publish: &Method, props: &Props, body: &[u8]) -> Vec<u8> {
        let mut out = frame_bytes(1, self.number, &publish.payload());
        out.extend(frame_bytes(2, self.number, &header_payload(60, body.len() as u64, props)));
        for slice in body.chunks(self.wire().frame_max as usize - 8) {
            out.extend(frame_bytes(3, self.number, slice));
        }
        out
    }

    /// Publishes one body after the other and waits until the broker has confirmed all.
    #[track_caller]
    pub fn publish_confirmed(&self, exchange: &str, key: &str, bodies: &[&str]) {
        self.call(confirm_select());
        bodies.iter().for_each(|body| self.publish(exchange, key, body));
        assert!(self.expect_confirms(bodies.len()).is_empty(), "nacked");
    }
}

/// The payload of a content header frame.
pub fn header_payload(class: u16, size: u64, props: &Props) -> Vec<u8> {
    let mut out = class.to_be_bytes().to_vec();
    out.extend([0, 0]);
    out.extend(size.to_be_bytes());
    out.extend(props.encode());
    out
}

// Listening.
impl Channel {
    /// The next thing on this channel.
    #[track_caller]
    pub fn next(&self, waiting_for: &str) -> Incoming {
        let next = self.wire().next(self.number, waiting_for);
        next.unwrap_or_else(|| self.fail_closed(waiting_for))
    }

    /// The next method on this channel, past deliveries and confirms.
    #[track_caller]
    pub fn expect_method(&self, waiting_for: &str) -> AMQPClass {
        let next = self.wire().next_method(self.number, waiting_for);
        next.unwrap_or_else(|| self.fail_closed(waiting_for))
    }

    #[track_caller]
    fn fail_closed(&self, waiting_for: &str) -> ! {
        let zero = self.wire().pending(0).pop_front();
        panic!("the connection was closed while waiting for {waiting_for}: {zero:?}")
    }

    #[track_caller]
    pub fn expect_answer(&self, to: (u16, u16)) -> AMQPClass {
        let answer = self.expect_method(&format!("the answer to {to:?}"));
        let id = MethodId::of(&answer);
        let expected = match to {
            (40, 40) => 51,
            (_, method) => method + 1,
        };
        assert_eq!((id.class, id.method), (to.0, expected), "the answer to {to:?} was {answer:?}");
        answer
    }

    #[track_caller]
    fn expect_message(&self, kind: Kind) -> Message {
        match self.next(&format!("{kind:?}")) {
            Incoming::Message(message) if message.kind == kind => *message,
            other => panic!("{other:?} instead of {kind:?}"),
        }
    }

    #[track_caller]
    pub fn expect_deliver(&self) -> Message {
        self.expect_message(Kind::Deliver)
    }

    /// The bodies of the next `n` deliveries.
    #[track_caller]
    pub fn expect_bodies(&self, n: usize) -> Vec<String> {
        (0..n).map(|_| self.expect_deliver().text().to_owned()).collect()
    }

    #[track_caller]
    pub fn expect_return(&self) -> Message {
        self.expect_message(Kind::Return)
    }

    /// `basic.get` with acknowledgement; `None` when the queue is empty.
    #[track_caller]
    pub fn get(&self, queue: &str) -> Option<Message> {
        self.get_with(basic_get(queue))
    }

    #[track_caller]
    pub fn get_with(&self, get: Method) -> Option<Message> {
        self.send(get);
        match self.next("get-ok or get-empty") {
            Incoming::Message(message) if message.kind == Kind::GetOk => Some(*message),
            Incoming::Method(class) if matches!(*class, AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_))) => None,
            other => panic!("{other:?} as the answer to basic.get"),
        }
    }

    #[track_caller]
    pub fn expect_get(&self, queue: &str) -> Message {
        self.get(queue).unwrap_or_else(|| panic!("queue {queue} is empty"))
    }

    /// Gets the next message as soon as there is one.
    #[track_caller]
    pub fn expect_get_eventually(&self, queue: &str) -> Message {
        let mut got = None;
        eventually(&format!("a message in {queue}"), || {
            got = self.get(queue);
            got.is_some()
        });
        got.unwrap_or_else(|| panic!("queue {queue} is empty"))
    }

    /// Gets, without acknowledgement, until the queue is empty.
    #[track_caller]
    pub fn drain(&self, queue: &str) -> Vec<String> {
        std::iter::from_fn(|| self.get_with(basic_get(queue).no_ack())).map(|m| m.text().to_owned()).collect()
    }

    #[track_caller]
    pub fn expect_ack(&self, expected: u64) {
        match self.next("basic.ack") {
            Incoming::Ack { tag, .. } if tag == expected => {}
            other => panic!("{other:?} instead of the ack of {expected}"),
        }
    }

    #[track_caller]
    pub fn expect_nack(&self, expected: u64) {
        match self.next("basic.nack") {
            Incoming::Nack { tag, .. } if tag == expected => {}
            other => panic!("{other:?} instead of the nack of {expected}"),
        }
    }

    /// Waits until the publishes 1 to `n` are confirmed, in whatever grouping; hands back those that were nacked.
    /// Nothing may be confirmed twice, and an ack of many may not cover a nack.
    #[track_caller]
    pub fn expect_confirms(&self, n: usize) -> Vec<u64> {
        self.expect_confirms_from(1, n)
    }

    /// The same for `n` publishes from this number on.
    #[track_caller]
    pub fn expect_confirms_from(&self, first: u64, n: usize) -> Vec<u64> {
        let mut open: std::collections::BTreeSet<u64> = (first..first + n as u64).collect();
        let mut nacked = vec![];
        while !open.is_empty() {
            let (tag, multiple, is_nack) = match self.next("confirms") {
                Incoming::Ack { tag, multiple } => (tag, multiple, false),
                Incoming::Nack { tag, multiple } => (tag, multiple, true),
                other => panic!("{other:?} among the confirms"),
            };
            assert!(open.contains(&tag), "publish {tag} was confirmed twice or never made");
            let first = if multiple { 0 } else { tag };
            let settled: Vec<u64> = open.range(first..=tag).copied().collect();
            settled.iter().for_each(|tag| assert!(open.remove(tag)));
            nacked.extend(settled.into_iter().filter(|_| is_nack));
        }
        nacked
    }

    /// Nothing more has been sent on this channel: round trips come back and bring nothing with them.
    #[track_caller]
    pub fn expect_nothing_more(&self) {
        let rest = self.delivered_so_far();
        assert!(rest.is_empty(), "expected nothing more: {rest:?}");
    }

    /// Everything that came so far and was not asked for, as seen by round trips.
    #[track_caller]
    pub fn delivered_so_far(&self) -> Vec<Incoming> {
        self.call(channel_flow().active());
        self.call(channel_flow().active());
        self.wire().pending(self.number).drain(..).collect()
    }
}

// Being refused.
impl Channel {
    /// The method closes the channel with this error and nothing else. The channel is then opened again.
    #[track_caller]
    pub fn refuses(&self, method: Method, code: u16, text: impl AsRef<str>) {
        let cause = (method.class, method.method);
        self.send(method);
        self.expect_channel_close(code, text, cause);
        self.call(channel_open());
    }

    /// As [`Self::refuses`], of a whole message.
    #[track_caller]
    pub fn refuses_message(&self, publish: Method, props: &Props, body: &str, code: u16, text: impl AsRef<str>) {
        self.send_message(publish, props, body.as_bytes());
        self.expect_channel_close(code, text, (60, 40));
        self.call(channel_open());
    }

    /// Waits for `channel.close` and answers it.
    #[track_caller]
    pub fn expect_channel_close(&self, code: u16, text: impl AsRef<str>, cause: (u16, u16)) {
        match self.expect_method("channel.close") {
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                let got = (close.reply_code, close.class_id, close.method_id);
                assert_text(close.reply_text.as_str(), code, text.as_ref());
                assert_eq!(got, (code, cause.0, cause.1), "code, class and method");
            }
            other => panic!("{other:?} instead of channel.close"),
        }
        self.send(channel_close_ok());
    }

    /// The method ends the connection with this error.
    #[track_caller]
    pub fn ends_connection(&self, method: Method, code: u16, text: impl AsRef<str>) {
        let cause = (method.class, method.method);
        self.send(method);
        self.expect_connection_close(code, text, cause);
    }

    /// Waits for `connection.close`, whatever else comes before it, and answers it.
    #[track_caller]
    pub fn expect_connection_close(&self, code: u16, text: impl AsRef<str>, cause: (u16, u16)) {
        let next = self.wire().next(0, "connection.close");
        let Some(Incoming::Method(method)) = next else { panic!("{next:?} instead of connection.close") };
        match *method {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
                let got = (close.reply_code, close.class_id, close.method_id);
                assert_text(close.reply_text.as_str(), code, text.as_ref());
                assert_eq!(got, (code, cause.0, cause.1), "code, class and method");
            }
            other => panic!("{other:?} instead of connection.close"),
        }
        self.wire().try_write(&frame_bytes(1, 0, &connection_close_ok().payload()));
    }

    /// The broker hangs up without another word.
    #[track_caller]
    pub fn expect_end(&self) {
        let next = self.wire().next(0, "the end of the connection");
        assert!(next.is_none(), "{next:?} instead of the end of the connection");
    }
}

// What most tests do first.
impl Channel {
    /// Declares the queue.
    #[track_caller]
    pub fn declare(&self, declare: Method) -> queue::DeclareOk {
        match self.call(declare) {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => ok,
            other => panic!("not declare-ok: {other:?}"),
        }
    }

    /// A server-named queue that is exclusive to this connection.
    #[track_caller]
    pub fn temporary_queue(&self) -> String {
        self.declare(queue_declare("").exclusive()).queue.to_string()
    }

    /// Ready messages and consumers of a queue.
    #[track_caller]
    pub fn counts(&self, queue: &str) -> (u32, u32) {
        let ok = self.declare(queue_declare(queue).passive());
        (ok.message_count, ok.consumer_count)
    }

    #[track_caller]
    pub fn ready(&self, queue: &str) -> u32 {
        self.counts(queue).0
    }

    #[track_caller]
    pub fn purge(&self, queue: &str) -> u32 {
        match self.call(queue_purge(queue)) {
            AMQPClass::Queue(queue::AMQPMethod::PurgeOk(ok)) => ok.message_count,
            other => panic!("not purge-ok: {other:?}"),
        }
    }

    #[track_caller]
    pub fn delete(&self, delete: Method) -> u32 {
        match self.call(delete) {
            AMQPClass::Queue(queue::AMQPMethod::DeleteOk(ok)) => ok.message_count,
            other => panic!("not delete-ok: {other:?}"),
        }
    }

    /// Starts a consumer and hands back its tag.
    #[track_caller]
    pub fn consume(&self, consume: Method) -> String {
        match self.call(consume) {
            AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)) => ok.consumer_tag.to_string(),
            other => panic!("not consume-ok: {other:?}"),
        }
    }
}

/// `text` is what follows `<CODE_NAME> - `; an `…` in it stands for anything.
#[track_caller]
fn assert_text(got: &str, code: u16, text: &str) {
    let expected = format!("{} - {text}", code_name(code));
    assert!(matches(got, &expected), "reply text\n     got: {got}\nexpected: {expected}");
}

/// Whether the text has all parts of the pattern between its `…`, in order, and nothing else at the ends.
fn matches(text: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('…') else { return text == pattern };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('…').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

fn code_name(code: u16) -> &'static str {
    match code {
        311 => "CONTENT_TOO_LARGE",
        320 => "CONNECTION_FORCED",
        402 => "INVALID_PATH",
        403 => "ACCESS_REFUSED",
        404 => "NOT_FOUND",
        405 => "RESOURCE_LOCKED",
        406 => "PRECONDITION_FAILED",
        501 => "FRAME_ERROR",
        502 => "SYNTAX_ERROR",
        503 => "COMMAND_INVALID",
        504 => "CHANNEL_ERROR",
        505 => "UNEXPECTED_FRAME",
        506 => "RESOURCE_ERROR",
        530 => "NOT_ALLOWED",
        540 => "NOT_IMPLEMENTED",
        541 => "INTERNAL_ERROR",
        _ => panic!("no reply code {code}"),
    }
}

/// A table as `amq-protocol` gives it, in our own form.
fn to_table(table: &amq_protocol::types::FieldTable) -> Table {
    use amq_protocol::types::AMQPValue as Theirs;
    let value = |v: &Theirs| match v {
        Theirs::Boolean(b) => Value::Bool(*b),
        Theirs::LongString(s) => Value::LongStr(s.as_bytes().to_vec()),
        Theirs::FieldTable(t) => Value::Table(to_table(t)),
        _ => Value::Void,
    };
    table.inner().iter().map(|(key, v)| (key.as_str(), value(v))).collect()
}

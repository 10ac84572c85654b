//! What clients do in a run of the `connection` target, and the frames for it.
//!
//! There are few names, channels and tags, so that what one client does concerns the others.

use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm, connection, exchange, queue, tx};
use amq_protocol::types::{AMQPValue, FieldTable};
use arbitrary::Arbitrary;
use leveret::frames::{Table, Value, write};

/// The whole input.
#[derive(Arbitrary, Debug)]
pub struct Script<'a> {
    pub steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
pub struct Step<'a> {
    /// Which client acts.
    pub who: u8,
    /// Its bytes wait in the socket until a later step of it.
    pub hold: bool,
    /// Bytes that one read brings, in units of 8; 0 is no limit.
    pub cut: u8,
    pub action: Action<'a>,
}

#[derive(Arbitrary, Debug)]
pub enum Action<'a> {
    Call {
        channel: u8,
        call: Call<'a>,
    },
    Publish {
        channel: u8,
        publish: Publish<'a>,
    },
    Settle {
        channel: u8,
        settle: Settle,
    },
    /// A valid frame with one byte changed.
    Mangled {
        channel: u8,
        call: Call<'a>,
        at: u8,
        xor: u8,
    },
    Raw(&'a [u8]),
    Frame {
        kind: u8,
        channel: u8,
        payload: &'a [u8],
    },
    /// Begins a connection by hand: with what follows as its first bytes.
    Begin {
        preface: u8,
        then: Vec<Login>,
    },
    /// The client goes without a word.
    Gone,
    /// Time passes for everyone.
    Wait {
        seconds: u16,
    },
    /// The client does not read any more, or reads again.
    Slow(bool),
    /// A slow client reads a little, in units of 1 KiB.
    Read(u8),
    /// The operator ends the connections of a user.
    CloseFromOutside,
    /// The operator gives the second user other permissions.
    Permit(u8),
}

/// A step of the handshake.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Login {
    StartOk { user: u8, mechanism: u8, capable: u8 },
    TuneOk { channel_max: u8, frame_max: u8, heartbeat: u8 },
    Open { vhost: u8 },
    Close,
    CloseOk,
}

/// Numbers that stand for a few names.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Name(u8);

#[derive(Arbitrary, Debug)]
pub struct Arguments<'a>(Vec<(u8, Argument<'a>)>);

#[derive(Arbitrary, Debug)]
enum Argument<'a> {
    Flag(bool),
    Small(i8),
    Large(i64),
    Name(Name),
    Text(&'a [u8]),
    Void,
}

#[derive(Arbitrary, Debug)]
pub enum Call<'a> {
    OpenChannel,
    CloseChannel,
    ChannelCloseOk,
    Flow(bool),
    DeclareQueue {
        queue: Name,
        bits: u8,
        arguments: Arguments<'a>,
    },
    DeleteQueue {
        queue: Name,
        bits: u8,
    },
    Purge {
        queue: Name,
        nowait: bool,
    },
    BindQueue {
        queue: Name,
        exchange: Name,
        key: Name,
        arguments: Arguments<'a>,
    },
    UnbindQueue {
        queue: Name,
        exchange: Name,
        key: Name,
        arguments: Arguments<'a>,
    },
    DeclareExchange {
        exchange: Name,
        kind: u8,
        bits: u8,
        arguments: Arguments<'a>,
    },
    DeleteExchange {
        exchange: Name,
        bits: u8,
    },
    BindExchange {
        destination: Name,
        source: Name,
        key: Name,
        arguments: Arguments<'a>,
    },
    UnbindExchange {
        destination: Name,
        source: Name,
        key: Name,
        arguments: Arguments<'a>,
    },
    Qos {
        count: u8,
        global: bool,
    },
    Consume {
        queue: Name,
        tag: u8,
        bits: u8,
        arguments: Arguments<'a>,
    },
    Cancel {
        tag: u8,
        nowait: bool,
    },
    Get {
        queue: Name,
        no_ack: bool,
    },
    Recover {
        requeue: bool,
        answer: bool,
    },
    ConfirmSelect {
        nowait: bool,
    },
    TxSelect,
    TxCommit,
    TxRollback,
    AccessRequest,
    CloseConnection,
    ConnectionCloseOk,
    UpdateSecret,
    /// A method that only servers send.
    OfServers(u8),
}

#[derive(Arbitrary, Debug)]
pub struct Publish<'a> {
    pub exchange: Name,
    pub key: Name,
    pub bits: u8,
    pub properties: Extra<'a>,
    pub size: u8,
    /// Largest body frame in units of 16 bytes; 0 is no limit.
    pub cut: u8,
    /// Rarely, the body is left out or said to be longer.
    pub wrong: u8,
}

/// What a message carries beside its body.
#[derive(Arbitrary, Debug)]
pub enum Extra<'a> {
    Nothing,
    Persistent,
    ReplyTo,
    Copies { blind: bool, keys: Vec<Name> },
    Headers(Arguments<'a>),
    Expiration(&'a [u8]),
    UserId(u8),
    Raw(&'a [u8]),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Settle {
    /// 0 is an ack, 1 a nack, 2 a reject.
    pub how: u8,
    /// How many deliveries ago; large numbers are taken as tags that may not exist.
    pub back: u8,
    pub multiple: bool,
    pub requeue: bool,
}

/// Names that the broker has made up during a run.
#[derive(Clone, Debug, Default)]
pub struct Learnt {
    pub reply_address: String,
    pub queue: String,
}

pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";
pub const VHOST: &str = "/";
/// Users, their passwords, and one that does not exist.
pub const USERS: [(&str, &str); 3] = [("guest", "guest"), ("other", "secret"), ("nobody", "")];

impl Name {
    pub fn queue(self, learnt: &Learnt) -> String {
        match self.0 % 8 {
            0 => String::new(),
            1 | 2 => "q1".to_owned(),
            3 => "q2".to_owned(),
            4 => "o1".to_owned(),
            5 => REPLY_TO.to_owned(),
            6 => learnt.queue.clone(),
            _ if self.0 < 128 => learnt.reply_address.clone(),
            _ => "q1\r\n".to_owned(),
        }
    }

    fn exchange(self) -> &'static str {
        let names =
            ["", "x1", "x2", "o2", "amq.direct", "amq.topic", "amq.headers", "amq.fanout", "amq.rabbitmq.trace"];
        names[usize::from(self.0) % names.len()]
    }

    fn key(self, learnt: &Learnt) -> String {
        let keys = ["", "q1", "q2", "o1", "a.b", "*.b", "#", "a.#"];
        match keys.get(usize::from(self.0 % 10)) {
            Some(key) => (*key).to_owned(),
            None if self.0.is_multiple_of(2) => learnt.reply_address.clone(),
            None => learnt.queue.clone(),
        }
    }
}

impl Arguments<'_> {
    fn table(&self) -> Table {
        let keys = [
            "x-queue-type",
            "x-single-active-consumer",
            "x-dead-letter-exchange",
            "x-max-length",
            "x-message-ttl",
            "x-expires",
            "x-max-priority",
            "x-priority",
            "alternate-exchange",
            "x-match",
            "a",
            "b",
        ];
        let entry = |(key, value): &(u8, Argument<'_>)| (keys[usize::from(*key) % keys.len()], value.value());
        self.0.iter().take(4).map(entry).collect()
    }

    fn fields(&self) -> FieldTable {
        (&self.table()).into()
    }
}

impl Argument<'_> {
    fn value(&self) -> Value {
        let texts = ["classic", "quorum", "stream", "all", "any", "x1", "x2", "o2", "amq.topic", ""];
        match self {
            Self::Flag(v) => Value::Bool(*v),
            Self::Small(v) => Value::I8(*v),
            Self::Large(v) => Value::I64(*v),
            Self::Name(name) => Value::text(texts[usize::from(name.0) % texts.len()]),
            Self::Text(bytes) => Value::LongStr(bytes.to_vec()),
            Self::Void => Value::Void,
        }
    }
}

impl Call<'_> {
    /// The method; `tag` is what a consume or cancel names.
    pub fn method(&self, learnt: &Learnt, tag: &str) -> AMQPClass {
        let bit = |bits: u8, n: u8| bits & (1 << n) != 0;
        match self {
            Self::OpenChannel => AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})),
            Self::CloseChannel => {
                let close = channel::Close { reply_code: 200, reply_text: "bye".into(), class_id: 0, method_id: 0 };
                AMQPClass::Channel(channel::AMQPMethod::Close(close))
            }
            Self::ChannelCloseOk => AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})),
            Self::Flow(active) => AMQPClass::Channel(channel::AMQPMethod::Flow(channel::Flow { active: *active })),
            Self::DeclareQueue { queue, bits, arguments } => {
                let declare = queue::Declare {
                    queue: queue.queue(learnt).into(),
                    passive: bit(*bits, 4) && bit(*bits, 5),
                    durable: bit(*bits, 0),
                    exclusive: bit(*bits, 1),
                    auto_delete: bit(*bits, 2),
                    nowait: bit(*bits, 3),
                    arguments: arguments.fields(),
                };
                AMQPClass::Queue(queue::AMQPMethod::Declare(declare))
            }
            Self::DeleteQueue { queue, bits } => {
                let delete = queue::Delete {
                    queue: queue.queue(learnt).into(),
                    if_unused: bit(*bits, 0),
                    if_empty: bit(*bits, 1),
                    nowait: bit(*bits, 2),
                };
                AMQPClass::Queue(queue::AMQPMethod::Delete(delete))
            }
            Self::Purge { queue, nowait } => {
                let purge = queue::Purge { queue: queue.queue(learnt).into(), nowait: *nowait };
                AMQPClass::Queue(queue::AMQPMethod::Purge(purge))
            }
            Self::BindQueue { queue, exchange, key, arguments } => {
                let bind = queue::Bind {
                    queue: queue.queue(learnt).into(),
                    exchange: exchange.exchange().into(),
                    routing_key: key.key(learnt).into(),
                    nowait: false,
                    arguments: arguments.fields(),
                };
                AMQPClass::Queue(queue::AMQPMethod::Bind(bind))
            }
            Self::UnbindQueue { queue, exchange, key, arguments } => {
                let unbind = queue::Unbind {
                    queue: queue.queue(learnt).into(),
                    exchange: exchange.exchange().into(),
                    routing_key: key.key(learnt).into(),
                    arguments: arguments.fields(),
                };
                AMQPClass::Queue(queue::AMQPMethod::Unbind(unbind))
            }
            Self::DeclareExchange { exchange, kind, bits, arguments } => {
                let kinds = ["direct", "fanout", "topic", "headers", "x-none"];
                let declare = exchange::Declare {
                    exchange: exchange.exchange().into(),
                    kind: kinds[usize::from(*kind) % kinds.len()].into(),
                    passive: bit(*bits, 4) && bit(*bits, 5),
                    durable: bit(*bits, 0),
                    auto_delete: bit(*bits, 1),
                    internal: bit(*bits, 2) && bit(*bits, 5),
                    nowait: bit(*bits, 3),
                    arguments: arguments.fields(),
                };
                AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare))
            }
            Self::DeleteExchange { exchange, bits } => {
                let delete = exchange::Delete {
                    exchange: exchange.exchange().into(),
                    if_unused: bit(*bits, 0),
                    nowait: bit(*bits, 1),
                };
                AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete))
            }
            Self::BindExchange { destination, source, key, arguments } => {
                let bind = exchange::Bind {
                    destination: destination.exchange().into(),
                    source: source.exchange().into(),
                    routing_key: key.key(learnt).into(),
                    nowait: false,
                    arguments: arguments.fields(),
                };
                AMQPClass::Exchange(exchange::AMQPMethod::Bind(bind))
            }
            Self::UnbindExchange { destination, source, key, arguments } => {
                let unbind = exchange::Unbind {
                    destination: destination.exchange().into(),
                    source: source.exchange().into(),
                    routing_key: key.key(learnt).into(),
                    nowait: false,
                    arguments: arguments.fields(),
                };
                AMQPClass::Exchange(exchange::AMQPMethod::Unbind(unbind))
            }
            Self::Qos { count, global } => {
                let qos = basic::Qos { prefetch_count: u16::from(count % 8), global: *global };
                AMQPClass::Basic(basic::AMQPMethod::Qos(qos))
            }
            Self::Consume { queue, bits, arguments, .. } => {
                let consume = basic::Consume {
                    queue: queue.queue(learnt).into(),
                    consumer_tag: tag.into(),
                    no_local: bit(*bits, 3),
                    no_ack: bit(*bits, 0),
                    exclusive: bit(*bits, 1) && bit(*bits, 4),
                    nowait: bit(*bits, 2),
                    arguments: arguments.fields(),
                };
                AMQPClass::Basic(basic::AMQPMethod::Consume(consume))
            }
            Self::Cancel { nowait, .. } => {
                let cancel = basic::Cancel { consumer_tag: tag.into(), nowait: *nowait };
                AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel))
            }
            Self::Get { queue, no_ack } => {
                let get = basic::Get { queue: queue.queue(learnt).into(), no_ack: *no_ack };
                AMQPClass::Basic(basic::AMQPMethod::Get(get))
            }
            Self::Recover { requeue, answer: true } => {
                AMQPClass::Basic(basic::AMQPMethod::Recover(basic::Recover { requeue: *requeue }))
            }
            Self::Recover { requeue, answer: false } => {
                AMQPClass::Basic(basic::AMQPMethod::RecoverAsync(basic::RecoverAsync { requeue: *requeue }))
            }
            Self::ConfirmSelect { nowait } => {
                AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: *nowait }))
            }
            Self::TxSelect => AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})),
            Self::TxCommit => AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})),
            Self::TxRollback => AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {})),
            Self::AccessRequest => {
                let request = access::Request {
                    realm: "/data".into(),
                    exclusive: false,
                    passive: true,
                    active: true,
                    write: true,
                    read: true,
                };
                AMQPClass::Access(access::AMQPMethod::Request(request))
            }
            Self::CloseConnection => close_connection(),
            Self::ConnectionCloseOk => connection_close_ok(),
            Self::UpdateSecret => {
                let update = connection::UpdateSecret { new_secret: "s".into(), reason: "r".into() };
                AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(update))
            }
            Self::OfServers(which) => of_servers(*which),
        }
    }

    /// Methods of channel 0 go there, whatever channel was meant.
    pub fn is_of_connection(&self) -> bool {
        matches!(self, Self::CloseConnection | Self::ConnectionCloseOk | Self::UpdateSecret)
    }
}

fn close_connection() -> AMQPClass {
    let close = connection::Close { reply_code: 200, reply_text: "bye".into(), class_id: 0, method_id: 0 };
    AMQPClass::Connection(connection::AMQPMethod::Close(close))
}

fn connection_close_ok() -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}))
}

fn of_servers(which: u8) -> AMQPClass {
    match which % 6 {
        0 => AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {})),
        1 => AMQPClass::Basic(basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag: "a".into() })),
        2 => AMQPClass::Channel(channel::AMQPMethod::FlowOk(channel::FlowOk { active: true })),
        3 => AMQPClass::Queue(queue::AMQPMethod::PurgeOk(queue::PurgeOk { message_count: 1 })),
        4 => AMQPClass::Connection(connection::AMQPMethod::OpenOk(connection::OpenOk {})),
        _ => AMQPClass::Tx(tx::AMQPMethod::SelectOk(tx::SelectOk {})),
    }
}

impl Login {
    pub fn method(self) -> AMQPClass {
        match self {
            Self::StartOk { user, mechanism, capable } => {
                let (name, password) = USERS[usize::from(user) % USERS.len()];
                let mechanisms = ["PLAIN", "PLAIN", "PLAIN", "AMQPLAIN", "PLAIN2"];
                let mechanism = mechanisms[usize::from(mechanism) % mechanisms.len()];
                let response = if mechanism == "AMQPLAIN" {
                    let table: Table =
                        [("LOGIN", Value::text(name)), ("PASSWORD", Value::text(password))].into_iter().collect();
                    let mut out = Vec::new();
                    table.encode(&mut out);
                    out.split_off(4)
                } else {
                    format!("\0{name}\0{password}").into_bytes()
                };
                start_ok(mechanism, response, capable)
            }
            Self::TuneOk { channel_max, frame_max, heartbeat } => {
                let tune_ok = connection::TuneOk {
                    channel_max: u16::from(channel_max),
                    frame_max: frame_max_of(frame_max),
                    heartbeat: u16::from(heartbeat % 128),
                };
                AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok))
            }
            Self::Open { vhost } => {
                let name = if vhost % 8 == 7 { "missing" } else { VHOST };
                AMQPClass::Connection(connection::AMQPMethod::Open(connection::Open { virtual_host: name.into() }))
            }
            Self::Close => close_connection(),
            Self::CloseOk => connection_close_ok(),
        }
    }
}

pub fn frame_max_of(choice: u8) -> u32 {
    [4096, 131_072, 8192, 4096, 0, 4095, 131_073, 4097][usize::from(choice % 8)]
}

fn start_ok(mechanism: &str, response: Vec<u8>, capable: u8) -> AMQPClass {
    let names = ["consumer_cancel_notify", "connection.blocked", "authentication_failure_close"];
    let mut capabilities = FieldTable::default();
    for (n, name) in names.iter().enumerate() {
        capabilities.insert((*name).into(), AMQPValue::Boolean(capable & (1 << n) == 0));
    }
    let mut client_properties = FieldTable::default();
    client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    let start_ok = connection::StartOk {
        client_properties,
        mechanism: mechanism.into(),
        response: response.into(),
        locale: "en_US".into(),
    };
    AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok))
}

impl Publish<'_> {
    /// Size of the body in bytes: mostly small, sometimes one that is sent by reference.
    pub fn body_size(&self) -> usize {
        match self.size {
            250 | 251 => 16 * 1024,
            252 | 253 => 100_000,
            254 => 300_000,
            n => usize::from(n % 64),
        }
    }

    /// Appends the frames of a publish whose body is given.
    pub fn write(&self, out: &mut Vec<u8>, channel: u16, learnt: &Learnt, body: &[u8]) {
        let mut route = Vec::new();
        for part in [self.exchange.exchange(), &*self.key.key(learnt)] {
            route.push(u8::try_from(part.len()).expect("names are short"));
            route.extend_from_slice(part.as_bytes());
        }
        let start = out.len();
        write::publish(out, channel, &route, self.bits & 1 != 0);
        if self.bits & 0xf0 == 0xf0 {
            // The bit of `immediate`, in front of the end octet.
            let at = out.len() - 2;
            out[at] |= 2;
        }
        debug_assert!(out.len() > start);
        let longer = u64::from(self.wrong == 253);
        write::header(out, channel, body.len() as u64 + longer, &self.properties.bytes(learnt));
        if self.wrong != 254 {
            let most = if self.cut == 0 || body.len() > 4096 { 4096 } else { u32::from(self.cut) * 16 };
            write::body(out, channel, body, most);
        }
    }

    /// The publish as it stands does not end.
    pub fn is_unfinished(&self) -> bool {
        self.wrong == 253 || self.wrong == 254
    }
}

impl Extra<'_> {
    fn bytes(&self, learnt: &Learnt) -> Vec<u8> {
        let short = |flag: u16, text: &[u8]| {
            let mut out = flag.to_be_bytes().to_vec();
            let text = &text[..text.len().min(255)];
            out.push(u8::try_from(text.len()).expect("at most 255"));
            out.extend_from_slice(text);
            out
        };
        match self {
            Self::Nothing => vec![0, 0],
            Self::Persistent => vec![0x10, 0, 2],
            Self::ReplyTo => short(1 << 9, REPLY_TO.as_bytes()),
            Self::Copies { blind, keys } => {
                let keys = keys.iter().take(4).map(|key| Value::text(key.key(learnt))).collect();
                let header = if *blind { "BCC" } else { "CC" };
                headers(&[(header, Value::Array(keys))].into_iter().collect())
            }
            Self::Headers(arguments) => headers(&arguments.table()),
            Self::Expiration(text) => short(1 << 8, text),
            Self::UserId(user) => short(1 << 4, USERS[usize::from(*user) % USERS.len()].0.as_bytes()),
            Self::Raw(bytes) => bytes.to_vec(),
        }
    }
}

fn headers(table: &Table) -> Vec<u8> {
    let mut out = (1_u16 << 13).to_be_bytes().to_vec();
    table.encode(&mut out);
    out
}

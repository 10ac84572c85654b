//! Running the cases, and what they have in common: connections, scratch queues and checks.

use std::{
    env,
    error::Error,
    fmt::Debug,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ErrorKind, ExchangeKind,
    message::Delivery,
    options::*,
    types::FieldTable,
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use tokio::{process::Command, time};

pub type Failure = Box<dyn Error + Send + Sync>;
pub type Outcome<T = ()> = Result<T, Failure>;
pub type Case = fn(Arc<Scratch>) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// How long a message or an event may take to come in.
pub const DEADLINE: Duration = Duration::from_secs(15);

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

pub fn vhost() -> String {
    var("AMQP_VHOST")
}

pub fn unique(word: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("clients.{word}.{:x}.{number}", now.as_nanos())
}

/// restart, pause or resume the broker.
pub async fn broker(action: &str) -> Outcome {
    let status = Command::new(var("BROKER_CTL")).arg(action).status().await?;
    if status.success() { Ok(()) } else { Err(format!("broker control {action}: {status}").into()) }
}

pub fn expect<A: PartialEq<B> + Debug, B: Debug>(actual: A, expected: B, what: &str) -> Outcome {
    if actual == expected {
        return Ok(());
    }
    Err(format!("{what}: got {actual:?} instead of {expected:?}").into())
}

/// The action must have failed with this reply code and text from the broker.
pub fn expect_error<T>(result: lapin::Result<T>, code: u16, text: &str) -> Outcome {
    let (actual_code, actual_text) = protocol_error(result.err().ok_or(format!("no error {code}"))?)?;
    expect(actual_code, code, "reply code")?;
    expect(actual_text, text, "reply text")
}

/// The same for a text of which only the beginning is given.
pub fn expect_error_prefix<T>(result: lapin::Result<T>, code: u16, prefix: &str) -> Outcome {
    let (actual_code, text) = protocol_error(result.err().ok_or(format!("no error {code}"))?)?;
    expect(actual_code, code, "reply code")?;
    if text.starts_with(prefix) { Ok(()) } else { Err(format!("reply text: got {text:?} instead of {prefix:?} ...").into()) }
}

pub fn protocol_error(error: lapin::Error) -> Outcome<(u16, String)> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Ok((error.get_id(), error.get_message().to_string())),
        _ => Err(error.into()),
    }
}

/// Waits for the future, and says what for if that takes too long.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> Outcome<T> {
    time::timeout(limit, future).await.map_err(|_| format!("waited {limit:?} for {what}").into())
}

/// The connections, queues and exchanges of one case, which are gone at its end.
#[derive(Default)]
pub struct Scratch {
    connections: Mutex<Vec<Arc<Connection>>>,
    queues: Mutex<Vec<String>>,
    exchanges: Mutex<Vec<String>>,
}

impl Scratch {
    pub async fn connection(&self) -> Outcome<Arc<Connection>> {
        self.connection_with(ConnectionProperties::default(), None).await
    }

    pub async fn connection_with(&self, properties: ConnectionProperties, heartbeat: Option<u16>) -> Outcome<Arc<Connection>> {
        let connection = Arc::new(connect(properties, heartbeat).await?);
        self.connections.lock().unwrap().push(connection.clone());
        Ok(connection)
    }

    /// A new connection, as soon as the broker takes one.
    pub async fn reconnected(&self) -> Outcome<Arc<Connection>> {
        let again = async {
            loop {
                match time::timeout(Duration::from_secs(5), self.connection()).await {
                    Ok(Ok(connection)) => return connection,
                    _ => time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        within(Duration::from_secs(30), "a new connection", again).await
    }

    /// A channel on a connection of its own.
    pub async fn channel(&self) -> Outcome<Channel> {
        Ok(self.connection().await?.create_channel().await?)
    }

    pub async fn queue(&self, channel: &Channel, options: QueueDeclareOptions, arguments: FieldTable) -> Outcome<String> {
        let name = unique("queue");
        channel.queue_declare(name.as_str().into(), options, arguments).await?;
        if !options.exclusive {
            self.queues.lock().unwrap().push(name.clone());
        }
        Ok(name)
    }

    /// A queue without any special property.
    pub async fn plain_queue(&self, channel: &Channel) -> Outcome<String> {
        self.queue(channel, QueueDeclareOptions::default(), FieldTable::default()).await
    }

    pub async fn exchange(&self, channel: &Channel, kind: ExchangeKind, options: ExchangeDeclareOptions) -> Outcome<String> {
        let name = unique("exchange");
        channel.exchange_declare(name.as_str().into(), kind, options, FieldTable::default()).await?;
        self.exchanges.lock().unwrap().push(name.clone());
        Ok(name)
    }

    async fn clean_up(&self) -> Outcome {
        let connections = std::mem::take(&mut *self.connections.lock().unwrap());
        for connection in connections.into_iter().filter(|c| c.status().connected()) {
            // Fails where a channel that was dropped just now is still being closed.
            let _ = connection.close(200, "OK".into()).await;
        }
        let queues = std::mem::take(&mut *self.queues.lock().unwrap());
        let exchanges = std::mem::take(&mut *self.exchanges.lock().unwrap());
        if queues.is_empty() && exchanges.is_empty() {
            return Ok(());
        }
        let connection = connect(ConnectionProperties::default(), None).await?;
        let channel = connection.create_channel().await?;
        for name in queues {
            channel.queue_delete(name.into(), QueueDeleteOptions::default()).await?;
        }
        for name in exchanges {
            channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await?;
        }
        Ok(connection.close(200, "OK".into()).await?)
    }
}

async fn connect(properties: ConnectionProperties, heartbeat: Option<u16>) -> Outcome<Connection> {
    let uri = AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username: var("AMQP_USER"), password: var("AMQP_PASS") },
            host: var("AMQP_HOST"),
            port: var("AMQP_PORT").parse()?,
        },
        vhost: vhost(),
        query: AMQPQueryString { heartbeat, ..Default::default() },
    };
    Ok(Connection::connect_uri(uri, properties).await?)
}

pub async fn publish(channel: &Channel, exchange: &str, key: &str, body: &[u8]) -> Outcome {
    let options = BasicPublishOptions::default();
    let _confirm = channel
        .basic_publish(exchange.into(), key.into(), options, body, BasicProperties::default())
        .await?;
    Ok(())
}

pub async fn consume(channel: &Channel, queue: &str, no_ack: bool) -> lapin::Result<Consumer> {
    let options = BasicConsumeOptions { no_ack, ..Default::default() };
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await
}

pub async fn next(consumer: &mut Consumer) -> Outcome<Delivery> {
    let delivery = within(DEADLINE, "a message", consumer.next()).await?;
    Ok(delivery.ok_or("the consumer has ended")??)
}

/// Consumes this many messages and acknowledges them.
pub async fn take(channel: &Channel, queue: &str, count: usize) -> Outcome<Vec<Delivery>> {
    let mut consumer = consume(channel, queue, false).await?;
    let mut messages = Vec::new();
    while messages.len() < count {
        let delivery = next(&mut consumer).await?;
        delivery.ack(BasicAckOptions::default()).await?;
        messages.push(delivery);
    }
    channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
    Ok(messages)
}

/// The bodies of this many messages, as text.
pub async fn texts(channel: &Channel, queue: &str, count: usize) -> Outcome<Vec<String>> {
    Ok(take(channel, queue, count).await?.iter().map(text).collect())
}

pub fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.data).into_owned()
}

pub async fn declare_passive(channel: &Channel, queue: &str) -> lapin::Result<lapin::Queue> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await
}

pub async fn message_count(channel: &Channel, queue: &str) -> Outcome<u32> {
    Ok(declare_passive(channel, queue).await?.message_count())
}

/// Runs the cases named on the command line, or all of them; gives whether all passed.
pub async fn run(cases: &[(&str, u64, Case)]) -> bool {
    let wanted: Vec<String> = env::args().skip(1).collect();
    let mut all_passed = true;
    for (name, seconds, case) in cases {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            continue;
        }
        match run_one(*seconds, *case).await {
            Ok(()) => println!("ok {name}"),
            Err(error) => {
                all_passed = false;
                println!("not ok {name} - {}", error.to_string().replace('\n', " "));
            }
        }
        if *name == "heartbeat-timeout" {
            let _ = broker("resume").await; // the case may have ended while the broker was paused
        }
    }
    all_passed
}

async fn run_one(seconds: u64, case: Case) -> Outcome {
    let scratch = Arc::new(Scratch::default());
    let mut task = tokio::spawn(case(scratch.clone()));
    let outcome = match time::timeout(Duration::from_secs(seconds), &mut task).await {
        Ok(joined) => joined.unwrap_or_else(|panic| Err(panic.into())),
        Err(_) => {
            task.abort();
            Err(format!("no end after {seconds} s").into())
        }
    };
    let cleaned = within(Duration::from_secs(20), "the clean-up", scratch.clean_up()).await;
    outcome.and(cleaned?)
}

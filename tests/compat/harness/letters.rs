//! Dead letters: a place where they come, and what stands in their headers.

use std::time::{SystemTime, UNIX_EPOCH};

use leveret::frames::{Table, Value};

use super::{
    Broker, Channel, Client, Message, Method, basic_consume, basic_reject, exchange_declare, queue_declare, unique,
};

/// One connection with a channel to work on, and a queue for dead letters with a consumer on a channel of its own.
pub struct Letters {
    pub client: Client,
    pub channel: Channel,
    pub incoming: Channel,
    /// The name of the queue for dead letters.
    pub queue: String,
    /// When it began, in seconds.
    began: u64,
    /// RabbitMQ 3.10 has the fields of an entry, and all entries but the newest, in no certain order.
    ignores_order: bool,
}

impl Letters {
    pub fn new() -> Self {
        Self::on(Broker::start())
    }

    pub fn on(broker: &Broker) -> Self {
        let client = broker.connect();
        let (channel, incoming) = (client.channel(), client.channel());
        let queue = incoming.temporary_queue();
        incoming.consume(basic_consume(&queue, "").no_ack());
        Self { client, channel, incoming, queue, began: unix_seconds(), ignores_order: broker.is_3_10() }
    }

    /// Declares an exclusive queue whose dead letters come here.
    #[track_caller]
    pub fn source(&self, declare: Method) -> String {
        self.channel.declare(self.addressed(declare).exclusive()).queue.to_string()
    }

    /// A declaration of a queue whose dead letters come here.
    pub fn addressed(&self, declare: Method) -> Method {
        declare.arg("x-dead-letter-exchange", "").arg("x-dead-letter-routing-key", &self.queue)
    }

    /// An exclusive queue with no other arguments.
    #[track_caller]
    pub fn plain_source(&self) -> String {
        self.source(queue_declare(""))
    }

    /// The next dead letter, waited for.
    #[track_caller]
    pub fn next(&self) -> Message {
        self.incoming.expect_deliver()
    }

    #[track_caller]
    pub fn next_bodies(&self, n: usize) -> Vec<String> {
        self.incoming.expect_bodies(n)
    }

    /// Compares the whole of `x-death` with these entries: their fields, types and order. Times are those of this test.
    #[track_caller]
    pub fn expect_deaths(&self, letter: &Message, expected: &[Table]) {
        let got: Vec<Table> = deaths(letter).iter().map(|death| self.without_time(death)).collect();
        if self.ignores_order {
            assert_eq!(in_any_order(&got), in_any_order(expected));
        } else {
            assert_eq!(got, expected);
        }
    }

    /// The time is checked, and 0 put in its place.
    #[track_caller]
    fn without_time(&self, death: &Table) -> Table {
        let check = |value: &Value| {
            let Value::Timestamp(time) = value else { panic!("the time is {value:?}") };
            assert!((self.began..=unix_seconds()).contains(time), "died at {time}, and it began at {}", self.began);
            Value::Timestamp(0)
        };
        let fields = death.iter().map(|(key, value)| (key, if key == "time" { check(value) } else { value.clone() }));
        fields.collect()
    }
}

/// Only which entry is the newest is left of their order.
fn in_any_order(deaths: &[Table]) -> Vec<Table> {
    let mut deaths: Vec<Table> = deaths.iter().cloned().map(Table::sorted).collect();
    if let [_, older @ ..] = &mut deaths[..] {
        older.sort_by_key(|death| format!("{death:?}"));
    }
    deaths
}

pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

/// The entries of `x-death`, newest first.
#[track_caller]
pub fn deaths(letter: &Message) -> Vec<Table> {
    let headers = letter.props.headers();
    let Some(Value::Array(entries)) = headers.get("x-death") else { panic!("no x-death in {headers:?}") };
    // What a client has put there may be anything.
    let table = |entry: &Value| match entry {
        Value::Table(table) => Some(table.clone()),
        _ => None,
    };
    entries.iter().filter_map(table).collect()
}

/// An entry of `x-death` as it should be, at time 0.
pub fn death(count: i64, reason: &str, queue: &str, exchange: &str, keys: &[&str]) -> Table {
    let fields = [
        ("count", Value::I64(count)),
        ("reason", Value::text(reason)),
        ("queue", Value::text(queue)),
        ("time", Value::Timestamp(0)),
        ("exchange", Value::text(exchange)),
        ("routing-keys", Value::Array(keys.iter().map(Value::text).collect())),
    ];
    fields.into_iter().collect()
}

/// The same for a message that had a time-out of its own.
pub fn death_with_expiration(expiration: &str, death: &Table) -> Table {
    let first = ("original-expiration", Value::text(expiration));
    std::iter::once(first).chain(death.iter().map(|(key, value)| (key, value.clone()))).collect()
}

/// A header that is a text; empty where there is none.
pub fn text_header(message: &Message, key: &str) -> String {
    message.props.headers().get(key).and_then(Value::as_text).unwrap_or_default().into_owned()
}

/// Rejects the next message of the queue.
#[track_caller]
pub fn reject_next(channel: &Channel, queue: &str) {
    let message = channel.expect_get(queue);
    channel.send(basic_reject(message.delivery_tag));
}

/// Waits until the queue has a message, takes it and rejects it.
#[track_caller]
pub fn reject_when_there(channel: &Channel, queue: &str) -> Message {
    let message = channel.expect_get_eventually(queue);
    channel.send(basic_reject(message.delivery_tag));
    message
}

/// An exchange that goes with its last binding.
pub fn exchange(channel: &Channel, kind: &str) -> String {
    let exchange = unique("dlx");
    channel.call(exchange_declare(&exchange, kind).auto_delete());
    exchange
}

//! Deduplication under kill -9: who publishes everything again after a crash has every message in its queue once.
//!
//! In each cycle a client publishes messages with identifiers to an exchange with deduplication and to a queue with it, until
//! the broker dies, and then all of them again, confirmed or not, with some of earlier cycles. What the broker had taken
//! before must be left out, and what it had not must come; so each message of the cycle is there once, and no earlier one.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use leveret::persist::sim::Random;
use tokio::runtime::Runtime;

use super::broker::{Broker, Death};
use super::harness::{count, random};

/// Small files, so that a cycle's identifiers have to leave the journal.
const SETTINGS: [&str; 3] = ["store.journal_file_size=128KiB", "store.journal_keep=1", "store.segment_size=128KiB"];
/// Messages of a cycle, at most.
const MESSAGES: u64 = 800;
/// Messages that are on their way at a time.
const TOGETHER: usize = 32;
const BODY: [u8; 400] = [0x5a; 400];

/// Where messages go: exchange, routing key, and the queue in which they are then. Those of quorum queues are transient.
const PLACES: [(&str, &str, &str); 4] = [
    ("once", "", "of-exchange"),
    ("", "with-cache", "with-cache"),
    ("once-quorum", "", "of-exchange-quorum"),
    ("", "with-cache-quorum", "with-cache-quorum"),
];

/// Points at which a window is somewhere between memory and disk.
#[cfg(debug_assertions)]
const POINTS: [&str; 7] = [
    "journal-before-write",
    "journal-after-write",
    "journal-after-sync",
    "windows-before-write",
    "windows-after-write",
    "manifest-after-sync",
    "journal-file-recycled",
];

fn arguments() -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-message-deduplication".into(), AMQPValue::Boolean(true));
    table.insert("x-cache-size".into(), AMQPValue::LongInt(100_000));
    table
}

fn is_quorum(queue: &str) -> bool {
    queue.ends_with("-quorum")
}

async fn connect(address: SocketAddr) -> lapin::Result<Channel> {
    let uri = format!("amqp://guest:guest@{address}/%2f");
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

async fn declare(channel: &Channel) -> lapin::Result<()> {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.queue_declare("barrier".into(), durable, FieldTable::default()).await?;
    for (exchange, _, queue) in PLACES {
        let mut of_queue = if exchange.is_empty() { arguments() } else { FieldTable::default() };
        if is_quorum(queue) {
            of_queue.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        }
        channel.queue_declare(queue.into(), durable, of_queue).await?;
        if !exchange.is_empty() {
            channel.exchange_declare(exchange.into(), ExchangeKind::Fanout, options, arguments()).await?;
            let bind = QueueBindOptions::default();
            channel.queue_bind(queue.into(), exchange.into(), "".into(), bind, FieldTable::default()).await?;
        }
    }
    Ok(())
}

/// Publishes messages to all places; each has to be confirmed.
async fn publish(channel: &Channel, ids: impl Iterator<Item = u64>) -> lapin::Result<()> {
    let mut confirms = Vec::new();
    for id in ids {
        let mut headers = FieldTable::default();
        headers.insert("x-deduplication-header".into(), AMQPValue::LongLongInt(id.cast_signed()));
        let properties = BasicProperties::default().with_headers(headers);
        let body = [&id.to_be_bytes()[..], &BODY].concat();
        for (exchange, key, queue) in PLACES {
            let options = BasicPublishOptions::default();
            let properties = properties.clone().with_delivery_mode(if is_quorum(queue) { 1 } else { 2 });
            let published = channel.basic_publish(exchange.into(), key.into(), options, &body, properties);
            confirms.push(published.await?);
        }
        if confirms.len() >= TOGETHER {
            for confirm in confirms.drain(..) {
                assert!(confirm.await?.is_ack());
            }
        }
    }
    for confirm in confirms {
        assert!(confirm.await?.is_ack());
    }
    Ok(())
}

/// Takes everything out of a queue: how often each message was there.
async fn drain(channel: &Channel, queue: &str) -> lapin::Result<BTreeMap<u64, usize>> {
    let mut found = BTreeMap::new();
    while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions::default()).await? {
        let id = u64::from_be_bytes(*got.delivery.data.first_chunk().expect("eight bytes"));
        *found.entry(id).or_default() += 1;
        got.delivery.acker.ack(BasicAckOptions::default()).await?;
    }
    // What was acked before a message that is confirmed is as safe as that.
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default().with_delivery_mode(2));
    let published = channel.basic_publish("".into(), "barrier".into(), options, b"", properties).await?;
    assert!(published.await?.is_ack());
    Ok(found)
}

/// One data directory and what has been published there.
struct Course {
    data: tempfile::TempDir,
    runtime: Runtime,
    random: Random,
    next: u64,
}

impl Course {
    fn begin() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let data = tempfile::tempdir().expect("a directory");
        Self { data, runtime, random: random(), next: 0 }
    }

    /// Publishes until the broker dies at the point, or is killed; then everything again, and looks what there is.
    fn cycle(&mut self, die_at: Option<&str>) {
        let mut broker = Broker::spawn(self.data.path(), &SETTINGS, die_at);
        let first = self.next;
        if let Some(address) = broker.serves() {
            let most = if die_at.is_some() { MESSAGES } else { 1 + self.random.below(MESSAGES) };
            let _cut = self.runtime.block_on(async {
                let channel = connect(address).await?;
                declare(&channel).await?;
                let next = &mut self.next;
                let ids = (first..first + most).inspect(|id| *next = *id + 1);
                publish(&channel, ids).await
            });
        }
        assert_eq!(broker.kill(), Death::Killed);
        let (mut broker, address) = Broker::start(self.data.path(), &SETTINGS);
        let next = self.next;
        let looked = self.runtime.block_on(async {
            let channel = connect(address).await?;
            declare(&channel).await?;
            publish(&channel, (first.saturating_sub(300)..next).chain(first..next)).await?;
            for (_, _, queue) in PLACES {
                let found = drain(&channel, queue).await?;
                for id in first..next {
                    assert_eq!(found.get(&id), Some(&1), "message {id} in {queue}, {die_at:?}");
                }
                let earlier: Vec<_> = found.range(..first).collect();
                assert!(earlier.is_empty(), "of earlier cycles there are in {queue}: {earlier:?}, {die_at:?}");
            }
            Ok::<_, lapin::Error>(())
        });
        if let Err(error) = looked {
            panic!("{error}\n{}", broker.log());
        }
        assert!(broker.complaints().is_empty(), "{}", broker.log());
        if self.random.chance(1, 3) {
            broker.stop();
        }
    }
}

#[test]
fn what_is_published_again_after_a_kill_is_there_once() {
    let mut course = Course::begin();
    for _ in 0..count(4) {
        course.cycle(None);
    }
}

#[cfg(debug_assertions)]
#[test]
fn what_is_published_again_after_a_death_at_a_named_point_is_there_once() {
    let mut course = Course::begin();
    for at in 0..usize::try_from(count(POINTS.len() as u64)).expect("a number of times") {
        let point = POINTS[at % POINTS.len()];
        let times = 1 + course.random.below(if point.starts_with("journal-") { 20 } else { 3 });
        course.cycle(Some(&format!("{point}:{times}")));
    }
}

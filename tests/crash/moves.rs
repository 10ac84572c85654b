//! Moving messages back from a queue of dead letters, as operators do, while the broker dies.
//!
//! Each message is in one of the two queues afterwards, and only there; what somebody had before has the redelivered flag.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::runtime::Runtime;

use super::broker::{Broker, Death};
use super::harness::{count, random};

const SETTINGS: [&str; 3] = ["store.journal_file_size=128KiB", "store.journal_keep=1", "store.segment_size=128KiB"];
const MESSAGES: u64 = 1500;
const QUEUES: [&str; 2] = ["here", "there"];

async fn connect(address: std::net::SocketAddr) -> lapin::Result<Channel> {
    let uri = format!("amqp://guest:guest@{address}/%2f");
    let channel = Connection::connect(&uri, ConnectionProperties::default()).await?.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for queue in QUEUES {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    }
    Ok(channel)
}

/// Puts so many messages into the first queue.
async fn fill(channel: &Channel) -> lapin::Result<()> {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let mut confirms = Vec::new();
    for id in 0..MESSAGES {
        let body = [&id.to_be_bytes()[..], &[0x5a; 200]].concat();
        let options = BasicPublishOptions::default();
        confirms.push(channel.basic_publish("".into(), QUEUES[0].into(), options, &body, properties.clone()).await?);
    }
    for confirm in confirms {
        assert!(confirm.await?.is_ack());
    }
    Ok(())
}

/// Where each message is. They stay there, unacked until the channel goes.
async fn look(channel: &Channel) -> lapin::Result<BTreeMap<u64, Vec<(&'static str, bool)>>> {
    let mut found: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for queue in QUEUES {
        while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions::default()).await? {
            let id = u64::from_be_bytes(*got.delivery.data.first_chunk().expect("eight bytes"));
            found.entry(id).or_default().push((queue, got.delivery.redelivered));
        }
    }
    Ok(found)
}

#[test]
fn a_message_that_is_moved_is_in_one_queue_wherever_the_broker_dies() {
    let (runtime, mut random) = (Runtime::new().expect("a runtime"), random());
    let mut interrupted = 0;
    for round in 0..count(6) {
        let data = tempfile::tempdir().expect("a directory");
        let (mut broker, address) = Broker::start(data.path(), &SETTINGS);
        runtime.block_on(async { fill(&connect(address).await?).await }).expect("a broker that lives");
        // Some rounds move what has left memory.
        if random.chance(1, 2) {
            broker.stop();
        } else {
            broker.kill();
        }
        let point = ["journal-before-write", "journal-after-write", "journal-after-sync"][round as usize % 3];
        let die_at = format!("{point}:{}", 1 + random.below(MESSAGES / 64));
        let is_named = cfg!(debug_assertions) && round % 2 == 0;
        let mut broker = Broker::spawn(data.path(), &SETTINGS, is_named.then_some(die_at.as_str()));
        let served = broker.serves();
        if served.is_some() {
            let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
            command.args(["ctl", "move_messages", QUEUES[0], QUEUES[1], "--data-dir"]).arg(data.path());
            let mut mover = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it can be run");
            if is_named {
                mover.wait().expect("it is a child");
            } else {
                std::thread::park_timeout(Duration::from_micros(random.below(150_000)));
            }
            assert_eq!(broker.kill(), Death::Killed);
            mover.wait().expect("it is a child");
        }
        let (broker, address) = Broker::start(data.path(), &SETTINGS);
        let found = runtime.block_on(async { look(&connect(address).await?).await }).expect("a broker that lives");
        for id in 0..MESSAGES {
            let places = found.get(&id).map(Vec::as_slice).unwrap_or_default();
            assert_eq!(places.len(), 1, "message {id} is in {places:?}, round {round}, {die_at}\n{}", broker.log());
        }
        let moved = found.values().filter(|places| places[0].0 == QUEUES[1]).count() as u64;
        eprintln!("round {round}: {moved} moved");
        interrupted += u64::from(moved > 0 && moved < MESSAGES);
        assert!(broker.complaints().is_empty(), "{}", broker.log());
    }
    eprintln!("{interrupted} moves were interrupted");
}

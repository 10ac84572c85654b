//! kill -9 of a real broker while clients declare, delete, bind and unbind.
//!
//! Each client has objects of its own, makes one change after the other, and notes what was answered. After the kill, a
//! copy of the catalog is read: each client's objects are as its answered changes left them, or as the one that was not
//! answered would have. Then the broker is started again on the same directory, and everything goes on.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, ExchangeUnbindOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use leveret::persist::Record;
use leveret::persist::sim::Random;
use tokio::sync::Notify;

use super::broker::Broker;
use super::catalog::{Change, Model};
use super::catalog_growth::open;
use super::harness::{count, random};

const CLIENTS: usize = 4;
/// An operator policy is written with what the first start makes, and stays.
const SETTINGS: &[&str] = &["default_policies.operator.cap.max_length=500"];

/// A client's objects, and the change that it has asked for and not been answered.
#[derive(Default)]
struct Client {
    model: Model,
    asked: Option<Change>,
}

fn prefix(client: usize) -> String {
    format!("c{client}-")
}

/// Ends a round after so many answers of all clients together.
struct Round {
    left: AtomicU64,
    over: Notify,
}

impl Round {
    fn answered(&self) {
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) == Ok(1) {
            self.over.notify_one();
        }
    }
}

async fn connect(address: SocketAddr) -> lapin::Result<(Connection, Channel)> {
    let uri = format!("amqp://guest:guest@{address}/%2f");
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// Makes changes until the broker is gone.
async fn work(
    mut client: Client,
    prefix: String,
    address: SocketAddr,
    mut random: Random,
    round: Arc<Round>,
) -> Client {
    let Ok((_connection, channel)) = connect(address).await else { return client };
    loop {
        let change = client.model.random_change(&prefix, &mut random);
        client.asked = Some(change.clone());
        if let Err(error) = make(&channel, &change).await {
            let refused = matches!(error.kind(), lapin::ErrorKind::ProtocolError(e) if e.get_id() != 320);
            assert!(!refused, "{change:?} was refused: {error}");
            return client;
        }
        client.model.apply(&change);
        client.asked = None;
        round.answered();
    }
}

async fn make(channel: &Channel, change: &Change) -> lapin::Result<()> {
    match change {
        Change::DeclareQueue { name, limit } => {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            let mut arguments = FieldTable::default();
            arguments.insert("x-max-length".into(), (*limit).into());
            channel.queue_declare(name.as_str().into(), options, arguments).await.map(drop)
        }
        Change::DeleteQueue { name } => {
            channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.map(drop)
        }
        Change::DeclareExchange { name } => {
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            channel.exchange_declare(name.as_str().into(), ExchangeKind::Direct, options, FieldTable::default()).await
        }
        Change::DeleteExchange { name } => {
            channel.exchange_delete(name.as_str().into(), ExchangeDeleteOptions::default()).await
        }
        Change::Bind(b) => {
            let (to, from, key) = (b.destination.as_str().into(), b.source.as_str().into(), b.key.as_str().into());
            if b.to_exchange {
                channel.exchange_bind(to, from, key, ExchangeBindOptions::default(), FieldTable::default()).await
            } else {
                channel.queue_bind(to, from, key, QueueBindOptions::default(), FieldTable::default()).await
            }
        }
        Change::Unbind(b) => {
            let (to, from, key) = (b.destination.as_str().into(), b.source.as_str().into(), b.key.as_str().into());
            if b.to_exchange {
                channel.exchange_unbind(to, from, key, ExchangeUnbindOptions::default(), FieldTable::default()).await
            } else {
                channel.queue_unbind(to, from, key, FieldTable::default()).await
            }
        }
        Change::SetPolicy { .. } | Change::ClearPolicy { .. } => panic!("clients make no policies"),
    }
}

/// What is in the catalog of a broker that is dead. A copy is read: repairing the original is the broker's.
pub fn stored(data_dir: &Path) -> Vec<Record> {
    let copy = tempfile::tempdir().expect("a directory");
    for name in ["catalog.redb", "catalog"] {
        copy_all(&data_dir.join(name), &copy.path().join(name));
    }
    open(copy.path()).load().expect("the catalog can be read")
}

fn copy_all(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir(to).expect("a directory");
        for entry in std::fs::read_dir(from).expect("a directory") {
            let name = entry.expect("an entry").file_name();
            copy_all(&from.join(&name), &to.join(&name));
        }
    } else if from.exists() {
        std::fs::copy(from, to).expect("a copy");
    }
}

/// Each client's objects are as they must be; what was not answered is learnt.
fn check(clients: &mut [Client], records: &[Record], kill: u64) {
    for (n, client) in clients.iter_mut().enumerate() {
        let found = Model::stored(records, &prefix(n));
        let asked = client.asked.take();
        let is_done = asked.as_ref().is_some_and(|change| client.model.after(change) == found);
        assert!(
            is_done || found == client.model,
            "kill {kill}: client {n} was answered\n{:?}\nwas not answered {asked:?}, and there is\n{found:?}",
            client.model
        );
        client.model = found;
    }
    let is_cap = |record: &&Record| matches!(record, Record::Policy(p) if p.operator && p.name == "cap");
    assert_eq!(records.iter().filter(is_cap).count(), 1, "kill {kill}: the operator policy");
    let mut ids = HashSet::new();
    let numbers = records.iter().filter_map(|record| if let Record::Queue(q) = record { Some(q.id) } else { None });
    numbers.for_each(|id| assert!(id != 0 && ids.insert(id), "kill {kill}: the number {id} is used twice"));
}

fn kill(times: u64) {
    let mut random = random();
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut clients: Vec<_> = std::iter::repeat_with(Client::default).take(CLIENTS).collect();
    let (mut answers, mut at_start) = (0, 0);
    for kill in 0..times {
        if random.chance(1, 8) {
            // At some moment of the start.
            let mut broker = Broker::spawn(dir.path(), SETTINGS, None);
            std::thread::sleep(std::time::Duration::from_micros(random.below(30_000)));
            broker.kill();
            at_start += 1;
            continue;
        }
        let (mut broker, address) = Broker::start(dir.path(), SETTINGS);
        let changes = 1 + random.below(200);
        answers += changes;
        let round = Arc::new(Round { left: AtomicU64::new(changes), over: Notify::new() });
        clients = runtime.block_on(async {
            let working = clients.into_iter().enumerate().map(|(n, client)| {
                let (random, round) = (Random::new(random.next()), Arc::clone(&round));
                tokio::spawn(work(client, prefix(n), address, random, round))
            });
            let working: Vec<_> = working.collect();
            round.over.notified().await;
            broker.kill();
            let mut clients = Vec::new();
            for client in working {
                clients.push(client.await.expect("a client does not panic"));
            }
            clients
        });
        check(&mut clients, &stored(dir.path()), kill);
    }
    drop(Broker::start(dir.path(), SETTINGS));
    eprintln!("{times} kills, {at_start} of them during a start, {answers} changes answered before them, none lost");
}

#[test]
fn no_answered_change_is_lost_when_the_broker_is_killed() {
    kill(count(12));
}

#[test]
#[ignore = "long"]
fn a_thousand_kills() {
    kill(count(1_000));
}

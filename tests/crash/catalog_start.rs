//! Starting the built broker on data directories that are taken, another node's, or damaged.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::runtime::Runtime;

use super::broker::Broker;

/// A start that is refused: what it says.
#[track_caller]
fn refused(data: &Path, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.arg("--data-dir").arg(data).args([
        "--set",
        "listeners.tcp.default=127.0.0.1:0",
        "--set",
        "management.tcp=none",
        "--set",
        "prometheus.tcp=none",
    ]);
    let output = command.envs(environment.iter().copied()).output().expect("the broker can be run");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).expect("text")
}

/// Runs `work` on a channel.
fn with_channel<T>(address: SocketAddr, work: impl AsyncFnOnce(Channel) -> lapin::Result<T>) -> lapin::Result<T> {
    Runtime::new().expect("a runtime").block_on(async {
        let uri = format!("amqp://guest:guest@{address}/%2f");
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
        work(connection.create_channel().await?).await
    })
}

/// Declares a durable queue, or asks for it; the number of its messages.
fn queue(address: SocketAddr, name: &str, passive: bool) -> lapin::Result<u32> {
    with_channel(address, async |channel| {
        let options = QueueDeclareOptions { durable: true, passive, ..QueueDeclareOptions::default() };
        Ok(channel.queue_declare(name.into(), options, FieldTable::default()).await?.message_count())
    })
}

/// Publishes a persistent message to a queue, and waits for its confirm.
fn publish(address: SocketAddr, queue: &str) {
    let published = with_channel(address, async |channel| {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), queue.into(), options, b"precious", persistent).await?.await
    });
    assert!(published.expect("it is published").is_ack());
}

fn damage(data: &Path) {
    let path = data.join("catalog.redb");
    let mut bytes = fs::read(&path).expect("there is a catalog");
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    fs::write(&path, bytes).expect("it can be written");
}

#[test]
fn a_second_process_is_told_so_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_first, _) = Broker::start(dir.path(), &[]);
    let said = refused(dir.path(), &[]);
    assert!(said.starts_with("leveret: the data directory") && said.contains("used by another process"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn another_nodes_data_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    Broker::start(dir.path(), &["node_name=rabbit@one"]).0.stop();
    let said = refused(dir.path(), &[("RABBITMQ_NODENAME", "rabbit@two")]);
    assert!(said.contains("belongs to node rabbit@one and this node is called rabbit@two"), "{said}");
    Broker::start(dir.path(), &[]).0.stop();
}

#[test]
fn queues_survive_a_damaged_catalog() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut broker, address) = Broker::start(dir.path(), &[]);
    queue(address, "kept", false).expect("the queue is declared");
    broker.stop();
    damage(dir.path());
    let (mut broker, address) = Broker::start(dir.path(), &[]);
    queue(address, "kept", true).expect("the queue is there");
    broker.stop();
    assert!(dir.path().join("catalog.damaged-1").exists());
}

#[test]
fn without_definitions_a_damaged_catalog_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    Broker::start(dir.path(), &[]).0.stop();
    damage(dir.path());
    fs::remove_file(dir.path().join("definitions.json")).expect("there is an export");
    let said = refused(dir.path(), &[]);
    assert!(said.contains("catalog.redb is damaged") && said.contains("backup"), "{said}");
    assert!(!dir.path().join("catalog.damaged-1").exists());
}

#[test]
fn messages_of_queues_that_the_export_lacks_come_back() {
    let dir = tempfile::tempdir().expect("a directory");
    Broker::start(dir.path(), &[]).0.stop();
    let export = fs::read(dir.path().join("definitions.json")).expect("there is an export");
    let (mut broker, address) = Broker::start(dir.path(), &[]);
    queue(address, "late", false).expect("the queue is declared");
    publish(address, "late");
    broker.kill();
    let id = super::catalog_kill::stored(dir.path()).into_iter().find_map(|record| match record {
        leveret::persist::Record::Queue(queue) => Some(queue.id),
        _ => None,
    });
    damage(dir.path());
    fs::write(dir.path().join("definitions.json"), export).expect("it can be written");
    // At every later start too.
    for _ in 0..2 {
        let (mut broker, address) = Broker::start(dir.path(), &[]);
        let recovered = format!("recovered-{:016x}", id.expect("the queue has a number"));
        let count = queue(address, "late", true).or_else(|_| queue(address, &recovered, true));
        assert_eq!(count.expect("there is a queue for the message"), 1, "{}", broker.log());
        broker.stop();
    }
}

#[test]
fn messages_survive_an_older_catalog_that_is_put_back() {
    let dir = tempfile::tempdir().expect("a directory");
    Broker::start(dir.path(), &[]).0.stop();
    let catalog = fs::read(dir.path().join("catalog.redb")).expect("there is a catalog");
    let (mut broker, address) = Broker::start(dir.path(), &[]);
    queue(address, "late", false).expect("the queue is declared");
    queue(address, "deleted", false).expect("the queue is declared");
    publish(address, "late");
    publish(address, "deleted");
    let deleted =
        with_channel(address, async |channel| channel.queue_delete("deleted".into(), Default::default()).await);
    assert_eq!(deleted.expect("it is deleted"), 1);
    broker.stop();
    fs::write(dir.path().join("catalog.redb"), catalog).expect("it can be written");
    // By which the operator says that the catalog may lack queues.
    fs::write(dir.path().join("catalog.rebuilt"), "").expect("it can be written");
    let (code, said) = store_tool(&["check"], dir.path());
    assert!(code == Some(0) && said.contains("catalog.rebuilt"), "{code:?} {said}");
    Broker::start(dir.path(), &[]).0.stop();
    assert!(!dir.path().join("catalog.rebuilt").exists());
    let queues = super::catalog_kill::stored(dir.path()).into_iter().filter_map(|record| match record {
        leveret::persist::Record::Queue(queue) => Some(queue.name),
        _ => None,
    });
    let [recovered] = <[String; 1]>::try_from(queues.collect::<Vec<_>>()).expect("one queue had messages");
    assert!(recovered.starts_with("recovered-"), "{recovered}");
    let (mut broker, address) = Broker::start(dir.path(), &[]);
    assert_eq!(queue(address, &recovered, true).expect("the queue is there"), 1);
    broker.stop();
}

/// Runs `leveret store` with these arguments on a data directory: its exit code and what it prints.
fn store_tool(arguments: &[&str], data: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    let output = command.arg("store").args(arguments).arg(data).output().expect("the tool can be run");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn messages_whose_disk_is_not_mounted_are_missed() {
    for part in ["store", "store/journal"] {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut broker, address) = Broker::start(dir.path(), &[]);
        queue(address, "kept", false).expect("the queue is declared");
        publish(address, "kept");
        broker.stop();
        let (place, away) = (dir.path().join(part), dir.path().join("store.away"));
        fs::rename(&place, &away).expect("it can be moved");
        for is_there in [false, true] {
            if is_there {
                // A disk that has been mounted and is empty.
                fs::create_dir(&place).expect("it can be made");
            }
            let said = refused(dir.path(), &[]);
            assert!(said.contains(part) && said.contains("declared queues (1)"), "{said}");
            assert!(said.contains("mount or put back") && said.lines().count() == 1, "{said}");
            let (code, said) = store_tool(&["check"], dir.path());
            assert!(code == Some(1) && said.contains("missing or empty"), "{code:?} {said}");
        }
        fs::remove_dir(&place).expect("nothing has been made there");
        fs::rename(&away, &place).expect("it can be moved");
        let (mut broker, address) = Broker::start(dir.path(), &[]);
        assert_eq!(queue(address, "kept", true).expect("the queue is there"), 1);
        broker.stop();

        fs::remove_dir_all(&place).expect("it can be removed");
        let (code, said) = store_tool(&["accept-loss", "--yes"], dir.path());
        assert_eq!(code, Some(0), "{said}");
        let (mut broker, address) = Broker::start(dir.path(), &[]);
        assert_eq!(queue(address, "kept", true).expect("the queue is there"), 0);
        publish(address, "kept");
        broker.kill();
        let (mut broker, address) = Broker::start(dir.path(), &[]);
        assert_eq!(queue(address, "kept", true).expect("the queue is there"), 1);
        broker.stop();
    }
}

#[test]
fn what_is_refused_is_left_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut broker, address) = Broker::start(dir.path(), &[]);
    queue(address, "kept", false).expect("the queue is declared");
    broker.stop();
    let other = tempfile::tempdir().expect("a directory");
    Broker::start(other.path(), &[]).0.stop();
    for name in ["identity", "identity.copy"] {
        fs::copy(other.path().join(name), dir.path().join(name)).expect("it can be copied");
    }
    let content =
        || ["catalog.redb", "definitions.json"].map(|name| fs::read(dir.path().join(name)).expect("it is there"));
    let before = content();
    let said = refused(dir.path(), &[]);
    assert!(said.contains("belongs to another data directory"), "{said}");
    assert_eq!(content(), before);
}

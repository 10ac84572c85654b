//! Starting the built broker on data directories that are taken, another node's, or damaged.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

use super::broker::Broker;

/// A start that is refused: what it says.
#[track_caller]
fn refused(data: &Path, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.arg("--data-dir").arg(data).args(["--set", "listeners.tcp.default=127.0.0.1:0"]);
    let output = command.envs(environment.iter().copied()).output().expect("the broker can be run");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).expect("text")
}

/// Declares a durable queue, or asks for it.
fn queue(address: SocketAddr, name: &str, passive: bool) -> lapin::Result<()> {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let uri = format!("amqp://guest:guest@{address}/%2f");
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions { durable: true, passive, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.into(), options, FieldTable::default()).await.map(drop)
    })
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
#[cfg(not(feature = "sled-catalog"))]
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
#[cfg(not(feature = "sled-catalog"))]
fn without_definitions_a_damaged_catalog_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    Broker::start(dir.path(), &[]).0.stop();
    damage(dir.path());
    fs::remove_file(dir.path().join("definitions.json")).expect("there is an export");
    let said = refused(dir.path(), &[]);
    assert!(said.contains("catalog.redb is damaged") && said.contains("backup"), "{said}");
    assert!(!dir.path().join("catalog.damaged-1").exists());
}

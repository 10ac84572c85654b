//! Connections as operators list and close them.

use super::broker::Broker;
use super::harness::ctl;

#[test]
fn a_connection_is_closed_by_the_pid_that_is_listed() {
    let broker = Broker::start();
    let address = broker.node.as_ref().unwrap().amqp_addrs()[0];
    let uri = format!("amqp://{address}");
    let connection =
        broker.runtime.block_on(lapin::Connection::connect(&uri, lapin::ConnectionProperties::default())).unwrap();
    let channel = broker.runtime.block_on(connection.create_channel()).unwrap();
    let listed = ctl(&broker, &["list_connections", "-q", "pid", "user", "vhost", "client_properties"]).good();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "pid\tuser\tvhost\tclient_properties"));
    let cells: Vec<&str> = lines[1].split('\t').collect();
    assert!(cells[0].starts_with('<') && cells[0].ends_with(".0>") && !cells[0].contains(' '), "{listed}");
    assert_eq!((cells[1], cells[2]), ("guest", "/"));
    assert!(cells[3].starts_with("[{\"") && cells[3].contains("{\"capabilities\",[{\""), "{listed}");
    let options = lapin::options::QueueDeclareOptions { exclusive: true, ..Default::default() };
    let declare = channel.queue_declare("own".into(), options, lapin::types::FieldTable::default());
    broker.runtime.block_on(declare).unwrap();
    let owner = ctl(&broker, &["list_queues", "-s", "name", "owner_pid"]).good();
    assert_eq!(owner, format!("own\t{}\n", cells[0]));
    let channels = ctl(&broker, &["list_channels", "-s", "connection", "number"]).good();
    assert_eq!(channels, format!("{}\t1\n", cells[0]));
    let said = ctl(&broker, &["close_connection", cells[0], "go away"]).good();
    assert_eq!(said, format!("Closing connection {}, reason: go away...\n", cells[0]));
    // The client hears of it: nothing it asks for is answered any more.
    let closed = async {
        let options = lapin::options::QueueDeclareOptions::default();
        channel.queue_declare("".into(), options, lapin::types::FieldTable::default()).await
    };
    assert!(broker.runtime.block_on(closed).is_err());
    // One that has gone is no error, and what is no connection is one.
    ctl(&broker, &["close_connection", cells[0], "again"]).good();
    assert_eq!(ctl(&broker, &["close_connection", "bad", "reason"]).code, 65);
}

#[test]
fn all_connections_are_closed_or_those_of_a_virtual_host() {
    let broker = Broker::start();
    let uri = format!("amqp://{}", broker.node.as_ref().unwrap().amqp_addrs()[0]);
    let properties = lapin::ConnectionProperties::default;
    let open: Vec<_> =
        (0..2).map(|_| broker.runtime.block_on(lapin::Connection::connect(&uri, properties())).unwrap()).collect();
    let closed = |words: &[&str]| ctl(&broker, words).good().lines().last().map(str::to_owned);
    assert_eq!(closed(&["close_all_connections", "-p", "other", "bye"]).as_deref(), Some("Closed 0 connections"));
    assert_eq!(
        closed(&["close_all_connections", "-p", "/", "--limit", "1", "bye"]).as_deref(),
        Some("Closed 1 connections")
    );
    ctl(&broker, &["close_all_user_connections", "guest", "bye"]).good();
    drop(open);
}

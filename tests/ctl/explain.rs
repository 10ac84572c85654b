//! Which bindings match, and why.

use super::broker::Broker;
use super::harness::{ctl, tool};

/// Declares over AMQP, as an application does.
fn declare(broker: &Broker) {
    use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
    use lapin::types::FieldTable;
    let address = broker.node.as_ref().unwrap().amqp_addrs()[0];
    broker.runtime.block_on(async {
        let connection =
            lapin::Connection::connect(&format!("amqp://{address}"), lapin::ConnectionProperties::default())
                .await
                .unwrap();
        let channel = connection.create_channel().await.unwrap();
        for queue in ["q1", "q2"] {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
        }
        let kind = lapin::ExchangeKind::Topic;
        channel
            .exchange_declare("ex".into(), kind, ExchangeDeclareOptions::default(), FieldTable::default())
            .await
            .unwrap();
        for (queue, key) in [("q1", "a.*"), ("q2", "b.#")] {
            let options = QueueBindOptions::default();
            channel.queue_bind(queue.into(), "ex".into(), key.into(), options, FieldTable::default()).await.unwrap();
        }
        connection.close(200, "".into()).await.unwrap();
    });
}

#[test]
fn routes_are_explained_binding_by_binding() {
    let broker = Broker::start();
    declare(&broker);
    let said = ctl(&broker, &["explain_route", "ex", "a.b", "-q"]).good();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "matches\tdestination\tkind\tbinding_key\targuments\twhy");
    assert_eq!(lines[1], "true\tq1\tqueue\ta.*\t[]\tthe pattern 'a.*' matches 'a.b'");
    assert_eq!(lines[2], "false\tq2\tqueue\tb.#\t[]\tthe pattern 'b.#' does not match 'a.b'");
    assert_eq!(lines[3], "The message would reach: q1");
    let said = ctl(&broker, &["explain_route", "ex", "c", "-q"]).good();
    assert!(said.ends_with("The message would reach no queue.\n"), "{said}");
    assert_eq!(ctl(&broker, &["explain_route", "", "q2", "-q"]).good(), "The message would reach: q2\n");
    let text = ctl(&broker, &["explain_route", "none", "c"]).failed(65);
    assert_eq!(text, "Error:\nthere is no exchange 'none' in vhost '/'\n");
}

#[test]
fn policies_are_explained_by_rank() {
    use leveret::persist::record::{ApplyTo, PolicyRecord};
    let broker = Broker::start();
    declare(&broker);
    for (name, priority, pattern) in [("low", 1, "^q"), ("high", 5, "^q1$"), ("other", 9, "^x")] {
        let record = PolicyRecord {
            vhost: "/".to_owned(),
            name: name.to_owned(),
            operator: false,
            pattern: pattern.to_owned(),
            apply_to: ApplyTo::Queues,
            priority,
            definition: "{\"max-length\":10}".to_owned(),
        };
        broker.node.as_ref().unwrap().broker().apply(leveret::vhost::Command::SetPolicy(record)).unwrap();
    }
    let said = tool(&broker, "leveret", &["explain_policy", "q1", "-q"]).good();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "name\toperator\tpattern\tapply-to\tpriority\tmatches\tapplies\twhy");
    assert_eq!(lines[1], "other\tfalse\t^x\tqueues\t9\tfalse\tfalse\tthe pattern '^x' does not match the name");
    let why = "it matches, and none that matches has a higher priority";
    assert_eq!(lines[2], format!("high\tfalse\t^q1$\tqueues\t5\ttrue\ttrue\t{why}"));
    assert_eq!(lines[3], "low\tfalse\t^q\tqueues\t1\ttrue\tfalse\t'high' counts before it");
    assert_eq!(lines[4], "In force: {\"max-length\":10}");
}

//! A committed transaction survives.

use super::broker::Broker;
use crate::compat::harness::{basic_ack, basic_get, props, queue_declare, tx_commit, tx_select};

#[test]
fn a_committed_transaction_survives_a_power_cut_whole() {
    let mut broker = Broker::start(&[]);
    let client = broker.connect();
    let channel = client.channel();
    channel.declare(queue_declare("q").durable());
    channel.declare(queue_declare("other").durable());
    channel.call(tx_select());
    let publish = |queue: &str, body: &str| channel.publish_with("", queue, props().persistent(), body);
    publish("q", "one");
    publish("q", "two");
    channel.call(tx_commit());
    let one = channel.get_with(basic_get("q")).expect("a committed message");
    assert_eq!(one.text(), "one");
    channel.send(basic_ack(one.delivery_tag));
    publish("q", "three");
    publish("other", "four");
    channel.call(tx_commit());
    publish("q", "not committed");
    channel.expect_nothing_more();
    broker.cut_power();
    let client = broker.connect();
    let channel = client.channel();
    assert_eq!(channel.drain("q"), ["two", "three"]);
    assert_eq!(channel.drain("other"), ["four"]);
}

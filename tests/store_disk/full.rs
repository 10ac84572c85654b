//! A full disk: publishers are told and wait, consumers are served, and there is no need to restart.

use super::broker::{Broker, Publisher, consume_and_ack, numbers};
use crate::compat::harness::basic_qos;

#[test]
fn a_full_disk_blocks_publishers_only_and_only_while_it_is_full() {
    let mut broker = Broker::start(&[("disk_free_limit.absolute", "100kB")]);
    let mut publisher = Publisher::new(&broker, "q");
    publisher.publish_all(10);
    broker.leave_room(3 << 20);
    assert_eq!(publisher.publish_until_blocked(), "low on disk");
    let confirmed = publisher.confirmed;
    assert!(confirmed > 20, "{confirmed}");

    // Who consumes is served meanwhile.
    let consumer = broker.connect();
    let channel = consumer.channel();
    channel.call(basic_qos(10));
    let acked = confirmed / 2;
    consume_and_ack(&channel, "q", 0, acked);

    broker.disk.set_capacity(1 << 40);
    publisher.expect_unblocked();
    publisher.expect_all_confirmed();
    publisher.publish_all(20);
    broker.cut_power();
    // The acks came before the last publishes, which are safe.
    assert_eq!(numbers(&broker, "q"), Vec::from_iter(acked..publisher.published));
}

#[test]
fn consumers_empty_a_full_disk() {
    let mut broker = Broker::start(&[("disk_free_limit.absolute", "100kB")]);
    let mut publisher = Publisher::new(&broker, "q");
    publisher.publish_all(10);
    broker.leave_room(3 << 20);
    assert_eq!(publisher.publish_until_blocked(), "low on disk");

    let consumer = broker.connect();
    let channel = consumer.channel();
    channel.call(basic_qos(10));
    consume_and_ack(&channel, "q", 0, publisher.confirmed);
    publisher.expect_unblocked();
    let acked = publisher.confirmed;
    publisher.expect_all_confirmed();
    publisher.publish_all(20);
    broker.cut_power();
    assert_eq!(numbers(&broker, "q"), Vec::from_iter(acked..publisher.published));
}

#[test]
fn a_node_starts_on_a_full_disk() {
    let mut broker = Broker::start(&[("disk_free_limit.absolute", "100kB")]);
    Publisher::new(&broker, "q").publish_all(10);
    broker.leave_room(0);
    broker.cut_power();
    let consumer = broker.connect();
    let channel = consumer.channel();
    channel.call(basic_qos(10));
    consume_and_ack(&channel, "q", 0, 10);
    let mut publisher = Publisher::new(&broker, "other");
    assert_eq!(publisher.publish_until_blocked(), "low on disk");
    broker.disk.set_capacity(1 << 40);
    publisher.expect_unblocked();
    publisher.expect_all_confirmed();
}

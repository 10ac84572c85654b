//! A confirm of a quorum queue says that the message is on disk, whatever its delivery mode.

use leveret::frames::content::Property;

use super::broker::Broker;
use crate::compat::harness::{confirm_select, props, queue_bind, queue_declare};

#[test]
fn a_confirmed_transient_message_outlives_the_power_in_quorum_queues_only() {
    let mut broker = Broker::start(&[]);
    let channel = broker.connect().channel();
    for (queue, kind) in [("quorum", "quorum"), ("classic", "classic")] {
        channel.declare(queue_declare(queue).durable().arg("x-queue-type", kind));
        channel.call(queue_bind(queue, "amq.fanout", ""));
    }
    channel.call(confirm_select());
    let message = props().octet(Property::DeliveryMode, 1);
    for number in 1..=20 {
        channel.publish_with("amq.fanout", "", message.clone(), &number.to_string());
        channel.expect_ack(number);
    }
    broker.cut_power();
    let channel = broker.connect().channel();
    for number in 1..=20 {
        let found = channel.expect_get("quorum");
        assert_eq!((found.text(), &found.props), (&*number.to_string(), &message));
    }
    assert!(channel.get("quorum").is_none());
    assert!(channel.get("classic").is_none());
}

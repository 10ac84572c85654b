//! E-6, item 86: prefetch.

use super::harness::*;

/// A channel with a queue of ten messages.
fn with_ten() -> (Channel, String) {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    (channel, queue)
}

#[test]
fn e086_prefetch_size_is_not_implemented() {
    channel().ends_connection(basic_qos_size(1, 0), 540, "prefetch_size!=0 (1)");
}

#[test]
fn e086_a_consumer_gets_no_more_than_its_prefetch() {
    let (channel, queue) = with_ten();
    channel.call(basic_qos(3));
    channel.consume(basic_consume(&queue, ""));
    assert_eq!(channel.expect_bodies(3), ["0", "1", "2"]);
    channel.expect_nothing_more();
    channel.send(basic_ack(1));
    assert_eq!(channel.expect_bodies(1), ["3"]);
    channel.send(basic_ack(4).multiple());
    assert_eq!(channel.expect_bodies(3), ["4", "5", "6"]);
    channel.expect_nothing_more();
    assert_eq!(channel.ready(&queue), 3);
}

#[test]
fn e086_a_requeued_message_frees_its_place() {
    let (channel, queue) = with_ten();
    channel.call(basic_qos(1));
    channel.consume(basic_consume(&queue, ""));
    let first = channel.expect_deliver();
    channel.send(basic_reject(first.delivery_tag).requeue());
    let again = channel.expect_deliver();
    assert_eq!((again.text(), again.redelivered), ("0", true));
    channel.expect_nothing_more();
}

#[test]
fn e086_each_consumer_has_its_own_limit() {
    let (channel, queue) = with_ten();
    channel.call(basic_qos(2));
    channel.consume(basic_consume(&queue, "a"));
    channel.consume(basic_consume(&queue, "b"));
    channel.expect_bodies(4);
    channel.expect_nothing_more();
}

#[test]
fn e086_qos_applies_to_consumers_created_later() {
    let (channel, queue) = with_ten();
    channel.call(basic_qos(1));
    channel.consume(basic_consume(&queue, "one"));
    channel.expect_bodies(1);
    channel.call(basic_qos(3));
    channel.expect_nothing_more();
    channel.consume(basic_consume(&queue, "three"));
    for _ in 0..3 {
        assert_eq!(channel.expect_deliver().consumer_tag, "three");
    }
    channel.expect_nothing_more();
}

#[test]
fn e086_global_qos_is_one_limit_for_the_channel() {
    let (channel, queue) = with_ten();
    channel.call(basic_qos(3).global());
    channel.consume(basic_consume(&queue, "a"));
    channel.consume(basic_consume(&queue, "b"));
    channel.expect_bodies(3);
    channel.expect_nothing_more();
    channel.send(basic_ack(2).multiple());
    channel.expect_bodies(2);
    channel.expect_nothing_more();
}

#[test]
fn e086_global_qos_applies_to_existing_consumers() {
    let (channel, queue) = with_ten();
    channel.call(basic_qos(1).global());
    channel.consume(basic_consume(&queue, "a"));
    channel.expect_bodies(1);
    channel.expect_nothing_more();
    channel.call(basic_qos(4).global());
    channel.expect_bodies(3);
    channel.expect_nothing_more();
    channel.call(basic_qos(0).global());
    channel.expect_bodies(6);
}

#[test]
fn e086_both_limits_together() {
    let (channel, queue) = with_ten();
    channel.call(basic_qos(2));
    channel.call(basic_qos(3).global());
    channel.consume(basic_consume(&queue, "a"));
    channel.expect_bodies(2);
    channel.expect_nothing_more();
    channel.consume(basic_consume(&queue, "b"));
    channel.expect_bodies(1);
    channel.expect_nothing_more();
}

#[test]
fn e086_lowering_recalls_nothing() {
    let (channel, queue) = with_ten();
    channel.call(basic_qos(5).global());
    channel.consume(basic_consume(&queue, "a"));
    channel.expect_bodies(5);
    channel.call(basic_qos(2).global());
    channel.send(basic_ack(3).multiple());
    channel.expect_nothing_more();
    channel.send(basic_ack(4));
    channel.expect_bodies(1);
    channel.expect_nothing_more();
}

#[test]
fn e086_get_is_not_limited() {
    let (channel, queue) = with_ten();
    channel.call(basic_qos(1));
    for n in 0..5 {
        assert_eq!(channel.expect_get(&queue).text(), n.to_string());
    }
    // What was got does not count for the consumer either.
    channel.consume(basic_consume(&queue, ""));
    assert_eq!(channel.expect_bodies(1), ["5"]);
    channel.expect_nothing_more();
}

#[test]
fn e086_consumers_without_ack_are_not_limited() {
    let (channel, queue) = with_ten();
    channel.call(basic_qos(1));
    channel.call(basic_qos(1).global());
    channel.consume(basic_consume(&queue, "").no_ack());
    channel.expect_bodies(10);
}

#[test]
fn e086_prefetch_0_is_no_limit() {
    let (channel, queue) = with_ten();
    channel.call(basic_qos(1));
    channel.call(basic_qos(0));
    channel.consume(basic_consume(&queue, ""));
    channel.expect_bodies(10);
}

/// A quorum queue's consumers cannot share a limit with the channel's others.
#[test]
fn a007_global_qos_and_quorum_queues() {
    let client = Broker::start().connect();
    let queue = unique("quorum");
    let channel = client.channel();
    channel.declare(queue_declare(&queue).durable().arg("x-queue-type", "quorum"));
    channel.call(basic_qos(3).global());
    // No limit is no shared limit.
    channel.call(basic_qos(0).global());
    channel.consume(basic_consume(&queue, "a"));
    // A limit that comes after the consumer is taken, as RabbitMQ takes it.
    channel.call(basic_qos(3).global());
    let text = format!("queue '{queue}' in vhost '/' does not support global qos");
    channel.ends_connection(basic_consume(&queue, "b"), 540, text);
    let channel = super::harness::channel();
    channel.call(basic_qos(3));
    let tag = channel.consume(basic_consume(&queue, ""));
    channel.call(basic_cancel(&tag));
    channel.delete(queue_delete(&queue));

    let Some(lenient) = Broker::start_with(&[("quorum_queue.refuse_unsupported", "false")]) else { return };
    let channel = lenient.connect().channel();
    channel.declare(queue_declare("q").durable().arg("x-queue-type", "quorum"));
    channel.call(basic_qos(1).global());
    channel.consume(basic_consume("q", ""));
}

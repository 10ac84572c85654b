//! E-5, item 77: transactions.

use super::harness::*;

#[test]
fn e077_a_channel_must_be_transactional() {
    let channel = channel();
    channel.refuses(tx_commit(), 406, "channel is not transactional");
    channel.refuses(tx_rollback(), 406, "channel is not transactional");
    channel.call(tx_select());
    channel.call(tx_select());
    channel.call(tx_commit());
    channel.call(tx_rollback());
}

#[test]
fn e077_publishes_are_seen_after_the_commit() {
    let broker = Broker::start();
    let client = broker.connect();
    let (channel, observer) = (client.channel(), client.channel());
    let queue = channel.temporary_queue();
    channel.call(tx_select());
    channel.publish("", &queue, "one");
    channel.publish("", &queue, "two");
    channel.call(channel_flow().active());
    assert_eq!(observer.ready(&queue), 0);
    channel.call(tx_commit());
    assert_eq!(observer.drain(&queue), ["one", "two"]);
}

#[test]
fn e077_rolled_back_publishes_are_gone() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.call(tx_select());
    channel.publish("", &queue, "gone");
    channel.call(tx_rollback());
    channel.publish("", &queue, "kept");
    channel.call(tx_commit());
    assert_eq!(channel.drain(&queue), ["kept"]);
}

#[test]
fn e077_acks_count_after_the_commit() {
    let client = Broker::start().connect();
    let (channel, observer) = (client.channel(), client.channel());
    let queue = channel.temporary_queue();
    observer.publish_confirmed("", &queue, &["one", "two"]);
    channel.call(tx_select());
    let first = channel.expect_get(&queue);
    let second = channel.expect_get(&queue);
    channel.send(basic_ack(first.delivery_tag));
    channel.call(tx_commit());
    channel.send(basic_ack(second.delivery_tag));
    channel.call(channel_close());
    assert_eq!(observer.drain(&queue), ["two"]);
}

/// A rollback takes the acks back, but the messages stay with the consumer.
#[test]
fn e077_rolled_back_acks_can_be_made_again() {
    let client = Broker::start().connect();
    let (channel, observer) = (client.channel(), client.channel());
    let queue = channel.temporary_queue();
    observer.publish_confirmed("", &queue, &["one", "two"]);
    channel.call(tx_select());
    let first = channel.expect_get(&queue);
    let second = channel.expect_get(&queue);
    channel.send(basic_ack(second.delivery_tag).multiple());
    channel.call(tx_rollback());
    assert_eq!(observer.ready(&queue), 0);
    channel.send(basic_ack(first.delivery_tag));
    channel.send(basic_nack(second.delivery_tag).requeue());
    channel.call(tx_commit());
    assert_eq!(observer.drain(&queue), ["two"]);
}

#[test]
fn e077_unknown_tags_are_noticed_at_once() {
    let channel = channel();
    channel.call(tx_select());
    channel.send(basic_ack(5));
    channel.expect_channel_close(406, "unknown delivery tag 5", (60, 80));
}

#[test]
fn e077_an_unroutable_mandatory_message_is_returned_at_the_commit() {
    let channel = channel();
    channel.call(tx_select());
    channel.send_message(basic_publish("", "nobody").mandatory(), &props(), b"m");
    channel.expect_nothing_more();
    channel.send(tx_commit());
    channel.expect_return();
    channel.expect_answer((90, 20));
}

#[test]
fn e077_a_missing_exchange_is_noticed_at_once() {
    let channel = channel();
    channel.call(tx_select());
    let text = "no exchange 'missing' in vhost '/'";
    channel.refuses_message(basic_publish("missing", "key"), &props(), "m", 404, text);
}

#[test]
fn e077_persistent_messages() {
    let channel = channel();
    let queue = unique("durable");
    channel.declare(queue_declare(&queue).durable());
    channel.call(tx_select());
    for round in 0..5 {
        for _ in 0..20 {
            channel.publish_with("", &queue, props().persistent(), "m");
        }
        channel.call(tx_commit());
        assert_eq!(channel.ready(&queue), 20 * (round + 1));
    }
    channel.delete(queue_delete(&queue));
}

#[test]
fn e077_a_rejected_publish_fails_the_commit() {
    let channel = channel();
    let full = queue_declare("").exclusive().arg("x-overflow", "reject-publish").arg("x-max-length", 0);
    let queue = channel.declare(full).queue.to_string();
    channel.call(tx_select());
    channel.publish("", &queue, "refused");
    channel.send(tx_commit());
    channel.expect_channel_close(406, "partial tx completion", (90, 20));
}

#[test]
fn e077_closing_the_channel_rolls_back() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.call(tx_select());
    channel.publish("", &queue, "gone");
    channel.call(channel_close());
    channel.call(channel_open());
    assert_eq!(channel.ready(&queue), 0);
}

/// What a message has left of its own time counts from the commit.
#[test]
fn e077_time_begins_with_the_commit() {
    let client = Broker::start().connect();
    let (channel, observer) = (client.channel(), client.channel());
    let (queue, clock) = (channel.temporary_queue(), observer.temporary_queue());
    channel.call(tx_select());
    channel.publish_with("", &queue, props().expiration("1000"), "kept");
    channel.call(channel_flow().active());
    observer.call(confirm_select());
    observer.publish_with("", &clock, props().expiration("1100"), "tick");
    observer.expect_confirms(1);
    eventually("the time has passed", || observer.ready(&clock) == 0);
    channel.call(tx_commit());
    assert_eq!(channel.drain(&queue), ["kept"]);
}

//! E-5: publisher confirms and channel flow.

use super::harness::*;

#[test]
fn e073_confirms_count_from_1_since_select() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish("", &queue, "before");
    channel.call(confirm_select());
    channel.publish("", &queue, "first");
    channel.expect_ack(1);
    channel.publish("", &queue, "second");
    channel.expect_ack(2);
    assert_eq!(channel.ready(&queue), 3);
}

#[test]
fn e073_persistent_messages_in_durable_queues() {
    let channel = channel();
    let queue = unique("durable");
    channel.declare(queue_declare(&queue).durable());
    channel.call(confirm_select());
    for n in 0..200 {
        channel.publish_with("", &queue, props().persistent(), &n.to_string());
    }
    assert!(channel.expect_confirms(200).is_empty());
    assert_eq!(channel.delete(queue_delete(&queue)), 200);
}

/// Every publish is confirmed once, in whatever order and grouping; `expect_confirms` checks it.
#[test]
fn e074_each_publish_is_confirmed_once() {
    let channel = channel();
    let (transient, durable) = (channel.temporary_queue(), unique("durable"));
    channel.declare(queue_declare(&durable).durable());
    channel.call(confirm_select());
    for n in 0..300 {
        match n % 3 {
            0 => channel.publish("", &transient, "transient"),
            1 => channel.publish_with("", &durable, props().persistent(), "persistent"),
            _ => channel.publish("", "nowhere", "dropped"),
        }
    }
    assert!(channel.expect_confirms(300).is_empty());
    channel.delete(queue_delete(&durable));
}

#[test]
fn e075_a_full_queue_nacks() {
    let channel = channel();
    let full = || queue_declare("").exclusive().arg("x-overflow", "reject-publish");
    let queue = channel.declare(full().arg("x-max-length", 2)).queue.to_string();
    channel.call(confirm_select());
    for n in 0..4 {
        channel.publish("", &queue, &n.to_string());
    }
    assert_eq!(channel.expect_confirms(4), [3, 4]);
    assert_eq!(channel.drain(&queue), ["0", "1"]);
    channel.publish("", &queue, "again");
    channel.expect_ack(5);
}

#[test]
fn e075_one_full_queue_of_several_nacks_but_the_others_keep_the_message() {
    let channel = channel();
    let full = queue_declare("").exclusive().arg("x-overflow", "reject-publish").arg("x-max-length", 0);
    let (full, open) = (channel.declare(full).queue.to_string(), channel.temporary_queue());
    let exchange = unique("e");
    channel.call(exchange_declare(&exchange, "fanout").auto_delete());
    channel.call(queue_bind(&full, &exchange, ""));
    channel.call(queue_bind(&open, &exchange, ""));
    channel.call(confirm_select());
    channel.publish(&exchange, "", "m");
    channel.expect_nack(1);
    assert_eq!(channel.drain(&open), ["m"]);
    assert_eq!(channel.ready(&full), 0);
}

#[test]
fn e075_drop_head_acks() {
    let channel = channel();
    let queue = channel.declare(queue_declare("").exclusive().arg("x-max-length", 1)).queue.to_string();
    channel.publish_confirmed("", &queue, &["one", "two", "three"]);
    assert_eq!(channel.drain(&queue), ["three"]);
}

#[test]
fn e075_a_queue_that_is_deleted_acks_what_it_held() {
    let broker = Broker::start();
    let (publisher, other) = (broker.connect().channel(), broker.connect().channel());
    let queue = unique("q");
    other.declare(queue_declare(&queue).durable());
    publisher.call(confirm_select());
    for _ in 0..500 {
        publisher.publish_with("", &queue, props().persistent(), "m");
    }
    other.delete(queue_delete(&queue));
    assert!(publisher.expect_confirms(500).is_empty());
}

#[test]
fn e076_confirm_select_may_be_repeated() {
    let channel = channel();
    channel.call(confirm_select());
    channel.publish("", "nowhere", "m");
    channel.expect_ack(1);
    channel.call(confirm_select());
    channel.send(confirm_select().nowait());
    channel.publish("", "nowhere", "m");
    channel.expect_ack(2);
}

#[test]
fn e076_confirms_and_transactions_exclude_each_other() {
    let channel = channel();
    channel.call(confirm_select());
    channel.refuses(tx_select(), 406, "cannot switch from confirm to tx mode");
    channel.call(tx_select());
    channel.refuses(confirm_select(), 406, "cannot switch from tx to confirm mode");
    // A channel that is opened again has no mode.
    channel.call(confirm_select());
}

#[test]
fn e078_channel_flow() {
    let channel = channel();
    let answer = channel.call(channel_flow().active());
    assert!(format!("{answer:?}").contains("active: true"), "{answer:?}");
    channel.ends_connection(channel_flow(), 540, "active=false");
}

//! Messages that are returned again and again: E-8, item 110, the delivery limit; and A-5, `x-delayed-retry-*`, by which
//! they are held back before they come again.
//!
//! RabbitMQ has both for quorum queues only (the latter since 4.3); here they go with any queue.

use std::time::{Duration, Instant};

use leveret::frames::Value;

use super::harness::letters::*;
use super::harness::*;

/// A classic queue with a delivery limit; in RabbitMQ only a quorum queue can have one.
fn limited(limit: i32) -> Method {
    let declare = queue_declare("").arg("x-delivery-limit", limit);
    if Broker::start().inside().is_some() {
        return declare.exclusive();
    }
    // A quorum queue must be durable, and have a name.
    queue_declare(&unique("limited")).durable().arg("x-queue-type", "quorum").arg("x-delivery-limit", limit)
}

/// Gives the message back so many times, and checks what it says of its earlier deliveries.
#[track_caller]
fn return_times(channel: &Channel, queue: &str, times: i64) {
    for earlier in 0..times {
        let message = reject_back(channel, queue);
        let count = message.props.headers().get("x-delivery-count").cloned();
        // RabbitMQ 3.10 sometimes says 0 of a message that was not delivered before.
        match count.filter(|count| *count != Value::I64(0)) {
            None => assert_eq!(earlier, 0, "the count is missing"),
            Some(count) => assert_eq!(count, Value::I64(earlier)),
        }
        assert_eq!(message.redelivered, earlier > 0);
    }
}

#[track_caller]
fn reject_back(channel: &Channel, queue: &str) -> Message {
    let message = channel.expect_get_eventually(queue);
    channel.send(basic_reject(message.delivery_tag).requeue());
    message
}

#[test]
fn e101_a_message_that_was_delivered_too_often() {
    let letters = Letters::new();
    let queue = letters.channel.declare(letters.addressed(limited(1))).queue.to_string();
    letters.channel.publish_confirmed("", &queue, &["m"]);
    return_times(&letters.channel, &queue, 2);
    let letter = letters.next();
    assert_eq!(letter.text(), "m");
    letters.expect_deaths(&letter, &[death(1, "delivery_limit", &queue, "", &[&queue])]);
    letters.channel.delete(queue_delete(&queue));
}

#[test]
fn e110_deliveries_are_counted_and_limited() {
    let letters = Letters::new();
    let queue = letters.channel.declare(letters.addressed(limited(3))).queue.to_string();
    letters.channel.publish_confirmed("", &queue, &["m"]);
    return_times(&letters.channel, &queue, 4);
    let letter = letters.next();
    letters.expect_deaths(&letter, &[death(1, "delivery_limit", &queue, "", &[&queue])]);
    assert_eq!(letters.channel.delete(queue_delete(&queue)), 0);
}

/// A consumer that goes away with a message counts as a return, too: that is what the limit is for.
#[test]
fn e110_a_channel_that_ends_returns_its_messages() {
    let letters = Letters::new();
    let queue = letters.channel.declare(letters.addressed(limited(2))).queue.to_string();
    letters.channel.publish_confirmed("", &queue, &["m"]);
    for _ in 0..3 {
        let consumer = letters.client.channel();
        consumer.consume(basic_consume(&queue, ""));
        assert_eq!(consumer.expect_deliver().text(), "m");
        consumer.call(channel_close());
    }
    letters.expect_deaths(&letters.next(), &[death(1, "delivery_limit", &queue, "", &[&queue])]);
    letters.channel.delete(queue_delete(&queue));
}

#[test]
fn e110_without_an_exchange_for_dead_letters_the_message_is_dropped() {
    let channel = channel();
    let queue = channel.declare(limited(1)).queue.to_string();
    channel.publish_confirmed("", &queue, &["poison", "next"]);
    channel.call(basic_qos(1));
    let tag = channel.consume(basic_consume(&queue, ""));
    for _ in 0..2 {
        let message = channel.expect_deliver();
        assert_eq!(message.text(), "poison");
        channel.send(basic_nack(message.delivery_tag).requeue());
    }
    assert_eq!(channel.expect_deliver().text(), "next");
    channel.call(basic_cancel(&tag));
    channel.delete(queue_delete(&queue));
}

/// A channel and a queue that holds back what is returned to it.
fn start(kind: &str, min: i32, max: i32) -> Option<(Channel, String)> {
    if Broker::start().inside().is_none() {
        eprintln!("skipped: RabbitMQ 4.3 and later, and quorum queues only");
        return None;
    }
    let channel = channel();
    let declare = queue_declare("").exclusive().arg("x-delayed-retry-type", kind);
    let declare = declare.arg("x-delayed-retry-min", min).arg("x-delayed-retry-max", max);
    let queue = channel.declare(declare).queue.to_string();
    Some((channel, queue))
}

/// How long it takes until the message is there again.
#[track_caller]
fn time_until_again(channel: &Channel, settle: Method) -> (Duration, Message) {
    let start = Instant::now();
    channel.send(settle);
    let message = channel.expect_deliver();
    assert!(message.redelivered);
    (start.elapsed(), message)
}

#[test]
fn a5_a_returned_message_waits_longer_every_time() {
    let Some((channel, queue)) = start("all", 150, 60_000) else { return };
    channel.publish("", &queue, "m");
    channel.consume(basic_consume(&queue, ""));
    let mut message = channel.expect_deliver();
    for times in 1..=3 {
        let (waited, again) = time_until_again(&channel, basic_reject(message.delivery_tag).requeue());
        assert_waited(waited, 150 * times);
        message = again;
    }
}

#[test]
fn a5_a_returned_message_waits_no_longer_than_the_maximum() {
    let Some((channel, queue)) = start("all", 600_000, 50) else { return };
    channel.publish("", &queue, "m");
    channel.consume(basic_consume(&queue, ""));
    let message = channel.expect_deliver();
    let (waited, _) = time_until_again(&channel, basic_reject(message.delivery_tag).requeue());
    assert_waited(waited, 50);
}

#[test]
fn a5_other_messages_do_not_wait_for_one_that_is_held_back() {
    let Some((channel, queue)) = start("all", 600_000, 600_000) else { return };
    channel.publish("", &queue, "returned");
    channel.publish("", &queue, "other");
    channel.call(basic_qos(1));
    channel.consume(basic_consume(&queue, ""));
    let returned = channel.expect_deliver();
    channel.send(basic_reject(returned.delivery_tag).requeue());
    assert_eq!(channel.expect_deliver().text(), "other");
    channel.publish("", &queue, "new");
    channel.send(basic_ack(2));
    assert_eq!(channel.expect_deliver().text(), "new");
}

/// `failed` is a rejected message or one whose consumer has gone; `returned` is one that was given back by a nack.
#[test]
fn a5_failed_and_returned_messages_are_told_apart() {
    for (kind, delayed, prompt) in [
        ("failed", basic_reject as fn(u64) -> Method, basic_nack as fn(u64) -> Method),
        ("returned", basic_nack, basic_reject),
    ] {
        let Some((channel, queue)) = start(kind, 600_000, 600_000) else { return };
        channel.publish("", &queue, "held back");
        channel.publish("", &queue, "comes again");
        channel.call(basic_qos(1));
        channel.consume(basic_consume(&queue, ""));
        let first = channel.expect_deliver();
        channel.send(delayed(first.delivery_tag).requeue());
        let second = channel.expect_deliver();
        assert_eq!(second.text(), "comes again", "{kind}");
        let (_, again) = time_until_again(&channel, prompt(second.delivery_tag).requeue());
        assert_eq!(again.text(), "comes again", "{kind}");
    }
}

/// `basic.recover` gives messages back; it says nothing of a failure.
#[test]
fn a5_recover_counts_as_returned() {
    for (kind, waits) in [("failed", false), ("returned", true)] {
        let Some((channel, queue)) = start(kind, 600_000, 600_000) else { return };
        channel.publish("", &queue, "first");
        channel.consume(basic_consume(&queue, ""));
        channel.expect_deliver();
        channel.call(basic_recover().requeue());
        channel.publish("", &queue, "second");
        let next = channel.expect_deliver();
        assert_eq!((next.text(), next.redelivered), if waits { ("second", false) } else { ("first", true) }, "{kind}");
    }
}

#[test]
fn a5_disabled_retries_do_not_wait() {
    let Some((channel, queue)) = start("disabled", 600_000, 600_000) else { return };
    channel.publish("", &queue, "m");
    channel.consume(basic_consume(&queue, ""));
    let message = channel.expect_deliver();
    let (_, again) = time_until_again(&channel, basic_reject(message.delivery_tag).requeue());
    assert_eq!(again.text(), "m");
}

/// A ladder without any other queue: wait, try again, give up.
#[test]
fn a5_retries_end_at_the_delivery_limit() {
    if Broker::start().inside().is_none() {
        return;
    }
    let letters = Letters::new();
    let channel = &letters.channel;
    let declare = queue_declare("").arg("x-delayed-retry-type", "all").arg("x-delayed-retry-min", 20);
    let queue = letters.source(declare.arg("x-delayed-retry-max", 40).arg("x-delivery-limit", 2));
    channel.publish("", &queue, "m");
    channel.consume(basic_consume(&queue, ""));
    for _ in 0..3 {
        let message = channel.expect_deliver();
        channel.send(basic_reject(message.delivery_tag).requeue());
    }
    letters.expect_deaths(&letters.next(), &[death(1, "delivery_limit", &queue, "", &[&queue])]);
    channel.expect_nothing_more();
}

/// What is held back is not lost with the broker.
#[test]
fn a5_held_back_messages_survive_a_restart() {
    let Some(mut broker) = Broker::start_with(&[]) else { return };
    let channel = broker.connect().channel();
    let declare = || {
        let declare = queue_declare("patient").durable().arg("x-delayed-retry-type", "all");
        declare.arg("x-delayed-retry-min", 300).arg("x-delayed-retry-max", 300)
    };
    channel.declare(declare());
    channel.call(confirm_select());
    channel.publish_with("", "patient", props().persistent(), "m");
    channel.expect_ack(1);
    let message = channel.expect_get("patient");
    channel.send(basic_reject(message.delivery_tag).requeue());
    channel.call(channel_close());
    drop(channel);

    broker.restart();
    let channel = broker.connect().channel();
    channel.declare(declare());
    channel.consume(basic_consume("patient", ""));
    let again = channel.expect_deliver();
    assert_eq!((again.text(), again.redelivered), ("m", true));
}

//! what the arguments of a queue do: how long it may become, and how long its messages may wait.
//!
//! Refused publishes are item 75, dead letters are section E-8, expired messages also item 92.

use std::time::Instant;

use super::harness::letters::*;
use super::harness::*;

/// An exclusive queue with these arguments.
#[track_caller]
fn declared(channel: &Channel, declare: Method) -> String {
    channel.declare(declare.exclusive()).queue.to_string()
}

#[test]
fn a5_max_length_drops_the_oldest() {
    let channel = channel();
    let queue = declared(&channel, queue_declare("").arg("x-max-length", 3));
    channel.publish_confirmed("", &queue, &["1", "2", "3", "4", "5"]);
    assert_eq!(channel.ready(&queue), 3);
    assert_eq!(channel.drain(&queue), ["3", "4", "5"]);
}

#[test]
fn a5_max_length_counts_ready_messages_only() {
    let channel = channel();
    let queue = declared(&channel, queue_declare("").arg("x-max-length", 2));
    channel.publish_confirmed("", &queue, &["1", "2"]);
    let held = [channel.expect_get(&queue), channel.expect_get(&queue)];
    channel.publish("", &queue, "3");
    channel.publish("", &queue, "4");
    assert!(channel.expect_confirms_from(3, 2).is_empty());
    assert_eq!(channel.ready(&queue), 2);
    // Those that come back are the oldest, and there is no room for them.
    channel.send(basic_nack(held[1].delivery_tag).multiple().requeue());
    assert_eq!(channel.drain(&queue), ["3", "4"]);
}

#[test]
fn a5_max_length_0_leaves_only_what_a_consumer_takes_at_once() {
    let channel = channel();
    let queue = declared(&channel, queue_declare("").arg("x-max-length", 0));
    channel.publish_confirmed("", &queue, &["dropped"]);
    assert_eq!(channel.ready(&queue), 0);
    let consumer = Broker::start().connect().channel();
    let shared = unique("q");
    channel.declare(queue_declare(&shared).arg("x-max-length", 0));
    consumer.consume(basic_consume(&shared, "").no_ack());
    channel.publish("", &shared, "taken");
    assert_eq!(consumer.expect_deliver().text(), "taken");
    channel.delete(queue_delete(&shared));
}

#[test]
fn a5_max_length_bytes_counts_bodies() {
    let channel = channel();
    let queue = declared(&channel, queue_declare("").arg("x-max-length-bytes", 20));
    channel.call(confirm_select());
    for body in ["0123456789", "a", "b"] {
        channel.publish_with("", &queue, props().header("a long header", "that is not counted"), body);
    }
    channel.publish("", &queue, "ABCDEFGHIJ");
    assert!(channel.expect_confirms(4).is_empty());
    assert_eq!(channel.drain(&queue), ["a", "b", "ABCDEFGHIJ"]);
}

#[test]
fn a5_a_message_larger_than_the_queue_is_dropped_with_all_before_it() {
    let channel = channel();
    let queue = declared(&channel, queue_declare("").arg("x-max-length-bytes", 5));
    channel.publish_confirmed("", &queue, &["1", "123456"]);
    assert_eq!(channel.ready(&queue), 0);
    channel.publish("", &queue, "12345");
    channel.expect_ack(3);
    assert_eq!(channel.drain(&queue), ["12345"]);
}

#[test]
fn a5_both_limits_hold() {
    let channel = channel();
    let declare = queue_declare("").arg("x-max-length", 2).arg("x-max-length-bytes", 10);
    let queue = declared(&channel, declare);
    channel.publish_confirmed("", &queue, &["1", "2", "3"]);
    assert_eq!(channel.ready(&queue), 2);
    channel.publish("", &queue, "0123456789");
    channel.expect_ack(4);
    assert_eq!(channel.drain(&queue), ["0123456789"]);
}

#[test]
fn a5_dropped_messages_are_dead_lettered_in_their_order() {
    let letters = Letters::new();
    let queue = letters.source(queue_declare("").arg("x-max-length-bytes", 10));
    letters.channel.publish_confirmed("", &queue, &["1", "2", "3", "0123456789", "01234567890"]);
    assert_eq!(letters.next_bodies(5), ["1", "2", "3", "0123456789", "01234567890"]);
    assert_eq!(letters.channel.ready(&queue), 0);
}

/// Also item 75.
#[test]
fn e075_a_queue_that_is_full_by_bytes_refuses() {
    let channel = channel();
    let declare = queue_declare("").arg("x-max-length-bytes", 10).arg("x-overflow", "reject-publish");
    let queue = declared(&channel, declare);
    channel.call(confirm_select());
    for body in ["12345", "123456", "6789", "too", "0"] {
        channel.publish("", &queue, body);
    }
    assert_eq!(channel.expect_confirms(5), [2, 4]);
    assert_eq!(channel.drain(&queue), ["12345", "6789", "0"]);
}

#[test]
fn e075_room_is_made_by_acks_and_purges() {
    let channel = channel();
    let declare = queue_declare("").arg("x-max-length", 1).arg("x-overflow", "reject-publish");
    let queue = declared(&channel, declare);
    channel.call(confirm_select());
    channel.publish("", &queue, "1");
    channel.expect_ack(1);
    channel.publish("", &queue, "refused");
    channel.expect_nack(2);
    // Unacked messages do not count.
    let first = channel.expect_get(&queue);
    channel.publish("", &queue, "3");
    channel.expect_ack(3);
    channel.send(basic_ack(first.delivery_tag));
    assert_eq!(channel.purge(&queue), 1);
    channel.publish("", &queue, "4");
    channel.expect_ack(4);
    assert_eq!(channel.drain(&queue), ["4"]);
}

/// A publisher without confirms is not told.
#[test]
fn e075_a_queue_that_refuses_keeps_what_it_has_confirmed() {
    let channel = channel();
    for overflow in ["reject-publish", "reject-publish-dlx"] {
        let queue = declared(&channel, queue_declare("").arg("x-max-length", 2).arg("x-overflow", overflow));
        channel.publish("", &queue, "1");
        channel.publish("", &queue, "2");
        let held = [channel.expect_get(&queue), channel.expect_get(&queue)];
        channel.publish("", &queue, "3");
        channel.publish("", &queue, "4");
        channel.send(basic_nack(held[1].delivery_tag).multiple().requeue());
        assert_eq!(channel.drain(&queue), ["1", "2", "3", "4"], "{overflow}");
    }
}

#[test]
fn e075_without_confirms_refused_messages_vanish() {
    let channel = channel();
    let declare = queue_declare("").arg("x-max-length", 1).arg("x-overflow", "reject-publish");
    let queue = declared(&channel, declare);
    for body in ["kept", "refused"] {
        channel.send_message(basic_publish("", &queue).mandatory(), &props(), body.as_bytes());
    }
    channel.expect_nothing_more();
    assert_eq!(channel.drain(&queue), ["kept"]);
}

/// Limits are kept over a restart, and so is what they left.
#[test]
fn a5_limits_survive_a_restart() {
    let Some(mut broker) = Broker::start_with(&[]) else { return };
    let channel = broker.connect().channel();
    let limited = || queue_declare("limited").durable().arg("x-max-length", 2);
    channel.declare(limited());
    channel.call(confirm_select());
    for n in 0..5 {
        channel.publish_with("", "limited", props().persistent(), &n.to_string());
    }
    channel.expect_confirms(5);
    drop(channel);

    broker.restart();
    let channel = broker.connect().channel();
    assert_eq!(channel.declare(limited()).message_count, 2);
    channel.publish_confirmed("", "limited", &["5"]);
    assert_eq!(channel.drain("limited"), ["4", "5"]);
}

#[test]
fn a5_a_message_expires_where_it_stands() {
    if Broker::start().inside().is_none() {
        eprintln!("skipped: in RabbitMQ it waits until it is at the head");
        return;
    }
    let letters = Letters::new();
    let queue = letters.plain_source();
    for (expiration, body) in [("60000", "first"), ("20", "second"), ("60000", "third"), ("10", "fourth")] {
        letters.channel.publish_with("", &queue, props().expiration(expiration), body);
    }
    let mut gone = letters.next_bodies(2);
    gone.sort();
    assert_eq!(gone, ["fourth", "second"]);
    assert_eq!(letters.channel.drain(&queue), ["first", "third"]);
}

#[test]
fn e068_a_message_lives_as_long_as_it_says() {
    let letters = Letters::new();
    let queue = letters.plain_source();
    let start = Instant::now();
    letters.channel.publish_with("", &queue, props().expiration("300"), "m");
    assert_eq!(letters.next().text(), "m");
    assert_waited(start.elapsed(), 300);
}

#[test]
fn e068_messages_expire_with_a_consumer_that_is_busy() {
    let letters = Letters::new();
    let queue = letters.plain_source();
    letters.channel.call(basic_qos(1));
    letters.channel.consume(basic_consume(&queue, ""));
    letters.channel.publish("", &queue, "busy with this");
    letters.channel.publish_with("", &queue, props().expiration("20"), "expires meanwhile");
    let held = letters.channel.expect_deliver();
    assert_eq!(letters.next().text(), "expires meanwhile");
    letters.channel.send(basic_ack(held.delivery_tag));
    letters.channel.expect_nothing_more();
}

#[test]
fn e092_unacked_messages_do_not_expire() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let (queue, control) = (letters.plain_source(), letters.plain_source());
    channel.publish_with("", &queue, props().expiration("100"), "held");
    let held = channel.expect_get(&queue);
    channel.publish_with("", &control, props().expiration("200"), "control");
    assert_eq!(letters.next().text(), "control");
    channel.send(basic_ack(held.delivery_tag));
    channel.expect_nothing_more();
    letters.incoming.expect_nothing_more();
}

#[test]
fn e092_a_message_that_comes_back_too_late_expires() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let (queue, control) = (letters.plain_source(), letters.plain_source());
    channel.publish_with("", &queue, props().expiration("100"), "late");
    let held = channel.expect_get(&queue);
    channel.publish_with("", &control, props().expiration("200"), "control");
    assert_eq!(letters.next().text(), "control");
    channel.send(basic_reject(held.delivery_tag).requeue());
    let letter = letters.next();
    assert_eq!((letter.text(), text_header(&letter, "x-first-death-reason")), ("late", "expired".into()));
    assert!(channel.get(&queue).is_none());
}

/// The time goes on while the broker is down.
#[test]
fn e092_messages_expire_over_a_restart() {
    let Some(mut broker) = Broker::start_with(&[]) else { return };
    let channel = broker.connect().channel();
    channel.declare(queue_declare("durable").durable());
    channel.call(confirm_select());
    for expiration in ["500", "600000"] {
        channel.publish_with("", "durable", props().persistent().expiration(expiration), expiration);
    }
    channel.expect_confirms(2);
    drop(channel);

    broker.restart();
    let channel = broker.connect().channel();
    eventually("the first message expires", || channel.ready("durable") == 1);
    let kept = channel.expect_get("durable");
    assert_eq!((kept.text(), &kept.props), ("600000", &props().persistent().expiration("600000")));
}

#[test]
fn e063_a_durable_queue_that_expired_stays_away() {
    let Some(mut broker) = Broker::start_with(&[]) else { return };
    let channel = broker.connect().channel();
    channel.declare(queue_declare("gone").durable().arg("x-expires", 50));
    channel.declare(queue_declare("stays").durable().arg("x-expires", 600_000));
    eventually("the queue expires", || {
        channel.send_message(basic_publish("", "gone").mandatory(), &props(), b"probe");
        !channel.delivered_so_far().is_empty()
    });
    drop(channel);

    broker.restart();
    let channel = broker.connect().channel();
    assert_eq!(channel.ready("stays"), 0);
    channel.refuses(queue_declare("gone").passive(), 404, "no queue 'gone' in vhost '/'");
}

/// The bindings of a queue that expired are gone as well.
#[test]
fn e063_an_expired_queue_leaves_its_exchanges() {
    let channel = channel();
    let (queue, exchange) = (unique("q"), unique("e"));
    channel.call(exchange_declare(&exchange, "fanout").auto_delete());
    channel.declare(queue_declare(&queue).arg("x-expires", 50));
    channel.call(queue_bind(&queue, &exchange, ""));
    eventually("the queue expires", || {
        channel.send_message(basic_publish("", &queue).mandatory(), &props(), b"probe");
        !channel.delivered_so_far().is_empty()
    });
    let text = format!("no exchange '{exchange}' in vhost '/'");
    channel.refuses(exchange_declare(&exchange, "").passive(), 404, text);
}

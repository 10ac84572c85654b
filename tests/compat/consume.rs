//! E-6: consumers.

use amq_protocol::protocol::{AMQPClass, basic};

use super::harness::client::capable_of;
use super::harness::*;

#[test]
fn e081_server_made_tags() {
    let channel = channel();
    let queue = channel.temporary_queue();
    let tag = channel.consume(basic_consume(&queue, ""));
    assert!(tag.starts_with("amq.ctag-") && tag.len() > "amq.ctag-".len() + 20, "{tag}");
    assert_eq!(channel.consume(basic_consume(&queue, "mine")), "mine");
}

#[test]
fn e081_a_tag_may_be_used_once_on_a_channel() {
    let client = Broker::start().connect();
    let (channel, other) = (client.channel(), client.channel());
    let queue = channel.temporary_queue();
    channel.consume(basic_consume(&queue, "t"));
    other.consume(basic_consume(&queue, "t"));
    channel.call(basic_cancel("t"));
    channel.consume(basic_consume(&queue, "t"));
    channel.ends_connection(basic_consume(&queue, "t"), 530, "attempt to reuse consumer tag 't'");
}

#[test]
fn e082_consume_ok_comes_before_the_first_delivery() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["one"]);
    for _ in 0..20 {
        channel.send(basic_consume(&queue, "t"));
        assert!(matches!(channel.next("consume-ok"), Incoming::Method(_)));
        channel.send(basic_nack(channel.expect_deliver().delivery_tag).requeue());
        channel.call(basic_cancel("t"));
        channel.call(basic_recover().requeue());
        channel.delivered_so_far();
    }
}

#[test]
fn e082_nothing_is_delivered_after_cancel_ok() {
    let broker = Broker::start();
    let (channel, publisher) = (broker.connect().channel(), broker.connect().channel());
    let queue = unique("q");
    channel.declare(queue_declare(&queue));
    publisher.call(confirm_select());
    for round in 0..20 {
        channel.consume(basic_consume(&queue, "t").no_ack());
        (0..50).for_each(|_| publisher.publish("", &queue, "m"));
        channel.send(basic_cancel("t"));
        let cancelled = loop {
            match channel.next("cancel-ok") {
                Incoming::Method(class) => break class,
                Incoming::Message(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(matches!(*cancelled, AMQPClass::Basic(basic::AMQPMethod::CancelOk(_))), "round {round}");
        channel.expect_nothing_more();
    }
    publisher.expect_confirms(20 * 50);
    channel.delete(queue_delete(&queue));
}

#[test]
fn e082_cancelling_an_unknown_tag() {
    channel().call(basic_cancel("nobody"));
}

/// Deliveries that are not acknowledged stay with the channel when their consumer is cancelled.
#[test]
fn e082_a_cancelled_consumer_keeps_its_messages() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["one"]);
    channel.consume(basic_consume(&queue, "t"));
    let message = channel.expect_deliver();
    channel.call(basic_cancel("t"));
    assert_eq!(channel.ready(&queue), 0);
    channel.send(basic_ack(message.delivery_tag));
    channel.expect_nothing_more();
}

#[test]
fn e083_exclusive_consumers() {
    let client = Broker::start().connect();
    let (channel, other) = (client.channel(), client.channel());
    let queue = channel.temporary_queue();
    let text = format!("queue '{queue}' in vhost '/' in exclusive use");
    channel.consume(basic_consume(&queue, "only").exclusive());
    other.refuses(basic_consume(&queue, ""), 403, &text);
    other.refuses(basic_consume(&queue, "").exclusive(), 403, &text);
    channel.call(basic_cancel("only"));
    other.consume(basic_consume(&queue, "first"));
    channel.refuses(basic_consume(&queue, "").exclusive(), 403, &text);
}

#[test]
fn e083_an_exclusive_consumer_and_a_single_active_one() {
    let channel = channel();
    let sac = queue_declare("").exclusive().arg("x-single-active-consumer", true);
    let queue = channel.declare(sac).queue.to_string();
    channel.refuses(basic_consume(&queue, "").exclusive(), 403, "…");
}

#[test]
fn e084_delivery_tags_count_per_channel() {
    let client = Broker::start().connect();
    let (channel, other) = (client.channel(), client.channel());
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["1", "2", "3", "4", "5"]);
    assert_eq!(channel.expect_get(&queue).delivery_tag, 1);
    assert_eq!(channel.get_with(basic_get(&queue).no_ack()).expect("a message").delivery_tag, 2);
    assert_eq!(other.expect_get(&queue).delivery_tag, 1);
    channel.consume(basic_consume(&queue, "").no_ack());
    let tags = [channel.expect_deliver().delivery_tag, channel.expect_deliver().delivery_tag];
    assert_eq!(tags, [3, 4]);
}

#[test]
fn e087_consumers_take_turns() {
    let channel = channel();
    let queue = channel.temporary_queue();
    for tag in ["a", "b", "c"] {
        channel.consume(basic_consume(&queue, tag).no_ack());
    }
    for _ in 0..9 {
        channel.publish("", &queue, "m");
    }
    let tags: Vec<String> = (0..9).map(|_| channel.expect_deliver().consumer_tag).collect();
    for turn in tags.chunks(3) {
        let mut turn = turn.to_vec();
        turn.sort();
        assert_eq!(turn, ["a", "b", "c"], "{tags:?}");
    }
}

#[test]
fn e087_a_consumer_whose_prefetch_is_full_is_passed_over() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.call(basic_qos(1));
    channel.consume(basic_consume(&queue, "one"));
    channel.call(basic_qos(0));
    channel.consume(basic_consume(&queue, "many"));
    for _ in 0..10 {
        channel.publish("", &queue, "m");
    }
    let tags: Vec<String> = (0..10).map(|_| channel.expect_deliver().consumer_tag).collect();
    assert_eq!(tags.iter().filter(|tag| *tag == "one").count(), 1, "{tags:?}");
}

#[test]
fn e087_higher_priorities_come_first() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.call(basic_qos(2));
    channel.consume(basic_consume(&queue, "low").arg("x-priority", -1));
    channel.consume(basic_consume(&queue, "usual"));
    channel.consume(basic_consume(&queue, "high").arg("x-priority", 10i64));
    for _ in 0..6 {
        channel.publish("", &queue, "m");
    }
    let tags: Vec<String> = (0..6).map(|_| channel.expect_deliver().consumer_tag).collect();
    assert_eq!(tags, ["high", "high", "usual", "usual", "low", "low"]);
}

#[test]
fn e091_get() {
    let channel = channel();
    let queue = channel.temporary_queue();
    assert!(channel.get(&queue).is_none());
    channel.publish_confirmed("", &queue, &["one", "two", "three"]);
    let first = channel.expect_get(&queue);
    assert_eq!((first.text(), first.message_count, first.redelivered), ("one", 2, false));
    assert_eq!(channel.expect_get(&queue).message_count, 1);
    assert_eq!(channel.expect_get(&queue).message_count, 0);
    assert!(channel.get(&queue).is_none());
}

#[test]
fn e091_get_from_a_queue_with_a_single_active_consumer() {
    let Some(broker) = Broker::newer_than_3_10("3.10 gets from any queue") else { return };
    let channel = broker.connect().channel();
    let sac = queue_declare("").exclusive().arg("x-single-active-consumer", true);
    let queue = channel.declare(sac).queue.to_string();
    let text = format!(
        "cannot obtain access to locked queue '{queue}' in vhost '/'. basic.get operations are not supported by \
         classic queues with single active consumer"
    );
    channel.refuses(basic_get(&queue), 405, text);
}

#[test]
fn a2_single_active_consumer() {
    let channel = channel();
    let sac = queue_declare("").exclusive().arg("x-single-active-consumer", true);
    let queue = channel.declare(sac).queue.to_string();
    channel.consume(basic_consume(&queue, "first").no_ack());
    channel.consume(basic_consume(&queue, "second").no_ack());
    for _ in 0..5 {
        channel.publish("", &queue, "m");
    }
    for _ in 0..5 {
        assert_eq!(channel.expect_deliver().consumer_tag, "first");
    }
    channel.call(basic_cancel("first"));
    channel.publish("", &queue, "m");
    assert_eq!(channel.expect_deliver().consumer_tag, "second");
}

#[test]
fn e091_get_and_consume_from_a_missing_queue() {
    let channel = channel();
    channel.refuses(basic_get("missing"), 404, "no queue 'missing' in vhost '/'");
    channel.refuses(basic_consume("missing", ""), 404, "no queue 'missing' in vhost '/'");
}

#[test]
fn e092_expired_messages_are_not_seen() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.call(confirm_select());
    channel.publish_with("", &queue, props().expiration("1"), "short");
    channel.publish_with("", &queue, props().expiration("60000"), "long");
    channel.publish("", &queue, "for ever");
    channel.expect_confirms(3);
    eventually("the first message expires", || channel.ready(&queue) < 3);
    assert_eq!(channel.drain(&queue), ["long", "for ever"]);
}

#[test]
fn e092_the_queue_s_ttl() {
    let channel = channel();
    let queue = channel.declare(queue_declare("").exclusive().arg("x-message-ttl", 1)).queue.to_string();
    channel.publish_confirmed("", &queue, &["one", "two"]);
    eventually("the messages expire", || channel.ready(&queue) == 0);
    assert!(channel.get(&queue).is_none());
}

#[test]
fn e092_the_lesser_of_two_ttls_counts() {
    let channel = channel();
    let queue = channel.declare(queue_declare("").exclusive().arg("x-message-ttl", 60_000)).queue.to_string();
    channel.call(confirm_select());
    channel.publish_with("", &queue, props().expiration("1"), "short");
    channel.publish_with("", &queue, props().expiration("100000"), "long");
    channel.expect_confirms(2);
    eventually("the first message expires", || channel.ready(&queue) < 2);
    assert_eq!(channel.drain(&queue), ["long"]);
}

#[test]
fn e092_ttl_0_is_delivered_if_a_consumer_waits() {
    let channel = channel();
    let queue = channel.declare(queue_declare("").exclusive().arg("x-message-ttl", 0)).queue.to_string();
    channel.publish_confirmed("", &queue, &["gone"]);
    assert!(channel.get(&queue).is_none());
    channel.consume(basic_consume(&queue, "").no_ack());
    channel.publish("", &queue, "now");
    let messages = [channel.next("a delivery or ack"), channel.next("a delivery or ack")];
    assert!(messages.iter().any(|m| matches!(m, Incoming::Message(_))), "{messages:?}");
}

#[test]
fn e093_consumers_are_told_when_their_queue_is_deleted() {
    let client = Broker::start().connect();
    let (channel, other) = (client.channel(), client.channel());
    let queue = channel.temporary_queue();
    channel.consume(basic_consume(&queue, "t"));
    other.delete(queue_delete(&queue));
    match channel.expect_method("basic.cancel") {
        AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)) => {
            assert_eq!((cancel.consumer_tag.as_str(), cancel.nowait), ("t", true));
        }
        other => panic!("{other:?}"),
    }
    let queue = channel.temporary_queue();
    channel.consume(basic_consume(&queue, "t"));
}

#[test]
fn e093_a_client_s_cancel_ok_is_ignored() {
    let Some(broker) = Broker::newer_than_3_10("3.10 does not know the method") else { return };
    let channel = broker.connect().channel();
    channel.send(Method::new(60, 31).text("t"));
    channel.expect_nothing_more();
}

#[test]
fn e093_consumers_that_do_not_want_to_know_are_not_told() {
    let client = Broker::start().connect_with(|options| options.client_properties = capable_of(&[]));
    let (channel, other) = (client.channel(), client.channel());
    let queue = channel.temporary_queue();
    channel.consume(basic_consume(&queue, "t"));
    other.delete(queue_delete(&queue));
    channel.expect_nothing_more();
}

#[test]
fn e095_no_local_is_ignored() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.consume(basic_consume(&queue, "").no_local());
    channel.publish("", &queue, "from here");
    assert_eq!(channel.expect_deliver().text(), "from here");
}

#[test]
fn e096_the_number_of_consumers_is_limited() {
    let Some(broker) = Broker::start_with(&[("consumer_max_per_channel", "2")]) else { return };
    let channel = broker.connect().channel();
    let queue = channel.temporary_queue();
    channel.consume(basic_consume(&queue, "a"));
    channel.consume(basic_consume(&queue, "b"));
    channel.send(basic_consume(&queue, "c"));
    channel.expect_connection_close(530, "reached maximum (2) of consumers per channel", (60, 20));
}

#[test]
fn e126_consume_nowait() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["one"]);
    channel.send(basic_consume(&queue, "t").nowait());
    assert_eq!(channel.expect_deliver().consumer_tag, "t");
    channel.send(basic_cancel("t").nowait());
    channel.expect_nothing_more();
    assert_eq!(channel.counts(&queue).1, 0);
}

#[test]
fn order_of_a_channel_s_messages_is_kept() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.consume(basic_consume(&queue, "").no_ack());
    let sent: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    sent.iter().for_each(|body| channel.publish("", &queue, body));
    assert_eq!(channel.expect_bodies(2000), sent);
}

#[test]
fn e094_a_delivery_without_ack_closes_its_channel() {
    let Some(broker) = Broker::start_with(&[("consumer_timeout", "1000")]) else { return };
    let client = broker.connect();
    let (channel, other) = (client.channel(), client.channel());
    let queue = unique("q");
    channel.declare(queue_declare(&queue));
    channel.consume(basic_consume(&queue, ""));
    channel.publish("", &queue, "slow");
    channel.expect_deliver();
    let text = "delivery acknowledgement on channel 1 timed out. Timeout value used: 1000 ms. This timeout value can be \
                configured, see consumers doc guide to learn more";
    channel.expect_channel_close(406, text, (0, 0));
    // The message is back, and the connection goes on.
    assert!(other.expect_get(&queue).redelivered);
}

/// A queue may say itself how long its deliveries may wait, be it longer or shorter than the node allows.
#[test]
fn e094_a_queue_has_a_timeout_of_its_own() {
    let Some(broker) = Broker::start_with(&[("consumer_timeout", "1000")]) else { return };
    let client = broker.connect();
    let (patient, hasty) = (client.channel(), client.channel());
    patient.declare(queue_declare("patient").arg("x-consumer-timeout", 600_000));
    patient.consume(basic_consume("patient", ""));
    patient.publish("", "patient", "slow");
    patient.expect_deliver();
    hasty.declare(queue_declare("hasty"));
    hasty.consume(basic_consume("hasty", ""));
    hasty.publish("", "hasty", "slow");
    hasty.expect_deliver();
    let close = |channel: &Channel, number: u16, ms: u64| {
        let text = format!(
            "delivery acknowledgement on channel {number} timed out. Timeout value used: {ms} ms. This timeout value can be \
             configured, see consumers doc guide to learn more"
        );
        channel.expect_channel_close(406, text, (0, 0));
    };
    close(&hasty, 2, 1000);
    patient.send(basic_ack(1));
    patient.call(basic_qos(1));

    // A policy changes it for deliveries that wait already.
    patient.publish("", "patient", "slower");
    patient.expect_deliver();
    let policy = serde_json::json!({"pattern": "patient", "definition": {"consumer-timeout": 500}});
    broker.set_policy("hurry", policy, false).unwrap();
    close(&patient, 1, 500);
}

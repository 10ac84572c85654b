//! E-5: publishing.

use leveret::frames::Value;
use leveret::frames::content::Property;

use super::harness::*;

#[test]
fn e064_internal_exchanges_take_no_messages() {
    let channel = channel();
    let exchange = unique("internal");
    channel.call(exchange_declare(&exchange, "fanout").internal());
    let text = format!("cannot publish to internal exchange '{exchange}' in vhost '/'");
    channel.refuses_message(basic_publish(&exchange, ""), &props(), "m", 403, text);
    // But other exchanges may pass messages on to it.
    let (source, queue) = (unique("e"), channel.temporary_queue());
    channel.call(exchange_declare(&source, "fanout").auto_delete());
    channel.call(exchange_bind(&exchange, &source, ""));
    channel.call(queue_bind(&queue, &exchange, ""));
    channel.publish_confirmed(&source, "", &["m"]);
    assert_eq!(channel.drain(&queue), ["m"]);
    channel.call(exchange_delete(&exchange));
}

#[test]
fn e066_immediate_is_not_implemented() {
    let channel = channel();
    channel.send_message(basic_publish("", "q").immediate(), &props(), b"m");
    channel.expect_connection_close(540, "immediate=true", (60, 40));
}

#[test]
fn e067_publishing_to_a_missing_exchange() {
    let channel = channel();
    let text = "no exchange 'missing' in vhost '/'";
    channel.refuses_message(basic_publish("missing", "key"), &props(), "m", 404, text);
}

/// A missing exchange is noticed before anything about the message.
#[test]
fn e067_the_exchange_is_looked_up_before_the_message() {
    let channel = channel();
    let bad = props().expiration("never").text(Property::UserId, "nobody").header("CC", 1);
    let no_exchange = "no exchange 'missing' in vhost '/'";
    channel.refuses_message(basic_publish("missing", "key"), &bad, "m", 404, no_exchange);
}

#[test]
fn e068_expiration_must_be_a_number() {
    let channel = channel();
    for (expiration, why) in [
        ("x", "no_integer"),
        ("", "no_integer"),
        ("10s", "{leftover_string,\"s\"}"),
        ("1.5", "{leftover_string,\".5\"}"),
        ("-1", "{value_negative,-1}"),
        ("315360000001", "{value_too_large,315360000001}"),
        ("99999999999999999999999", "{value_too_large,99999999999999999999999}"),
        ("-99999999999999999999999", "{value_negative,-99999999999999999999999}"),
    ] {
        let text = format!("invalid expiration '{expiration}': {why}");
        channel.refuses_message(basic_publish("", "q"), &props().expiration(expiration), "m", 406, text);
    }
}

#[test]
fn e068_expiration_0_is_delivered_to_a_waiting_consumer_only() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.call(confirm_select());
    channel.publish_with("", &queue, props().expiration("0"), "gone");
    channel.expect_ack(1);
    assert!(channel.get(&queue).is_none());
    let tag = channel.consume(basic_consume(&queue, "").no_ack());
    channel.publish_with("", &queue, props().expiration("0"), "now");
    let mut got = vec![channel.next("the message or its ack"), channel.next("the message or its ack")];
    got.retain(|incoming| matches!(incoming, Incoming::Message(_)));
    assert_eq!(got.len(), 1, "{got:?}");
    channel.call(basic_cancel(&tag));
}

/// Zero has a sign for whoever prints it; there is no time before now.
#[test]
fn e068_an_expiration_of_minus_0_is_0() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.call(confirm_select());
    for (tag, expiration) in (1..).zip(["-0", "-00", "+0", "00"]) {
        channel.publish_with("", &queue, props().expiration(expiration), "gone");
        channel.expect_ack(tag);
        assert!(channel.get(&queue).is_none(), "{expiration}");
    }
}

#[test]
fn e069_the_user_id_must_be_true() {
    let channel = channel();
    let text = "user_id property set to 'somebody' but authenticated user was 'guest'";
    let props = |user: &str| props().text(Property::UserId, user);
    channel.refuses_message(basic_publish("", "q"), &props("somebody"), "m", 406, text);
    let queue = channel.temporary_queue();
    channel.publish_with("", &queue, props("guest"), "m");
    assert_eq!(channel.expect_get(&queue).props.get(Property::UserId), "guest");
}

#[test]
fn e070_cc_and_bcc_are_routing_keys() {
    let channel = channel();
    let queues: Vec<String> = (0..4).map(|_| channel.temporary_queue()).collect();
    let headers = props()
        .header("CC", [queues[1].as_str()])
        .header("BCC", [queues[2].as_str(), queues[3].as_str()])
        .header("other", "kept");
    channel.call(confirm_select());
    channel.publish_with("", &queues[0], headers, "m");
    channel.expect_ack(1);
    for queue in &queues {
        let message = channel.expect_get(queue);
        assert_eq!(message.routing_key, queues[0]);
        let got = message.props.headers();
        assert_eq!(got.get("CC"), Some(&[queues[1].as_str()].into_value()));
        assert_eq!(got.get("BCC"), None);
        assert_eq!(got.get("other"), Some(&Value::text("kept")));
    }
}

/// However a message leaves the broker: small or large, to consumers with and without acks, or back to its publisher.
#[test]
fn e070_nobody_is_shown_bcc() {
    let channel = channel();
    let [acked, unacked] = [channel.temporary_queue(), channel.temporary_queue()];
    channel.consume(basic_consume(&acked, ""));
    channel.consume(basic_consume(&unacked, "").no_ack());
    let headers = |key: &str| props().header("BCC", [key]).header("other", "kept");
    let expect = |message: &Message, length: usize| {
        let got = message.props.headers();
        assert_eq!((got.get("BCC"), got.get("other")), (None, Some(&Value::text("kept"))));
        assert_eq!(message.body.len(), length);
    };
    for length in [1, 100_000] {
        let body = "x".repeat(length);
        channel.publish_with("", &acked, headers(&unacked), &body);
        expect(&channel.expect_deliver(), length);
        expect(&channel.expect_deliver(), length);
        channel.send_message(basic_publish("", "nobody").mandatory(), &headers("neither"), body.as_bytes());
        expect(&channel.expect_return(), length);
    }
}

#[test]
fn e070_cc_must_be_an_array_of_texts() {
    let channel = channel();
    let bad = |key: &str, value: Value, text: &str| {
        let props = props().header(key, value);
        channel.refuses_message(basic_publish("", "q"), &props, "m", 406, format!("invalid message: {text}"));
    };
    bad("CC", Value::text("a"), "{unacceptable_type_in_header,…\"CC\"…,longstr}");
    bad("BCC", Value::I32(1), "{unacceptable_type_in_header,…\"BCC\"…,signedint}");
}

#[test]
fn e071_a_queue_gets_a_message_once() {
    let channel = channel();
    let queue = channel.temporary_queue();
    for key in ["a.*", "*.b", "#"] {
        channel.call(queue_bind(&queue, "amq.topic", key));
    }
    channel.call(confirm_select());
    channel.publish_with("amq.topic", "a.b", props().header("CC", ["a.b", "x.b", "a.x"]), "m");
    channel.expect_ack(1);
    assert_eq!(channel.drain(&queue), ["m"]);
}

#[test]
fn e072_mandatory_returns_come_whole_and_before_the_ack() {
    let channel = channel();
    channel.call(confirm_select());
    let sent = props().persistent().header("k", "v").text(Property::CorrelationId, "id");
    channel.send_message(basic_publish("amq.direct", "nobody").mandatory(), &sent, b"body");
    let returned = channel.expect_return();
    channel.expect_ack(1);
    assert_eq!((returned.exchange.as_str(), returned.routing_key.as_str()), ("amq.direct", "nobody"));
    assert_eq!((returned.props, returned.body), (sent, b"body".to_vec()));
}

#[test]
fn e072_what_is_not_mandatory_is_dropped_and_acked() {
    let channel = channel();
    channel.publish_confirmed("amq.direct", "nobody", &["m"]);
    channel.expect_nothing_more();
}

#[test]
fn e072_returns_keep_the_publish_order() {
    let channel = channel();
    for n in 0..50 {
        channel.send_message(basic_publish("", &format!("nobody {n}")).mandatory(), &props(), b"");
    }
    for n in 0..50 {
        assert_eq!(channel.expect_return().routing_key, format!("nobody {n}"));
    }
}

#[test]
fn e097_exchange_and_key_of_a_delivery() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, "amq.topic", "a.#"));
    channel.publish("amq.topic", "a.b.c", "m");
    let message = channel.expect_get(&queue);
    assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), ("amq.topic", "a.b.c"));
}

/// The error comes after what was returned before it, and earlier confirms may be lost with the channel (item 128).
#[test]
fn e128_returns_come_before_the_close() {
    let channel = channel();
    channel.send_message(basic_publish("", "nobody").mandatory(), &props(), b"m");
    channel.publish("missing", "key", "m");
    assert_eq!(channel.expect_return().routing_key, "nobody");
    channel.expect_channel_close(404, "no exchange 'missing' in vhost '/'", (60, 40));
}

//! which arguments a queue takes, and when two declarations are the same.

use leveret::frames::{Table, Value};

use super::harness::*;

fn int(n: i64) -> Value {
    Value::I64(n)
}

fn invalid(key: &str, queue: &str, why: &str) -> String {
    format!("invalid arg '{key}' for queue '{queue}' in vhost '/': {why}")
}

#[test]
fn a5_values_out_of_range() {
    let channel = channel();
    let queue = unique("q");
    for (key, value, why) in [
        ("x-message-ttl", int(-1), "{value_negative,-1}"),
        ("x-message-ttl", int(315_360_000_001), "{value_too_large,315360000001}"),
        ("x-expires", int(0), "{value_zero,0}"),
        ("x-expires", int(-5), "{value_negative,-5}"),
        ("x-expires", int(315_360_000_001), "{value_too_large,315360000001}"),
        ("x-max-length", int(-1), "{value_negative,-1}"),
        ("x-max-length-bytes", int(-1), "{value_negative,-1}"),
        ("x-max-priority", int(-1), "{value_negative,-1}"),
        ("x-max-priority", int(256), "{max_value_exceeded,256}"),
        ("x-queue-version", int(0), "\"unsupported queue version '0'\""),
        ("x-overflow", Value::text("explode"), "invalid_overflow"),
        ("x-queue-mode", Value::text("eager"), "\"unsupported queue mode 'eager'\""),
        ("x-queue-type", Value::text("bogus"), "\"unsupported queue type 'bogus'\""),
    ] {
        eprintln!("{key} = {value:?}");
        let declare = queue_declare(&queue).exclusive().arg(key, value);
        channel.refuses(declare, 406, invalid(key, &queue, why));
    }
}

#[test]
fn a5_values_within_range() {
    let channel = channel();
    for (key, value) in [
        ("x-message-ttl", int(0)),
        ("x-message-ttl", int(315_360_000_000)),
        ("x-expires", int(100_000)),
        ("x-expires", int(315_360_000_000)),
        ("x-max-length", int(0)),
        ("x-max-length-bytes", int(i64::MAX)),
        ("x-max-priority", int(0)),
        ("x-max-priority", int(255)),
        ("x-overflow", Value::text("drop-head")),
        ("x-overflow", Value::text("reject-publish")),
        ("x-overflow", Value::text("reject-publish-dlx")),
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-exchange", Value::text("not there yet")),
        ("x-single-active-consumer", Value::Bool(true)),
        ("x-single-active-consumer", Value::Bool(false)),
        ("x-queue-mode", Value::text("lazy")),
        ("x-queue-mode", Value::text("default")),
        ("x-queue-version", int(1)),
        ("x-queue-version", int(2)),
        ("x-queue-type", Value::text("classic")),
        ("x-queue-master-locator", Value::text("client-local")),
        ("x-queue-master-locator", Value::text("min-masters")),
    ] {
        eprintln!("{key} = {value:?}");
        let queue = channel.declare(queue_declare("").exclusive().arg(key, value)).queue;
        channel.delete(queue_delete(queue.as_str()));
    }
}

#[test]
fn a5_integers_may_have_any_width() {
    let channel = channel();
    let widths =
        [Value::I8(9), Value::U8(9), Value::I16(9), Value::U16(9), Value::I32(9), Value::U32(9), Value::I64(9)];
    for value in widths {
        for key in ["x-message-ttl", "x-max-length", "x-max-priority"] {
            channel.declare(queue_declare("").exclusive().arg(key, value.clone()));
        }
    }
}

#[test]
fn a5_values_of_another_type() {
    let channel = channel();
    let queue = unique("q");
    let no_integer = |kind| format!("\"expected integer, got {kind}\"");
    for (key, value, why) in [
        ("x-message-ttl", Value::text("1000"), no_integer("longstr")),
        ("x-message-ttl", Value::F64(1000.0), no_integer("double")),
        ("x-message-ttl", Value::Timestamp(1000), no_integer("timestamp")),
        ("x-expires", Value::Bool(true), no_integer("bool")),
        ("x-max-length", Value::text("10"), no_integer("longstr")),
        ("x-max-length-bytes", Value::Void, no_integer("void")),
        ("x-max-priority", Value::text("10"), no_integer("longstr")),
        ("x-single-active-consumer", Value::text("true"), "{unacceptable_type,longstr}".into()),
        ("x-overflow", int(1), "{unacceptable_type,long}".into()),
        ("x-queue-mode", int(1), "{unacceptable_type,long}".into()),
    ] {
        eprintln!("{key} = {value:?}");
        let declare = queue_declare(&queue).exclusive().arg(key, value);
        channel.refuses(declare, 406, invalid(key, &queue, &why));
    }
    let text = format!("invalid type 'long' for arg 'x-dead-letter-exchange' in queue '{queue}' in vhost '/'");
    channel.refuses(queue_declare(&queue).arg("x-dead-letter-exchange", 1i64), 406, text);
}

#[test]
fn a5_dead_letter_routing_key_needs_an_exchange() {
    let channel = channel();
    let queue = unique("q");
    let with_key = || queue_declare(&queue).exclusive().arg("x-dead-letter-routing-key", "key");
    let why = "routing_key_but_no_dlx_defined";
    channel.refuses(with_key(), 406, invalid("x-dead-letter-routing-key", &queue, why));
    channel.declare(with_key().arg("x-dead-letter-exchange", ""));
}

#[test]
fn a5_arguments_of_another_queue_type() {
    let channel = channel();
    let queue = unique("q");
    for (key, value) in [
        ("x-max-age", Value::text("1D")),
        ("x-stream-max-segment-size-bytes", int(1_000_000)),
        ("x-initial-cluster-size", int(1)),
        ("x-quorum-initial-group-size", int(1)),
        ("x-dead-letter-strategy", Value::text("at-most-once")),
    ] {
        eprintln!("{key} = {value:?}");
        let text = format!("invalid arg '{key}' for queue '{queue}' in vhost '/' of queue type rabbit_classic_queue");
        channel.refuses(queue_declare(&queue).exclusive().arg(key, value), 406, text);
    }
}

#[test]
fn a5_unknown_arguments_are_not_compared() {
    let channel = channel();
    let queue = unique("q");
    let declare = || queue_declare(&queue).exclusive();
    channel.declare(declare().arg("x-something", "one").arg("comment", Table::default()));
    channel.declare(declare().arg("x-something", 2));
    channel.declare(declare());
}

fn inequivalent(key: &str, queue: &str, how: &str) -> String {
    format!("inequivalent arg '{key}' for queue '{queue}' in vhost '/': {how}")
}

#[test]
fn a5_flags_are_compared() {
    let channel = channel();
    let queue = unique("q");
    channel.declare(queue_declare(&queue).durable());
    let how = "received 'false' but current is 'true'";
    channel.refuses(queue_declare(&queue), 406, inequivalent("durable", &queue, how));
    let how = "received 'true' but current is 'false'";
    channel.refuses(queue_declare(&queue).durable().auto_delete(), 406, inequivalent("auto_delete", &queue, how));
    channel.delete(queue_delete(&queue));
}

/// Also items 47 and 48.
#[test]
fn e048_arguments_are_compared() {
    let channel = channel();
    let queue = unique("q");
    let declare = || queue_declare(&queue).exclusive();
    channel.declare(declare().arg("x-max-length", 10));
    let none = "received none but current is the value '10' of type 'signedint'";
    channel.refuses(declare(), 406, inequivalent("x-max-length", &queue, none));
    let other = "received '20' but current is '10'";
    channel.refuses(declare().arg("x-max-length", 20), 406, inequivalent("x-max-length", &queue, other));
    let new = "received the value '1000' of type 'long' but current is none";
    let declare = declare().arg("x-max-length", 10).arg("x-message-ttl", 1000i64);
    channel.refuses(declare, 406, inequivalent("x-message-ttl", &queue, new));
}

#[test]
fn e048_integers_of_another_width_are_equal() {
    let channel = channel();
    let queue = unique("q");
    let declare = |value| queue_declare(&queue).exclusive().arg("x-max-length", value);
    channel.declare(declare(Value::I32(10)));
    for value in [Value::I8(10), Value::U8(10), Value::I16(10), Value::U16(10), Value::U32(10), Value::I64(10)] {
        channel.declare(declare(value));
    }
    channel.refuses(declare(Value::I64(11)), 406, "…received '11' but current is '10'");
}

#[test]
fn e048_a_text_is_no_integer() {
    let channel = channel();
    let queue = unique("q");
    channel.declare(queue_declare(&queue).exclusive().arg("x-max-length", 10));
    channel.refuses(queue_declare(&queue).exclusive().arg("x-max-length", "10"), 406, "…");
}

#[test]
fn e048_texts_are_compared() {
    let channel = channel();
    let queue = unique("q");
    let declare = |dlx: &str| queue_declare(&queue).exclusive().arg("x-dead-letter-exchange", dlx);
    channel.declare(declare("one"));
    let how = "received 'two' but current is 'one'";
    channel.refuses(declare("two"), 406, inequivalent("x-dead-letter-exchange", &queue, how));
    let how = "received none but current is the value 'one' of type 'longstr'";
    channel.refuses(queue_declare(&queue).exclusive(), 406, inequivalent("x-dead-letter-exchange", &queue, how));
}

/// What a queue has is compared before anybody asks whether it could have what is declared.
#[test]
fn e048_a_queue_is_compared_before_values_are_checked() {
    let channel = channel();
    let queue = unique("q");
    let declare = || queue_declare(&queue).durable();
    channel.declare(declare().arg("x-message-ttl", 1000));
    let how = "received 'a' but current is '1000'";
    channel.refuses(declare().arg("x-message-ttl", "a"), 406, inequivalent("x-message-ttl", &queue, how));
    let how = "received '-1' but current is '1000'";
    channel.refuses(declare().arg("x-message-ttl", -1), 406, inequivalent("x-message-ttl", &queue, how));
    let how = "received 'false' but current is 'true'";
    let bad = || queue_declare(&queue).arg("x-message-ttl", "a");
    channel.refuses(bad(), 406, inequivalent("durable", &queue, how));
    let how = "received 'true' but current is 'false'";
    channel.refuses(bad().durable().auto_delete(), 406, inequivalent("auto_delete", &queue, how));
    // What only queues of another type have says nothing about this one.
    channel.declare(declare().arg("x-message-ttl", 1000).arg("x-max-age", "soon"));
    channel.delete(queue_delete(&queue));
    channel.refuses(declare().arg("x-message-ttl", "a"), 406, invalid("x-message-ttl", &queue, "…"));
}

#[test]
fn e048_types_are_compared_before_values_are_checked() {
    let channel = channel();
    let queue = unique("q");
    let declare = |kind: &str| queue_declare(&queue).durable().arg("x-max-priority", 5).arg("x-queue-type", kind);
    channel.declare(declare("classic"));
    for kind in ["quorum", "bogus"] {
        let how = format!("received '{kind}' but current is 'classic'");
        channel.refuses(declare(kind), 406, inequivalent("x-queue-type", &queue, &how));
    }
    channel.declare(declare("classic"));
    channel.delete(queue_delete(&queue));
}

#[test]
fn e048_a_queue_of_which_no_type_was_named_is_a_classic_one() {
    let Some(broker) = Broker::newer_than_3_10("3.10 names no type that nobody has named") else { return };
    let channel = broker.connect().channel();
    let [classic, quorum] = [unique("q"), unique("q")];
    let typed = |queue: &str, kind: &str| queue_declare(queue).durable().arg("x-queue-type", kind);
    channel.declare(queue_declare(&classic).durable());
    let how = "received 'quorum' but current is 'classic'";
    channel.refuses(typed(&classic, "quorum"), 406, inequivalent("x-queue-type", &classic, how));
    channel.declare(typed(&quorum, "quorum"));
    let how = "received 'classic' but current is 'quorum'";
    channel.refuses(queue_declare(&quorum).durable(), 406, inequivalent("x-queue-type", &quorum, how));
    channel.delete(queue_delete(&classic));
    channel.delete(queue_delete(&quorum));
}

#[test]
fn a5_a_classic_queue_is_the_same_as_none_named() {
    let channel = channel();
    let queue = unique("q");
    channel.declare(queue_declare(&queue).exclusive());
    channel.declare(queue_declare(&queue).exclusive().arg("x-queue-type", "classic"));
    let other = unique("q");
    channel.declare(queue_declare(&other).exclusive().arg("x-queue-type", "classic"));
    channel.declare(queue_declare(&other).exclusive());
}

#[test]
fn a5_exchanges_are_compared() {
    let channel = channel();
    let exchange = unique("e");
    let text = |key: &str, received: &str, current: &str| {
        format!(
            "inequivalent arg '{key}' for exchange '{exchange}' in vhost '/': \
             received {received} but current is {current}"
        )
    };
    let declare = || exchange_declare(&exchange, "direct");
    channel.call(declare());
    channel.refuses(exchange_declare(&exchange, "topic"), 406, text("type", "'topic'", "'direct'"));
    channel.refuses(declare().durable(), 406, text("durable", "'true'", "'false'"));
    channel.refuses(declare().auto_delete(), 406, text("auto_delete", "'true'", "'false'"));
    channel.refuses(declare().internal(), 406, text("internal", "'true'", "'false'"));
    let alternate = "the value 'other' of type 'longstr'";
    let with_alternate = declare().arg("alternate-exchange", "other");
    channel.refuses(with_alternate, 406, text("alternate-exchange", alternate, "none"));
    channel.call(declare().arg("comment", "other arguments are not compared"));
    channel.call(exchange_delete(&exchange));
}

#[test]
fn a5_the_alternate_exchange_must_be_a_text() {
    let channel = channel();
    let exchange = unique("e");
    channel.refuses(exchange_declare(&exchange, "direct").arg("alternate-exchange", 1), 406, "…");
}

#[test]
fn a5_consumer_priorities_must_be_integers() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.consume(basic_consume(&queue, "").arg("x-priority", -5i8));
    channel.refuses(basic_consume(&queue, "").arg("x-priority", "high"), 406, "…");
}

/// Durable quorum queues take their own arguments and refuse those of others.
#[test]
fn a5_quorum_arguments() {
    let channel = channel();
    let queue = unique("q");
    let quorum = || queue_declare(&queue).durable().arg("x-queue-type", "quorum");
    for (key, value, why) in [
        ("x-quorum-initial-group-size", int(0), "{value_zero,0}"),
        ("x-dead-letter-strategy", Value::text("never"), "invalid_dlx_strategy"),
    ] {
        eprintln!("{key} = {value:?}");
        channel.refuses(quorum().arg(key, value), 406, invalid(key, &queue, why));
    }
    let text =
        format!("invalid arg 'x-max-priority' for queue '{queue}' in vhost '/' of queue type rabbit_quorum_queue");
    channel.refuses(quorum().arg("x-max-priority", 5), 406, text);
}

#[test]
fn a5_stream_arguments() {
    let channel = channel();
    let queue = unique("q");
    let stream = || queue_declare(&queue).durable().arg("x-queue-type", "stream");
    for age in ["1", "1w", "0D"] {
        channel.refuses(stream().arg("x-max-age", age), 406, invalid("x-max-age", &queue, "…"));
    }
}

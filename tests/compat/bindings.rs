//! E-4: bindings between exchanges, and from exchanges to queues.

use super::harness::*;

/// The queue's messages after everything published on the channel has been confirmed.
fn routed(channel: &Channel, queue: &str, exchange: &str, keys: &[&str]) -> Vec<String> {
    let publisher = Broker::start().connect().channel();
    publisher.call(confirm_select());
    keys.iter().for_each(|key| publisher.publish(exchange, key, key));
    publisher.expect_confirms(keys.len());
    channel.drain(queue)
}

#[test]
fn e055_unbinding_what_is_not_bound() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.call(queue_unbind(&queue, "amq.direct", "never bound"));
    channel.call(exchange_unbind("amq.topic", "amq.direct", "never bound"));
}

#[test]
fn e055_unbinding_what_does_not_exist() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.call(queue_unbind(&queue, "no exchange", "key"));
    channel.call(queue_unbind("no queue", "amq.direct", "key"));
    channel.call(exchange_unbind("no exchange", "amq.direct", "key"));
    channel.call(exchange_unbind("amq.direct", "no exchange", "key"));
}

#[test]
fn e055_binding_what_does_not_exist() {
    let channel = channel();
    let queue = channel.temporary_queue();
    let no_exchange = "no exchange 'missing' in vhost '/'";
    channel.refuses(queue_bind(&queue, "missing", "key"), 404, no_exchange);
    channel.refuses(queue_bind("missing", "amq.direct", "key"), 404, "no queue 'missing' in vhost '/'");
    channel.refuses(exchange_bind("missing", "amq.direct", "key"), 404, no_exchange);
    channel.refuses(exchange_bind("amq.direct", "missing", "key"), 404, no_exchange);
}

#[test]
fn e057_invalid_x_match() {
    let channel = channel();
    let queue = channel.temporary_queue();
    let bind = || queue_bind(&queue, "amq.headers", "");
    channel.refuses(
        bind().arg("x-match", "foo"),
        406,
        "Invalid x-match field value …; expected all, any, all-with-x, or any-with-x",
    );
    channel.refuses(bind().arg("x-match", 1), 406, "Invalid x-match field type …");
    for kind in ["all", "any"] {
        channel.call(bind().arg("x-match", kind));
    }
}

#[test]
fn e057_x_match_with_x() {
    let channel = channel();
    let queue = channel.temporary_queue();
    for kind in ["all-with-x", "any-with-x"] {
        channel.call(queue_bind(&queue, "amq.headers", "").arg("x-match", kind));
    }
}

/// A key without text has no words at all; that of a single dot has two empty ones.
#[test]
fn e058_topic_patterns() {
    let channel = channel();
    let cases: [(&str, &[&str], &[&str]); 9] = [
        ("#", &["", "a", "a.b", "..", "a..b"], &[]),
        ("*", &["a"], &["", "a.b", "."]),
        ("a.*", &["a.b", "a."], &["a", "a.b.c", "b.a"]),
        ("a.#", &["a", "a.b", "a.b.c", "a."], &["", "b", "ab"]),
        ("#.z", &["z", "a.z", "a.b.z", ".z"], &["", "za", "a.z.b"]),
        ("a.#.z", &["a.z", "a.b.z", "a.b.c.z", "a..z"], &["a", "z", "az"]),
        ("*.*", &["a.b", "."], &["a", "", "a.b.c"]),
        ("#.a.#", &["a", "a.b", "b.a", "b.a.c", "a.a.a"], &["", "b", "ab.ba"]),
        ("#.#.#", &["", "a", "a.b.c.d"], &[]),
    ];
    for (pattern, matching, others) in cases {
        let exchange = unique("topic");
        channel.call(exchange_declare(&exchange, "topic"));
        let queue = channel.temporary_queue();
        channel.call(queue_bind(&queue, &exchange, pattern));
        let keys = [matching, others].concat();
        assert_eq!(routed(&channel, &queue, &exchange, &keys), matching, "pattern {pattern}");
        channel.call(exchange_delete(&exchange));
    }
}

#[test]
fn e058_the_empty_key_matches_the_empty_pattern() {
    let channel = channel();
    let exchange = unique("topic");
    channel.call(exchange_declare(&exchange, "topic").auto_delete());
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, &exchange, "").arg("because", "an empty queue name takes the queue's name"));
    assert_eq!(routed(&channel, &queue, &exchange, &["", "a", "."]), [""]);
}

#[test]
fn e060_duplicate_bindings_are_one() {
    let channel = channel();
    let exchange = unique("e");
    channel.call(exchange_declare(&exchange, "direct"));
    let queue = channel.temporary_queue();
    let bind = || queue_bind(&queue, &exchange, "key");
    channel.call(bind());
    channel.call(bind());
    // The order of arguments makes no other binding, their values do.
    channel.call(bind().arg("a", 1).arg("b", 2));
    channel.call(bind().arg("b", 2).arg("a", 1));
    assert_eq!(routed(&channel, &queue, &exchange, &["key"]), ["key"]);
    channel.call(queue_unbind(&queue, &exchange, "key"));
    assert_eq!(routed(&channel, &queue, &exchange, &["key"]), ["key"]);
    channel.call(queue_unbind(&queue, &exchange, "key").arg("b", 2).arg("a", 1));
    assert_eq!(routed(&channel, &queue, &exchange, &["key"]), Vec::<String>::new());
    channel.call(exchange_delete(&exchange).if_unused());
}

#[test]
fn e060_bindings_go_with_their_queue() {
    let channel = channel();
    let (exchange, queue) = (unique("e"), unique("q"));
    channel.call(exchange_declare(&exchange, "fanout"));
    channel.declare(queue_declare(&queue).exclusive());
    channel.call(queue_bind(&queue, &exchange, ""));
    channel.delete(queue_delete(&queue));
    channel.declare(queue_declare(&queue).exclusive());
    assert_eq!(routed(&channel, &queue, &exchange, &["a"]), Vec::<String>::new());
    channel.call(exchange_delete(&exchange).if_unused());
}

#[test]
fn e060_bindings_go_with_their_exchange() {
    let channel = channel();
    let (exchange, queue) = (unique("e"), channel.temporary_queue());
    channel.call(exchange_declare(&exchange, "fanout"));
    channel.call(queue_bind(&queue, &exchange, ""));
    channel.call(exchange_delete(&exchange));
    channel.call(exchange_declare(&exchange, "fanout"));
    assert_eq!(routed(&channel, &queue, &exchange, &["a"]), Vec::<String>::new());
    channel.call(exchange_delete(&exchange).if_unused());
}

//! E-9 item 118 and: the exchange types that RabbitMQ has in plugins. A foreign broker may lack them.

use leveret::frames::content::Property;

use super::harness::*;

/// A broker that has the plugins, which only ours surely has.
fn ours() -> Option<Channel> {
    Broker::start().inside().map(|_| channel())
}

/// Queues bound to a new exchange, each with a key of its own.
fn bound(channel: &Channel, declare: Method, exchange: &str, keys: &[&str]) -> Vec<String> {
    channel.call(declare);
    keys.iter()
        .map(|key| {
            let queue = channel.temporary_queue();
            channel.call(queue_bind(&queue, exchange, key).arg("an empty key", "would be the queue's name"));
            queue
        })
        .collect()
}

/// Publishes so many messages, each with another key and properties, and tells how many each queue got.
fn spread(channel: &Channel, exchange: &str, queues: &[String], n: usize, props: impl Fn(usize) -> Props) -> Vec<u32> {
    let publisher = Broker::start().connect().channel();
    publisher.call(confirm_select());
    (0..n).for_each(|i| publisher.publish_with(exchange, &format!("key {i}"), props(i), "m"));
    publisher.expect_confirms(n);
    queues.iter().map(|queue| channel.purge(queue)).collect()
}

#[test]
fn e118_consistent_hash_wants_weights() {
    let Some(channel) = ours() else { return };
    let (exchange, queue) = (unique("hash"), channel.temporary_queue());
    channel.call(exchange_declare(&exchange, "x-consistent-hash").auto_delete());
    let bind = |key: &str| queue_bind(&queue, &exchange, key);
    channel.refuses(bind("abc"), 406, "The binding key must be an integer: <<\"abc\">>");
    channel.refuses(bind("0"), 406, "The binding key must be greater than 0");
    channel.refuses(bind("-3"), 406, "The binding key must be greater than 0");
    channel.call(bind("1"));
}

#[test]
fn e118_consistent_hash_wants_one_thing_to_hash() {
    let Some(channel) = ours() else { return };
    let declare = || exchange_declare(&unique("hash"), "x-consistent-hash").auto_delete();
    let both = declare().arg("hash-header", "id").arg("hash-property", "message_id");
    channel.refuses(both, 406, "hash-header and hash-property are mutually exclusive");
    channel.refuses(declare().arg("hash-property", "app_id"), 406, "Unsupported property: app_id");
}

#[test]
fn a003_consistent_hash_spreads_keys_by_weight() {
    let Some(channel) = ours() else { return };
    let exchange = unique("hash");
    let queues = bound(&channel, exchange_declare(&exchange, "x-consistent-hash"), &exchange, &["1", "3"]);
    let counts = spread(&channel, &exchange, &queues, 400, |_| props());
    assert_eq!(counts.iter().sum::<u32>(), 400);
    assert!((50..150).contains(&counts[0]), "{counts:?}");
    // The same keys go the same way, also as the first of several.
    assert_eq!(spread(&channel, &exchange, &queues, 400, |_| props().header("CC", ["other key"])), counts);
    channel.call(exchange_delete(&exchange));
}

#[test]
fn a003_consistent_hash_of_headers_and_properties() {
    let Some(channel) = ours() else { return };
    type Vary = fn(usize) -> Props;
    let cases: [(&str, &str, Vary); 4] = [
        ("hash-header", "id", |i| props().header("id", i as i64)),
        ("hash-property", "message_id", |i| props().text(Property::MessageId, &i.to_string())),
        ("hash-property", "correlation_id", |i| props().text(Property::CorrelationId, &i.to_string())),
        ("hash-property", "timestamp", |i| props().timestamp(i as u64)),
    ];
    for (argument, value, vary) in cases {
        let exchange = unique("hash");
        let declare = exchange_declare(&exchange, "x-consistent-hash").arg(argument, value);
        let queues = bound(&channel, declare, &exchange, &["1", "1"]);
        let counts = spread(&channel, &exchange, &queues, 100, vary);
        assert!(counts.iter().all(|n| *n > 20), "{argument} {value}: {counts:?}");
        // One value, whatever the routing key: one queue.
        let counts = spread(&channel, &exchange, &queues, 20, |_| vary(7));
        assert!(counts.contains(&20), "{argument} {value}: {counts:?}");
        channel.call(exchange_delete(&exchange));
    }
}

/// The same keys have to find the same queues after a restart, and after a new binding most of them.
#[test]
fn a003_consistent_hash_survives_a_restart() {
    let Some(mut broker) = Broker::start_with(&[]) else { return };
    let publish = |broker: &Broker, queues: &[&str]| {
        let channel = broker.connect().channel();
        channel.call(confirm_select());
        (0..60).for_each(|i| channel.publish("hash", &format!("key {i}"), &i.to_string()));
        channel.expect_confirms(60);
        queues.iter().map(|queue| channel.drain(queue)).collect::<Vec<_>>()
    };
    let channel = broker.connect().channel();
    channel.call(exchange_declare("hash", "x-consistent-hash").durable());
    for queue in ["a", "b", "c"] {
        channel.declare(queue_declare(queue).durable());
        channel.call(queue_bind(queue, "hash", "1"));
    }
    let before = publish(&broker, &["a", "b", "c"]);
    broker.restart();
    assert_eq!(publish(&broker, &["a", "b", "c"]), before);
    let channel = broker.connect().channel();
    channel.declare(queue_declare("d"));
    channel.call(queue_bind("d", "hash", "1"));
    let after = publish(&broker, &["a", "b", "c", "d"]);
    for (before, after) in before.iter().zip(&after) {
        assert!(after.iter().all(|body| before.contains(body)), "{after:?} had been {before:?}");
    }
}

#[test]
fn a003_modulus_hash() {
    let Some(channel) = ours() else { return };
    let exchange = unique("modulus");
    let queues = bound(&channel, exchange_declare(&exchange, "x-modulus-hash"), &exchange, &["a", "b", ""]);
    let counts = spread(&channel, &exchange, &queues, 300, |_| props());
    assert_eq!(counts.iter().sum::<u32>(), 300);
    assert!(counts.iter().all(|n| (60..140).contains(n)), "{counts:?}");
    assert_eq!(spread(&channel, &exchange, &queues, 300, |_| props()), counts);
    channel.call(exchange_delete(&exchange));
}

#[test]
fn a003_random() {
    let Some(channel) = ours() else { return };
    for kind in ["x-random", "x-local-random"] {
        let exchange = unique("random");
        let queues = bound(&channel, exchange_declare(&exchange, kind), &exchange, &[""; 3]);
        let publisher = Broker::start().connect().channel();
        publisher.call(confirm_select());
        (0..300).for_each(|_| publisher.publish(&exchange, "one and the same", "m"));
        publisher.expect_confirms(300);
        let counts: Vec<_> = queues.iter().map(|queue| channel.purge(queue)).collect();
        assert_eq!(counts.iter().sum::<u32>(), 300);
        assert!(counts.iter().all(|n| (50..150).contains(n)), "{kind}: {counts:?}");
        channel.call(exchange_delete(&exchange));
    }
}

#[test]
fn a003_local_random_refuses_keys() {
    let Some(channel) = ours() else { return };
    let (exchange, queue) = (unique("random"), channel.temporary_queue());
    channel.call(exchange_declare(&exchange, "x-local-random").auto_delete());
    channel.refuses(queue_bind(&queue, &exchange, "k"), 406, "Non empty binding 'k' key not permitted");
    channel.refuses(exchange_bind("amq.fanout", &exchange, ""), 406, "Destination not found");
    channel.call(queue_bind(&queue, &exchange, "").arg("a", 1));
}

#[test]
fn a003_unknown_types() {
    let channel = channel();
    channel.ends_connection(exchange_declare(&unique("e"), "x-nonsense"), 503, "unknown exchange type 'x-nonsense'");
}

#[test]
fn a004_a_delayed_exchange_names_another_type() {
    let Some(channel) = ours() else { return };
    let declare = || exchange_declare(&unique("delayed"), "x-delayed-message").auto_delete();
    let text = "Invalid argument, 'x-delayed-type' must be an existing exchange type";
    channel.refuses(declare(), 406, text);
    channel.refuses(declare().arg("x-delayed-type", "x-delayed-message"), 406, text);
    channel.refuses(declare().arg("x-delayed-type", "nonsense"), 406, text);
    channel.refuses(declare().arg("x-delayed-type", 1), 406, text);
}

#[test]
fn a004_a_message_without_delay_is_routed_at_once() {
    let Some(channel) = ours() else { return };
    let exchange = unique("delayed");
    channel.call(exchange_declare(&exchange, "x-delayed-message").arg("x-delayed-type", "topic"));
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, &exchange, "a.*"));
    channel.call(confirm_select());
    channel.publish(&exchange, "a.b", "taken");
    channel.publish(&exchange, "b.a", "not taken");
    channel.publish_with(&exchange, "a.c", props().header("x-delay", 0), "no delay");
    channel.expect_confirms(3);
    assert_eq!(channel.drain(&queue), ["taken", "no delay"]);
    channel.refuses(
        exchange_declare(&exchange, "topic").arg("x-delayed-type", "topic"),
        406,
        format!("inequivalent arg 'type' for exchange '{exchange}' in vhost '/': received 'topic' but current is 'x-delayed-message'"),
    );
    channel.call(exchange_delete(&exchange));
}

/// The rules of the inner type hold for bindings.
#[test]
fn a004_bindings_are_those_of_the_inner_type() {
    let Some(channel) = ours() else { return };
    let (exchange, queue) = (unique("delayed"), channel.temporary_queue());
    channel.call(exchange_declare(&exchange, "x-delayed-message").arg("x-delayed-type", "headers").auto_delete());
    let bind = |mode| queue_bind(&queue, &exchange, "").arg("x-match", mode);
    channel.refuses(
        bind("some"),
        406,
        "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x",
    );
    channel.call(bind("any").arg("a", 1));
}

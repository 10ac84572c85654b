//! E-4: declaring and deleting queues and exchanges, and their names.

use std::time::{Duration, Instant};

use super::harness::*;

fn no_queue(queue: &str) -> String {
    format!("no queue '{queue}' in vhost '/'")
}

fn locked(queue: &str) -> String {
    let text = format!(
        "cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be originally declared on \
         another connection or the exclusive property value does not match that of the original declaration."
    );
    // As every reply text, cut to 255 characters.
    let room = 255 - "RESOURCE_LOCKED - ".len();
    if text.len() <= room { text } else { format!("{}...", &text[..room - 3]) }
}

#[test]
fn e040_line_breaks_are_stripped_from_names() {
    let channel = channel();
    let name = unique("q");
    let ok = channel.declare(queue_declare(&format!("\r\n{name}\r\n")).exclusive());
    assert_eq!(ok.queue.as_str(), name);
    assert_eq!(channel.delete(queue_delete(&format!("{name}\n"))), 0);
    channel.refuses(queue_declare(&name).passive(), 404, no_queue(&name));

    channel.call(exchange_declare(&format!("{name}\r"), "direct").auto_delete());
    channel.call(exchange_declare(&name, "direct").passive());
    channel.call(exchange_delete(&format!("\n{name}")));
    channel.refuses(exchange_declare(&name, "direct").passive(), 404, format!("no exchange '{name}' in vhost '/'"));
}

#[test]
fn e041_server_named_queues() {
    let channel = channel();
    let (a, b) = (channel.temporary_queue(), channel.temporary_queue());
    assert_ne!(a, b);
    let random = a.strip_prefix("amq.gen-").expect("the prefix of server-named queues");
    assert_eq!(random.len(), 22);
    assert!(random.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{random}");
}

#[test]
fn e041_the_empty_name_is_the_last_queue_declared_on_the_channel() {
    let client = Broker::start().connect();
    let (channel, other) = (client.channel(), client.channel());
    channel.temporary_queue();
    let last = channel.temporary_queue();
    other.temporary_queue();
    channel.publish_confirmed("", &last, &["one", "two"]);
    assert_eq!(channel.expect_get("").text(), "one");
    channel.call(queue_bind("", "amq.direct", "key"));
    channel.call(queue_unbind("", "amq.direct", "key"));
    assert_eq!(channel.purge(""), 1);
    channel.consume(basic_consume("", "tag"));
    assert_eq!(channel.counts(&last).1, 1);
    channel.call(basic_cancel("tag"));
    channel.delete(queue_delete(""));
    channel.refuses(queue_declare(&last).passive(), 404, no_queue(&last));
}

#[test]
fn e041_no_queue_was_declared_yet() {
    let channel = channel();
    for method in [
        basic_get(""),
        basic_consume("", ""),
        queue_bind("", "amq.direct", "key"),
        queue_unbind("", "amq.direct", "key"),
        queue_purge(""),
        queue_delete(""),
    ] {
        channel.refuses(method, 404, "no previously declared queue");
    }
    // A passive declare takes the empty name for a name.
    channel.refuses(queue_declare("").passive(), 404, no_queue(""));
}

#[test]
fn e041_bind_without_queue_and_key_uses_the_queue_s_name_as_key() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.call(queue_bind("", "amq.direct", ""));
    channel.publish("amq.direct", &queue, "by name");
    assert_eq!(channel.expect_get(&queue).text(), "by name");
}

#[test]
fn e042_reserved_names() {
    let channel = channel();
    let name = format!("amq.{}", unique("mine"));
    let text = format!("queue name '{name}' contains reserved prefix 'amq.*'");
    channel.refuses(queue_declare(&name), 403, text);
    let text = format!("exchange name '{name}' contains reserved prefix 'amq.*'");
    channel.refuses(exchange_declare(&name, "direct"), 403, text);
    channel.refuses(queue_declare(&name).passive(), 404, no_queue(&name));
}

#[test]
fn e042_a_server_named_queue_may_be_declared_again() {
    let Some(broker) = Broker::newer_than_3_10("3.10 refuses amq.* in every declare but a passive one") else { return };
    let channel = broker.connect().channel();
    let queue = channel.temporary_queue();
    channel.declare(queue_declare(&queue).exclusive());
}

#[test]
fn e042_what_exists_may_be_declared_again_whatever_its_name() {
    let channel = channel();
    channel.ready(&channel.temporary_queue());
    for (name, kind) in [("amq.direct", "direct"), ("amq.topic", "topic"), ("amq.match", "headers")] {
        channel.call(exchange_declare(name, kind).durable());
        channel.call(exchange_declare(name, "").passive());
    }
}

#[test]
fn e043_a_passive_declare_ignores_everything_but_the_name() {
    let channel = channel();
    let name = unique("q");
    channel.declare(queue_declare(&name).exclusive().arg("x-max-length", 10));
    channel.declare(queue_declare(&name).passive().durable().auto_delete().arg("x-message-ttl", "nonsense"));
    let exchange = unique("e");
    channel.call(exchange_declare(&exchange, "fanout").auto_delete());
    channel.call(exchange_declare(&exchange, "topic").passive().durable().arg("alternate-exchange", 1));
}

#[test]
fn e043_a_passive_declare_of_what_is_missing() {
    let channel = channel();
    let name = unique("missing");
    channel.refuses(queue_declare(&name).passive(), 404, no_queue(&name));
    channel.refuses(exchange_declare(&name, "direct").passive(), 404, format!("no exchange '{name}' in vhost '/'"));
}

#[test]
fn e044_declare_ok_counts_ready_messages_and_consumers() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["one", "two", "three"]);
    channel.expect_get(&queue);
    assert_eq!(channel.counts(&queue), (2, 0));
    channel.call(basic_qos(1));
    channel.consume(basic_consume(&queue, "a"));
    channel.consume(basic_consume(&queue, "b"));
    channel.expect_bodies(2);
    assert_eq!(channel.counts(&queue), (0, 2));
}

#[test]
fn e044_nowait() {
    let channel = channel();
    let (queue, exchange) = (unique("q"), unique("e"));
    channel.send(queue_declare(&queue).exclusive().nowait());
    channel.send(exchange_declare(&exchange, "fanout").auto_delete().nowait());
    channel.send(queue_bind(&queue, &exchange, "").nowait());
    channel.expect_nothing_more();
    channel.publish_confirmed(&exchange, "", &["one"]);
    channel.send(queue_purge(&queue).nowait());
    assert_eq!(channel.ready(&queue), 0);
    channel.send(queue_delete(&queue).nowait());
    channel.send(exchange_delete(&exchange).nowait());
    channel.expect_nothing_more();
    channel.refuses(queue_declare(&queue).passive(), 404, no_queue(&queue));
}

/// Errors of methods sent with nowait still close the channel (also item 126).
#[test]
fn e044_nowait_errors() {
    let channel = channel();
    channel.refuses(queue_bind(&channel.temporary_queue(), "no exchange", "").nowait(), 404, "…");
    channel.refuses(queue_declare("no queue").passive().nowait(), 404, no_queue("no queue"));
}

#[test]
fn e045_durable_means_nothing_for_an_exclusive_queue() {
    let channel = channel();
    let queue = unique("q");
    channel.declare(queue_declare(&queue).exclusive());
    channel.declare(queue_declare(&queue).exclusive().durable());
    channel.declare(queue_declare(&queue).exclusive());
    let other = unique("q");
    channel.declare(queue_declare(&other).exclusive().durable());
    channel.declare(queue_declare(&other).exclusive());
}

#[test]
fn e046_another_connection_s_exclusive_queue() {
    let broker = Broker::start();
    let (owner, other) = (broker.connect().channel(), broker.connect().channel());
    let queue = unique("q");
    owner.declare(queue_declare(&queue).exclusive());
    owner.call(queue_bind(&queue, "amq.direct", "key"));
    for method in [
        queue_declare(&queue),
        queue_declare(&queue).exclusive(),
        queue_declare(&queue).passive(),
        basic_consume(&queue, ""),
        basic_get(&queue),
        queue_bind(&queue, "amq.direct", "key"),
        queue_unbind(&queue, "amq.direct", "key"),
        queue_purge(&queue),
        queue_delete(&queue),
    ] {
        other.refuses(method, 405, locked(&queue));
    }
    other.publish_confirmed("", &queue, &["anybody may publish"]);
    assert_eq!(owner.expect_get(&queue).text(), "anybody may publish");
}

#[test]
fn e046_other_channels_of_the_connection_may_use_it() {
    let client = Broker::start().connect();
    let queue = unique("q");
    client.channel().declare(queue_declare(&queue).exclusive());
    let other = client.channel();
    other.declare(queue_declare(&queue).exclusive());
    other.consume(basic_consume(&queue, "t"));
    other.call(basic_cancel("t"));
    assert_eq!(other.delete(queue_delete(&queue)), 0);
}

#[test]
fn e047_an_existing_queue_cannot_become_exclusive() {
    let channel = channel();
    let queue = unique("q");
    channel.declare(queue_declare(&queue).auto_delete());
    channel.refuses(queue_declare(&queue).auto_delete().exclusive(), 405, locked(&queue));
    channel.delete(queue_delete(&queue));
}

#[test]
fn e047_an_exclusive_queue_cannot_become_common() {
    let channel = channel();
    let queue = unique("q");
    channel.declare(queue_declare(&queue).exclusive());
    channel.refuses(queue_declare(&queue), 405, locked(&queue));
}

#[test]
fn e050_deleting_what_is_not_there() {
    let channel = channel();
    assert_eq!(channel.delete(queue_delete(&unique("missing"))), 0);
    channel.call(exchange_delete(&unique("missing")));
}

#[test]
fn e050_delete_if_unused_and_if_empty() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["one"]);
    let tag = channel.consume(basic_consume(&queue, ""));
    channel.expect_deliver();
    channel.refuses(queue_delete(&queue).if_unused(), 406, format!("queue '{queue}' in vhost '/' in use"));
    // The refusal closed the channel, so the consumer is gone and the message is back.
    let text = format!("queue '{queue}' in vhost '/' not empty");
    channel.refuses(queue_delete(&queue).if_empty(), 406, text);
    channel.expect_get(&queue);
    // An unacknowledged message does not count.
    assert_eq!(channel.delete(queue_delete(&queue).if_unused().if_empty()), 0);
    channel.call(basic_cancel(&tag));
}

/// Messages that are held back after a return are the queue's like those that are ready.
#[test]
fn e050_a_queue_that_holds_back_messages_is_not_empty() {
    if Broker::start().inside().is_none() {
        eprintln!("skipped: RabbitMQ 4.3 and later, and quorum queues only");
        return;
    }
    let channel = channel();
    let declare = queue_declare("").exclusive().arg("x-delayed-retry-type", "all");
    let declare = declare.arg("x-delayed-retry-min", 600_000).arg("x-delayed-retry-max", 600_000);
    let queue = channel.declare(declare).queue.to_string();
    channel.publish_confirmed("", &queue, &["one"]);
    let got = channel.expect_get(&queue);
    channel.send(basic_reject(got.delivery_tag).requeue());
    channel.refuses(queue_delete(&queue).if_empty(), 406, format!("queue '{queue}' in vhost '/' not empty"));
    assert_eq!(channel.purge(&queue), 0);
    channel.delete(queue_delete(&queue).if_empty());
}

#[test]
fn e051_delete_and_purge_count_ready_messages() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["one", "two", "three"]);
    let got = channel.expect_get(&queue);
    assert_eq!(channel.purge(&queue), 2);
    assert_eq!(channel.purge(&queue), 0);
    channel.send(basic_reject(got.delivery_tag).requeue());
    assert_eq!(channel.delete(queue_delete(&queue)), 1);
}

#[test]
fn e052_unknown_exchange_types() {
    let text = "unknown exchange type 'nonsense'";
    channel().ends_connection(exchange_declare(&unique("e"), "nonsense"), 503, text);
    channel().ends_connection(exchange_declare(&unique("e"), ""), 503, "invalid exchange type ''");
}

#[test]
fn e053_the_default_exchange_cannot_be_touched() {
    let channel = channel();
    let queue = channel.temporary_queue();
    for method in [
        exchange_declare("", "direct"),
        exchange_declare("", "direct").passive(),
        exchange_delete(""),
        exchange_bind("amq.fanout", "", "key"),
        exchange_bind("", "amq.fanout", "key"),
        exchange_unbind("amq.fanout", "", "key"),
        queue_bind(&queue, "", "key"),
        queue_unbind(&queue, "", "key"),
    ] {
        channel.refuses(method, 403, "operation not permitted on the default exchange");
    }
}

#[test]
fn e054_system_exchanges_cannot_be_deleted() {
    let channel = channel();
    let system = ["amq.direct", "amq.topic", "amq.fanout", "amq.headers", "amq.match", "amq.rabbitmq.trace"];
    let reserved = ["amq.", "amq.nobody-has-this"];
    for name in system.into_iter().chain(reserved) {
        let text = format!("deletion of system exchange '{name}' in vhost '/' not allowed");
        channel.refuses(exchange_delete(name), 403, text);
    }
}

#[test]
fn e054_an_exchange_with_bindings_is_in_use() {
    let channel = channel();
    let (exchange, target) = (unique("e"), unique("e"));
    channel.call(exchange_declare(&exchange, "topic"));
    channel.call(exchange_declare(&target, "topic"));
    channel.call(exchange_bind(&target, &exchange, "#"));
    let text = format!("exchange '{exchange}' in vhost '/' in use");
    channel.refuses(exchange_delete(&exchange).if_unused(), 406, text);
    // It is the bindings from an exchange that count.
    channel.call(exchange_delete(&target).if_unused());
    channel.call(exchange_delete(&exchange).if_unused());
}

#[test]
fn e059_an_auto_delete_queue_goes_with_its_last_consumer() {
    let client = Broker::start().connect();
    let (channel, other) = (client.channel(), client.channel());
    let queue = unique("q");
    channel.declare(queue_declare(&queue).auto_delete());
    let first = channel.consume(basic_consume(&queue, ""));
    other.consume(basic_consume(&queue, ""));
    channel.call(basic_cancel(&first));
    assert_eq!(channel.counts(&queue), (0, 1));
    other.call(channel_close());
    channel.refuses(queue_declare(&queue).passive(), 404, no_queue(&queue));
}

#[test]
fn e059_an_auto_delete_queue_goes_with_its_consumer_s_connection() {
    let broker = Broker::start();
    let (client, observer) = (broker.connect(), broker.connect().channel());
    let queue = unique("q");
    let channel = client.channel();
    channel.declare(queue_declare(&queue).auto_delete());
    channel.consume(basic_consume(&queue, ""));
    client.call(connection_close());
    observer.refuses(queue_declare(&queue).passive(), 404, no_queue(&queue));
}

#[test]
fn e059_an_auto_delete_queue_without_consumers_stays() {
    let broker = Broker::start();
    let (client, observer) = (broker.connect(), broker.connect().channel());
    let queue = unique("q");
    let channel = client.channel();
    channel.declare(queue_declare(&queue).auto_delete());
    assert!(channel.get(&queue).is_none());
    client.call(connection_close());
    assert_eq!(observer.counts(&queue), (0, 0));
    observer.delete(queue_delete(&queue));
}

#[test]
fn e059_an_auto_delete_exchange_goes_with_its_last_binding() {
    let channel = channel();
    let (exchange, queue) = (unique("e"), channel.temporary_queue());
    channel.call(exchange_declare(&exchange, "direct").auto_delete());
    // Being a destination is not enough.
    channel.call(exchange_bind(&exchange, "amq.fanout", ""));
    channel.call(exchange_unbind(&exchange, "amq.fanout", ""));
    channel.call(exchange_declare(&exchange, "").passive());
    channel.call(queue_bind(&queue, &exchange, "one"));
    channel.call(queue_bind(&queue, &exchange, "two"));
    channel.call(queue_unbind(&queue, &exchange, "one"));
    channel.call(exchange_declare(&exchange, "").passive());
    channel.delete(queue_delete(&queue));
    let text = format!("no exchange '{exchange}' in vhost '/'");
    channel.refuses(exchange_declare(&exchange, "").passive(), 404, text);
}

#[test]
fn e062_what_a_quorum_queue_cannot_be() {
    let channel = channel();
    let queue = unique("q");
    let quorum = || queue_declare(&queue).arg("x-queue-type", "quorum");
    let text = |property| format!("invalid property '{property}' for queue '{queue}' in vhost '/'");
    channel.refuses(quorum(), 406, text("non-durable"));
    channel.refuses(quorum().durable().exclusive(), 406, text("exclusive-owner"));
    channel.refuses(quorum().durable().auto_delete(), 406, text("auto-delete"));
}

/// Publishes until the queue does not take the message any more, which is no use of the queue.
fn wait_until_gone(channel: &Channel, queue: &str) {
    eventually("the queue expires", || {
        channel.send_message(basic_publish("", queue).mandatory(), &props(), b"probe");
        channel.call(channel_flow().active());
        !channel.delivered_so_far().is_empty()
    });
}

#[test]
fn e063_a_queue_expires_when_it_is_not_used() {
    let channel = channel();
    let queue = unique("q");
    channel.declare(queue_declare(&queue).arg("x-expires", 300));
    // Gets and declares, passive ones too, start the time anew.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        channel.get_with(basic_get(&queue).no_ack());
    }
    while start.elapsed() < Duration::from_millis(1000) {
        channel.ready(&queue);
    }
    wait_until_gone(&channel, &queue);
}

#[test]
fn e063_a_queue_with_consumers_does_not_expire() {
    let channel = channel();
    let (consumed, idle) = (unique("q"), unique("q"));
    channel.declare(queue_declare(&consumed).arg("x-expires", 200));
    let tag = channel.consume(basic_consume(&consumed, ""));
    channel.declare(queue_declare(&idle).arg("x-expires", 400));
    wait_until_gone(&Broker::start().connect().channel(), &idle);
    assert_eq!(channel.counts(&consumed), (0, 1));
    channel.call(basic_cancel(&tag));
    wait_until_gone(&channel, &consumed);
}

#[test]
fn e080_an_empty_queue_type_is_the_default_one() {
    let Some(broker) = Broker::newer_than_3_10("vhosts have no default queue type yet") else { return };
    let channel = broker.connect().channel();
    for kind in ["", "undefined", "classic"] {
        let queue = unique("q");
        channel.declare(queue_declare(&queue).exclusive().arg("x-queue-type", kind));
        channel.declare(queue_declare(&queue).exclusive());
    }
}

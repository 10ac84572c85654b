//! what the exchange type `x-delayed-message` does with delays, as RabbitMQ's plugin of that name. How one is
//! declared is with the other exchange types.

use leveret::vhost::moving::Target;
use std::time::Instant;

use leveret::frames::Value;
use leveret::frames::content::Property;

use super::harness::letters::*;
use super::harness::*;

/// The shared broker, unless it is a RabbitMQ, of which nobody knows whether it has the plugin.
fn start() -> Option<Channel> {
    if Broker::start().inside().is_none() && std::env::var_os("LEVERET_TEST_DELAYED").is_none() {
        eprintln!("skipped: set LEVERET_TEST_DELAYED for a broker with the plugin");
        return None;
    }
    Some(channel())
}

/// A delayed exchange that works as one of `kind`, and a queue bound to it with the key `k`.
fn delayed(channel: &Channel, kind: &str) -> (String, String) {
    let exchange = unique("delayed");
    channel.call(exchange_declare(&exchange, "x-delayed-message").auto_delete().arg("x-delayed-type", kind));
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, &exchange, "k"));
    (exchange, queue)
}

fn delay(ms: impl IntoValue) -> Props {
    props().header("x-delay", ms)
}

/// The value of a delivered message's `x-delay`.
fn delay_of(message: &Message) -> Option<Value> {
    message.props.headers().get("x-delay").cloned()
}

#[test]
fn a4_messages_come_when_they_are_due() {
    let Some(channel) = start() else { return };
    let (exchange, queue) = delayed(&channel, "direct");
    channel.consume(basic_consume(&queue, "").no_ack());
    let start = Instant::now();
    for ms in [600, 200, 400, 0] {
        channel.publish_with(&exchange, "k", delay(ms), &ms.to_string());
    }
    for ms in [0, 200, 400, 600] {
        let message = channel.expect_deliver();
        assert_eq!(message.text(), ms.to_string());
        assert_waited(start.elapsed(), ms);
        assert_eq!((&*message.exchange, &*message.routing_key), (&*exchange, "k"));
        assert!(!message.redelivered);
    }
}

/// Messages with the same delay stay in the order in which they were published.
#[test]
fn a4_equal_delays_keep_the_order() {
    let Some(channel) = start() else { return };
    let (exchange, queue) = delayed(&channel, "direct");
    let bodies: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    channel.consume(basic_consume(&queue, "").no_ack());
    bodies.iter().for_each(|body| channel.publish_with(&exchange, "k", delay(100), body));
    assert_eq!(channel.expect_bodies(100), bodies);
}

/// The consumer reads from a negative header how long a message was held.
#[test]
fn a4_the_header_is_negated() {
    let Some(channel) = start() else { return };
    let (exchange, queue) = delayed(&channel, "direct");
    channel.consume(basic_consume(&queue, "").no_ack());
    for value in [
        Value::I8(20),
        Value::U8(20),
        Value::I16(20),
        Value::U16(20),
        Value::I32(20),
        Value::U32(20),
        Value::I64(20),
        Value::text("20"),
        Value::F64(20.0),
        Value::F32(20.0),
    ] {
        let start = Instant::now();
        channel.publish_with(&exchange, "k", delay(value.clone()).header("other", "stays"), "m");
        let message = channel.expect_deliver();
        assert_waited(start.elapsed(), 20);
        assert_eq!(delay_of(&message).and_then(|delay| delay.as_int()), Some(-20), "of {value:?}");
        assert_eq!(message.props.headers().get("other"), Some(&Value::text("stays")));
    }
}

/// As of a float; the plugin fails over such a text.
#[test]
fn a4_the_fraction_of_a_text_is_cut_off() {
    let (Some(_), Some(channel)) = (Broker::start().inside(), start()) else { return };
    let (exchange, queue) = delayed(&channel, "direct");
    channel.consume(basic_consume(&queue, "").no_ack());
    let start = Instant::now();
    channel.publish_with(&exchange, "k", delay("20.9"), "m");
    let message = channel.expect_deliver();
    assert_waited(start.elapsed(), 20);
    assert_eq!(delay_of(&message), Some(Value::I32(-20)));
}

#[test]
fn a4_without_a_valid_delay_messages_are_routed_at_once() {
    let Some(channel) = start() else { return };
    let (exchange, queue) = delayed(&channel, "direct");
    channel.publish_confirmed(&exchange, "k", &["none"]);
    assert_eq!(channel.drain(&queue), ["none"]);
    let values = [Value::I32(0), Value::I32(-5), Value::Bool(true), Value::text("soon")];
    for (tag, value) in (2..).zip(values) {
        channel.publish_with(&exchange, "k", delay(value.clone()), "m");
        channel.expect_ack(tag);
        assert_eq!(delay_of(&channel.expect_get(&queue)), Some(value), "is as it was");
    }
}

#[test]
fn a4_the_longest_delay() {
    let Some(channel) = start() else { return };
    let (exchange, queue) = delayed(&channel, "direct");
    channel.call(confirm_select());
    channel.publish_with(&exchange, "k", delay(Value::I64(1 << 40)), "in many years");
    channel.publish_with(&exchange, "k", delay(1), "now");
    assert!(channel.expect_confirms(2).is_empty());
    channel.consume(basic_consume(&queue, "").no_ack());
    assert_eq!(channel.expect_deliver().text(), "now");
    channel.expect_nothing_more();
}

/// The promise is that the message is kept, not that it has been routed.
#[test]
fn a4_a_delayed_message_is_confirmed_at_once() {
    let Some(channel) = start() else { return };
    let (exchange, queue) = delayed(&channel, "fanout");
    channel.call(confirm_select());
    channel.publish_with(&exchange, "", delay(600_000), "m");
    channel.expect_ack(1);
    assert_eq!(channel.ready(&queue), 0);
}

#[test]
fn a4_messages_are_routed_when_they_are_due() {
    let Some(channel) = start() else { return };
    let (exchange, early) = delayed(&channel, "topic");
    channel.call(queue_bind(&early, &exchange, "*.late"));
    channel.publish_with(&exchange, "too.late", delay(300), "m");
    channel.call(queue_unbind(&early, &exchange, "*.late"));
    let late = channel.temporary_queue();
    channel.call(queue_bind(&late, &exchange, "too.#"));
    channel.consume(basic_consume(&late, "").no_ack());
    assert_eq!(channel.expect_deliver().text(), "m");
    assert_eq!(channel.ready(&early), 0);
}

#[test]
fn a4_every_type_routes_as_itself() {
    let Some(channel) = start() else { return };
    for kind in ["direct", "fanout", "topic", "headers"] {
        let exchange = unique(kind);
        channel.call(exchange_declare(&exchange, "x-delayed-message").auto_delete().arg("x-delayed-type", kind));
        let (queue, other) = (channel.temporary_queue(), channel.temporary_queue());
        let bind = |queue: &str, key: &str| {
            let bind = queue_bind(queue, &exchange, key);
            channel.call(if kind == "headers" { bind.arg("which", key) } else { bind });
        };
        bind(&queue, "this.one");
        bind(&other, "that.one");
        channel.consume(basic_consume(&queue, kind).no_ack());
        channel.publish_with(&exchange, "this.one", delay(30).header("which", "this.one"), kind);
        assert_eq!(channel.expect_deliver().text(), kind);
        assert_eq!(channel.ready(&other), u32::from(kind == "fanout"), "{kind}");
    }
}

#[test]
fn a4_cc_and_bcc_are_keys_of_a_delayed_message() {
    let Some(channel) = start() else { return };
    let (exchange, queue) = delayed(&channel, "direct");
    channel.consume(basic_consume(&queue, "").no_ack());
    let keys = delay(30).header("CC", ["elsewhere"]).header("BCC", ["k"]);
    channel.publish_with(&exchange, "nowhere", keys, "m");
    let message = channel.expect_deliver();
    assert_eq!((message.text(), &*message.routing_key), ("m", "nowhere"));
    let headers = message.props.headers();
    assert_eq!((headers.get("CC").is_some(), headers.get("BCC")), (true, None));
}

#[test]
fn a4_exchanges_pass_delayed_messages_on() {
    let Some(channel) = start() else { return };
    let (exchange, _) = delayed(&channel, "direct");
    let (next, queue) = (unique("e"), channel.temporary_queue());
    channel.call(exchange_declare(&next, "fanout").auto_delete());
    channel.call(exchange_bind(&next, &exchange, "on"));
    channel.call(queue_bind(&queue, &next, ""));
    channel.consume(basic_consume(&queue, "").no_ack());
    channel.publish_with(&exchange, "on", delay(30), "m");
    let message = channel.expect_deliver();
    assert_eq!((message.text(), delay_of(&message).and_then(|delay| delay.as_int())), ("m", Some(-30)));
}

/// The delayed exchange may stand anywhere on the way; queues beside it have the message at once.
#[test]
fn a4_what_comes_from_another_exchange_is_delayed_too() {
    let Some(channel) = start() else { return };
    let (exchange, late) = delayed(&channel, "direct");
    let (first, soon) = (unique("first"), channel.temporary_queue());
    channel.call(exchange_declare(&first, "fanout").auto_delete());
    channel.call(exchange_bind(&exchange, &first, ""));
    channel.call(queue_bind(&soon, &first, ""));
    channel.call(confirm_select());
    let start = Instant::now();
    channel.publish_with(&first, "k", delay(300).header("other", "stays").persistent(), "m");
    channel.expect_ack(1);
    let now = channel.expect_get(&soon);
    assert_eq!((now.text(), delay_of(&now).and_then(|delay| delay.as_int())), ("m", Some(300)));
    assert_eq!(channel.ready(&late), 0);
    channel.consume(basic_consume(&late, "").no_ack());
    let due = channel.expect_deliver();
    assert_waited(start.elapsed(), 300);
    assert_eq!((due.text(), delay_of(&due).and_then(|delay| delay.as_int())), ("m", Some(-300)));
    assert_eq!((&*due.exchange, &*due.routing_key), (&*first, "k"));
    assert_eq!(channel.ready(&soon), 0, "it is there once");
}

#[test]
fn a4_an_alternate_exchange_delays() {
    let Some(channel) = start() else { return };
    let (exchange, late) = delayed(&channel, "fanout");
    let first = unique("first");
    channel.call(exchange_declare(&first, "direct").auto_delete().arg("alternate-exchange", &exchange));
    channel.consume(basic_consume(&late, "").no_ack());
    let start = Instant::now();
    channel.publish_with(&first, "nowhere", delay(200), "m");
    assert_eq!(channel.expect_deliver().text(), "m");
    assert_waited(start.elapsed(), 200);
}

/// What the way leads to when it is due is not asked for a delay again.
#[test]
fn a4_two_delayed_exchanges_in_a_row_delay_once() {
    let Some(channel) = start() else { return };
    let (exchange, _) = delayed(&channel, "direct");
    let (next, queue) = delayed(&channel, "fanout");
    channel.call(exchange_bind(&next, &exchange, "on"));
    channel.consume(basic_consume(&queue, "").no_ack());
    channel.publish_with(&exchange, "on", delay(100), "m");
    assert_eq!(channel.expect_deliver().text(), "m");
}

/// A full queue beside a delayed exchange refuses the message; a publisher hears of it once.
#[test]
fn a4_a_message_in_two_parts_is_refused_as_one() {
    let Some(channel) = start() else { return };
    let (exchange, _) = delayed(&channel, "direct");
    let first = unique("first");
    channel.call(exchange_declare(&first, "fanout").auto_delete());
    channel.call(exchange_bind(&exchange, &first, ""));
    let full = queue_declare("").exclusive().arg("x-max-length", 0).arg("x-overflow", "reject-publish");
    let full = channel.declare(full).queue.to_string();
    channel.call(queue_bind(&full, &first, ""));
    channel.call(confirm_select());
    channel.publish_with(&first, "k", delay(60_000), "m");
    channel.expect_nack(1);
    channel.publish_with("", "nowhere", props(), "m");
    channel.expect_ack(2);
}

/// A negative delay is none: what was delayed once and comes back is not delayed again.
#[test]
fn a4_a_message_is_delayed_once() {
    let Some(channel) = start() else { return };
    let (exchange, queue) = delayed(&channel, "direct");
    channel.consume(basic_consume(&queue, "").no_ack());
    channel.publish_with(&exchange, "k", delay(20), "m");
    let message = channel.expect_deliver();
    // With a delay, this would never come before the other.
    channel.publish_with(&exchange, "k", message.props.clone(), "again");
    channel.publish_with(&exchange, "k", delay(200), "later");
    assert_eq!(channel.expect_bodies(2), ["again", "later"]);
}

#[test]
fn a4_dead_letters_are_delayed_if_they_never_were() {
    let Some(channel) = start() else { return };
    let (exchange, queue) = delayed(&channel, "direct");
    let declare = queue_declare("").exclusive().arg("x-dead-letter-exchange", &exchange);
    let source = channel.declare(declare.arg("x-dead-letter-routing-key", "k")).queue.to_string();
    channel.consume(basic_consume(&queue, "").no_ack());
    channel.publish_with("", &source, delay(100), "m");
    let start = Instant::now();
    let message = channel.expect_get_eventually(&source);
    channel.send(basic_reject(message.delivery_tag));
    let letter = channel.expect_deliver();
    assert_waited(start.elapsed(), 100);
    assert_eq!(text_header(&letter, "x-first-death-reason"), "rejected");
    assert_eq!(delay_of(&letter).and_then(|delay| delay.as_int()), Some(-100));
}

#[test]
fn a4_what_a_deleted_exchange_held_is_gone() {
    let Some(channel) = start() else { return };
    let (exchange, queue) = delayed(&channel, "direct");
    let (other, _) = delayed(&channel, "direct");
    channel.call(queue_bind(&queue, &other, "k"));
    channel.consume(basic_consume(&queue, "").no_ack());
    channel.publish_with(&exchange, "k", delay(200), "gone");
    channel.publish_with(&other, "k", delay(400), "control");
    channel.call(exchange_delete(&exchange));
    assert_eq!(channel.expect_deliver().text(), "control");
}

#[test]
fn a4_a_delayed_message_s_time_to_live_begins_in_the_queue() {
    let Some(channel) = start() else { return };
    let (exchange, queue) = delayed(&channel, "direct");
    channel.consume(basic_consume(&queue, "").no_ack());
    channel.publish_with(&exchange, "k", delay(200).expiration("60"), "m");
    let message = channel.expect_deliver();
    assert_eq!(message.text(), "m");
}

#[test]
fn a4_delayed_messages_survive_a_restart() {
    let Some(mut broker) = Broker::start_with(&[]) else { return };
    let channel = broker.connect().channel();
    channel.call(exchange_declare("delayed", "x-delayed-message").durable().arg("x-delayed-type", "direct"));
    channel.declare(queue_declare("durable").durable());
    channel.call(queue_bind("durable", "delayed", "k"));
    channel.call(confirm_select());
    // Whatever their delivery mode.
    for ms in [1500, 1000] {
        channel.publish_with("delayed", "k", delay(ms).persistent(), &ms.to_string());
    }
    channel.publish_with("delayed", "k", delay(500), "500");
    channel.publish_with("delayed", "k", delay(600_000).persistent(), "much later");
    channel.expect_confirms(4);
    drop(channel);

    broker.restart();
    let channel = broker.connect().channel();
    channel.consume(basic_consume("durable", "").no_ack());
    assert_eq!(channel.expect_bodies(3), ["500", "1000", "1500"]);
    channel.expect_nothing_more();
}

/// What an operator sees of a delayed exchange, and does with it.
#[test]
fn a4_delayed_messages_are_listed_and_cancelled() {
    use leveret::queue::inventory::Page;
    let Some(mut broker) = Broker::start_with(&[]) else { return };
    let channel = broker.connect().channel();
    channel.call(exchange_declare("delayed", "x-delayed-message").durable().arg("x-delayed-type", "fanout"));
    channel.declare(queue_declare("durable").durable());
    channel.call(queue_bind("durable", "delayed", ""));
    channel.call(confirm_select());
    for n in 0..10 {
        let id = format!("id-{}", n % 5);
        let delayed = delay(if n == 9 { 1500 } else { 600_000 }).persistent().text(Property::MessageId, &id);
        channel.publish_with("delayed", &format!("k{n}"), delayed, &n.to_string());
    }
    channel.expect_confirms(10);
    drop(channel);
    let bodies = |broker: &Broker, most| {
        let delays = delays_of(broker);
        let (mut bodies, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let page = delays.peek(Page { from: at, most, bytes: 1 << 20 }).expect("it can be read");
            assert!(page.messages.len() <= most);
            bodies.extend(page.messages.iter().map(|m| String::from_utf8_lossy(m.message.view().body).into_owned()));
            from = page.next;
        }
        bodies
    };
    let all: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&broker, 3), all);
    assert_eq!(bodies(&broker, 100), all);
    assert_eq!(delays_of(&broker).counts().ready, 10);
    assert_eq!(delays_of(&broker).cancel_delayed(b"id-1").expect("it can be read"), 2);
    assert_eq!(delays_of(&broker).cancel_delayed(b"id-1").expect("it can be read"), 0);
    let listed = delays_of(&broker).peek(Page { from: 0, most: 1, bytes: 0 }).expect("it can be read").messages;
    assert!(listed[0].message.traits().due.is_some());
    assert_eq!(delays_of(&broker).discard(&[listed[0].position]).expect("it can be read"), 1);
    assert_eq!(bodies(&broker, 4), ["2", "3", "4", "5", "7", "8", "9"]);

    broker.restart();
    assert_eq!(bodies(&broker, 4), ["2", "3", "4", "5", "7", "8", "9"], "it stays cancelled");
    let channel = broker.connect().channel();
    channel.consume(basic_consume("durable", "").no_ack());
    assert_eq!(channel.expect_bodies(1), ["9"]);
    channel.expect_nothing_more();
}

fn delays_of(broker: &Broker) -> std::sync::Arc<leveret::queue::Queue> {
    let node = broker.inside().and_then(|inside| inside.node.as_ref()).expect("a broker in this process");
    let exchange = node.broker().vhost("/").and_then(|vhost| vhost.exchange("delayed")).expect("it is declared");
    exchange.delays.clone().expect("it delays")
}

/// A queue that has left memory is looked into page by page; looking has no effect, and single messages can be moved.
#[test]
fn a7_queues_are_peeked_at_and_messages_moved() {
    use leveret::queue::inventory::Page;
    let small = [("store.journal_file_size", "1MB"), ("store.journal_keep", "0")];
    let Some(broker) = Broker::start_with(&small) else { return };
    let channel = broker.connect().channel();
    channel.declare(queue_declare("q").durable());
    channel.declare(queue_declare("other").durable());
    channel.call(confirm_select());
    let padding = "x".repeat(4096);
    for n in 0..2000 {
        channel.publish_with("", "q", props().persistent(), &format!("{n} {padding}"));
    }
    channel.expect_confirms(2000);
    let node = broker.inside().and_then(|inside| inside.node.as_ref()).expect("a broker in this process");
    let vhost = node.broker().vhost("/").expect("it is there");
    let (queue, other) = (vhost.queue("q").expect("declared"), vhost.queue("other").expect("declared"));
    let number = |body: &[u8]| String::from_utf8_lossy(body).split(' ').next().map(str::to_owned).unwrap_or_default();
    let all = || {
        let (mut bodies, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let page = queue.peek(Page { from: at, most: 300, bytes: 400 << 10 }).expect("it can be read");
            assert!(page.messages.len() <= 300);
            bodies.extend(page.messages.iter().map(|m| number(m.message.view().body)));
            from = page.next;
        }
        bodies
    };
    let expected: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    assert_eq!(all(), expected);
    assert_eq!(channel.ready("q"), 2000, "looking has no effect");
    let moved = node
        .broker()
        .move_messages(&queue, &[5, 1000, 1000, 9_999_999], Target::Queue(&other))
        .expect("it can be read");
    assert_eq!(moved, 2);
    assert_eq!(queue.discard(&[6, 1001]).expect("it can be read"), 2);
    assert_eq!((channel.ready("q"), channel.ready("other")), (1996, 2));
    let left: Vec<String> = (0..2000).filter(|n| ![5, 6, 1000, 1001].contains(n)).map(|n: i32| n.to_string()).collect();
    assert_eq!(all(), left);
    let there: Vec<String> = channel.drain("other").iter().map(|body| number(body.as_bytes())).collect();
    assert_eq!(there, ["5", "1000"]);
    channel.consume(basic_consume("q", "").no_ack());
    let got: Vec<String> = channel.expect_bodies(1996).iter().map(|body| number(body.as_bytes())).collect();
    assert_eq!(got, left);
}

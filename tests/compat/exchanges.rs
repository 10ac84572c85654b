//! E-9: how exchanges route.

use leveret::frames::{Table, Value};

use super::harness::*;

/// An exchange that goes away with its last binding.
fn exchange(channel: &Channel, kind: &str) -> String {
    let name = unique(kind);
    channel.call(exchange_declare(&name, kind));
    name
}

/// Publishes with confirms, then empties the queue.
fn route(channel: &Channel, exchange: &str, key: &str, headers: Option<Table>, queue: &str) -> usize {
    let publisher = Broker::start().connect().channel();
    publisher.call(confirm_select());
    let headers =
        headers.map(|headers| headers.iter().fold(props(), |props, (key, value)| props.header(key, value.clone())));
    publisher.publish_with(exchange, key, headers.unwrap_or_default(), "m");
    publisher.expect_ack(1);
    channel.drain(queue).len()
}

fn table(entries: &[(&str, Value)]) -> Table {
    entries.iter().cloned().collect()
}

/// Whether a binding with these arguments takes a message with these headers.
fn headers_match(binding: &[(&str, Value)], headers: &[(&str, Value)]) -> bool {
    let channel = channel();
    let exchange = exchange(&channel, "headers");
    let queue = channel.temporary_queue();
    let bind =
        binding.iter().fold(queue_bind(&queue, &exchange, "k"), |bind, (key, value)| bind.arg(key, value.clone()));
    channel.call(bind);
    let matched = route(&channel, &exchange, "other", Some(table(headers)), &queue) == 1;
    channel.call(exchange_delete(&exchange));
    matched
}

fn text(s: &str) -> Value {
    Value::text(s)
}

#[test]
fn e113_headers_all() {
    let binding = [("x-match", text("all")), ("a", text("1")), ("b", text("2"))];
    assert!(headers_match(&binding, &[("a", text("1")), ("b", text("2")), ("c", text("3"))]));
    assert!(!headers_match(&binding, &[("a", text("1"))]));
    assert!(!headers_match(&binding, &[("a", text("1")), ("b", text("3"))]));
    // Without x-match all is meant.
    assert!(!headers_match(&binding[1..], &[("a", text("1"))]));
    assert!(headers_match(&binding[1..], &[("b", text("2")), ("a", text("1"))]));
}

#[test]
fn e113_headers_any() {
    let binding = [("x-match", text("any")), ("a", text("1")), ("b", text("2"))];
    assert!(headers_match(&binding, &[("a", text("1"))]));
    assert!(headers_match(&binding, &[("a", text("3")), ("b", text("2"))]));
    assert!(!headers_match(&binding, &[("a", text("3"))]));
    assert!(!headers_match(&binding, &[]));
}

#[test]
fn e113_headers_that_begin_with_x_are_skipped() {
    let binding = [("x-match", text("all")), ("x-a", text("1")), ("b", text("2"))];
    assert!(headers_match(&binding, &[("b", text("2"))]));
    let binding = [("x-match", text("any")), ("x-a", text("1")), ("b", text("2"))];
    assert!(!headers_match(&binding, &[("x-a", text("1"))]));
}

#[test]
fn e113_headers_with_x() {
    let binding = [("x-match", text("all-with-x")), ("x-a", text("1")), ("b", text("2"))];
    assert!(!headers_match(&binding, &[("b", text("2"))]));
    assert!(headers_match(&binding, &[("b", text("2")), ("x-a", text("1"))]));
    let binding = [("x-match", text("any-with-x")), ("x-a", text("1")), ("b", text("2"))];
    assert!(headers_match(&binding, &[("x-a", text("1"))]));
}

#[test]
fn e113_void_means_present() {
    let binding = [("a", Value::Void)];
    assert!(headers_match(&binding, &[("a", Value::I32(7))]));
    assert!(headers_match(&binding, &[("a", text(""))]));
    assert!(!headers_match(&binding, &[("b", text(""))]));
}

#[test]
fn e113_integers_match_whatever_their_type() {
    let binding = [("a", Value::I32(7))];
    assert!(headers_match(&binding, &[("a", Value::I64(7))]));
    assert!(headers_match(&binding, &[("a", Value::U8(7))]));
    assert!(!headers_match(&binding, &[("a", Value::I32(8))]));
    assert!(!headers_match(&binding, &[("a", text("7"))]));
}

#[test]
fn e113_bindings_without_arguments() {
    assert!(headers_match(&[], &[]));
    assert!(headers_match(&[("x-match", text("all"))], &[("a", text("1"))]));
    assert!(!headers_match(&[("x-match", text("any"))], &[("a", text("1"))]));
}

#[test]
fn e114_the_alternate_exchange_takes_what_is_not_routed() {
    let channel = channel();
    let alternate = exchange(&channel, "fanout");
    let name = unique("e");
    channel.call(exchange_declare(&name, "direct").arg("alternate-exchange", &alternate));
    let (routed, rest) = (channel.temporary_queue(), channel.temporary_queue());
    channel.call(queue_bind(&routed, &name, "key"));
    channel.call(queue_bind(&rest, &alternate, ""));
    assert_eq!(route(&channel, &name, "key", None, &routed), 1);
    assert_eq!(route(&channel, &name, "other", None, &rest), 1);
    assert_eq!(channel.drain(&routed), Vec::<String>::new());
    // A message that the alternate exchange takes is routed.
    channel.call(confirm_select());
    channel.send_message(basic_publish(&name, "other").mandatory(), &props(), b"m");
    channel.expect_ack(1);
}

#[test]
fn e114_a_missing_alternate_exchange() {
    let channel = channel();
    let name = unique("e");
    channel.call(exchange_declare(&name, "direct").arg("alternate-exchange", "not there"));
    channel.send_message(basic_publish(&name, "key").mandatory(), &props(), b"m");
    assert_eq!(channel.expect_return().reply.0, 312);
}

#[test]
fn e114_alternate_exchanges_form_chains_and_circles() {
    let channel = channel();
    let (a, b, c) = (unique("a"), unique("b"), unique("c"));
    for (name, alternate) in [(&a, &b), (&b, &c), (&c, &a)] {
        channel.call(exchange_declare(name, "direct").arg("alternate-exchange", alternate));
    }
    channel.send_message(basic_publish(&a, "key").mandatory(), &props(), b"m");
    assert_eq!(channel.expect_return().exchange, a);
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, &c, "key"));
    assert_eq!(route(&channel, &a, "key", None, &queue), 1);
}

#[test]
fn e115_exchange_to_exchange() {
    let channel = channel();
    let (source, middle) = (exchange(&channel, "topic"), exchange(&channel, "direct"));
    let queue = channel.temporary_queue();
    channel.call(exchange_bind(&middle, &source, "a.#"));
    channel.call(queue_bind(&queue, &middle, "a.b"));
    assert_eq!(route(&channel, &source, "a.b", None, &queue), 1);
    assert_eq!(route(&channel, &source, "a.c", None, &queue), 0);
    channel.call(exchange_unbind(&middle, &source, "a.#"));
    assert_eq!(route(&channel, &source, "a.b", None, &queue), 0);
}

#[test]
fn e115_circles_and_several_ways_deliver_once() {
    let channel = channel();
    let (a, b) = (exchange(&channel, "fanout"), exchange(&channel, "fanout"));
    channel.call(exchange_bind(&b, &a, ""));
    channel.call(exchange_bind(&a, &b, ""));
    channel.call(exchange_bind(&a, &a, ""));
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, &a, ""));
    channel.call(queue_bind(&queue, &b, ""));
    assert_eq!(route(&channel, &a, "", None, &queue), 1);
    assert_eq!(route(&channel, &b, "", None, &queue), 1);
}

#[test]
fn e115_a_bound_exchange_s_alternate_is_consulted() {
    let channel = channel();
    let alternate = exchange(&channel, "fanout");
    let (source, middle) = (exchange(&channel, "fanout"), unique("middle"));
    channel.call(exchange_declare(&middle, "direct").arg("alternate-exchange", &alternate));
    channel.call(exchange_bind(&middle, &source, ""));
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, &alternate, ""));
    assert_eq!(route(&channel, &source, "nobody's key", None, &queue), 1);
}

#[test]
fn e116_fanout_ignores_the_key() {
    let channel = channel();
    let fanout = exchange(&channel, "fanout");
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, &fanout, "one").arg("x-match", "all").arg("a", 1));
    channel.call(queue_bind(&queue, &fanout, "two"));
    assert_eq!(route(&channel, &fanout, "three", None, &queue), 1);
}

#[test]
fn e116_direct_is_exact() {
    let channel = channel();
    let direct = exchange(&channel, "direct");
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, &direct, "a.*"));
    assert_eq!(route(&channel, &direct, "a.b", None, &queue), 0);
    assert_eq!(route(&channel, &direct, "A.*", None, &queue), 0);
    assert_eq!(route(&channel, &direct, "a.*", None, &queue), 1);
}

#[test]
fn e116_the_default_exchange_routes_to_the_queue_of_that_name() {
    let channel = channel();
    let queue = channel.temporary_queue();
    assert_eq!(route(&channel, "", &queue, None, &queue), 1);
    channel.send_message(basic_publish("", "no such queue").mandatory(), &props(), b"m");
    assert_eq!(channel.expect_return().routing_key, "no such queue");
}

//! exchanges that remember messages: `x-recent-history` and deduplication. A foreign broker may lack the plugins.

use leveret::frames::Value;

use super::harness::*;

/// A channel to our own broker.
fn ours() -> Option<Channel> {
    Broker::start().inside().map(|_| channel())
}

/// Publishes messages, each with its own properties, and waits until they are confirmed.
fn publish_with(exchange: &str, bodies: &[&str], props: impl Fn(&str) -> Props) {
    publish_with_to(exchange, "key", bodies, props);
}

fn publish_with_to(exchange: &str, key: &str, bodies: &[&str], props: impl Fn(&str) -> Props) {
    let publisher = channel();
    publisher.call(confirm_select());
    bodies.iter().for_each(|body| publisher.publish_with(exchange, key, props(body), body));
    publisher.expect_confirms(bodies.len());
}

fn publish(exchange: &str, bodies: &[&str]) {
    publish_with(exchange, bodies, |_| props());
}

#[test]
fn a003_recent_history_goes_to_those_who_are_bound_later() {
    let Some(channel) = ours() else { return };
    let exchange = unique("history");
    channel.call(exchange_declare(&exchange, "x-recent-history").arg("x-recent-history-length", 3));
    let first = channel.temporary_queue();
    channel.call(queue_bind(&first, &exchange, ""));
    publish(&exchange, &["1", "2", "3", "4"]);
    publish_with(&exchange, &["not kept"], |_| props().header("x-recent-history-no-store", true));
    assert_eq!(channel.drain(&first), ["1", "2", "3", "4", "not kept"]);
    let second = channel.temporary_queue();
    channel.call(queue_bind(&second, &exchange, "a"));
    // The same binding again is no new one.
    channel.call(queue_bind(&second, &exchange, "a"));
    assert_eq!(channel.drain(&second), ["2", "3", "4"]);
    publish(&exchange, &["5"]);
    assert_eq!(channel.drain(&first), ["5"]);
    assert_eq!(channel.drain(&second), ["5"]);
    channel.call(exchange_delete(&exchange));
}

#[test]
fn a003_recent_history_without_anybody_bound() {
    let Some(channel) = ours() else { return };
    let (exchange, other) = (unique("history"), unique("direct"));
    channel.call(exchange_declare(&exchange, "x-recent-history"));
    let bodies: Vec<_> = (0..25).map(|n| n.to_string()).collect();
    publish(&exchange, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    // It also goes through an exchange that is bound.
    channel.call(exchange_declare(&other, "direct").auto_delete());
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, &other, "key"));
    channel.call(exchange_bind(&other, &exchange, ""));
    assert_eq!(channel.drain(&queue), bodies[5..]);
    channel.call(exchange_delete(&exchange));
}

#[test]
fn a003_recent_history_of_a_transaction_is_what_was_committed() {
    let Some(observer) = ours() else { return };
    let exchange = unique("history");
    observer.call(exchange_declare(&exchange, "x-recent-history"));
    let channel = channel();
    channel.call(tx_select());
    channel.publish(&exchange, "", "rolled back");
    channel.call(tx_rollback());
    channel.publish(&exchange, "", "committed");
    channel.call(tx_commit());
    let queue = observer.temporary_queue();
    observer.call(queue_bind(&queue, &exchange, "a"));
    assert_eq!(observer.drain(&queue), ["committed"]);
    observer.call(exchange_delete(&exchange));
}

/// What a durable queue has got from the history is there after a restart; the history itself is not.
#[test]
fn a003_recent_history_and_a_restart() {
    let Some(mut broker) = Broker::start_with(&[]) else { return };
    let channel = broker.connect().channel();
    channel.call(confirm_select());
    channel.call(exchange_declare("history", "x-recent-history").durable());
    channel.declare(queue_declare("first").durable());
    channel.call(queue_bind("first", "history", "a"));
    for body in ["1", "2"] {
        channel.publish_with("history", "", props().persistent(), body);
    }
    channel.expect_confirms(2);
    channel.declare(queue_declare("second").durable());
    channel.call(queue_bind("second", "history", "a"));
    broker.restart();
    let channel = broker.connect().channel();
    assert_eq!(channel.drain("first"), ["1", "2"]);
    assert_eq!(channel.drain("second"), ["1", "2"]);
    channel.declare(queue_declare("third"));
    channel.call(queue_bind("third", "history", "a"));
    assert_eq!(channel.drain("third"), Vec::<String>::new());
}

#[test]
fn a003_recent_history_length() {
    let Some(channel) = ours() else { return };
    let declare =
        |length: Value| exchange_declare(&unique("e"), "x-recent-history").arg("x-recent-history-length", length);
    let text = "Invalid argument 0, 'x-recent-history-length' must be a positive integer";
    channel.refuses(declare(Value::I32(0)), 406, text);
    channel.refuses(declare(Value::text("x")), 406, text.replace('0', "<<\"x\">>"));
}

/// Publishes messages with these identifiers; tells which of them reach the queue.
fn reaching(channel: &Channel, exchange: &str, queue: &str, header: &str, ids: &[&str]) -> Vec<String> {
    publish_with(exchange, ids, |id| props().header(header, id));
    channel.drain(queue)
}

#[test]
fn a003_repetitions_are_confirmed_and_go_nowhere() {
    let Some(channel) = ours() else { return };
    let exchange = unique("dedup");
    channel.call(exchange_declare(&exchange, "x-message-deduplication").arg("x-cache-size", 2));
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, &exchange, "whatever"));
    let reaching = |ids: &[&str]| reaching(&channel, &exchange, &queue, "x-deduplication-header", ids);
    assert_eq!(reaching(&["a", "a", "b", "a", "b"]), ["a", "b"]);
    assert_eq!(reaching(&["c", "b", "a"]), ["c", "a"]);
    publish(&exchange, &["no identifier", "no identifier"]);
    assert_eq!(channel.drain(&queue), ["no identifier", "no identifier"]);
    // As an unroutable one, a mandatory repetition comes back.
    channel.call(confirm_select());
    channel.send_message(
        basic_publish(&exchange, "key").mandatory(),
        &props().header("x-deduplication-header", "a"),
        b"again",
    );
    assert_eq!(channel.expect_return().reply.0, 312);
    channel.expect_ack(1);
    channel.call(exchange_delete(&exchange));
}

/// What was rolled back has not been published: the next attempt is no repetition.
#[test]
fn a003_what_came_to_nothing_is_no_repetition() {
    let Some(observer) = ours() else { return };
    let exchange = unique("dedup");
    observer.call(exchange_declare(&exchange, "fanout").arg("x-message-deduplication", true));
    let queue = observer.temporary_queue();
    observer.call(queue_bind(&queue, &exchange, "a"));
    let with_id = || props().header("x-deduplication-header", "id");
    let channel = Broker::start().connect().channel();
    channel.call(tx_select());
    channel.publish_with(&exchange, "", with_id(), "rolled back");
    channel.call(tx_rollback());
    channel.publish_with(&exchange, "", with_id(), "channel closed");
    channel.call(channel_close());
    assert_eq!(reaching(&observer, &exchange, &queue, "x-deduplication-header", &["id", "id"]), ["id"]);
    observer.call(exchange_delete(&exchange));
}

#[test]
fn a003_repetitions_by_argument_on_any_type() {
    let Some(channel) = ours() else { return };
    let (exchange, alternate) = (unique("dedup"), unique("alternate"));
    channel.call(exchange_declare(&alternate, "fanout"));
    let declare = exchange_declare(&exchange, "direct").arg("x-message-deduplication", true);
    channel.call(declare.arg("x-deduplication-header", "id").arg("alternate-exchange", &alternate));
    let (queue, rest) = (channel.temporary_queue(), channel.temporary_queue());
    channel.call(queue_bind(&queue, &exchange, "key"));
    channel.call(queue_bind(&rest, &alternate, "a"));
    assert_eq!(reaching(&channel, &exchange, &queue, "id", &["a", "b", "a"]), ["a", "b"]);
    assert_eq!(reaching(&channel, &exchange, &queue, "x-deduplication-header", &["a", "a"]), ["a", "a"]);
    // A repetition is not what an alternate exchange is for.
    assert_eq!(channel.drain(&rest), Vec::<String>::new());
    channel.call(exchange_delete(&exchange));
    channel.call(exchange_delete(&alternate));
}

#[test]
fn a003_deduplication_is_checked_when_it_is_declared() {
    let Some(channel) = ours() else { return };
    let declare = || exchange_declare(&unique("dedup"), "x-message-deduplication").auto_delete();
    let text = "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0";
    channel.refuses(declare(), 406, text);
    channel.refuses(declare().arg("x-cache-size", 0), 406, text);
    let wrong = declare().arg("x-cache-size", 1).arg("x-cache-ttl", -1);
    channel.refuses(wrong, 406, "Invalid argument, 'x-cache-ttl' must be an integer greater than 0");
}

/// A queue for which no cache is asked for remembers its messages as long as it has them.
#[test]
fn a003_a_queue_leaves_out_what_it_has_already() {
    let Some(channel) = ours() else { return };
    let queue = unique("dedup");
    channel.declare(queue_declare(&queue).arg("x-message-deduplication", true));
    let publish = |ids: &[&str]| publish_with_to("", &queue, ids, |id| props().header("x-deduplication-header", id));
    publish(&["a", "b", "a"]);
    // One that is delivered and not settled is still there.
    let delivery = channel.expect_get(&queue);
    publish(&["a", "b"]);
    assert_eq!(delivery.text(), "a");
    channel.send(basic_ack(delivery.delivery_tag));
    // Acks are not answered; what comes after them on the channel is.
    channel.counts(&queue);
    publish(&["a", "c"]);
    assert_eq!(channel.drain(&queue), ["b", "a", "c"]);
    publish(&["c"]);
    channel.purge(&queue);
    publish(&["c", "c"]);
    publish_with_to("", &queue, &["none", "none"], |_| props());
    assert_eq!(channel.drain(&queue), ["c", "none", "none"]);
    channel.delete(queue_delete(&queue));
}

#[test]
fn a003_a_queue_with_a_cache_remembers_what_has_left_it() {
    let Some(channel) = ours() else { return };
    let queue = unique("dedup");
    let declare = queue_declare(&queue).arg("x-message-deduplication", true).arg("x-cache-size", 2);
    channel.declare(declare.arg("x-deduplication-header", "id"));
    let publish = |ids: &[&str]| publish_with_to("", &queue, ids, |id| props().header("id", id));
    publish(&["a", "b", "a"]);
    assert_eq!(channel.drain(&queue), ["a", "b"]);
    publish(&["b", "a", "c", "b", "a"]);
    assert_eq!(channel.drain(&queue), ["c", "a"]);
    channel.delete(queue_delete(&queue));
}

/// A message that a full queue refuses has not been published: the next attempt is no repetition.
#[test]
fn a003_what_a_queue_refuses_is_no_repetition() {
    let Some(channel) = ours() else { return };
    let queue = unique("dedup");
    let declare = queue_declare(&queue).arg("x-message-deduplication", true).arg("x-cache-size", 10);
    channel.declare(declare.arg("x-max-length", 1).arg("x-overflow", "reject-publish"));
    channel.call(confirm_select());
    let with_id = |id: &str| props().header("x-deduplication-header", id);
    channel.publish_with("", &queue, with_id("a"), "a");
    channel.expect_ack(1);
    channel.publish_with("", &queue, with_id("b"), "b");
    channel.expect_nack(2);
    // It is in the queue: full or not, that is as good as published.
    channel.publish_with("", &queue, with_id("a"), "a");
    channel.expect_ack(3);
    assert_eq!(channel.drain(&queue), ["a"]);
    channel.publish_with("", &queue, with_id("b"), "b");
    channel.expect_ack(4);
    assert_eq!(channel.drain(&queue), ["b"]);
    channel.delete(queue_delete(&queue));
}

#[test]
fn a003_what_has_been_seen_outlives_a_restart() {
    let Some(mut broker) = Broker::start_with(&[]) else { return };
    let channel = broker.connect().channel();
    channel.call(exchange_declare("type", "x-message-deduplication").durable().arg("x-cache-size", 10));
    channel.call(exchange_declare("argument", "direct").durable().arg("x-message-deduplication", true));
    let with_cache = |name| queue_declare(name).durable().arg("x-message-deduplication", true);
    channel.declare(with_cache("kept"));
    channel.declare(with_cache("window").arg("x-cache-size", 10));
    let publish = |broker: &Broker, ids: &[&str]| {
        let channel = broker.connect().channel();
        channel.call(confirm_select());
        let mut count = 0;
        for id in ids {
            for (exchange, key) in [("type", ""), ("argument", "key"), ("", "kept"), ("", "window")] {
                let props = props().header("x-deduplication-header", *id).persistent();
                channel.publish_with(exchange, key, props, id);
                count += 1;
            }
        }
        channel.expect_confirms(count);
    };
    publish(&broker, &["a"]);
    assert_eq!(channel.drain("kept"), ["a"]);
    assert_eq!(channel.drain("window"), ["a"]);
    publish(&broker, &["b"]);
    broker.restart();
    let channel = broker.connect().channel();
    channel.declare(queue_declare("out"));
    channel.call(queue_bind("out", "type", "key"));
    channel.call(queue_bind("out", "argument", "key"));
    publish(&broker, &["a", "b", "c"]);
    assert_eq!(channel.drain("out"), ["c", "c"]);
    assert_eq!(channel.drain("kept"), ["b", "a", "c"]);
    assert_eq!(channel.drain("window"), ["b", "c"]);
}

/// A message that waits in its exchange is looked at once.
#[test]
fn a003_a_delayed_message_is_no_repetition_of_itself() {
    let Some(channel) = ours() else { return };
    let exchange = unique("delayed");
    let declare = exchange_declare(&exchange, "x-delayed-message").arg("x-delayed-type", "fanout");
    channel.call(declare.arg("x-message-deduplication", true));
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, &exchange, ""));
    channel.consume(basic_consume(&queue, "").no_ack());
    publish_with(&exchange, &["a", "a"], |id| props().header("x-deduplication-header", id).header("x-delay", 20));
    publish_with(&exchange, &["b"], |id| props().header("x-deduplication-header", id).header("x-delay", 60));
    assert_eq!(channel.expect_bodies(2), ["a", "b"]);
    channel.call(exchange_delete(&exchange));
}

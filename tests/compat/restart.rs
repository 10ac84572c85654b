//! What survives when the broker is stopped and started again.

use leveret::frames::content::Property;

use super::harness::*;

/// A broker of the test's own, and a channel to it.
fn start() -> Option<(Broker, Channel)> {
    let broker = Broker::start_with(&[])?;
    let channel = broker.connect().channel();
    Some((broker, channel))
}

fn restart(broker: &mut Broker) -> Channel {
    broker.restart();
    broker.connect().channel()
}

#[test]
fn persistent_messages_in_durable_queues_survive() {
    let Some((mut broker, channel)) = start() else { return };
    channel.declare(queue_declare("durable").durable().arg("x-max-length", 1000));
    channel.call(confirm_select());
    let message = props().persistent().header("k", "v").text(Property::MessageId, "id");
    channel.publish_with("", "durable", message.clone(), "one");
    channel.publish_with("", "durable", props(), "transient");
    channel.publish_with("", "durable", message.clone(), "two");
    channel.expect_confirms(3);
    drop(channel);

    let channel = restart(&mut broker);
    channel.declare(queue_declare("durable").durable().arg("x-max-length", 1000));
    let one = channel.expect_get("durable");
    assert_eq!((one.text(), &one.props), ("one", &message));
    assert_eq!(channel.drain("durable"), ["two"]);
}

/// Its dead letter goes by all keys that it was published with.
#[test]
fn e105_a_message_s_bcc_survives_and_is_not_shown() {
    let Some((mut broker, channel)) = start() else { return };
    channel.declare(queue_declare("source").durable().arg("x-dead-letter-exchange", ""));
    channel.declare(queue_declare("hidden").durable());
    channel.call(confirm_select());
    channel.publish_with("", "source", props().persistent().header("BCC", ["hidden"]), "m");
    channel.expect_ack(1);
    assert_eq!(channel.drain("hidden"), ["m"]);
    drop(channel);

    let channel = restart(&mut broker);
    let message = channel.expect_get("source");
    assert_eq!(message.props.headers().get("BCC"), None);
    channel.send(basic_reject(message.delivery_tag));
    let letter = channel.expect_get_eventually("hidden");
    assert_eq!((letter.text(), letter.props.headers().get("BCC")), ("m", None));
}

#[test]
fn acknowledged_messages_do_not_come_back() {
    let Some((mut broker, channel)) = start() else { return };
    channel.declare(queue_declare("durable").durable());
    channel.call(confirm_select());
    for n in 0..10 {
        channel.publish_with("", "durable", props().persistent(), &n.to_string());
    }
    channel.expect_confirms(10);
    for _ in 0..6 {
        channel.expect_get("durable");
    }
    channel.send(basic_ack(2));
    channel.send(basic_ack(4));
    channel.send(basic_nack(5));
    channel.call(channel_close());
    drop(channel);

    let channel = restart(&mut broker);
    assert_eq!(channel.drain("durable"), ["0", "2", "5", "6", "7", "8", "9"]);
}

#[test]
fn e060_bindings_survive_when_both_ends_do() {
    let Some((mut broker, channel)) = start() else { return };
    channel.declare(queue_declare("durable").durable());
    channel.declare(queue_declare("transient"));
    channel.call(exchange_declare("durable", "topic").durable());
    channel.call(exchange_declare("transient", "topic"));
    channel.call(queue_bind("durable", "durable", "kept"));
    channel.call(queue_bind("durable", "transient", "lost"));
    channel.call(queue_bind("transient", "durable", "lost"));
    drop(channel);

    let channel = restart(&mut broker);
    channel.refuses(queue_declare("transient").passive(), 404, "no queue 'transient' in vhost '/'");
    channel.refuses(exchange_declare("transient", "").passive(), 404, "no exchange 'transient' in vhost '/'");
    channel.publish_confirmed("durable", "kept", &["m"]);
    assert_eq!(channel.drain("durable"), ["m"]);
    channel.call(queue_unbind("durable", "durable", "kept"));
    channel.call(exchange_delete("durable").if_unused());
}

#[test]
fn exclusive_queues_do_not_survive_even_if_durable() {
    let Some((mut broker, channel)) = start() else { return };
    channel.declare(queue_declare("mine").durable().exclusive());
    drop(channel);
    let channel = restart(&mut broker);
    channel.refuses(queue_declare("mine").passive(), 404, "no queue 'mine' in vhost '/'");
}

#[test]
fn deleted_queues_and_exchanges_stay_deleted() {
    let Some((mut broker, channel)) = start() else { return };
    channel.declare(queue_declare("q").durable());
    channel.call(exchange_declare("e", "fanout").durable());
    channel.call(confirm_select());
    channel.publish_with("", "q", props().persistent(), "old");
    channel.expect_ack(1);
    channel.delete(queue_delete("q"));
    channel.call(exchange_delete("e"));
    channel.declare(queue_declare("q").durable());
    drop(channel);

    let channel = restart(&mut broker);
    assert_eq!(channel.ready("q"), 0);
    channel.refuses(exchange_declare("e", "").passive(), 404, "no exchange 'e' in vhost '/'");
}

#[test]
fn purged_messages_stay_purged() {
    let Some((mut broker, channel)) = start() else { return };
    channel.declare(queue_declare("q").durable());
    channel.call(confirm_select());
    for body in ["one", "two", "three"] {
        channel.publish_with("", "q", props().persistent(), body);
    }
    channel.expect_confirms(3);
    assert_eq!(channel.purge("q"), 3);
    channel.publish_with("", "q", props().persistent(), "four");
    channel.expect_ack(4);
    drop(channel);
    assert_eq!(restart(&mut broker).drain("q"), ["four"]);
}

#[test]
fn committed_transactions_survive() {
    let Some((mut broker, channel)) = start() else { return };
    channel.declare(queue_declare("q").durable());
    channel.call(tx_select());
    channel.publish_with("", "q", props().persistent(), "committed");
    channel.call(tx_commit());
    channel.publish_with("", "q", props().persistent(), "not committed");
    drop(channel);
    assert_eq!(restart(&mut broker).drain("q"), ["committed"]);
}

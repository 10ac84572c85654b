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

/// A quorum queue, as it is declared here.
fn quorum(name: &str) -> Method {
    queue_declare(name).durable().arg("x-queue-type", "quorum")
}

#[test]
fn a_quorum_queue_keeps_messages_whatever_their_delivery_mode() {
    let Some((mut broker, channel)) = start() else { return };
    channel.declare(quorum("q"));
    channel.call(confirm_select());
    let transient = props().octet(Property::DeliveryMode, 1).header("k", "v");
    let plain = props().text(Property::MessageId, "id");
    let sent = [("one", &transient), ("two", &plain), ("three", &transient), ("four", &plain)];
    for (body, message) in sent {
        channel.publish_with("", "q", message.clone(), body);
    }
    channel.publish_with("", "q", transient.clone(), "acked");
    channel.expect_confirms(5);
    for (body, _) in sent {
        assert_eq!(channel.expect_get("q").text(), body);
    }
    let last = channel.expect_get("q");
    channel.send(basic_ack(last.delivery_tag));
    channel.send(basic_nack(2).requeue());
    channel.call(channel_close());
    drop(channel);

    // Whether it comes from the journal or, the next time, from a segment.
    for _ in 0..2 {
        let channel = restart(&mut broker);
        channel.declare(quorum("q"));
        for (body, message) in sent {
            let found = channel.expect_get("q");
            assert_eq!((found.text(), found.redelivered), (body, true));
            assert_eq!(found.props.clone().without(Property::Headers), message.clone().without(Property::Headers));
            assert_eq!(found.props.headers().get("k"), message.headers().get("k"));
        }
        assert!(channel.get("q").is_none());
        channel.call(channel_close());
    }
}

#[test]
fn of_a_transient_message_s_queues_the_quorum_queues_keep_it() {
    let Some((mut broker, channel)) = start() else { return };
    channel.declare(queue_declare("classic").durable());
    channel.call(exchange_declare("fan", "fanout").durable());
    channel.call(queue_bind("classic", "fan", ""));
    for name in ["quorum-1", "quorum-2"] {
        channel.declare(quorum(name));
        channel.call(queue_bind(name, "fan", ""));
    }
    channel.call(confirm_select());
    let bodies = ["t0", "p1", "t2", "t3", "p4"];
    for body in bodies {
        let message = if body.starts_with('p') { props().persistent() } else { props() };
        channel.publish_with("fan", "", message, body);
    }
    channel.expect_confirms(5);
    // What only one of them has taken comes back in the other.
    let (one, two) = (channel.expect_get("quorum-1"), channel.expect_get("classic"));
    channel.send(basic_ack(one.delivery_tag));
    channel.send(basic_ack(two.delivery_tag));
    channel.call(channel_close());
    drop(channel);

    let channel = restart(&mut broker);
    assert_eq!(channel.drain("quorum-1"), bodies[1..]);
    assert_eq!(channel.drain("quorum-2"), bodies);
    assert_eq!(channel.drain("classic"), ["p1", "p4"]);
    drop(channel);
    let channel = restart(&mut broker);
    for name in ["quorum-1", "quorum-2", "classic"] {
        assert!(channel.get(name).is_none(), "{name}");
    }
}

/// A dead letter is in the queue where it goes, as long as that one keeps it, and never in the old one again.
#[test]
fn transient_messages_leave_and_reach_quorum_queues_for_good() {
    let Some((mut broker, channel)) = start() else { return };
    channel.declare(queue_declare("classic").durable());
    channel.declare(quorum("quorum"));
    let letters_to =
        |declare: Method, to: &str| declare.arg("x-dead-letter-exchange", "").arg("x-dead-letter-routing-key", to);
    channel.declare(letters_to(quorum("from-quorum"), "classic"));
    channel.declare(letters_to(queue_declare("from-classic").durable(), "quorum"));
    channel.declare(letters_to(quorum("among-quorum"), "quorum"));
    channel.call(confirm_select());
    let sources = ["from-quorum", "from-classic", "among-quorum"];
    for source in sources {
        channel.publish_with("", source, props(), source);
    }
    channel.expect_confirms(3);
    drop(channel);

    // Also of what was read back.
    let channel = restart(&mut broker);
    channel.call(confirm_select());
    channel.publish_with("", "from-classic", props(), "from-classic");
    channel.expect_ack(1);
    for source in sources {
        let message = channel.expect_get(source);
        assert_eq!(message.text(), source);
        channel.send(basic_reject(message.delivery_tag));
    }
    assert_eq!(channel.ready("classic"), 1);
    channel.publish_with("", "quorum", props(), "last");
    channel.expect_ack(2);
    drop(channel);

    let channel = restart(&mut broker);
    assert_eq!(channel.drain("quorum"), ["from-classic", "among-quorum", "last"]);
    for empty in sources.into_iter().chain(["classic"]) {
        assert!(channel.get(empty).is_none(), "{empty}");
    }
}

#[test]
fn a_transaction_s_transient_messages_survive_in_a_quorum_queue() {
    let Some((mut broker, channel)) = start() else { return };
    channel.declare(quorum("q"));
    channel.call(tx_select());
    channel.publish_with("", "q", props(), "committed");
    channel.call(tx_commit());
    drop(channel);
    assert_eq!(restart(&mut broker).drain("q"), ["committed"]);
}

/// Its declaration says nothing of a type: its virtual host does.
#[test]
fn a_queue_that_is_a_quorum_queue_by_default_keeps_them_too() {
    let Some(mut broker) = Broker::start_with(&[("default_queue_type", "quorum")]) else { return };
    let channel = broker.connect().channel();
    channel.declare(queue_declare("q").durable());
    channel.publish_confirmed("", "q", &["transient"]);
    drop(channel);
    assert_eq!(restart(&mut broker).drain("q"), ["transient"]);
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

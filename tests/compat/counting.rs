//! What the broker counts of its clients' traffic. Not in the reference: RabbitMQ's numbers are asked for another way.

use leveret::connection::census::Sums;
use leveret::connection::machine::Shared;
use leveret::stats::Kind;

use super::harness::*;

/// A broker for one test, so that nobody else counts.
fn broker() -> Option<Broker> {
    Broker::start_with(&[])
}

/// What the connections of the broker share.
fn shared(broker: &Broker) -> &Shared {
    broker.inside().and_then(|inside| inside.node.as_ref()).expect("a broker of this process").shared()
}

fn sums(broker: &Broker) -> Sums {
    shared(broker).census.sums(shared(broker), None)
}

#[track_caller]
fn expect(broker: &Broker, expected: &[(Kind, u64)]) {
    let found = sums(broker);
    for (kind, n) in expected {
        assert_eq!(found.counted.get(*kind), *n, "{kind:?}");
    }
}

#[test]
fn everything_that_channels_do_is_counted_and_stays_counted_when_they_end() {
    let Some(broker) = broker() else { return };
    let client = broker.connect();
    let (channel, other) = (client.channel(), client.channel());
    let queue = channel.temporary_queue();
    for body in ["a", "bb", &"c".repeat(500)] {
        channel.publish("", &queue, body);
    }
    channel.publish("amq.fanout", "nowhere", "dropped");
    channel.send_message(basic_publish("amq.fanout", "nowhere").mandatory(), &Props::default(), b"returned");
    channel.expect_return();
    other.publish_confirmed("", &queue, &["d", "e"]);
    assert!(channel.get(&queue).is_some());
    assert!(channel.get_with(basic_get(&queue).no_ack()).is_some());
    channel.call(basic_qos(2));
    let tag = channel.consume(basic_consume(&queue, ""));
    channel.expect_bodies(2);
    channel.send(basic_reject(4).requeue());
    assert!(channel.expect_deliver().redelivered);
    channel.send(basic_ack(0).multiple());
    channel.expect_bodies(1);
    channel.call(basic_cancel(&tag));
    assert!(channel.get(&queue).is_none());
    let counted = [
        (Kind::Publish, 7),
        (Kind::PublishConfirm, 2),
        (Kind::Confirm, 2),
        (Kind::Route, 5),
        (Kind::DropUnroutable, 1),
        (Kind::ReturnUnroutable, 1),
        (Kind::Get, 1),
        (Kind::GetNoAck, 1),
        (Kind::GetEmpty, 1),
        (Kind::Deliver, 4),
        (Kind::DeliverNoAck, 0),
        (Kind::Redeliver, 1),
        (Kind::Ack, 3),
    ];
    expect(&broker, &counted);
    let now = sums(&broker);
    assert_eq!((now.connections, now.channels, now.publishers, now.unacked, now.unconfirmed), (1, 2, 2, 1, 0));
    assert_eq!((now.sizes.count(), now.sizes.classes[0], now.sizes.classes[1]), (7, 6, 1));
    assert_eq!(now.sizes.bytes, 1 + 2 + 500 + 7 + 8 + 1 + 1);
    let found = shared(&broker).broker.vhost("/").unwrap();
    let numbers = found.queue(&queue).unwrap().numbers().counted;
    let of_queue =
        [Kind::Publish, Kind::Deliver, Kind::Get, Kind::GetNoAck, Kind::GetEmpty, Kind::Redeliver, Kind::Ack];
    assert_eq!(of_queue.map(|kind| numbers.get(kind)), [5, 4, 1, 1, 1, 1, 3]);
    let fanout = &found.exchange("amq.fanout").unwrap().counts;
    assert_eq!((fanout.flow(), fanout.returned(), fanout.dropped()), ([2, 0], 1, 1));
    assert_eq!(found.default_exchange.flow(), [5, 5]);
    client.close();
    eventually("the connection is gone", || sums(&broker).connections == 0);
    expect(&broker, &counted);
}

#[test]
fn sums_of_messages_follow_the_queues() {
    let Some(broker) = broker() else { return };
    let shared = shared(&broker);
    let lengths = || shared.census.lengths(shared);
    let client = broker.connect();
    let channel = client.channel();
    let (one, two) = (channel.temporary_queue(), channel.temporary_queue());
    channel.publish_confirmed("", &one, &["a", "b", "c"]);
    client.channel().publish_confirmed("", &two, &["d"]);
    assert_eq!(lengths(), (4, 0));
    assert!(channel.get(&one).is_some());
    assert_eq!(lengths(), (3, 1));
    shared.census.tick(shared, 5.0);
    shared.census.tick(shared, 5.0);
    // Nothing has moved for a while: the next change must be noticed all the same.
    channel.send(basic_ack(1));
    assert_eq!(channel.purge(&one), 2);
    channel.ready(&one);
    assert_eq!(lengths(), (1, 0));
    channel.delete(queue_delete(&two));
    assert_eq!(lengths(), (0, 0));
}

#[test]
fn rates_are_those_of_the_last_interval() {
    let Some(broker) = broker() else { return };
    let shared = shared(&broker);
    let client = broker.connect();
    let channel = client.channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("amq.direct", "nowhere", &["a"]);
    shared.census.tick(shared, 5.0);
    client.channel().publish_confirmed("", &queue, &["a"; 10]);
    shared.census.tick(shared, 5.0);
    let vhost = shared.broker.vhost("/").unwrap();
    let found = vhost.queue(&queue).unwrap();
    assert_eq!(found.numbers().rates.get(Kind::Publish as usize), 2.0);
    assert_eq!(shared.census.rates().get(Kind::Confirm as usize), 2.0);
    assert_eq!(shared.census.rates_of("/").rates.get(Kind::Publish as usize), 2.0);
    assert_eq!(vhost.default_exchange.rates(), [2.0, 2.0]);
    assert_eq!(vhost.exchange("amq.direct").unwrap().counts.rates(), [0.0, 0.0]);
    shared.census.tick(shared, 5.0);
    assert_eq!(found.numbers().rates.get(Kind::Publish as usize), 0.0);
    assert_eq!(shared.census.rates().get(Kind::Confirm as usize), 0.0);
}

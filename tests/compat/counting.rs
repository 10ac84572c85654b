//! What the broker counts of its clients' traffic. Not in the reference: RabbitMQ's numbers are asked for another way.

use leveret::connection::census::Sums;
use leveret::connection::machine::Shared;
use leveret::queue::counting::Standing;
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

fn standing(broker: &Broker, queue: &str) -> Standing {
    let vhost = shared(broker).broker.vhost("/").expect("the default vhost");
    vhost.queue(queue).expect("a queue that is there").standing()
}

/// Messages of a queue that survive, and the bytes of their bodies.
fn persistent(broker: &Broker, queue: &str) -> (u64, u64) {
    let Standing { persistent, persistent_bytes, .. } = standing(broker, queue);
    (persistent, persistent_bytes)
}

#[test]
fn persistent_messages_are_counted_whatever_becomes_of_them() {
    let Some(mut broker) = broker() else { return };
    let client = broker.connect();
    let channel = client.channel();
    channel.declare(queue_declare("dead").durable());
    let letters_go = queue_declare("q").durable().arg("x-dead-letter-exchange", "");
    channel.declare(letters_go.arg("x-dead-letter-routing-key", "dead"));
    channel.declare(queue_declare("transient"));
    channel.call(confirm_select());
    let confirmed = std::cell::Cell::new(0);
    let publish = |queue: &str, mixed: &[(&str, bool)]| {
        for (body, is_persistent) in mixed {
            let props = if *is_persistent { props().persistent() } else { props() };
            channel.publish_with("", queue, props, body);
        }
        channel.expect_confirms_from(confirmed.get() + 1, mixed.len());
        confirmed.set(confirmed.get() + mixed.len() as u64);
    };
    publish("transient", &[("a", true), ("b", false)]);
    assert_eq!(persistent(&broker, "transient"), (0, 0), "nothing in it survives");
    let mixed =
        [("p1", true), ("t2t2", false), ("p3p3", true), ("t4", false), ("p5p5p5", true), ("t6", false), ("p7", true)];
    publish("q", &mixed);
    assert_eq!(persistent(&broker, "q"), (4, 14));
    // Unacked messages count, those that come back too, and dead letters where they are.
    let tags: Vec<u64> = (0..5).map(|_| channel.expect_get("q").delivery_tag).collect();
    assert_eq!(persistent(&broker, "q"), (4, 14));
    channel.send(basic_ack(tags[0]));
    channel.send(basic_ack(tags[1]));
    channel.send(basic_nack(tags[2]).requeue());
    channel.send(basic_reject(tags[3]));
    channel.send(basic_reject(tags[4]));
    channel.ready("q");
    assert_eq!(persistent(&broker, "q"), (2, 6), "p3p3 and p7 are left");
    eventually("both letters have arrived", || channel.ready("dead") == 2);
    assert_eq!(persistent(&broker, "dead"), (1, 6));
    // What nobody acks is gone once it is delivered.
    assert_eq!(channel.get_with(basic_get("q").no_ack()).unwrap().text(), "p3p3");
    assert_eq!(persistent(&broker, "q"), (1, 2));
    // Expired messages leave, whatever they are.
    channel.publish_with("", "q", props().persistent().expiration("1"), "short");
    channel.publish_with("", "q", props().expiration("1"), "lives");
    channel.expect_confirms_from(confirmed.get() + 1, 2);
    confirmed.set(confirmed.get() + 2);
    eventually("they have expired", || channel.ready("dead") == 4);
    assert_eq!((persistent(&broker, "q"), persistent(&broker, "dead")), ((1, 2), (2, 11)));
    // A purge leaves what is unacked.
    let last = [channel.expect_get("q").text().to_owned(), channel.expect_get("q").text().to_owned()];
    assert_eq!(last, ["t6", "p7"]);
    publish("q", &[("gone", true), ("gone", false)]);
    assert_eq!(channel.purge("q"), 2);
    assert_eq!(persistent(&broker, "q"), (1, 2));
    publish("q", &[("t8", false), ("p9p9", true)]);
    assert_eq!(persistent(&broker, "q"), (2, 6));
    drop((channel, client));

    broker.restart();
    assert_eq!((persistent(&broker, "q"), persistent(&broker, "dead")), ((2, 6), (2, 11)));
    let channel = broker.connect().channel();
    assert_eq!(channel.drain("q"), ["p7", "p9p9"]);
    channel.send(basic_ack(0).multiple());
    channel.ready("q");
    assert_eq!(persistent(&broker, "q"), (0, 0));
}

#[test]
fn persistent_messages_are_counted_when_they_are_on_disk_only() {
    let small = [("store.journal_file_size", "64KiB"), ("store.journal_keep", "0"), ("store.segment_size", "64KiB")];
    let Some(mut broker) = Broker::start_with(&small) else { return };
    let channel = broker.connect().channel();
    channel.declare(queue_declare("q").durable());
    channel.call(confirm_select());
    let body = "x".repeat(8192);
    let mut published = 0;
    eventually("most have left memory", || {
        for props in [props(), props().persistent(), props().persistent(), props().persistent()] {
            channel.publish_with("", "q", props, &body);
        }
        channel.expect_confirms_from(published + 1, 4);
        published += 4;
        standing(&broker, "q").cold > 60
    });
    let surviving = |n: u64| (n / 4 * 3, n / 4 * 3 * 8192);
    assert_eq!(persistent(&broker, "q"), surviving(published));
    for _ in 0..100 {
        let message = channel.expect_get_eventually("q");
        channel.send(basic_ack(message.delivery_tag));
    }
    channel.ready("q");
    assert_eq!(persistent(&broker, "q"), surviving(published - 100));
    drop(channel);
    broker.restart();
    assert_eq!(persistent(&broker, "q"), surviving(published - 100));
    let channel = broker.connect().channel();
    assert_eq!(u64::from(channel.purge("q")), surviving(published - 100).0);
    assert_eq!(persistent(&broker, "q"), (0, 0));
}

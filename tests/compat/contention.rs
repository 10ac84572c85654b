//! Many clients at once: nothing is lost, nobody waits for ever.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::harness::*;

/// A consumer that reads nothing until its outbox is full gets everything once it reads again, and again.
#[test]
fn a_slow_reader_gets_the_rest_of_a_backlog() {
    let broker = Broker::start();
    let publisher = broker.connect().channel();
    let queue = publisher.temporary_queue_for_all();
    let body = "x".repeat(20_000);
    const BATCH: usize = 1000;
    let consumer = broker.connect().channel();
    consumer.consume(basic_consume(&queue, "slow").no_ack());
    publisher.call(confirm_select());
    for round in 1..=5 {
        // 20 MB are more than the sockets and the outbox hold: the queue has to stop, and start again.
        for _ in 0..BATCH {
            publisher.publish("", &queue, &body);
        }
        if round == 1 {
            publisher.expect_confirms(BATCH);
        }
        for n in 0..BATCH {
            assert_eq!(consumer.expect_deliver().body.len(), body.len(), "round {round}, message {n}");
        }
    }
    consumer.expect_nothing_more();
    publisher.delete(queue_delete(&queue));
}

/// As above with acknowledgements: the backlog is there first, and many small batches are taken from it.
#[test]
fn a_reader_that_stops_and_goes_gets_everything_in_order() {
    let broker = Broker::start();
    let publisher = broker.connect().channel();
    let queue = publisher.temporary_queue_for_all();
    const TOTAL: usize = 3000;
    let padding = "x".repeat(5000);
    publisher.call(confirm_select());
    for n in 0..TOTAL {
        publisher.publish("", &queue, &format!("{n} {padding}"));
    }
    publisher.expect_confirms(TOTAL);
    let consumer = broker.connect().channel();
    consumer.consume(basic_consume(&queue, ""));
    for n in 0..TOTAL {
        let message = consumer.expect_deliver();
        assert_eq!(message.text().split(' ').next(), Some(n.to_string().as_str()));
        if n % 50 == 49 {
            consumer.send(basic_ack(message.delivery_tag).multiple());
        }
    }
    consumer.expect_nothing_more();
    assert_eq!(publisher.delete(queue_delete(&queue)), 0);
}

/// One reader has stopped; another on the same queue gets what the first does not take.
#[test]
fn others_get_what_a_stuck_reader_does_not_take() {
    let broker = Broker::start();
    let publisher = broker.connect().channel();
    let queue = publisher.temporary_queue_for_all();
    let stuck = broker.connect().channel();
    stuck.consume(basic_consume(&queue, "stuck").no_ack());
    let reader = broker.connect().channel();
    reader.consume(basic_consume(&queue, "reader").no_ack());
    let body = "x".repeat(50_000);
    const TOTAL: usize = 1500;
    let mut received = 0;
    publisher.call(confirm_select());
    for n in 0..TOTAL {
        publisher.publish("", &queue, &body);
        if n % 20 == 0 {
            received += reader.delivered_so_far().len();
        }
    }
    publisher.expect_confirms(TOTAL);
    eventually("the reader gets most of the messages", || {
        received += reader.delivered_so_far().len();
        received > TOTAL / 2
    });
    // Then the stuck one reads on, and together they get everything.
    eventually("both together get everything", || {
        received += reader.delivered_so_far().len() + stuck.delivered_so_far().len();
        received >= TOTAL
    });
    assert_eq!(received, TOTAL);
    assert_eq!(publisher.delete(queue_delete(&queue)), 0);
}

impl Channel {
    /// A queue that other connections may use.
    fn temporary_queue_for_all(&self) -> String {
        let queue = unique("q");
        self.declare(queue_declare(&queue));
        queue
    }
}

const QUEUES: usize = 6;
const PUBLISHERS: usize = 4;
const CONSUMERS: usize = 6;
const PER_PUBLISHER: usize = 1500;

/// What the consumers of [`everybody_at_once`] share.
struct Tally {
    seen: Vec<std::sync::Mutex<BTreeSet<String>>>,
    count: AtomicUsize,
    done: AtomicBool,
}

/// Publishers, and consumers that ack, reject, requeue, cancel and disconnect, all over the same queues. A lock taken
/// in the wrong order or a wake-up that is lost makes it hang; a message that is lost is missed at the end.
#[test]
fn everybody_at_once() {
    let Some(own) = Broker::start_with(&[]) else { return everybody_at_once_on(Broker::start()) };
    everybody_at_once_on(&own);
    own.expect_healthy();
}

fn everybody_at_once_on(broker: &Broker) {
    let setup = broker.connect().channel();
    let exchange = unique("fan");
    setup.call(exchange_declare(&exchange, "fanout"));
    let queues: Vec<String> = (0..QUEUES).map(|_| setup.temporary_queue_for_all()).collect();
    for queue in &queues {
        setup.call(queue_bind(queue, &exchange, ""));
    }
    let seen = queues.iter().map(|_| Default::default()).collect();
    let tally = Tally { seen, count: AtomicUsize::new(0), done: AtomicBool::new(false) };
    parallel(PUBLISHERS + CONSUMERS, |i| match i.checked_sub(PUBLISHERS) {
        None => publish_all(broker, &exchange, i),
        Some(i) => consume_until_done(broker, &queues, &tally, i),
    });
    for (queue, seen) in queues.iter().zip(&tally.seen) {
        assert_eq!(seen.lock().expect("no panic").len(), PUBLISHERS * PER_PUBLISHER, "messages of {queue}");
        assert_eq!(setup.counts(queue), (0, 0));
        setup.delete(queue_delete(queue));
    }
    setup.call(exchange_delete(&exchange));
}

fn publish_all(broker: &Broker, exchange: &str, publisher: usize) {
    let channel = broker.connect().channel();
    channel.call(confirm_select());
    for n in 0..PER_PUBLISHER {
        channel.publish(exchange, "", &format!("{publisher}-{n}"));
    }
    assert!(channel.expect_confirms(PER_PUBLISHER).is_empty());
}

/// Consumes from three of the queues for a while, then leaves in one way or another and comes back for others.
fn consume_until_done(broker: &Broker, queues: &[String], tally: &Tally, consumer: usize) {
    let mut random = Random::new(consumer as u64);
    let mut visit = consumer;
    while !tally.done.load(Ordering::Relaxed) {
        visit += 1;
        let client = broker.connect();
        let channel = client.channel();
        channel.call(basic_qos(20));
        for i in 0..3 {
            let at = (visit + i) % QUEUES;
            channel.consume(basic_consume(&queues[at], &at.to_string()));
        }
        for _ in 0..400 {
            if !settle_one(&channel, tally, &mut random) {
                break;
            }
        }
        leave(client, &channel, &mut random);
    }
}

/// Acknowledges, or rarely requeues, one message. False when none comes any more.
fn settle_one(channel: &Channel, tally: &Tally, random: &mut Random) -> bool {
    let Some(message) = channel.next_delivery(tally) else { return false };
    if random.below(8) == 0 {
        channel.send(basic_nack(message.delivery_tag).requeue());
        return true;
    }
    channel.send(basic_ack(message.delivery_tag));
    let queue: usize = message.consumer_tag.parse().expect("the number of a queue");
    let new = tally.seen[queue].lock().expect("no panic").insert(message.text().to_owned());
    if new && tally.count.fetch_add(1, Ordering::Relaxed) + 1 == QUEUES * PUBLISHERS * PER_PUBLISHER {
        tally.done.store(true, Ordering::Relaxed);
    }
    true
}

fn leave(client: Client, channel: &Channel, random: &mut Random) {
    match random.below(4) {
        0 => (0..QUEUES).for_each(|tag| drop(channel.call(basic_cancel(&tag.to_string())))),
        1 => drop(channel.call(basic_recover().requeue())),
        2 => drop(channel.call(channel_close())),
        _ => {}
    }
    // Whatever was not acknowledged goes back before the connection is closed.
    client.close();
}

impl Channel {
    /// The next delivery, looked for with round trips so that the end is noticed.
    fn next_delivery(&self, tally: &Tally) -> Option<Message> {
        loop {
            if let Some(Incoming::Message(message)) = self.wire().pending(self.number).pop_front() {
                return Some(*message);
            }
            if tally.done.load(Ordering::Relaxed) {
                return None;
            }
            self.call(channel_flow().active());
        }
    }
}

/// A channel that closes while messages are being delivered to it gives every one of them back.
#[test]
fn nothing_stays_unacked_behind_a_channel_that_closes_under_load() {
    let broker = Broker::start();
    let setup = broker.connect().channel();
    let queue = unique("q");
    setup.declare(queue_declare(&queue));
    let messages = 500;
    parallel(2, |role| {
        let client = broker.connect();
        if role == 0 {
            let channel = client.channel();
            for n in 0..messages {
                channel.publish("", &queue, &n.to_string());
            }
            channel.counts(&queue);
            return;
        }
        for _ in 0..50 {
            let channel = client.channel();
            channel.consume(basic_consume(&queue, ""));
            channel.call(channel_close());
        }
    });
    assert_eq!(setup.drain(&queue).len(), messages);
}

/// Who takes over from a single active consumer finds the messages in their order.
#[test]
fn order_is_kept_when_a_single_active_consumer_goes() {
    let broker = Broker::start();
    let setup = broker.connect().channel();
    let queue = unique("q");
    setup.declare(queue_declare(&queue).arg("x-single-active-consumer", true));
    let bodies: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
    setup.call(confirm_select());
    let (first, second) = (broker.connect().channel(), broker.connect().channel());
    first.call(basic_qos(10));
    first.consume(basic_consume(&queue, ""));
    second.consume(basic_consume(&queue, ""));
    for text in &texts {
        setup.publish("", &queue, text);
    }
    assert_eq!(first.expect_bodies(10), texts[..10]);
    first.call(channel_close());
    assert_eq!(second.expect_bodies(100), texts);
}

//! A user who publishes faster than allowed waits; others do not notice.

use std::time::{Duration, Instant};

use leveret::persist::record::{ApplyTo, PolicyRecord};
use leveret::vhost::Command;
use leveret::vhost::throttles::Of;

use crate::compat::harness::{Broker, Channel, confirm_select, queue_declare, queue_delete};

/// How long it takes until so many publishes are confirmed, the first of which has this number on its channel.
fn publish(channel: &Channel, queue: &str, first: u64, count: usize) -> Duration {
    let start = Instant::now();
    (0..count).for_each(|_| channel.publish("", queue, "0123456789"));
    assert!(channel.expect_confirms_from(first, count).is_empty());
    start.elapsed()
}

fn set(broker: &Broker, of: Of<'_>, name: &str, limit: Option<i64>) {
    let broker = broker.node().broker();
    broker.apply(broker.change_rate(of, name, limit)).expect("the rate is set");
}

fn publisher(broker: &Broker, user: &str) -> (Channel, String) {
    let channel = broker.connect_with(|options| options.log_in_as(user)).channel();
    let queue = channel.temporary_queue();
    channel.call(confirm_select());
    (channel, queue)
}

#[test]
fn a_user_at_its_rate_waits_and_another_does_not() {
    let broker = Broker::start_with(&[]).expect("a broker of this process");
    broker.put_user("slow");
    broker.put_user("quick");
    set(&broker, Of::User("slow"), "max-publish-rate", Some(200));
    let ((slow, slow_queue), (quick, quick_queue)) = (publisher(&broker, "slow"), publisher(&broker, "quick"));
    // A second's worth goes through at once; the rest has to wait for its tokens.
    let at_its_rate = publish(&slow, &slow_queue, 1, 400);
    let free = publish(&quick, &quick_queue, 1, 400);
    println!("400 messages: {at_its_rate:?} at 200/s, {free:?} without a limit");
    assert!(at_its_rate >= Duration::from_millis(990), "{at_its_rate:?}");
    assert!(free < at_its_rate, "{free:?}");

    // Without the limit the wait is over at once, also for a connection that waits.
    set(&broker, Of::User("slow"), "max-publish-rate", Some(1));
    (0..50).for_each(|_| slow.publish("", &slow_queue, "x"));
    set(&broker, Of::User("slow"), "max-publish-rate", None);
    let start = Instant::now();
    slow.expect_confirms_from(401, 50);
    assert!(start.elapsed() < Duration::from_secs(8), "49 messages at 1/s would have taken longer");
}

#[test]
fn acks_and_other_methods_go_on_while_publishes_wait() {
    let broker = Broker::start_with(&[]).expect("a broker of this process");
    broker.put_user("u");
    let (channel, queue) = publisher(&broker, "u");
    set(&broker, Of::Vhost("/"), "max-publish-bytes-rate", Some(1000));
    channel.publish("", &queue, &"x".repeat(3000));
    assert!(channel.expect_confirms(1).is_empty());
    // Its debt takes two seconds. If what is no publish waited for that, too, nothing would be left for the next publish.
    let start = Instant::now();
    assert_eq!(channel.expect_get(&queue).body.len(), 3000);
    let got = start.elapsed();
    let published = publish(&channel, &queue, 2, 1);
    assert!(got < published, "{got:?} {published:?}");
}

#[test]
fn whoever_publishes_to_a_limited_queue_waits() {
    let broker = Broker::start_with(&[]).expect("a broker of this process");
    let ((slow, free_queue), (quick, quick_queue)) = (publisher(&broker, "guest"), publisher(&broker, "guest"));
    slow.call(queue_declare("slow").arg("x-max-publish-rate", 200));
    let at_its_rate = publish(&slow, "slow", 1, 400);
    let free = publish(&quick, &quick_queue, 1, 400);
    println!("400 messages: {at_its_rate:?} to a queue of 200/s, {free:?} to another");
    assert!(at_its_rate >= Duration::from_millis(990), "{at_its_rate:?}");
    assert!(free < at_its_rate, "{free:?}");

    // A policy comes into force and goes at once.
    let policy = |rate: Option<i64>| {
        let (vhost, name) = ("/".to_owned(), "rate".to_owned());
        let command = match rate {
            Some(rate) => Command::SetPolicy(PolicyRecord {
                vhost,
                name,
                pattern: free_queue.clone(),
                apply_to: ApplyTo::Queues,
                priority: 0,
                definition: format!("{{\"max-publish-rate\": {rate}}}"),
                operator: false,
            }),
            None => Command::ClearPolicy { vhost, name, operator: false },
        };
        broker.node().broker().apply(command).expect("the policy is changed");
    };
    policy(Some(1));
    (0..50).for_each(|_| slow.publish("", &free_queue, "x"));
    policy(None);
    let start = Instant::now();
    assert!(slow.expect_confirms_from(401, 50).is_empty());
    assert!(start.elapsed() < Duration::from_secs(8), "49 messages at 1/s would have taken longer");
}

/// Fills a queue up to a quota of 1000 bytes; its publisher waits then until there is room.
fn fill_up(broker: &Broker, user: &str, queue: &str, reason: &str) {
    let channel = broker.connect_with(|options| options.log_in_as(user)).channel();
    let others = broker.connect().channel();
    channel.call(confirm_select());
    channel.publish("", queue, &"x".repeat(600));
    channel.publish("", queue, &"x".repeat(600));
    assert!(channel.expect_confirms(2).is_empty(), "what is confirmed stays");
    let round_trip = || drop(channel.call(queue_declare(queue).passive()));
    while channel.wire().pending(0).is_empty() {
        round_trip();
    }
    let told = |expected: &str| {
        let found = format!("{:?}", channel.wire().next_method(0, expected));
        assert!(found.contains(expected), "{found}");
    };
    told(reason);
    channel.publish("", queue, "late");
    assert_eq!(others.purge(queue), 2);
    told("Unblocked");
    assert!(channel.expect_confirms_from(3, 1).is_empty());
    others.call(queue_delete(queue));
}

#[test]
fn at_a_disk_quota_publishers_wait_until_there_is_room() {
    let broker = Broker::start_with(&[]).expect("a broker of this process");
    let declare = |queue| broker.connect().channel().call(queue_declare(queue));
    broker.put_user("full");

    broker.connect().channel().call(queue_declare("small").arg("x-max-stored-bytes", 1000));
    fill_up(&broker, "guest", "small", "disk quota of a queue is reached");

    set(&broker, Of::User("full"), "max-stored-bytes", Some(1000));
    declare("plain");
    let (free, free_queue) = publisher(&broker, "guest");
    free.publish("", &free_queue, &"x".repeat(3000));
    assert!(free.expect_confirms(1).is_empty());
    fill_up(&broker, "full", "plain", "disk quota of the user is reached");
    set(&broker, Of::User("full"), "max-stored-bytes", None);
    free.purge(&free_queue);

    set(&broker, Of::Vhost("/"), "max-stored-bytes", Some(1000));
    declare("plain");
    fill_up(&broker, "guest", "plain", "disk quota of the virtual host is reached");
}

#[test]
fn rates_go_with_their_user_and_virtual_host() {
    let broker = Broker::start_with(&[]).expect("a broker of this process");
    let node = broker.node().broker();
    broker.put_user("gone");
    node.apply(Command::PutVhost(leveret::vhost::broker::default_vhost("gone"))).expect("a vhost");
    set(&broker, Of::User("gone"), "max-publish-rate", Some(5));
    set(&broker, Of::Vhost("gone"), "max-stored-bytes", Some(5));
    set(&broker, Of::Vhost("/"), "max-stored-bytes", Some(5));
    assert_eq!(node.throttles.of("gone", "gone").len(), 2);
    node.apply(Command::DeleteUser { name: "gone".to_owned() }).expect("the user goes");
    node.apply(Command::DeleteVhost { name: "gone".to_owned(), even_protected: false }).expect("the vhost goes");
    assert!(node.throttles.of("gone", "gone").is_empty());
    let left: Vec<_> = node.global_parameters().into_iter().map(|parameter| parameter.name).collect();
    assert!(left.contains(&"publish-rates.vhost./".to_owned()) && !left.concat().contains("gone"), "{left:?}");
}

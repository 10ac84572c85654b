//! A user who publishes faster than allowed waits; others do not notice.

use std::time::{Duration, Instant};

use leveret::vhost::throttles::Of;

use crate::compat::harness::{Broker, Channel, confirm_select};

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
    // Its debt takes two seconds; what is no publish does not wait for that.
    let start = Instant::now();
    assert_eq!(channel.expect_get(&queue).body.len(), 3000);
    assert!(start.elapsed() < Duration::from_secs(1));
    let waited = publish(&channel, &queue, 2, 1);
    assert!(waited >= Duration::from_millis(500), "{waited:?}");
}

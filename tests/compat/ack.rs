//! E-6: acknowledgements, rejections and recovery.

use super::harness::*;

/// A channel with these messages delivered to it, tags 1 and up.
fn with_deliveries(bodies: &[&str]) -> (Channel, String) {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, bodies);
    channel.consume(basic_consume(&queue, "t"));
    channel.expect_bodies(bodies.len());
    (channel, queue)
}

/// What is left in the queue when the consumer goes and everything unacknowledged comes back.
fn left(channel: &Channel, queue: &str) -> Vec<String> {
    channel.call(channel_close());
    channel.call(channel_open());
    channel.drain(queue)
}

#[test]
fn e085_ack() {
    let (channel, queue) = with_deliveries(&["1", "2", "3", "4"]);
    channel.send(basic_ack(2));
    assert_eq!(left(&channel, &queue), ["1", "3", "4"]);
}

#[test]
fn e085_ack_multiple() {
    let (channel, queue) = with_deliveries(&["1", "2", "3", "4"]);
    channel.send(basic_ack(2));
    channel.send(basic_ack(3).multiple());
    assert_eq!(left(&channel, &queue), ["4"]);
}

#[test]
fn e085_tag_0_means_all() {
    let (channel, queue) = with_deliveries(&["1", "2", "3"]);
    channel.send(basic_ack(0).multiple());
    channel.expect_nothing_more();
    // Nothing is outstanding any more, and all of nothing is no error.
    channel.send(basic_ack(0).multiple());
    channel.send(basic_nack(0).multiple());
    assert_eq!(left(&channel, &queue), Vec::<String>::new());
}

#[test]
fn e085_unknown_delivery_tag() {
    let ack = |tag| (basic_ack(tag), (60, 80));
    let cases = [
        (ack(4), 4),
        (ack(0), 0),
        ((basic_ack(4).multiple(), (60, 80)), 4),
        ((basic_reject(9), (60, 90)), 9),
        ((basic_nack(7), (60, 120)), 7),
        ((basic_nack(7).multiple().requeue(), (60, 120)), 7),
        (ack(u64::MAX), u64::MAX),
    ];
    for ((method, cause), tag) in cases {
        let (channel, queue) = with_deliveries(&["1", "2", "3"]);
        channel.send(method);
        channel.expect_channel_close(406, format!("unknown delivery tag {tag}"), cause);
        // The messages are back.
        channel.call(channel_open());
        assert_eq!(channel.ready(&queue), 3);
    }
}

#[test]
fn e085_acking_twice() {
    let (channel, _) = with_deliveries(&["1", "2"]);
    channel.send(basic_ack(1));
    channel.refuses(basic_ack(1), 406, "unknown delivery tag 1");
}

#[test]
fn e085_acking_what_multiple_has_acked() {
    let (channel, _) = with_deliveries(&["1", "2", "3"]);
    channel.send(basic_ack(2).multiple());
    channel.refuses(basic_ack(1).multiple(), 406, "unknown delivery tag 1");
}

#[test]
fn e085_acking_what_needs_no_ack() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["1"]);
    channel.consume(basic_consume(&queue, "").no_ack());
    let message = channel.expect_deliver();
    channel.refuses(basic_ack(message.delivery_tag), 406, "unknown delivery tag 1");
}

#[test]
fn e085_acking_on_another_channel() {
    let client = Broker::start().connect();
    let (channel, other) = (client.channel(), client.channel());
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["1"]);
    channel.expect_get(&queue);
    other.refuses(basic_ack(1), 406, "unknown delivery tag 1");
    channel.send(basic_ack(1));
    channel.expect_nothing_more();
}

/// Tags 1, 3 and 5 are acknowledged one by one, so multiple has to find the others.
#[test]
fn e085_ack_multiple_with_gaps() {
    let (channel, queue) = with_deliveries(&["1", "2", "3", "4", "5", "6"]);
    for tag in [5, 1, 3] {
        channel.send(basic_ack(tag));
    }
    channel.send(basic_ack(4).multiple());
    assert_eq!(left(&channel, &queue), ["6"]);
}

#[test]
fn e088_redelivered() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["one", "two"]);
    let requeues: [fn(u64) -> Method; 2] = [|tag| basic_reject(tag).requeue(), |tag| basic_nack(tag).requeue()];
    assert!(!channel.expect_get(&queue).redelivered);
    channel.send(requeues[0](1));
    for requeue in requeues {
        let got = channel.expect_get(&queue);
        assert_eq!((got.text(), got.redelivered), ("one", true));
        channel.send(requeue(got.delivery_tag));
    }
    let one = channel.expect_get(&queue);
    let two = channel.expect_get(&queue);
    assert_eq!((one.redelivered, two.redelivered), (true, false));
}

#[test]
fn e088_redelivered_after_the_connection_is_lost() {
    let broker = Broker::start();
    let observer = broker.connect().channel();
    let queue = unique("q");
    observer.declare(queue_declare(&queue));
    observer.publish_confirmed("", &queue, &["one", "two"]);
    let client = broker.connect();
    client.channel().expect_get(&queue);
    client.call(connection_close());
    let (one, two) = (observer.expect_get(&queue), observer.expect_get(&queue));
    assert_eq!((one.text(), one.redelivered), ("one", true));
    assert_eq!((two.text(), two.redelivered), ("two", false));
    observer.delete(queue_delete(&queue));
}

#[test]
fn e089_requeued_messages_go_back_to_their_place() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["1", "2", "3", "4", "5"]);
    for _ in 0..4 {
        channel.expect_get(&queue);
    }
    for tag in [3, 1, 4] {
        channel.send(basic_nack(tag).requeue());
    }
    assert_eq!(channel.drain(&queue), ["1", "3", "4", "5"]);
}

#[test]
fn e089_nack_multiple_requeues_in_order() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["1", "2", "3", "4"]);
    for _ in 0..3 {
        channel.expect_get(&queue);
    }
    channel.send(basic_nack(2).multiple().requeue());
    assert_eq!(channel.drain(&queue), ["1", "2", "4"]);
}

#[test]
fn e089_a_requeued_message_goes_to_another_consumer_at_once() {
    let client = Broker::start().connect();
    let (first, second) = (client.channel(), client.channel());
    let queue = first.temporary_queue();
    first.publish_confirmed("", &queue, &["one"]);
    first.consume(basic_consume(&queue, "first"));
    let message = first.expect_deliver();
    second.consume(basic_consume(&queue, "second"));
    first.call(basic_cancel("first"));
    first.send(basic_reject(message.delivery_tag).requeue());
    let again = second.expect_deliver();
    assert_eq!((again.text(), again.redelivered), ("one", true));
}

#[test]
fn e089_reject_without_requeue_drops() {
    let (channel, queue) = with_deliveries(&["1", "2", "3"]);
    channel.send(basic_reject(1));
    channel.send(basic_nack(2));
    assert_eq!(left(&channel, &queue), ["3"]);
}

#[test]
fn e090_recover_requeues_everything() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["1", "2", "3"]);
    channel.expect_get(&queue);
    channel.expect_get(&queue);
    channel.call(basic_recover().requeue());
    let first = channel.expect_get(&queue);
    assert_eq!((first.text(), first.redelivered, first.delivery_tag), ("1", true, 3));
    assert_eq!(channel.drain(&queue), ["2", "3"]);
}

#[test]
fn e090_recover_gives_messages_to_their_consumer_again() {
    let (channel, _) = with_deliveries(&["1", "2"]);
    channel.call(basic_recover().requeue());
    assert_eq!(channel.expect_bodies(2), ["1", "2"]);
    channel.refuses(basic_ack(1), 406, "unknown delivery tag 1");
}

#[test]
fn e090_recover_async_has_no_answer() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["1"]);
    channel.expect_get(&queue);
    channel.send(basic_recover_async().requeue());
    assert_eq!(channel.expect_get(&queue).text(), "1");
    channel.expect_nothing_more();
}

#[test]
fn e090_recover_without_requeue() {
    channel().ends_connection(basic_recover(), 540, "requeue=false");
    channel().ends_connection(basic_recover_async(), 540, "requeue=false");
}

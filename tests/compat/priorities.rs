//! A-5, E-3: priorities of messages. Item 38, which values count, is with the other properties.

use leveret::frames::content::Property;

use super::harness::*;

#[track_caller]
fn priority_queue(channel: &Channel) -> String {
    channel.declare(queue_declare("").exclusive().arg("x-max-priority", 9)).queue.to_string()
}

fn with(priority: u8) -> Props {
    props().octet(Property::Priority, priority)
}

/// Publishes bodies with their priorities and waits until they are there.
#[track_caller]
fn publish_all(channel: &Channel, queue: &str, messages: &[(u8, &str)]) {
    let before = channel.ready(queue);
    messages.iter().for_each(|(priority, body)| channel.publish_with("", queue, with(*priority), body));
    eventually("the messages are there", || channel.ready(queue) as usize == before as usize + messages.len());
}

#[test]
fn a5_a_later_message_overtakes_what_waits() {
    let channel = channel();
    let queue = priority_queue(&channel);
    publish_all(&channel, &queue, &[(1, "low"), (5, "middle")]);
    assert_eq!(channel.expect_get(&queue).text(), "middle");
    publish_all(&channel, &queue, &[(9, "high"), (1, "lower")]);
    assert_eq!(channel.drain(&queue), ["high", "low", "lower"]);
}

#[test]
fn a5_consumers_get_the_highest_first() {
    let channel = channel();
    let queue = priority_queue(&channel);
    publish_all(&channel, &queue, &[(0, "a"), (3, "b"), (9, "c"), (3, "d"), (0, "e")]);
    channel.call(basic_qos(1));
    channel.consume(basic_consume(&queue, ""));
    for body in ["c", "b", "d", "a", "e"] {
        let message = channel.expect_deliver();
        assert_eq!(message.text(), body);
        channel.send(basic_ack(message.delivery_tag));
    }
}

#[test]
fn a5_a_requeued_message_goes_back_to_its_place_in_its_priority() {
    let channel = channel();
    let queue = priority_queue(&channel);
    publish_all(&channel, &queue, &[(5, "1"), (5, "2"), (1, "3"), (5, "4")]);
    let held: Vec<Message> = (0..3).map(|_| channel.expect_get(&queue)).collect();
    publish_all(&channel, &queue, &[(7, "5"), (5, "6")]);
    channel.send(basic_nack(held[1].delivery_tag).multiple().requeue());
    assert_eq!(channel.expect_get(&queue).text(), "5");
    let again = [channel.expect_get(&queue), channel.expect_get(&queue)];
    assert_eq!(again.each_ref().map(|m| (m.text(), m.redelivered)), [("1", true), ("2", true)]);
    assert_eq!(channel.drain(&queue), ["6", "3"]);
    assert_eq!(held[2].text(), "4");
}

#[test]
fn a5_messages_of_all_priorities_expire() {
    if Broker::start().inside().is_none() {
        eprintln!("skipped: in RabbitMQ only messages at the head expire");
        return;
    }
    let channel = channel();
    let queue = priority_queue(&channel);
    for priority in [0, 9, 5] {
        channel.publish_with("", &queue, with(priority).expiration("1"), "expires");
        channel.publish_with("", &queue, with(priority), "stays");
    }
    eventually("three messages expire", || channel.ready(&queue) == 3);
    assert_eq!(channel.drain(&queue), ["stays", "stays", "stays"]);
}

#[test]
fn a5_without_the_argument_priorities_do_not_count() {
    let channel = channel();
    let queue = channel.temporary_queue();
    publish_all(&channel, &queue, &[(0, "1"), (9, "2"), (5, "3")]);
    let first = channel.expect_get(&queue);
    assert_eq!((first.text(), first.props.get_octet(Property::Priority)), ("1", Some(0)));
    assert_eq!(channel.drain(&queue), ["2", "3"]);
}

#[test]
fn a5_priorities_survive_a_restart() {
    let Some(mut broker) = Broker::start_with(&[]) else { return };
    let channel = broker.connect().channel();
    let declare = || queue_declare("ranked").durable().arg("x-max-priority", 9);
    channel.declare(declare());
    channel.call(confirm_select());
    for (priority, body) in [(1, "low"), (9, "high"), (1, "lower"), (5, "middle")] {
        channel.publish_with("", "ranked", with(priority).persistent(), body);
    }
    channel.expect_confirms(4);
    drop(channel);

    broker.restart();
    let channel = broker.connect().channel();
    channel.declare(declare());
    assert_eq!(channel.drain("ranked"), ["high", "middle", "low", "lower"]);
}

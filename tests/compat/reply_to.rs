//! E-7: direct reply-to.

use leveret::frames::content::Property;

use super::harness::*;

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

fn consume_replies(channel: &Channel) -> String {
    channel.consume(basic_consume(REPLY_TO, "").no_ack())
}

/// Sends a request from `client` to `queue` and hands back the address for the reply that the server sees.
fn request(client: &Channel, server: &Channel, queue: &str) -> String {
    client.publish_with("", queue, props().text(Property::ReplyTo, REPLY_TO), "request");
    server.consume(basic_consume(queue, "requests").no_ack());
    let address = server.expect_deliver().props.get(Property::ReplyTo);
    server.call(basic_cancel("requests"));
    address
}

#[test]
fn e098_a_request_and_its_reply() {
    let broker = Broker::start();
    let (client, server) = (broker.connect().channel(), broker.connect().channel());
    let queue = server.temporary_queue();
    let tag = consume_replies(&client);
    let address = request(&client, &server, &queue);
    assert!(address.starts_with("amq.rabbitmq.reply-to.") && address.len() > 30, "{address}");
    server.publish_with("", &address, props().text(Property::CorrelationId, "id"), "reply");
    let reply = client.expect_deliver();
    assert_eq!((reply.text(), reply.consumer_tag.as_str()), ("reply", tag.as_str()));
    assert_eq!((reply.exchange.as_str(), reply.routing_key), ("", address));
    assert_eq!(reply.props.get(Property::CorrelationId), "id");
}

#[test]
fn e098_the_reply_consumer_cannot_ack() {
    channel().refuses(basic_consume(REPLY_TO, ""), 406, "reply consumer cannot acknowledge");
}

#[test]
fn e098_one_reply_consumer_per_channel() {
    let channel = channel();
    consume_replies(&channel);
    channel.refuses(basic_consume(REPLY_TO, "").no_ack(), 406, "reply consumer already set");
}

#[test]
fn e098_another_after_the_first_is_cancelled() {
    let channel = channel();
    let tag = consume_replies(&channel);
    channel.call(basic_cancel(&tag));
    consume_replies(&channel);
}

#[test]
fn e098_a_request_without_a_reply_consumer() {
    let channel = channel();
    let props = props().text(Property::ReplyTo, REPLY_TO);
    channel.refuses_message(basic_publish("", "q"), &props, "m", 406, "fast reply consumer does not exist");
}

#[test]
fn e098_other_reply_addresses_are_left_alone() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_with("", &queue, props().text(Property::ReplyTo, "amq.rabbitmq.reply-to.made-up"), "m");
    assert_eq!(channel.expect_get(&queue).props.get(Property::ReplyTo), "amq.rabbitmq.reply-to.made-up");
}

#[test]
fn e099_a_reply_to_nobody_is_dropped() {
    let channel = channel();
    channel.publish_confirmed("", "amq.rabbitmq.reply-to.made-up", &["m"]);
    let broker = Broker::start();
    let (client, server) = (broker.connect(), broker.connect().channel());
    let requester = client.channel();
    let queue = server.temporary_queue();
    consume_replies(&requester);
    let address = request(&requester, &server, &queue);
    client.call(connection_close());
    server.publish_confirmed("", &address, &["too late"]);
}

#[test]
fn e099_many_replies_keep_their_order() {
    let broker = Broker::start();
    let (client, server) = (broker.connect().channel(), broker.connect().channel());
    let queue = server.temporary_queue();
    consume_replies(&client);
    let address = request(&client, &server, &queue);
    let sent: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    sent.iter().for_each(|body| server.publish("", &address, body));
    assert_eq!(client.expect_bodies(500), sent);
}

#[test]
fn e100_declaring_a_reply_address_asks_whether_the_requester_lives() {
    let broker = Broker::start();
    let (client, server) = (broker.connect(), broker.connect().channel());
    let requester = client.channel();
    let queue = server.temporary_queue();
    let tag = consume_replies(&requester);
    let address = request(&requester, &server, &queue);
    for declare in [queue_declare(&address), queue_declare(&address).passive()] {
        let ok = server.declare(declare);
        assert_eq!((ok.queue.as_str(), ok.message_count, ok.consumer_count), (address.as_str(), 0, 1));
    }
    requester.call(basic_cancel(&tag));
    server.refuses(queue_declare(&address).passive(), 404, format!("no queue '{address}' in vhost '/'"));
    server.refuses(queue_declare(&address), 404, format!("no queue '{address}' in vhost '/'"));
}

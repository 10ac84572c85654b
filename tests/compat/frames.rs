//! E-2: channels, frames, and content that is not as announced.

use leveret::frames::content::Property;

use super::harness::client::header_payload;
use super::harness::*;

#[test]
fn e021_the_first_method_must_be_channel_open() {
    let client = Broker::start().connect();
    client.unopened_channel(5).ends_connection(queue_declare(""), 504, "expected 'channel.open'");
}

#[test]
fn e021_a_second_open() {
    channel().ends_connection(channel_open(), 504, "second 'channel.open' seen");
}

#[test]
fn e021_a_closed_channel_is_not_open() {
    let channel = channel();
    channel.call(channel_close());
    channel.ends_connection(queue_declare(""), 504, "expected 'channel.open'");
}

#[test]
fn e022_the_number_of_channels_is_limited() {
    let client = Broker::start().connect_with(|options| options.channel_max = 2);
    let first = client.channel();
    // The number of a channel may be higher; only their count matters.
    client.unopened_channel(77).call(channel_open());
    let third = client.unopened_channel(3);
    third.send(channel_open());
    let text = "number of channels opened (2) has reached the negotiated channel_max (2)";
    client.expect_connection_close(530, text, (0, 0));
    drop(first);
}

#[test]
fn e022_a_closed_channel_does_not_count() {
    let client = Broker::start().connect_with(|options| options.channel_max = 1);
    let channel = client.channel();
    for _ in 0..3 {
        channel.call(channel_close());
        channel.call(channel_open());
    }
    channel.call(channel_close());
    client.channel();
}

#[test]
fn e023_a_frame_may_be_eight_bytes_longer_than_agreed() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.send(basic_publish("", &queue));
    channel.send_frame(2, &header_payload(60, 131_072, &props()));
    channel.send_frame(3, &[b'x'; 131_072]);
    assert_eq!(channel.expect_get(&queue).body.len(), 131_072);
}

#[test]
fn e023_a_frame_that_is_too_large() {
    let channel = channel();
    // The error comes although nothing but the frame's first seven bytes were sent.
    channel.send_bytes(&[3, 0, 1, 0, 2, 0, 1]);
    channel.expect_connection_close(501, "type 3, all octets = <<>>: {frame_too_large,131073,131064}", (0, 0));
    channel.expect_end();
}

#[test]
fn e023_a_wrong_end_octet() {
    let channel = channel();
    channel.send_bytes(&[1, 0, 1, 0, 0, 0, 4, 0, 20, 0, 20, 7]);
    let text = "type 1, all octets = <<0,20,0,20>>: {invalid_frame_end_marker,7}";
    channel.expect_connection_close(501, text, (0, 0));
    channel.expect_end();
}

#[test]
fn e023_of_a_long_payload_sixteen_octets_are_shown() {
    let channel = channel();
    let mut frame = vec![3, 0, 1, 0, 0, 0, 20];
    frame.extend(0..20);
    frame.push(0);
    channel.send_bytes(&frame);
    let octets = "<<0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15>>";
    let text = format!("type 3, first 16 octets = {octets}: …");
    channel.expect_connection_close(501, text, (0, 0));
}

#[test]
fn e024_an_unknown_frame_type() {
    let channel = channel();
    channel.send_frame(9, b"");
    channel.expect_connection_close(501, "type 9, all octets = <<>>: unknown_frame", (0, 0));
}

#[test]
fn e024_a_heartbeat_on_a_channel() {
    let channel = channel();
    channel.send_frame(8, b"");
    channel.expect_connection_close(505, "…", (0, 0));
}

#[test]
fn e024_a_header_without_a_method() {
    let channel = channel();
    channel.send_frame(2, &header_payload(60, 1, &props()));
    channel.expect_connection_close(505, "expected method frame, got non method frame instead", (0, 0));
}

#[test]
fn e024_a_body_without_a_method() {
    let channel = channel();
    channel.send_frame(3, b"x");
    channel.expect_connection_close(505, "expected method frame, got non method frame instead", (0, 0));
}

#[test]
fn e024_a_method_instead_of_a_header() {
    let channel = channel();
    channel.send(basic_publish("", "q"));
    channel.send(channel_flow().active());
    let text = "expected content header for class 60, got non content header frame instead";
    channel.expect_connection_close(505, text, (60, 40));
}

#[test]
fn e024_a_header_of_another_class() {
    let channel = channel();
    channel.send(basic_publish("", "q"));
    channel.send_frame(2, &header_payload(50, 1, &props()));
    let text = "expected content header for class 60, got one for class 50 instead";
    channel.expect_connection_close(505, text, (60, 40));
}

#[test]
fn e024_a_method_instead_of_a_body() {
    let channel = channel();
    channel.send(basic_publish("", "q"));
    channel.send_frame(2, &header_payload(60, 1, &props()));
    channel.send(channel_flow().active());
    channel.expect_connection_close(505, "expected content body, got non content body frame instead", (60, 40));
}

#[test]
fn e024_content_frames_on_channel_0() {
    let client = Broker::start().connect();
    client.send_frame(2, &header_payload(60, 1, &props()));
    client.expect_connection_close(505, "…", (0, 0));
}

#[test]
fn e025_a_body_longer_than_announced() {
    let Some(broker) = Broker::newer_than_3_10("3.10 takes any body") else { return };
    let channel = broker.connect().channel();
    channel.send(basic_publish("", "q"));
    channel.send_frame(2, &header_payload(60, 3, &props()));
    channel.send_frame(3, b"four");
    channel.expect_connection_close(501, "content body frame exceeds remaining content size…", (60, 40));
}

#[test]
fn e025_a_body_size_beyond_all_measure() {
    let Some(broker) = Broker::newer_than_3_10("3.10 waits for any body") else { return };
    for size in [512 * 1024 * 1024 + 1, u64::MAX] {
        let channel = broker.connect().channel();
        channel.send(basic_publish("", "q"));
        channel.send_frame(2, &header_payload(60, size, &props()));
        let text = format!("content body size {size} exceeds maximum allowed size 536870912");
        channel.expect_connection_close(501, text, (60, 40));
    }
}

#[test]
fn e025_a_message_larger_than_max_message_size() {
    let Some(broker) = Broker::start_with(&[("max_message_size", "1024")]) else { return };
    let channel = broker.connect().channel();
    let queue = channel.temporary_queue();
    let text = "message size 1025 is larger than configured max size 1024";
    channel.refuses_message(basic_publish("", &queue), &props(), &"x".repeat(1025), 406, text);
    channel.publish("", &queue, &"x".repeat(1024));
    assert_eq!(channel.expect_get(&queue).body.len(), 1024);
}

#[test]
fn e026_an_empty_body_has_no_frame() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish("", &queue, "");
    channel.publish("", &queue, "after");
    channel.consume(basic_consume(&queue, "").no_ack());
    // The client refuses empty body frames.
    assert_eq!(channel.expect_bodies(2), ["", "after"]);
}

#[test]
fn e026_a_body_may_come_in_any_number_of_frames() {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.send(basic_publish("", &queue));
    channel.send_frame(2, &header_payload(60, 5, &props()));
    for slice in ["h", "el", "", "lo"] {
        channel.send_frame(3, slice.as_bytes());
    }
    assert_eq!(channel.expect_get(&queue).text(), "hello");
}

/// Flag words may go on while bit 0 is set.
#[test]
fn e026_property_flags_with_a_continuation() {
    let Some(broker) = Broker::newer_than_3_10("RabbitMQ refuses what the specification allows here") else { return };
    let channel = broker.connect().channel();
    let queue = channel.temporary_queue();
    let header = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 2, b'c', b't'];
    channel.send(basic_publish("", &queue));
    channel.send_frame(2, &header);
    let message = channel.expect_get(&queue);
    assert_eq!(message.props.get(Property::ContentType), "ct");
}

#[test]
fn e027_arguments_that_cannot_be_decoded() {
    let truncated = Method::new(50, 10).short(0).bytes(b"\x20short");
    channel().send_and_expect_501(truncated);
    let left_over = Method::new(60, 80).longlong(1).bytes(b"\x00\x00");
    channel().send_and_expect_501(left_over);
}

impl Channel {
    fn send_and_expect_501(&self, method: Method) {
        let cause = (method.class, method.method);
        self.send(method);
        self.expect_connection_close(501, "…", cause);
    }
}

#[test]
fn e027_names_must_be_utf8() {
    let Some(broker) = Broker::newer_than_3_10("3.10 does not check for UTF-8") else { return };
    let bad = b"caf\xe9";
    let methods = [
        Method::new(50, 10).short(0).text(bad).octet(0).long(0),
        Method::new(40, 10).short(0).text(bad).text("direct").octet(0).long(0),
        Method::new(60, 20).short(0).text("q").text(bad).octet(0).long(0),
        Method::new(50, 20).short(0).text("q").text("amq.direct").text(bad).octet(0).long(0),
    ];
    for method in methods {
        let cause = (method.class, method.method);
        let channel = broker.connect().channel();
        channel.send(method);
        channel.expect_connection_close(501, "Malformed UTF-8 in shortstr", cause);
    }
}

#[test]
fn e027_routing_keys_of_a_publish_must_be_utf8() {
    let Some(broker) = Broker::newer_than_3_10("3.10 does not check for UTF-8") else { return };
    let channel = broker.connect().channel();
    let publish = Method::new(60, 40).short(0).text("amq.direct").text(b"caf\xe9").octet(0);
    channel.send_message(publish, &props(), b"x");
    channel.expect_connection_close(501, "Malformed UTF-8 in shortstr", (60, 40));
}

#[test]
fn e028_other_channels_may_interleave() {
    let client = Broker::start().connect();
    let (a, b) = (client.channel(), client.channel());
    let queue = a.temporary_queue();
    a.call(confirm_select());
    b.call(confirm_select());
    a.send(basic_publish("", &queue));
    b.send(basic_publish("", &queue));
    b.send_frame(2, &header_payload(60, 2, &props()));
    a.send_frame(2, &header_payload(60, 3, &props()));
    b.send_frame(3, b"b");
    client.send_frame(8, b"");
    a.send_frame(3, b"aaa");
    a.expect_ack(1);
    b.send_frame(3, b"b");
    b.expect_ack(1);
    assert_eq!(a.drain(&queue), ["aaa", "bb"]);
}

/// The client fails on any frame that splits a message on its own channel.
#[test]
fn e028_messages_are_never_split_by_another_on_their_channel() {
    let client = Broker::start().connect_with(|options| options.frame_max = 4096);
    let channel = client.channel();
    let (queue, other) = (channel.temporary_queue(), channel.temporary_queue());
    channel.consume(basic_consume(&queue, "").no_ack());
    let body = "x".repeat(30_000);
    channel.call(confirm_select());
    for _ in 0..20 {
        channel.publish("", &queue, &body);
        channel.send_message(basic_publish("", "nowhere").mandatory(), &props(), body.as_bytes());
        channel.send(basic_get(&other));
    }
    let mut messages = 0;
    while messages < 40 {
        messages += usize::from(matches!(channel.next("deliveries and returns"), Incoming::Message(_)));
    }
}

#[test]
fn e079_methods_that_only_a_broker_sends() {
    channel().ends_connection(Method::new(50, 51), 503, "unimplemented method");
    channel().ends_connection(Method::new(60, 72).text(""), 503, "unimplemented method");
}

/// RabbitMQ drops the connection here without a word.
#[test]
fn e079_methods_that_do_not_exist() {
    let broker = Broker::start();
    for method in [Method::new(60, 77), Method::new(77, 10), Method::new(0, 0)] {
        let channel = broker.connect().channel();
        channel.send(method);
        channel.wire().expect_any_end();
    }
    broker.expect_healthy();
}

#[test]
fn e079_access_request() {
    channel().call(access_request("/data"));
}

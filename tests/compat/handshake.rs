//! E-2: the protocol header, logging in, tuning, opening, heartbeats.

use std::time::{Duration, Instant};

use leveret::frames::{Table, Value};

use super::harness::client::capable_of;
use super::harness::*;

#[test]
fn e010_other_protocol_versions() {
    let broker = Broker::start();
    // AMQP 0-9 is served as 0-9-1.
    let client = broker.socket();
    client.send_bytes(b"AMQP\x01\x01\x00\x09");
    client.expect_start();
    for header in [b"AMQP\x00\x00\x08\x00", b"AMQP\x00\x00\x0a\x00", b"AMQP\x05\x06\x07\x08", b"QMPA\x00\x00\x09\x01"] {
        let client = broker.socket();
        client.send_bytes(header);
        let answer = client.wire().read_to_end();
        let offers: [&[u8]; 2] = [b"AMQP\x00\x00\x09\x01", b"AMQP\x03\x01\x00\x00"];
        assert!(offers.contains(&answer.as_slice()), "{header:?} was answered {answer:?}");
    }
}

#[test]
fn e011_http_and_tls_on_the_port_are_refused() {
    let broker = Broker::start();
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for bytes in [b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", &tls_hello[..]] {
        let client = broker.socket();
        client.send_bytes(bytes);
        let answer = client.wire().read_to_end();
        assert!(answer.is_empty() || answer.starts_with(b"AMQP"), "{answer:?}");
    }
    broker.expect_healthy();
}

#[test]
fn e012_a_connection_without_data_is_a_health_check() {
    let broker = Broker::start();
    drop(broker.socket());
    let half_closed = broker.socket();
    half_closed.wire().shut_down_writing();
    half_closed.expect_end();
    broker.expect_healthy();
}

#[test]
fn e012_the_handshake_has_a_time_limit() {
    let Some(broker) = Broker::start_with(&[("handshake_timeout", "300")]) else { return };
    let silent = broker.socket();
    let hesitant = broker.socket();
    hesitant.greet();
    silent.expect_end();
    hesitant.expect_end();
    broker.expect_healthy();
}

#[test]
fn e013_start() {
    let client = Broker::start().socket();
    let start = client.greet();
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    assert_eq!(start.locales.to_string(), "en_US");
    let mechanisms = start.mechanisms.to_string();
    for mechanism in ["PLAIN", "AMQPLAIN"] {
        assert!(mechanisms.split(' ').any(|m| m == mechanism), "{mechanism} is not among {mechanisms}");
    }
}

/// the server's properties and capabilities.
#[test]
fn e013_server_properties() {
    let client = Broker::start().socket();
    client.greet();
    for key in ["cluster_name", "copyright", "information", "platform", "product", "version"] {
        assert!(!client.server_text(key).is_empty(), "server property {key}");
    }
    let properties = client.server_properties();
    let Some(Value::Table(capabilities)) = properties.get("capabilities") else { panic!("{properties:?}") };
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        assert_eq!(capabilities.get(name), Some(&Value::Bool(true)), "capability {name}");
    }
}

#[test]
fn e013_amqplain() {
    let client = Broker::start().socket();
    client.greet();
    let login: Table = [("LOGIN", Value::text("guest")), ("PASSWORD", Value::text("guest"))].into_iter().collect();
    let mut response = vec![];
    login.encode(&mut response);
    // The response is the inside of a table, without its length.
    client.send(start_ok(Table::default(), "AMQPLAIN", &response[4..]));
    client.expect_tune();
}

#[test]
fn e014_unknown_mechanism() {
    let client = Broker::start().socket();
    client.greet();
    client.send(start_ok(capable_of(&["authentication_failure_close"]), "NONSENSE", b""));
    client.expect_end();
}

#[test]
fn e015_malformed_plain_response() {
    let client = Broker::start().socket();
    client.greet();
    client.send(start_ok(capable_of(&["authentication_failure_close"]), "PLAIN", b"guest guest"));
    client.expect_end();
}

const LOGIN_REFUSED: &str =
    "Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";

#[test]
fn e016_bad_credentials_of_a_client_that_wants_to_be_told() {
    for response in ["\0guest\0wrong", "\0nobody\0guest"] {
        let client = Broker::start().socket();
        client.greet();
        client.send(start_ok(capable_of(&["authentication_failure_close"]), "PLAIN", response.as_bytes()));
        client.expect_connection_close(403, LOGIN_REFUSED, (0, 0));
        client.expect_end();
    }
}

#[test]
fn e016_bad_credentials_of_any_other_client() {
    let client = Broker::start().socket();
    client.greet();
    client.send(start_ok(Table::default(), "PLAIN", b"\0guest\0wrong"));
    client.expect_end();
}

#[test]
fn e017_tune() {
    let tune = Broker::start().socket().log_in(&Options::default());
    assert_eq!((tune.channel_max, tune.frame_max, tune.heartbeat), (2047, 131_072, 60));
}

/// RabbitMQ up to 3.13 means to send this error, but only closes the socket.
const TUNE_ERROR: &str = "the error of tune-ok never leaves 3.10";

#[test]
fn e017_tune_ok_out_of_range() {
    let Some(broker) = Broker::newer_than_3_10(TUNE_ERROR) else { return };
    let too_much =
        |field, value, max| format!("negotiated {field} = {value} is higher than the maximum allowed value ({max})");
    let cases = [
        (2047, 4095, "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)".into()),
        (2047, 131_073, too_much("frame_max", "131073", 131_072)),
        (2048, 131_072, too_much("channel_max", "2048", 2047)),
    ];
    for (channel_max, frame_max, text) in cases {
        let client = broker.socket();
        client.log_in(&Options::default());
        client.send(tune_ok(channel_max, frame_max, 0));
        client.expect_connection_close(530, text, (10, 30));
    }
}

#[test]
fn e017_no_limit_is_more_than_the_limit() {
    let Some(broker) = Broker::newer_than_3_10(TUNE_ERROR) else { return };
    let cases = [
        (0, 131_072, "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"),
        (2047, 0, "negotiated frame_max = 0 is higher than the maximum allowed value (131072)"),
    ];
    for (channel_max, frame_max, text) in cases {
        let client = broker.socket();
        client.log_in(&Options::default());
        client.send(tune_ok(channel_max, frame_max, 0));
        client.expect_connection_close(530, text, (10, 30));
    }
}

#[test]
fn e017_the_smallest_frame_size_is_kept_by_both_sides() {
    let client = Broker::start().connect_with(|options| options.frame_max = 4096);
    let channel = client.channel();
    let queue = channel.temporary_queue();
    let body = "x".repeat(20_000);
    channel.publish("", &queue, &body);
    // The client checks the size of every frame that it gets.
    assert_eq!(channel.expect_get(&queue).text(), body);
}

#[test]
fn e018_heartbeats_are_sent() {
    let client = Broker::start().connect_with(|options| options.heartbeat = 1);
    let start = Instant::now();
    while client.wire().heartbeats < 2 {
        assert!(client.wire().read_frame("heartbeats"));
    }
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn e018_a_silent_client_is_dropped() {
    let client = Broker::start().connect_with(|options| options.heartbeat = 1);
    client.expect_end();
    assert!(client.wire().heartbeats > 0);
}

#[test]
fn e018_any_traffic_keeps_a_connection_alive() {
    let client = Broker::start().connect_with(|options| options.heartbeat = 1);
    let channel = client.channel();
    // Eight of the broker's heartbeats, at half a second each, are more than it would wait for a silent client.
    for n in 1..=8 {
        while client.wire().heartbeats < n {
            assert!(client.wire().read_frame("heartbeats"));
        }
        channel.publish("", "nowhere", "alive");
    }
    channel.expect_nothing_more();
}

#[test]
fn e018_no_heartbeats_when_the_client_wants_none() {
    let with = Broker::start().connect_with(|options| options.heartbeat = 1);
    let without = Broker::start().connect_with(|options| options.heartbeat = 0);
    let channel = without.channel();
    with.expect_end();
    channel.expect_nothing_more();
    assert_eq!(without.wire().heartbeats, 0);
}

#[test]
fn e019_unknown_vhost() {
    let client = Broker::start().socket();
    client.log_in(&Options::default());
    client.send(tune_ok(2047, 131_072, 0));
    client.ends_connection(connection_open("nowhere"), 530, "vhost nowhere not found");
    client.expect_end();
}

#[test]
fn e019_the_node_s_connection_limit() {
    let Some(broker) = Broker::start_with(&[("connection_max", "1")]) else { return };
    let first = broker.connect();
    let second = broker.socket();
    second.log_in(&Options::default());
    second.send(tune_ok(2047, 131_072, 0));
    let text = "connection refused: node connection limit (1) is reached";
    second.ends_connection(connection_open("/"), 530, text);
    second.expect_end();
    first.close();
    broker.connect().channel();
}

#[test]
fn e020_channel_0_methods_in_the_wrong_state() {
    let broker = Broker::start();
    let text = "unexpected method in connection state running";
    broker.connect().ends_connection(connection_open("/"), 504, text);
    broker.connect().ends_connection(tune_ok(2047, 131_072, 0), 504, text);
    broker.connect().ends_connection(start_ok(Table::default(), "PLAIN", b"\0guest\0guest"), 504, text);
}

#[test]
fn e020_open_before_tune_ok() {
    let client = Broker::start().socket();
    client.log_in(&Options::default());
    // RabbitMQ does not say why to a client that has not opened the connection.
    client.send(connection_open("/"));
    client.wire().expect_any_end();
}

#[test]
fn e029_a_connection_may_have_a_name() {
    let client = Broker::start().connect_with(|options| {
        options.client_properties.insert("connection_name", Value::text("a name"));
        options.client_properties.insert("odd", Value::Array(vec![Value::Void, Value::I8(-1)]));
    });
    client.channel();
}

/// A broker whose memory is full after one message of this length.
fn broker_with_little_memory() -> Option<(Broker, String)> {
    let stays = ("vm_memory_high_watermark_paging_ratio", "1.1");
    let broker = Broker::start_with(&[("vm_memory_high_watermark.absolute", "100kB"), stays])?;
    Some((broker, "x".repeat(200_000)))
}

#[test]
fn e030_blocked_is_sent_after_the_first_publish_and_unblocked_when_there_is_room() {
    let Some((broker, body)) = broker_with_little_memory() else { return };
    let (client, idle) = (broker.connect(), broker.connect());
    let channel = client.channel();
    let queue = unique("q");
    channel.declare(queue_declare(&queue));
    assert!(client.wire().pending(0).is_empty(), "blocked before anything was published");
    channel.publish("", &queue, &body);
    let blocked = format!("{:?}", client.expect_method("connection.blocked"));
    assert!(blocked.contains("Blocked") && blocked.contains("low on memory"), "{blocked}");

    // The broker may have said so in the middle of the message; by this answer it has all of it.
    assert_eq!(channel.counts(&queue), (1, 0));
    // Others that do not publish are served as ever, and hear nothing of it.
    let channel = idle.channel();
    assert_eq!(channel.counts(&queue), (1, 0));
    assert_eq!(channel.purge(&queue), 1);
    let unblocked = format!("{:?}", client.expect_method("connection.unblocked"));
    assert!(unblocked.contains("Unblocked"), "{unblocked}");
    channel.expect_nothing_more();
    assert!(idle.wire().pending(0).is_empty());
}

/// A program that consumes and publishes on one connection frees the memory that its publishes wait for.
#[test]
fn e030_acks_of_a_blocked_connection_are_read() {
    let Some((broker, body)) = broker_with_little_memory() else { return };
    let client = broker.connect();
    let (publisher, consumer) = (client.channel(), client.channel());
    let queue = publisher.temporary_queue();
    consumer.consume(basic_consume(&queue, ""));
    publisher.publish("", &queue, &body);
    let delivered = consumer.expect_deliver();
    let blocked = format!("{:?}", client.expect_method("connection.blocked"));
    assert!(blocked.contains("low on memory"), "{blocked}");
    consumer.send(basic_ack(1));
    assert_eq!(delivered.text().len(), body.len());
    let unblocked = format!("{:?}", client.expect_method("connection.unblocked"));
    assert!(unblocked.contains("Unblocked"), "{unblocked}");
    publisher.publish("", &queue, "small");
    assert_eq!(consumer.expect_deliver().text(), "small");
}

#[test]
fn e030_blocked_is_not_sent_to_a_client_that_does_not_know_it() {
    let Some((broker, body)) = broker_with_little_memory() else { return };
    let client = broker.connect_with(|options| {
        options.client_properties = Table::default();
        options.heartbeat = 1;
    });
    let channel = client.channel();
    let queue = channel.temporary_queue();
    channel.publish("", &queue, &body);
    // While the alarm lasts the broker does not miss the client's heartbeats, but sends its own.
    while client.wire().heartbeats < 5 {
        assert!(client.wire().read_frame("heartbeats"));
    }
    assert!(client.wire().pending(0).is_empty());
}

#[test]
fn e031_update_secret() {
    let client = Broker::start().connect();
    client.call(update_secret("guest"));
    client.channel();
}

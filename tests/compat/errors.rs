//! E-1: how errors are reported, and how channels and connections end.

use super::harness::*;

#[test]
fn e001_channel_errors_close_only_the_channel() {
    let client = Broker::start().connect();
    let (bad, good) = (client.channel(), client.channel());
    let queue = good.temporary_queue();
    bad.send(queue_declare("no such queue").passive());
    bad.expect_channel_close(404, "no queue 'no such queue' in vhost '/'", (50, 10));
    assert_eq!(good.ready(&queue), 0);
}

#[test]
fn e001_not_implemented_closes_the_connection() {
    let client = Broker::start().connect();
    let channel = client.channel();
    channel.ends_connection(channel_flow(), 540, "active=false");
    channel.expect_end();
}

#[test]
fn e001_long_texts_are_cut() {
    let channel = channel();
    let name = "q".repeat(255);
    channel.send(queue_declare(&name).passive());
    let text = format!("no queue '{name}' in vhost '/'");
    // With the code's name in front and the dots behind that makes 255 characters.
    let cut = format!("{}...", &text[..252 - "NOT_FOUND - ".len()]);
    channel.expect_channel_close(404, cut, (50, 10));
}

#[test]
fn e002_returns_carry_a_bare_text() {
    let channel = channel();
    channel.send_message(basic_publish("", "nowhere").mandatory(), &props(), b"back");
    let returned = channel.expect_return();
    assert_eq!(returned.reply, (312, "NO_ROUTE".into()));
}

/// Items 3, 4 and 127: what comes on a channel that the broker has closed is ignored, even what would be an error.
#[test]
fn e004_a_closed_channel_is_silent_until_close_ok() {
    let client = Broker::start().connect();
    let (channel, other) = (client.channel(), client.channel());
    let queue = other.temporary_queue();
    channel.send(queue_declare("no such queue").passive());
    channel.publish("no such exchange", "", "lost");
    channel.publish("", &queue, "lost as well");
    channel.send(queue_declare("no such queue").passive());
    channel.send(basic_ack(99));
    channel.expect_channel_close(404, "no queue 'no such queue' in vhost '/'", (50, 10));
    channel.call(channel_open());
    channel.expect_nothing_more();
    assert_eq!(other.ready(&queue), 0);
}

#[test]
fn e004_crossing_channel_closes() {
    let channel = channel();
    channel.send(queue_declare("no such queue").passive());
    channel.send(channel_close());
    // The broker's close comes first; the client's own is answered all the same.
    channel.expect_channel_close(404, "no queue 'no such queue' in vhost '/'", (50, 10));
    channel.expect_answer((20, 40));
    channel.call(channel_open());
}

/// Items 5 and 129.
#[test]
fn e005_channel_close_requeues_and_frees_the_number() {
    let client = Broker::start().connect();
    let (channel, other) = (client.channel(), client.channel());
    let queue = channel.temporary_queue();
    channel.publish_confirmed("", &queue, &["one", "two", "three"]);
    channel.expect_get(&queue);
    channel.expect_get(&queue);
    assert_eq!(other.ready(&queue), 1);
    channel.call(channel_close());
    assert_eq!(other.ready(&queue), 3);
    channel.call(channel_open());
    let first = channel.expect_get(&queue);
    assert_eq!((first.text(), first.redelivered, first.delivery_tag), ("one", true, 1));
}

#[test]
fn e006_errors_on_channel_0_close_the_connection() {
    let client = Broker::start().connect();
    client.send(queue_declare("on channel 0"));
    client.expect_connection_close(504, "unexpected method in connection state running", (50, 10));
    client.expect_end();
}

#[test]
fn e007_exclusive_queues_are_gone_before_close_ok() {
    let broker = Broker::start();
    let (client, observer) = (broker.connect(), broker.connect().channel());
    let queue = unique("exclusive");
    client.channel().declare(queue_declare(&queue).exclusive());
    client.call(connection_close());
    observer.refuses(queue_declare(&queue).passive(), 404, format!("no queue '{queue}' in vhost '/'"));
}

#[test]
fn e008_exclusive_queues_are_gone_before_the_server_s_close() {
    let broker = Broker::start();
    let (client, observer) = (broker.connect(), broker.connect().channel());
    let queue = unique("exclusive");
    let channel = client.channel();
    channel.declare(queue_declare(&queue).exclusive());
    channel.ends_connection(channel_flow(), 540, "active=false");
    observer.refuses(queue_declare(&queue).passive(), 404, format!("no queue '{queue}' in vhost '/'"));
}

#[test]
fn e008_what_comes_after_the_server_s_close_is_ignored() {
    let broker = Broker::start();
    let (client, observer) = (broker.connect(), broker.connect().channel());
    let queue = observer.declare(queue_declare(&unique("q")).auto_delete()).queue.to_string();
    let channel = client.channel();
    channel.send(channel_flow());
    channel.publish("", &queue, "too late");
    channel.send(queue_declare("no such queue").passive());
    client.expect_connection_close(540, "active=false", (20, 20));
    client.expect_end();
    assert_eq!(observer.ready(&queue), 0);
}

#[test]
fn e008_crossing_connection_closes() {
    let client = Broker::start().connect();
    let channel = client.channel();
    channel.send(channel_flow());
    let close = client.expect_method("connection.close");
    assert!(format!("{close:?}").contains("540"), "{close:?}");
    client.send(connection_close());
    client.expect_answer((10, 50));
}

#[test]
fn e008_a_dropped_connection_frees_its_exclusive_queues() {
    let broker = Broker::start();
    let (client, observer) = (broker.connect(), broker.connect().channel());
    let queue = client.channel().temporary_queue();
    client.wire().shut_down_writing();
    client.expect_end();
    observer.refuses(queue_declare(&queue).passive(), 404, format!("no queue '{queue}' in vhost '/'"));
}

#[test]
fn e009_an_operator_closes_a_connection() {
    let broker = Broker::start();
    if !broker.can_be_administered() {
        return;
    }
    let user = unique("user");
    broker.add_user(&user, &user);
    broker.set_permissions(&user, "/", ".*", ".*", ".*");
    let client = broker.connect_with(|options| options.log_in_as(&user));
    broker.close_all_user_connections(&user, "maintenance");
    client.expect_connection_close(320, "maintenance", (0, 0));
}

#[test]
fn e009_stopping_the_broker_closes_connections() {
    let Some(mut broker) = Broker::start_with(&[]) else { return };
    let client = broker.connect();
    let channel = client.channel();
    channel.temporary_queue();
    // The broker waits for close-ok, so it is stopped beside the client.
    std::thread::scope(|scope| {
        let stop = std::thread::Builder::new().name("test::stop".into());
        let stop = stop.spawn_scoped(scope, || broker.restart()).expect("a thread");
        client.expect_connection_close(320, "broker forced connection closure with reason 'shutdown'", (0, 0));
        client.expect_end();
        stop.join().expect("the broker stops");
    });
    broker.expect_healthy();
}

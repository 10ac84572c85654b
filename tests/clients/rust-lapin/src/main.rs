//! The cases for lapin.

mod harness;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt, future::try_join_all};
use harness::*;
use lapin::{
    BasicProperties, Channel, Confirmation, ConnectionProperties, ErrorKind, Event, ExchangeKind,
    options::*,
    types::{AMQPValue, FieldTable},
};

async fn tutorial_1(s: Arc<Scratch>) -> Outcome {
    let channel = s.channel().await?;
    let queue = s.plain_queue(&channel).await?;
    publish(&channel, "", &queue, b"Hello World!").await?;
    let mut consumer = consume(&channel, &queue, true).await?;
    expect(text(&next(&mut consumer).await?), "Hello World!", "received")
}

async fn tutorial_2(s: Arc<Scratch>) -> Outcome {
    let channel = s.channel().await?;
    let queue = s.queue(&channel, QueueDeclareOptions::durable(), FieldTable::default()).await?;
    let tasks: Vec<String> = (0..6).map(|i| format!("task {i}")).collect();
    for task in &tasks {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        channel
            .basic_publish("".into(), queue.as_str().into(), BasicPublishOptions::default(), task.as_bytes(), persistent)
            .await?;
    }

    // A worker that dies with a task in hand has had just that one ...
    let dying = s.connection().await?;
    let worker = dying.create_channel().await?;
    worker.basic_qos(1, BasicQosOptions::default()).await?;
    let mut consumer = consume(&worker, &queue, false).await?;
    let in_hand = next(&mut consumer).await?;
    expect(text(&in_hand), tasks[0].as_str(), "first task")?;
    expect(*in_hand.properties.delivery_mode(), Some(2), "delivery mode")?;
    expect(message_count(&channel, &queue).await?, 5, "tasks left in the queue")?;
    dying.close(200, "OK".into()).await?;

    // ... which goes to the next worker.
    let worker = s.channel().await?;
    worker.basic_qos(1, BasicQosOptions::default()).await?;
    let done = take(&worker, &queue, 6).await?;
    expect(done.iter().map(text).collect::<Vec<_>>(), tasks, "tasks of the second worker")?;
    let redelivered: Vec<bool> = done.iter().map(|d| d.redelivered).collect();
    expect(redelivered, [true, false, false, false, false, false], "redelivered")?;
    worker.close(200, "OK".into()).await?;
    expect(message_count(&channel, &queue).await?, 0, "tasks left at the end")
}

async fn tutorial_3(s: Arc<Scratch>) -> Outcome {
    let channel = s.channel().await?;
    let logs = s.exchange(&channel, ExchangeKind::Fanout, ExchangeDeclareOptions::default()).await?;
    let mut queues = Vec::new();
    for _ in 0..2 {
        let queue = channel.queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default()).await?;
        let name = queue.name().to_string();
        expect(name.starts_with("amq.gen-"), true, &format!("the name {name} begins with amq.gen-"))?;
        bind(&channel, &name, &logs, "").await?;
        queues.push(name);
    }
    for line in ["one", "two"] {
        publish(&channel, &logs, "", line.as_bytes()).await?;
    }
    for queue in queues {
        expect(texts(&channel, &queue, 2).await?, ["one", "two"], "log lines")?;
    }
    Ok(())
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> lapin::Result<()> {
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default()).await
}

/// Binds a queue for each list of patterns, publishes each key as a message, and compares
/// what every queue gets.
async fn routed(s: &Scratch, kind: ExchangeKind, keys: &[&str], queues: &[(&[&str], &[&str])]) -> Outcome {
    let channel = s.channel().await?;
    let exchange = s.exchange(&channel, kind, ExchangeDeclareOptions::default()).await?;
    let mut bound = Vec::new();
    for (patterns, expected) in queues {
        let queue = s.queue(&channel, QueueDeclareOptions::exclusive(), FieldTable::default()).await?;
        for pattern in *patterns {
            bind(&channel, &queue, &exchange, pattern).await?;
        }
        bound.push((queue, expected));
    }
    for key in keys {
        publish(&channel, &exchange, key, key.as_bytes()).await?;
    }
    for (queue, expected) in bound {
        let messages = take(&channel, &queue, expected.len()).await?;
        let routing_keys: Vec<&str> = messages.iter().map(|m| m.routing_key.as_str()).collect();
        expect(routing_keys, *expected, "routing keys")?;
        expect(messages.iter().map(text).collect::<Vec<_>>(), *expected, "bodies")?;
        expect(message_count(&channel, &queue).await?, 0, "further messages")?;
    }
    Ok(())
}

async fn tutorial_4(s: Arc<Scratch>) -> Outcome {
    let keys = ["info", "error", "debug", "warning", "error"];
    routed(
        &s,
        ExchangeKind::Direct,
        &keys,
        &[
            (&["error"], &["error", "error"]),
            (&["info", "warning", "error"], &["info", "error", "warning", "error"]),
        ],
    )
    .await
}

async fn tutorial_5(s: Arc<Scratch>) -> Outcome {
    let keys = [
        "quick.orange.rabbit",
        "lazy.orange.elephant",
        "quick.orange.fox",
        "lazy.brown.fox",
        "lazy.pink.rabbit",
        "quick.brown.fox",
        "orange",
        "quick.orange.new.rabbit",
        "lazy.orange.new.rabbit",
        "lazy",
    ];
    let orange = ["quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox"];
    let rabbits_and_lazy = [
        "quick.orange.rabbit",
        "lazy.orange.elephant",
        "lazy.brown.fox",
        "lazy.pink.rabbit",
        "lazy.orange.new.rabbit",
        "lazy",
    ];
    routed(
        &s,
        ExchangeKind::Topic,
        &keys,
        &[(&["*.orange.*"], &orange), (&["*.*.rabbit", "lazy.#"], &rabbits_and_lazy), (&["#"], &keys)],
    )
    .await
}

async fn tutorial_6(s: Arc<Scratch>) -> Outcome {
    let server = s.channel().await?;
    let rpc_queue = s.plain_queue(&server).await?;
    server.basic_qos(1, BasicQosOptions::default()).await?;
    let requests = consume(&server, &rpc_queue, false).await?;
    let serving = tokio::spawn(serve_fibonacci(server, requests));

    let client = s.channel().await?;
    let own = client.queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default()).await?;
    let own = own.name().to_string();
    let addresses = call_fibonacci(&client, &rpc_queue, &own, false).await?;
    expect(addresses, [own.as_str(), own.as_str()], "reply_to in the requests")?;

    let client = s.channel().await?;
    let addresses = call_fibonacci(&client, &rpc_queue, "amq.rabbitmq.reply-to", true).await?;
    let direct = addresses.iter().all(|a| a.starts_with("amq.rabbitmq.reply-to."));
    expect(direct, true, &format!("reply_to {addresses:?} begins with amq.rabbitmq.reply-to."))?;
    serving.abort();
    Ok(())
}

fn fib(n: u32) -> u32 {
    if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
}

async fn serve_fibonacci(channel: Channel, mut requests: lapin::Consumer) -> Outcome {
    while let Some(request) = requests.next().await {
        let request = request?;
        let reply_to = request.properties.reply_to().clone().ok_or("no reply_to")?;
        let answer = format!("{} {reply_to}", fib(text(&request).parse()?));
        let correlation_id = request.properties.correlation_id().clone().ok_or("no correlation_id")?;
        let properties = BasicProperties::default().with_correlation_id(correlation_id);
        channel
            .basic_publish("".into(), reply_to, BasicPublishOptions::default(), answer.as_bytes(), properties)
            .await?;
        request.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

/// Calls twice; gives the addresses that the server saw.
async fn call_fibonacci(channel: &Channel, rpc_queue: &str, reply_to: &str, no_ack: bool) -> Outcome<Vec<String>> {
    let mut replies = consume(channel, reply_to, no_ack).await?;
    let mut addresses = Vec::new();
    for n in [5, 10] {
        let id = format!("call-{n}");
        let properties = BasicProperties::default()
            .with_reply_to(reply_to.into())
            .with_correlation_id(id.as_str().into());
        channel
            .basic_publish("".into(), rpc_queue.into(), BasicPublishOptions::default(), n.to_string().as_bytes(), properties)
            .await?;
        let reply = next(&mut replies).await?;
        if !no_ack {
            reply.ack(BasicAckOptions::default()).await?;
        }
        expect(reply.properties.correlation_id().as_ref().map(|id| id.as_str()), Some(id.as_str()), "correlation id")?;
        let body = text(&reply);
        let (number, address) = body.split_once(' ').ok_or("malformed reply")?;
        expect(number, fib(n).to_string(), &format!("fib({n})"))?;
        addresses.push(address.to_owned());
    }
    Ok(addresses)
}

async fn confirming_channel(s: &Scratch) -> Outcome<(Channel, String)> {
    let channel = s.channel().await?;
    let queue = s.plain_queue(&channel).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((channel, queue))
}

async fn publish_confirmed(channel: &Channel, queue: &str, body: String) -> lapin::Result<lapin::PublisherConfirm> {
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), BasicProperties::default()).await
}

async fn confirms_one_by_one(s: Arc<Scratch>) -> Outcome {
    let (channel, queue) = confirming_channel(&s).await?;
    for i in 0..50 {
        let confirm = publish_confirmed(&channel, &queue, i.to_string()).await?;
        expect(within(DEADLINE, "a confirm", confirm).await??, Confirmation::Ack(None), "confirm")?;
        expect(message_count(&channel, &queue).await?, i + 1, "messages after the confirm")?;
    }
    Ok(())
}

async fn confirms_batch(s: Arc<Scratch>) -> Outcome {
    let (channel, queue) = confirming_channel(&s).await?;
    for batch in 0..5 {
        for i in 0..100 {
            publish_confirmed(&channel, &queue, (batch * 100 + i).to_string()).await?;
        }
        let returned = within(DEADLINE, "the confirms", channel.wait_for_confirms()).await??;
        expect(returned.len(), 0, "returned messages")?;
        expect(message_count(&channel, &queue).await?, (batch + 1) * 100, "messages after the batch")?;
    }
    let expected: Vec<String> = (0..500).map(|i| i.to_string()).collect();
    expect(texts(&channel, &queue, 500).await?, expected, "messages in the queue")
}

async fn confirms_asynchronous(s: Arc<Scratch>) -> Outcome {
    let (channel, queue) = confirming_channel(&s).await?;
    let mut confirms = Vec::new();
    for i in 0..2000 {
        confirms.push(publish_confirmed(&channel, &queue, i.to_string()).await?);
    }
    let confirmed = within(DEADLINE, "the confirms", try_join_all(confirms)).await??;
    expect(confirmed.len(), 2000, "confirms")?;
    expect(confirmed.iter().all(|c| *c == Confirmation::Ack(None)), true, "every confirm is an ack")?;
    expect(message_count(&channel, &queue).await?, 2000, "messages in the queue")
}

async fn mandatory_return(s: Arc<Scratch>) -> Outcome {
    let (channel, queue) = confirming_channel(&s).await?;
    let nowhere = unique("nowhere");
    let publish = async |key: &str, mandatory: bool, body: &[u8]| {
        let options = BasicPublishOptions { mandatory, ..Default::default() };
        let properties = BasicProperties::default().with_message_id("m1".into());
        let confirm = channel.basic_publish("".into(), key.into(), options, body, properties).await?;
        within(DEADLINE, "a confirm", confirm).await?.map_err(Failure::from)
    };

    let confirmation = publish(&nowhere, true, b"lost").await?;
    expect(confirmation.is_ack(), true, "the returned message is confirmed")?;
    let returned = confirmation.take_message().ok_or("the message was not returned")?;
    expect((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"), "return")?;
    expect((returned.exchange.as_str(), returned.routing_key.as_str()), ("", nowhere.as_str()), "address")?;
    expect(text(&returned), "lost", "body")?;
    expect(returned.properties.message_id().as_ref().map(|id| id.as_str()), Some("m1"), "message id")?;

    expect(publish(&nowhere, false, b"dropped").await?, Confirmation::Ack(None), "confirm for a message to nowhere")?;
    expect(publish(&queue, true, b"kept").await?, Confirmation::Ack(None), "confirm for a routed message")?;
    expect(texts(&channel, &queue, 1).await?, ["kept"], "routed message")
}

async fn nack_requeue(s: Arc<Scratch>) -> Outcome {
    let channel = s.channel().await?;
    let queue = s.plain_queue(&channel).await?;
    for body in ["a", "b", "c", "d"] {
        publish(&channel, "", &queue, body.as_bytes()).await?;
    }
    let get = async || channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await;
    let first = get().await?.ok_or("the queue is empty")?;
    let second = get().await?.ok_or("the queue is empty")?;
    expect((text(&first), first.redelivered), ("a".into(), false), "first message")?;
    expect((text(&second), second.redelivered), ("b".into(), false), "second message")?;
    second.nack(BasicNackOptions { multiple: true, requeue: true }).await?;

    for (body, redelivered) in [("a", true), ("b", true), ("c", false), ("d", false)] {
        let message = get().await?.ok_or("the queue is empty")?;
        expect((text(&message), message.redelivered), (body.into(), redelivered), "message after the requeue")?;
        if body == "c" {
            message.nack(BasicNackOptions::default()).await?;
        } else {
            message.ack(BasicAckOptions::default()).await?;
        }
    }
    expect(get().await?.is_none(), true, "the queue is empty at the end")
}

async fn prefetch_fairness(s: Arc<Scratch>) -> Outcome {
    let connection = s.connection().await?;
    let (slow, fast) = (connection.create_channel().await?, connection.create_channel().await?);
    let queue = s.plain_queue(&slow).await?;
    slow.basic_qos(1, BasicQosOptions::default()).await?;
    fast.basic_qos(1, BasicQosOptions::default()).await?;
    let mut slow_consumer = consume(&slow, &queue, false).await?;
    let mut fast_consumer = consume(&fast, &queue, false).await?;
    for i in 0..20 {
        publish(&slow, "", &queue, i.to_string().as_bytes()).await?;
    }
    // The slow consumer acknowledges nothing, so all but its one message are for the fast one.
    let at_slow = next(&mut slow_consumer).await?;
    let mut bodies = BTreeSet::from([text(&at_slow)]);
    for _ in 0..19 {
        let delivery = next(&mut fast_consumer).await?;
        bodies.insert(text(&delivery));
        delivery.ack(BasicAckOptions::default()).await?;
    }
    expect(bodies, (0..20).map(|i| i.to_string()).collect::<BTreeSet<_>>(), "messages at both")?;

    // After its ack it has room for one more.
    at_slow.ack(BasicAckOptions::default()).await?;
    publish(&slow, "", &queue, b"more").await?;
    publish(&slow, "", &queue, b"more").await?;
    expect(text(&next(&mut slow_consumer).await?), "more", "message after the ack")?;
    expect(text(&next(&mut fast_consumer).await?), "more", "message for the fast consumer")
}

async fn exclusive_queue(s: Arc<Scratch>) -> Outcome {
    let owner = s.connection().await?;
    let channel = owner.create_channel().await?;
    let queue = s.queue(&channel, QueueDeclareOptions::exclusive(), FieldTable::default()).await?;
    let vhost = vhost();
    let locked =
        format!("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '{vhost}'");

    let stranger = s.connection().await?;
    let other = stranger.create_channel().await?;
    let redeclared = other
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::exclusive(), FieldTable::default())
        .await;
    expect_error_prefix(redeclared, 405, &locked)?;
    expect_error_prefix(declare_passive(&stranger.create_channel().await?, &queue).await, 405, &locked)?;
    expect_error_prefix(consume(&stranger.create_channel().await?, &queue, false).await, 405, &locked)?;
    let other = stranger.create_channel().await?;
    let deleted = other.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
    expect_error_prefix(deleted, 405, &locked)?;

    publish(&channel, "", &queue, b"mine").await?;
    expect(texts(&channel, &queue, 1).await?, ["mine"], "message for the owner")?;
    owner.close(200, "OK".into()).await?;
    let gone = declare_passive(&stranger.create_channel().await?, &queue).await;
    expect_error(gone, 404, &format!("NOT_FOUND - no queue '{queue}' in vhost '{vhost}'"))
}

async fn auto_delete_queue(s: Arc<Scratch>) -> Outcome {
    let connection = s.connection().await?;
    let channel = connection.create_channel().await?;
    let queue = s.queue(&channel, QueueDeclareOptions::default().auto_delete(), FieldTable::default()).await?;
    let first = consume(&channel, &queue, false).await?;
    let second = consume(&channel, &queue, false).await?;
    channel.basic_cancel(first.tag(), BasicCancelOptions::default()).await?;
    expect(declare_passive(&channel, &queue).await?.consumer_count(), 1, "consumers left")?;
    channel.basic_cancel(second.tag(), BasicCancelOptions::default()).await?;

    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let found = declare_passive(&connection.create_channel().await?, &queue).await;
        if found.is_err() {
            return expect_error(found, 404, &format!("NOT_FOUND - no queue '{queue}' in vhost '{}'", vhost()));
        }
        expect(Instant::now() < deadline, true, "the queue is gone in time")?;
    }
}

async fn redeclare_errors(s: Arc<Scratch>) -> Outcome {
    let connection = s.connection().await?;
    let vhost = vhost();
    let limit = |n: i32| {
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(n));
        arguments
    };
    let channel = connection.create_channel().await?;
    let queue = s.queue(&channel, QueueDeclareOptions::durable(), limit(10)).await?;
    let exchange = s.exchange(&channel, ExchangeKind::Fanout, ExchangeDeclareOptions::default()).await?;
    let declare = async |options: QueueDeclareOptions, arguments: FieldTable| {
        let channel = connection.create_channel().await?;
        channel.queue_declare(queue.as_str().into(), options, arguments).await
    };
    let inequivalent = |arg: &str, detail: &str| {
        format!("PRECONDITION_FAILED - inequivalent arg '{arg}' for queue '{queue}' in vhost '{vhost}': {detail}")
    };

    declare(QueueDeclareOptions::durable(), limit(10)).await?;
    let result = declare(QueueDeclareOptions::default(), limit(10)).await;
    expect_error(result, 406, &inequivalent("durable", "received 'false' but current is 'true'"))?;
    let result = declare(QueueDeclareOptions::durable().auto_delete(), limit(10)).await;
    expect_error(result, 406, &inequivalent("auto_delete", "received 'true' but current is 'false'"))?;
    let result = declare(QueueDeclareOptions::durable(), limit(20)).await;
    expect_error(result, 406, &inequivalent("x-max-length", "received '20' but current is '10'"))?;
    let result = declare(QueueDeclareOptions::durable(), FieldTable::default()).await;
    let text = inequivalent("x-max-length", "received none but current is the value '10' of type 'signedint'");
    expect_error(result, 406, &text)?;

    let channel = connection.create_channel().await?;
    let options = ExchangeDeclareOptions::default();
    let result = channel
        .exchange_declare(exchange.as_str().into(), ExchangeKind::Direct, options, FieldTable::default())
        .await;
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange '{exchange}' in vhost '{vhost}': \
         received 'direct' but current is 'fanout'"
    );
    expect_error(result, 406, &text)?;

    let missing = unique("missing");
    let result = declare_passive(&connection.create_channel().await?, &missing).await;
    expect_error(result, 404, &format!("NOT_FOUND - no queue '{missing}' in vhost '{vhost}'"))?;
    let channel = connection.create_channel().await?;
    let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let result = channel
        .exchange_declare(missing.as_str().into(), ExchangeKind::Direct, options, FieldTable::default())
        .await;
    expect_error(result, 404, &format!("NOT_FOUND - no exchange '{missing}' in vhost '{vhost}'"))
}

/// The first error on a connection's event stream.
async fn connection_error(mut events: impl Stream<Item = Event> + Unpin) -> Outcome<lapin::Error> {
    while let Some(event) = events.next().await {
        if let Event::Error(error) = event {
            return Ok(error);
        }
    }
    Err("the event stream ended without an error".into())
}

async fn reconnect_after_restart(s: Arc<Scratch>) -> Outcome {
    let plain = s.connection().await?;
    let events = plain.events_listener();
    let channel = plain.create_channel().await?;
    let queue = s.queue(&channel, QueueDeclareOptions::durable(), FieldTable::default()).await?;
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let exchange = s.exchange(&channel, ExchangeKind::Direct, options).await?;
    bind(&channel, &queue, &exchange, "key").await?;

    // This one recovers by itself, with its consumer.
    let properties = ConnectionProperties::default()
        .configure_backoff(|b| b.with_max_delay(Duration::from_secs(1)).with_max_times(60))
        .enable_auto_recover();
    let recovering = s.connection_with(properties, None).await?;
    let recovering_channel = recovering.create_channel().await?;
    let mut consumer = consume(&recovering_channel, &queue, false).await?;

    broker("restart").await?;
    let error = within(DEADLINE, "the connection to be closed", connection_error(Box::pin(events))).await??;
    // lapin shows the broker's reason only if it could still send its close-ok, for which
    // a RabbitMQ that stops does not wait.
    if !error.is_io_error() {
        let (code, reason) = protocol_error(error)?;
        expect(code, 320, "reply code")?;
        expect(reason.split(' ').next(), Some("CONNECTION_FORCED"), "reply text")?;
    }

    let channel = s.reconnected().await?.create_channel().await?;
    declare_passive(&channel, &queue).await?;
    let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
    channel
        .exchange_declare(exchange.as_str().into(), ExchangeKind::Direct, passive, FieldTable::default())
        .await?;
    publish(&channel, &exchange, "key", b"through the binding").await?;
    let recovered = async {
        while let Some(delivery) = consumer.next().await {
            match delivery {
                Ok(delivery) => return Ok(delivery),
                Err(error) => recovering_channel.wait_for_recovery(error).await?,
            }
        }
        Err(Failure::from("the consumer has ended"))
    };
    let delivery = within(Duration::from_secs(60), "the recovered consumer", recovered).await??;
    delivery.ack(BasicAckOptions::default()).await?;
    expect(text(&delivery), "through the binding", "message")
}

async fn body_10_mib(s: Arc<Scratch>) -> Outcome {
    let channel = s.channel().await?;
    let queue = s.plain_queue(&channel).await?;
    let body: Vec<u8> = (0..10u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    publish(&channel, "", &queue, &body).await?;
    let received = take(&channel, &queue, 1).await?;
    expect(received[0].data.len(), body.len(), "length of the body")?;
    expect(received[0].data == body, true, "the body came back the same")
}

async fn channels_2000(s: Arc<Scratch>) -> Outcome {
    let connection = s.connection().await?;
    let mut channels = Vec::new();
    for _ in 0..2000 {
        channels.push(connection.create_channel().await?);
    }
    let queue = s.plain_queue(&channels[0]).await?;
    for (number, channel) in channels.iter().enumerate() {
        publish(channel, "", &queue, number.to_string().as_bytes()).await?;
    }
    let mut counts = BTreeMap::new();
    for body in texts(&channels[1999], &queue, 2000).await? {
        *counts.entry(body.parse::<usize>()?).or_insert(0) += 1;
    }
    expect(counts.into_iter().collect::<Vec<_>>(), (0..2000).map(|n| (n, 1)).collect::<Vec<_>>(), "messages of the channels")?;
    expect(channels.iter().all(|c| c.status().connected()), true, "all channels are open")
}

async fn heartbeat_timeout(s: Arc<Scratch>) -> Outcome {
    let connection = s.connection_with(ConnectionProperties::default(), Some(2)).await?;
    let events = connection.events_listener();
    broker("pause").await?;
    let error = within(Duration::from_secs(30), "the heartbeats to be missed", connection_error(Box::pin(events))).await;
    broker("resume").await?;
    let error = error??;
    expect(matches!(error.kind(), ErrorKind::MissingHeartbeatError), true, &format!("{error} is about the heartbeat"))?;

    let channel = s.reconnected().await?.create_channel().await?;
    let queue = s.plain_queue(&channel).await?;
    publish(&channel, "", &queue, b"alive").await?;
    expect(texts(&channel, &queue, 1).await?, ["alive"], "message after the pause")
}

/// The version that Cargo.lock pins; the crate itself does not tell.
fn lapin_version() -> &'static str {
    let (_, lapin) = include_str!("../Cargo.lock").split_once("name = \"lapin\"\nversion = \"").expect("lapin is locked");
    lapin.split('"').next().unwrap_or_default()
}

macro_rules! cases {
    ($($name:literal, $seconds:literal, $function:ident;)*) => {
        [$(($name, $seconds, (|s| Box::pin($function(s))) as Case)),*]
    };
}

#[tokio::main]
async fn main() -> ExitCode {
    println!("client lapin {}", lapin_version());
    let all_passed = run(&cases! {
        "tutorial-1-hello-world", 60, tutorial_1;
        "tutorial-2-work-queues", 60, tutorial_2;
        "tutorial-3-publish-subscribe", 60, tutorial_3;
        "tutorial-4-routing", 60, tutorial_4;
        "tutorial-5-topics", 60, tutorial_5;
        "tutorial-6-rpc", 60, tutorial_6;
        "tutorial-7-confirms-one-by-one", 60, confirms_one_by_one;
        "tutorial-7-confirms-batch", 60, confirms_batch;
        "tutorial-7-confirms-asynchronous", 60, confirms_asynchronous;
        "mandatory-return", 60, mandatory_return;
        "nack-requeue", 60, nack_requeue;
        "prefetch-fairness", 60, prefetch_fairness;
        "exclusive-queue", 60, exclusive_queue;
        "auto-delete-queue", 60, auto_delete_queue;
        "redeclare-errors", 60, redeclare_errors;
        "reconnect-after-restart", 150, reconnect_after_restart;
        "body-10-mib", 60, body_10_mib;
        "channels-2000", 180, channels_2000;
        "heartbeat-timeout", 90, heartbeat_timeout;
    })
    .await;
    if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

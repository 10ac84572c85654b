//! The exchange `amq.rabbitmq.event`: what it tells, with the keys and headers of RabbitMQ's plugin.

use leveret::frames::{Table, Value};

use super::harness::client::capable_of;
use super::harness::*;

/// A broker of the test's own, a channel, and the queue of all events.
struct Told {
    channel: Channel,
    queue: String,
    broker: Broker,
}

fn start() -> Option<Told> {
    let broker = Broker::start_with(&[("event_exchange", "true")])?;
    let channel = broker.connect().channel();
    let queue = channel.temporary_queue();
    channel.call(queue_bind(&queue, "amq.rabbitmq.event", "#"));
    let told = Told { channel, queue, broker };
    told.until("binding.created");
    Some(told)
}

impl Told {
    /// Waits for the next event with this key; those before it are passed over.
    #[track_caller]
    fn until(&self, key: &str) -> Table {
        loop {
            let event = self.channel.expect_get_eventually(&self.queue);
            assert_eq!((&*event.exchange, event.text()), ("amq.rabbitmq.event", ""));
            let headers = event.props.headers();
            assert!(headers.get("timestamp_in_ms").is_some_and(|ms| ms.as_int() > Some(1_700_000_000_000)));
            if &*event.routing_key == key {
                return headers;
            }
        }
    }

    /// The same, with these headers among others.
    #[track_caller]
    fn expect(&self, key: &str, headers: &[(&str, Value)]) -> Table {
        let event = self.until(key);
        for (name, value) in headers {
            assert_eq!(event.get(name), Some(value), "{key}: {name}");
        }
        event
    }
}

fn text(text: &str) -> Value {
    Value::text(text)
}

fn list(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(Value::text).collect())
}

#[test]
fn a3_events_of_queues_exchanges_and_bindings() {
    let Some(told) = start() else { return };
    let channel = &told.channel;
    let by_guest = ("user_who_performed_action", text("guest"));
    channel.call(queue_declare("q").durable().arg("x-max-length", 5));
    let arguments = list(&["{<<\"x-max-length\">>,signedint,5}"]);
    let q = [("name", text("q")), ("vhost", text("/")), ("durable", Value::Bool(true)), ("arguments", arguments)];
    told.expect("queue.created", &[&q[..], &[("exclusive", Value::Bool(false)), by_guest.clone()]].concat());
    channel.call(queue_declare("q").durable().arg("x-max-length", 5));
    channel.call(exchange_declare("e", "topic").auto_delete());
    told.expect("exchange.created", &[("name", text("e")), ("type", text("topic")), by_guest.clone()]);
    channel.call(queue_bind("q", "e", "k").arg("a", 1));
    let binding = [
        ("source_name", text("e")),
        ("source_kind", text("exchange")),
        ("destination_name", text("q")),
        ("destination_kind", text("queue")),
        ("routing_key", text("k")),
    ];
    told.expect("binding.created", &binding);
    channel.call(queue_delete("q"));
    // The exchange goes with its last binding.
    told.expect("binding.deleted", &binding);
    told.expect("exchange.deleted", &[("name", text("e")), ("vhost", text("/"))]);
    told.expect("queue.deleted", &[("name", text("q")), by_guest]);
    channel.call(queue_declare("again"));
    told.expect("queue.created", &[("name", text("again"))]);
}

/// What is refused has not happened.
#[test]
fn a3_no_event_of_what_is_refused() {
    let Some(told) = start() else { return };
    told.channel.call(queue_declare("q"));
    told.until("queue.created");
    let other = told.broker.connect().channel();
    let inequivalent = "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'";
    other.refuses(queue_declare("q").durable(), 406, inequivalent);
    told.channel.call(queue_declare("control"));
    told.expect("queue.created", &[("name", text("control"))]);
}

#[test]
fn a3_events_of_connections_channels_and_consumers() {
    let Some(told) = start() else { return };
    told.channel.call(queue_declare("q"));
    let client = told.broker.connect();
    told.expect("user.authentication.success", &[("name", text("guest")), ("auth_mechanism", text("PLAIN"))]);
    let opened = told.expect("connection.created", &[("user", text("guest")), ("vhost", text("/"))]);
    assert_eq!(opened.get("peer_host"), Some(&text("127.0.0.1")));
    let channel = client.channel();
    let created = told.expect("channel.created", &[("number", Value::I64(1)), ("user", text("guest"))]);
    assert_eq!(created.get("connection"), opened.get("pid"));
    channel.call(basic_qos(7));
    channel.consume(basic_consume("q", "one"));
    let consumer = [("consumer_tag", text("one")), ("queue", text("q")), ("ack_required", Value::Bool(true))];
    let consumer = told.expect("consumer.created", &[&consumer[..], &[("prefetch_count", Value::I64(7))]].concat());
    assert_eq!(consumer.get("channel"), created.get("pid"));
    channel.call(basic_cancel("one"));
    told.expect("consumer.deleted", &[("consumer_tag", text("one")), ("queue", text("q"))]);
    channel.consume(basic_consume("q", "two").no_ack());
    drop(channel);
    client.close();
    told.expect("consumer.deleted", &[("consumer_tag", text("two"))]);
    assert_eq!(told.until("channel.closed").get("pid"), created.get("pid"));
    let closed = told.until("connection.closed");
    assert_eq!((closed.get("pid"), closed.get("name")), (opened.get("pid"), opened.get("name")));

    let consuming = told.broker.connect().channel();
    consuming.consume(basic_consume("q", "three"));
    told.channel.call(queue_delete("q"));
    told.expect("consumer.deleted", &[("consumer_tag", text("three")), ("queue", text("q"))]);
}

#[test]
fn a3_a_failed_login_is_an_event() {
    let Some(told) = start() else { return };
    let client = told.broker.socket();
    client.greet();
    client.send(start_ok(capable_of(&["authentication_failure_close"]), "PLAIN", b"\0nobody\0secret"));
    let failure = told.expect("user.authentication.failure", &[("name", text("nobody"))]);
    assert!(failure.get("error").is_some());
}

#[test]
fn a3_events_of_users_vhosts_and_policies() {
    let Some(told) = start() else { return };
    let broker = &told.broker;
    broker.add_vhost("v");
    told.expect("exchange.created", &[("name", text("")), ("vhost", text("v"))]);
    told.expect("vhost.created", &[("name", text("v"))]);
    broker.add_user("u", "secret");
    told.expect("user.created", &[("name", text("u"))]);
    told.expect("user.tags.set", &[("name", text("u")), ("tags", list(&[]))]);
    broker.set_user_tags("u", "management");
    told.expect("user.tags.set", &[("name", text("u")), ("tags", list(&["management"]))]);
    broker.set_permissions("u", "v", "a", "b", "c");
    let allowed = [("configure", text("a")), ("write", text("b")), ("read", text("c")), ("vhost", text("v"))];
    told.expect("permission.created", &allowed);
    let policy = serde_json::json!({"pattern": "^x", "definition": {"max-length": 3}, "apply-to": "queues"});
    broker.set_policy("p", policy.clone(), false).expect("a valid policy");
    let definition: Table = [("max-length", Value::I64(3))].into_iter().collect();
    let expected = [("pattern", text("^x")), ("apply-to", text("queues")), ("definition", Value::Table(definition))];
    told.expect("policy.set", &expected);
    broker.clear_policy("p", false).expect("it is there");
    told.expect("policy.cleared", &[("name", text("p"))]);
    broker.set_policy("o", policy, true).expect("a valid policy");
    told.expect("parameter.set", &[("component", text("operator_policy")), ("name", text("o"))]);
    told.expect("policy.set", &[("name", text("o"))]);
    broker.delete_vhost("v");
    told.expect("permission.deleted", &[("user", text("u")), ("vhost", text("v"))]);
    told.expect("exchange.deleted", &[("vhost", text("v"))]);
    told.expect("vhost.deleted", &[("name", text("v")), ("user_who_performed_action", text("rmq-internal"))]);
}

/// Bindings of the exchange are stored like others; the exchange is there as long as they are.
#[test]
fn a3_bindings_of_events_survive_a_restart() {
    let Some(mut broker) = Broker::start_with(&[("event_exchange", "true")]) else { return };
    let channel = broker.connect().channel();
    channel.call(queue_declare("events").durable());
    // Of the queues only the last one is deleted: what is told late of the first is nothing here.
    channel.call(queue_bind("events", "amq.rabbitmq.event", "queue.deleted"));
    drop(channel);
    broker.restart();
    let channel = broker.connect().channel();
    channel.call(queue_declare("q"));
    channel.call(queue_delete("q"));
    let event = channel.expect_get_eventually("events");
    assert_eq!((&*event.routing_key, event.props.headers().get("name")), ("queue.deleted", Some(&text("q"))));
}

#[test]
fn a3_without_the_switch_there_is_no_event_exchange() {
    let Some(broker) = Broker::start_with(&[]) else { return };
    let channel = broker.connect().channel();
    let queue = channel.temporary_queue();
    let text = "no exchange 'amq.rabbitmq.event' in vhost '/'";
    channel.refuses(queue_bind(&queue, "amq.rabbitmq.event", "#"), 404, text);
}

#[test]
fn a3_alarms_are_events() {
    let Some(told) = start() else { return };
    let memory = told.broker.node().broker().memory;
    let limit = memory.limit();
    memory.set_limit(1);
    let source = ("source", text("memory"));
    told.expect("alarm.set", std::slice::from_ref(&source));
    memory.set_limit(limit);
    told.expect("alarm.cleared", &[source]);
}

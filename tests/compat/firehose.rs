//! E-9, item 117: what `amq.rabbitmq.trace` tells while a virtual host is traced.

use leveret::frames::{Table, Value};

use super::harness::*;

/// A broker of the test's own, a channel, and the queue of all that is told.
struct Traced {
    channel: Channel,
    told: String,
    broker: Broker,
}

fn start() -> Option<Traced> {
    let broker = Broker::start_with(&[])?;
    let channel = broker.connect().channel();
    let told = channel.temporary_queue();
    channel.call(queue_bind(&told, "amq.rabbitmq.trace", "#"));
    Some(Traced { channel, told, broker })
}

impl Traced {
    fn set(&self, on: bool) {
        self.broker.set_tracing("/", on);
    }

    /// The next entry, which must have this routing key and body.
    #[track_caller]
    fn expect(&self, key: &str, body: &str) -> Table {
        let entry = self.channel.expect_get_eventually(&self.told);
        assert_eq!((&*entry.exchange, &*entry.routing_key, entry.text()), ("amq.rabbitmq.trace", key, body));
        entry.props.headers()
    }
}

fn texts(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(Value::text).collect())
}

#[test]
fn e117_publishes_and_deliveries_are_told() {
    let Some(traced) = start() else { return };
    let channel = &traced.channel;
    let queue = channel.temporary_queue();
    traced.set(true);
    channel.publish_with("amq.direct", "nobody", props(), "unroutable");
    let headers = traced.expect("publish.amq.direct", "unroutable");
    assert_eq!(headers.get("routed_queues"), Some(&texts(&[])));

    let lists = props().persistent().header("CC", ["c"]).header("BCC", ["b"]);
    channel.publish_with("", &queue, lists, "m");
    let published = traced.expect("publish.", "m");
    channel.consume(basic_consume(&queue, ""));
    channel.expect_deliver();
    let delivered = traced.expect(&format!("deliver.{queue}"), "m");
    for headers in [&published, &delivered] {
        assert_eq!(headers.get("exchange_name"), Some(&Value::text("")));
        assert_eq!(headers.get("routing_keys"), Some(&texts(&[&queue, "c", "b"])));
        assert_eq!(headers.get("vhost"), Some(&Value::text("/")));
        assert_eq!(headers.get("user"), Some(&Value::text("guest")));
        assert_eq!(headers.get("channel"), Some(&Value::I32(1)));
        let Some(Value::LongStr(connection)) = headers.get("connection") else { panic!("no connection") };
        assert!(String::from_utf8_lossy(connection).contains(" -> "));
        let Some(Value::Table(properties)) = headers.get("properties") else { panic!("no properties") };
        assert_eq!(properties.get("delivery_mode"), Some(&Value::I32(2)));
    }
    assert_eq!((published.get("routed_queues"), published.get("redelivered")), (Some(&texts(&[&queue])), None));
    assert_eq!((delivered.get("routed_queues"), delivered.get("redelivered")), (None, Some(&Value::I32(0))));
}

/// Also a message that a consumer without acks gets at once.
#[test]
fn e117_every_way_out_is_told() {
    let Some(traced) = start() else { return };
    let channel = &traced.channel;
    let (got, consumed) = (channel.temporary_queue(), channel.temporary_queue());
    channel.consume(basic_consume(&consumed, "").no_ack());
    traced.set(true);
    channel.publish("", &got, "one");
    channel.expect_get(&got);
    traced.expect("publish.", "one");
    traced.expect(&format!("deliver.{got}"), "one");
    channel.publish("", &consumed, "two");
    channel.expect_deliver();
    traced.expect("publish.", "two");
    traced.expect(&format!("deliver.{consumed}"), "two");
}

#[test]
fn e117_a_transaction_is_told_when_it_is_committed() {
    let Some(traced) = start() else { return };
    let other = traced.broker.connect().channel();
    let queue = traced.channel.temporary_queue();
    traced.set(true);
    other.call(tx_select());
    other.publish("amq.fanout", "", "rolled back");
    other.call(tx_rollback());
    other.publish("amq.fanout", &queue, "committed");
    other.call(tx_commit());
    traced.expect("publish.amq.fanout", "committed");
}

#[test]
fn e117_nothing_is_told_unless_it_is_on() {
    let Some(traced) = start() else { return };
    let channel = &traced.channel;
    let queue = channel.temporary_queue();
    channel.consume(basic_consume(&queue, ""));
    let pass = |body: &str| {
        channel.publish("", &queue, body);
        assert_eq!(channel.expect_deliver().text(), body);
    };
    pass("before");
    traced.set(true);
    pass("traced");
    traced.expect("publish.", "traced");
    traced.expect(&format!("deliver.{queue}"), "traced");
    traced.set(false);
    pass("after");
    assert_eq!(channel.ready(&traced.told), 0);
}

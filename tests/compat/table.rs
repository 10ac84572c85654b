//! E-3: field tables and properties pass through as they came.

use leveret::frames::content::Property;
use leveret::frames::{Table, Value};

use super::harness::*;

fn all_types() -> Table {
    let inner: Table = [("zebra", Value::I32(1)), ("ant", Value::Void)].into_iter().collect();
    let values = [
        ("S", Value::text("text")),
        ("empty", Value::text("")),
        ("T", Value::Timestamp(u64::MAX)),
        ("b", Value::I8(-1)),
        ("B", Value::U8(255)),
        ("s", Value::I16(-2)),
        ("u", Value::U16(65_535)),
        ("I", Value::I32(-3)),
        ("i", Value::U32(u32::MAX)),
        ("l", Value::I64(i64::MIN)),
        ("d", Value::F64(1.5)),
        ("f", Value::F32(-0.25)),
        ("t", Value::Bool(true)),
        ("no", Value::Bool(false)),
        ("D", Value::Decimal(2, 31_415)),
        ("F", Value::Table(inner)),
        ("A", Value::Array(vec![Value::Void, Value::Array(vec![]), Value::text("x")])),
        ("x", Value::Bytes(vec![0, 255])),
        ("V", Value::Void),
    ];
    values.into_iter().collect()
}

/// Publishes with these properties and gets them back.
fn there_and_back(props: Props) -> Props {
    let channel = channel();
    let queue = channel.temporary_queue();
    channel.publish_with("", &queue, props, "body");
    channel.expect_get(&queue).props
}

/// Items 33 to 35. The order of the headers is left open: RabbitMQ 3.13 sorts them, others keep it.
#[test]
fn e033_every_type_of_value_comes_back() {
    let mut sent = props();
    for (key, value) in all_types().iter() {
        sent = sent.header(key, value.clone());
    }
    let got = there_and_back(sent);
    assert_eq!(got.headers().sorted(), all_types().sorted());
}

#[test]
fn e033_capital_l_is_a_signed_64_bit_integer() {
    let table = b"\x00\x00\x00\x0b\x01kL\xff\xff\xff\xff\xff\xff\xff\xff";
    let got = there_and_back(props().raw(Property::Headers, table.into()));
    assert_eq!(got.headers().get("k"), Some(&Value::I64(-1)));
}

#[test]
fn e033_any_octet_but_0_is_true() {
    let table = b"\x00\x00\x00\x04\x01kt\x07";
    let got = there_and_back(props().raw(Property::Headers, table.into()));
    assert_eq!(got.headers().get("k"), Some(&Value::Bool(true)));
}

#[test]
fn e033_every_type_may_be_an_argument() {
    let channel = channel();
    let mut declare = queue_declare("").exclusive();
    for (key, value) in all_types().iter() {
        declare = declare.arg(key, value.clone());
    }
    channel.declare(declare);
}

#[test]
fn e033_an_unknown_type_ends_the_connection() {
    for table in [&b"\x00\x00\x00\x05\x01kU\x00\x01"[..], b"\x00\x00\x00\x04\x01k?\x07", b"\x00\x00\x00\x03\x01kI"] {
        let channel = channel();
        channel.send(Method::new(50, 10).short(0).text(unique("q")).octet(0).bytes(table));
        channel.wire().expect_any_end();
    }
    Broker::start().expect_healthy();
}

#[test]
fn e034_an_argument_keeps_its_type_in_errors() {
    let channel = channel();
    let queue = unique("q");
    channel.declare(queue_declare(&queue).exclusive().arg("x-message-ttl", 1000i64));
    let text = format!(
        "inequivalent arg 'x-message-ttl' for queue '{queue}' in vhost '/': \
         received none but current is the value '1000' of type 'long'"
    );
    channel.refuses(queue_declare(&queue).exclusive(), 406, text);
}

fn every_property() -> Props {
    use Property::*;
    let texts = [
        (ContentType, "text/plain"),
        (ContentEncoding, "utf-8"),
        (CorrelationId, "correlation"),
        (ReplyTo, "reply"),
        (Expiration, "60000"),
        (MessageId, "id"),
        (Type, "type"),
        (UserId, "guest"),
        (AppId, "app"),
        (ClusterId, "cluster"),
    ];
    let all = texts.into_iter().fold(props(), |props, (property, text)| props.text(property, text));
    all.header("a", 1i32).octet(DeliveryMode, 2).octet(Priority, 7).timestamp(u64::MAX)
}

/// Items 36 and 39.
#[test]
fn e036_properties_pass_unchanged() {
    assert_eq!(there_and_back(every_property()), every_property());
    assert_eq!(there_and_back(props()), props());
    let empty = props().text(Property::CorrelationId, "").text(Property::Type, "");
    assert_eq!(there_and_back(empty.clone()), empty);
}

#[test]
fn e036_text_properties_need_not_be_utf8() {
    let odd = props().raw(Property::CorrelationId, b"\x04caf\xe9".into());
    assert_eq!(there_and_back(odd.clone()), odd);
}

#[test]
fn e037_delivery_mode_is_not_made_up() {
    assert_eq!(there_and_back(props()).get_octet(Property::DeliveryMode), None);
    let all = Broker::newer_than_3_10("3.10 refuses other modes than 1 and 2").is_some();
    for mode in if all { vec![0, 1, 2, 3, 255] } else { vec![1, 2] } {
        let got = there_and_back(props().octet(Property::DeliveryMode, mode));
        assert_eq!(got.get_octet(Property::DeliveryMode), Some(mode));
    }
}

/// A priority above the queue's highest counts as the highest; none counts as 0.
#[test]
fn e038_priorities() {
    let channel = channel();
    let queue = channel.declare(queue_declare("").exclusive().arg("x-max-priority", 3)).queue.to_string();
    let with = |priority| props().octet(Property::Priority, priority);
    channel.call(confirm_select());
    for (props, body) in [
        (props(), "none"),
        (with(0), "zero"),
        (with(3), "three"),
        (with(2), "two"),
        (with(200), "two hundred"),
        (with(3), "another three"),
    ] {
        channel.publish_with("", &queue, props, body);
    }
    channel.expect_confirms(6);
    assert_eq!(channel.drain(&queue), ["three", "two hundred", "another three", "two", "none", "zero"]);
}

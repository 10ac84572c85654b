use proptest::prelude::*;

use super::*;
use crate::frames::{Properties, Table};

/// Content type, headers, delivery mode, priority, expiration, message id.
const FLAGS: u16 = 0b1011_1001_1000_0000;

pub fn list(headers: &Table) -> Vec<u8> {
    let mut bytes = FLAGS.to_be_bytes().to_vec();
    bytes.extend(*b"\x04text");
    headers.encode(&mut bytes);
    bytes.extend(*b"\x02\x05\x0260\x02id");
    bytes
}

fn table(entries: &[(&str, Value)]) -> Table {
    entries.iter().cloned().collect()
}

fn headers_of(properties: &[u8]) -> Table {
    Table::parse(Properties::parse(properties).unwrap().headers.unwrap()).unwrap()
}

#[test]
fn a_header_is_found_and_left_out() {
    let bytes = list(&table(&[("a", Value::I32(1)), ("BCC", Value::Array(vec![])), ("z", Value::Void)]));
    assert_eq!(find(&bytes, b"a"), Some(ValueRef::I32(1)));
    assert_eq!(find(&bytes, b"b"), None);
    assert_eq!(without(&bytes, b"BCC"), list(&table(&[("a", Value::I32(1)), ("z", Value::Void)])));
    assert_eq!(without(&bytes, b"b"), bytes);
    assert_eq!(without(&[0, 0], b"b"), [0, 0]);
}

#[test]
fn e110_the_delivery_count_is_a_long_that_is_set_again_each_time() {
    let one = with_delivery_count(&[0x10, 0, 2], 1);
    assert_eq!(headers_of(&one), table(&[("x-delivery-count", Value::I64(1))]));
    assert!(Properties::parse(&one).unwrap().is_persistent());
    let two = with_delivery_count(&list(&table(&[("x-delivery-count", Value::text("no")), ("k", Value::Void)])), 2);
    assert_eq!(two, list(&table(&[("k", Value::Void), ("x-delivery-count", Value::I64(2))])));
}

#[test]
fn e070_keys_are_the_texts_of_a_list() {
    let mut headers = Vec::new();
    let keys = Value::Array(vec![Value::text("a"), Value::I32(1), Value::LongStr(vec![0xff]), Value::text("b")]);
    table::put_entry(&mut headers, "CC", &keys);
    table::put_entry(&mut headers, "BCC", &Value::I32(7));
    assert_eq!(routing_keys(&headers, b"CC"), Ok(vec!["a", "b"]));
    assert_eq!(routing_keys(&headers, b"BCC"), Err(ValueRef::I32(7)));
    assert_eq!(routing_keys(&headers, b"cc"), Ok(vec![]));
}

fn entry() -> impl Strategy<Value = (String, Value)> {
    let value = prop_oneof![
        any::<i64>().prop_map(Value::I64),
        any::<Vec<u8>>().prop_map(Value::LongStr),
        Just(Value::Table(table(&[("k", Value::Array(vec![Value::Void, Value::U8(1)]))]))),
    ];
    (prop::sample::select(vec!["a", "b", "x-delivery-count"]).prop_map(str::to_owned), value)
}

proptest! {
    #[test]
    fn editing_keeps_all_other_bytes(entries in prop::collection::vec(entry(), 0..6), n in any::<u32>()) {
        let bytes = list(&entries.iter().cloned().collect());
        let others = entries.iter().filter(|(key, _)| key != "x-delivery-count").cloned();
        let count = ("x-delivery-count".to_owned(), Value::I64(n.into()));
        prop_assert_eq!(with_delivery_count(&bytes, n), list(&others.clone().chain([count]).collect()));
        prop_assert_eq!(without(&bytes, b"x-delivery-count"), list(&others.collect()));
    }

    #[test]
    fn any_bytes_are_edited_without_harm(bytes in any::<Vec<u8>>()) {
        let _ = (find(&bytes, b"a"), without(&bytes, b"a"), with_delivery_count(&bytes, 1));
        let _ = routing_keys(&bytes, b"a").map_err(ValueRef::to_owned);
        let list = [&[0x20, 0], &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat();
        let _ = (find(&list, b"a"), without(&list, b"a"), with_delivery_count(&list, 1));
    }
}

use proptest::prelude::*;

use super::*;
use crate::frames::{Properties, Table, Value};

const NOW: u64 = 1_700_000_000_000;

fn list(headers: &[(&str, Value)]) -> Vec<u8> {
    let mut bytes = vec![0x30, 0];
    headers.iter().cloned().collect::<Table>().encode(&mut bytes);
    bytes.push(2);
    bytes
}

fn due_of(properties: &[u8]) -> Option<u64> {
    due(Properties::parse(properties).unwrap().headers.unwrap_or_default(), NOW).map(NonZeroU64::get)
}

#[test]
fn a4_any_number_of_milliseconds_is_a_delay() {
    let numbers = [
        Value::I8(100),
        Value::U8(100),
        Value::I16(100),
        Value::U16(100),
        Value::I32(100),
        Value::U32(100),
        Value::I64(100),
        Value::F32(100.9),
        Value::F64(100.9),
        Value::Decimal(2, 10_099),
        Value::text("100"),
        Value::text("+100"),
        Value::text("100.9"),
    ];
    for number in numbers {
        assert_eq!(due_of(&list(&[("x-delay", number.clone())])), Some(NOW + 100), "{number:?}");
    }
}

#[test]
fn a4_what_is_no_delay_goes_out_at_once() {
    let others = [
        Value::I32(0),
        Value::I32(-5),
        Value::F64(0.9),
        Value::F64(f64::NAN),
        Value::Decimal(200, 7),
        Value::text("-5"),
        Value::text("0.9"),
        Value::text("-5.5"),
        Value::text("5."),
        Value::text(".5"),
        Value::text("5.5.5"),
        Value::text("5.5s"),
        Value::text("soon"),
        Value::text(""),
        Value::text("-99999999999999999999"),
        Value::Bool(true),
        Value::Timestamp(100),
        Value::Void,
        Value::Array(vec![Value::I32(5)]),
    ];
    for other in others {
        assert_eq!(due_of(&list(&[("x-delay", other.clone())])), None, "{other:?}");
    }
    assert_eq!(due_of(&[0, 0]), None);
}

#[test]
fn a_delay_may_be_longer_than_32_bits_of_milliseconds() {
    let year = 366 * 24 * 3600 * 1000;
    assert_eq!(due_of(&list(&[("x-delay", Value::I64(year))])), Some(NOW + year.unsigned_abs()));
    let for_ever = Some(NOW + i64::MAX.unsigned_abs());
    assert_eq!(due_of(&list(&[("x-delay", Value::text("99999999999999999999"))])), for_ever);
    assert_eq!(due_of(&list(&[("x-delay", Value::F64(f64::INFINITY))])), for_ever);
}

#[test]
fn a_time_wins_over_a_delay() {
    let delay = ("x-delay", Value::I32(100));
    let at = |value| due_of(&list(&[delay.clone(), ("x-deliver-at", value)]));
    assert_eq!(at(Value::I64(1_700_000_060_000)), Some(NOW + 60_000));
    assert_eq!(at(Value::text("1700000060000")), Some(NOW + 60_000));
    assert_eq!(at(Value::Timestamp(1_700_000_060)), Some(NOW + 60_000));
    assert_eq!(at(Value::Timestamp(u64::MAX)), Some(i64::MAX.unsigned_abs()));
    for past in [Value::I64(1_700_000_000_000), Value::Timestamp(1), Value::I32(-1)] {
        assert_eq!(at(past), None);
    }
    assert_eq!(at(Value::text("tomorrow")), Some(NOW + 100));
}

#[test]
fn a4_a_message_that_was_held_back_shows_it() {
    let was = |headers: &[(&str, Value)]| delivered(&list(headers));
    assert_eq!(was(&[("x-delay", Value::text("100"))]), list(&[("x-delay", Value::I32(-100))]));
    let long = Value::I64(4_294_967_296);
    assert_eq!(was(&[("x-delay", long)]), list(&[("x-delay", Value::I64(-4_294_967_296))]));
    let both = [("a", Value::Void), ("x-deliver-at", Value::Timestamp(1_700_000_060)), ("x-delay", Value::U8(7))];
    let negated = [("a", Value::Void), ("x-deliver-at", Value::I64(-1_700_000_060_000)), ("x-delay", Value::I32(-7))];
    assert_eq!(was(&both), list(&negated));
    assert_eq!(delivered(&[0x10, 0, 2]), [0x10, 0, 2]);
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
        any::<u64>().prop_map(Value::Timestamp),
        any::<(u8, u32)>().prop_map(|(scale, n)| Value::Decimal(scale, n)),
        "[-+]?[0-9]{0,25}([.][0-9]{0,3})?".prop_map(Value::text),
        any::<Vec<u8>>().prop_map(Value::LongStr),
    ]
}

proptest! {
    #[test]
    fn no_message_is_held_back_twice(
        headers in prop::collection::vec((prop::sample::select(vec!["x-delay", "x-deliver-at"]), any_value()), 0..4),
        now in any::<u64>(),
    ) {
        let after = delivered(&list(&headers));
        prop_assert_eq!(due(Properties::parse(&after).unwrap().headers.unwrap(), now), None);
        prop_assert_eq!(delivered(&after), after);
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in any::<Vec<u8>>(), now in any::<u64>()) {
        let _ = (due(&bytes, now), delivered(&bytes));
    }
}

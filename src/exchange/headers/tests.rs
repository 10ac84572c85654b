use std::time::Instant;

use proptest::prelude::*;

use super::*;

/// Matching by the definition, for tests that use names once.
pub fn matches(arguments: &Table, headers: &Table) -> bool {
    let mode = Mode::of(arguments);
    let mut conditions =
        arguments.iter().filter(|(name, _)| *name != "x-match" && (mode.with_x || !name.starts_with("x-")));
    let holds = |(name, wanted): (&str, &Value)| match headers.get(name) {
        None => false,
        Some(_) if *wanted == Value::Void => true,
        Some(found) => number(wanted).is_some() && number(wanted) == number(found) || wanted == found,
    };
    if mode.any { conditions.any(holds) } else { conditions.all(holds) }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Timestamp(v) => i64::try_from(*v).ok(),
        Value::F64(v) if v.fract() == 0.0 => Some(*v as i64),
        other => other.as_int(),
    }
}

fn inside(headers: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    headers.encode(&mut out);
    out.split_off(4)
}

fn routed(index: &Headers<usize>, headers: &Table) -> Vec<usize> {
    let mut out = Vec::new();
    index.route(&inside(headers), &mut out);
    out.sort_unstable();
    out.dedup();
    out
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    Table::from_iter(entries)
}

fn binds(arguments: Table, headers: Table) -> bool {
    let mut index = Headers::default();
    index.insert(&arguments, 7);
    routed(&index, &headers) == [7]
}

#[test]
fn x_match_is_checked_with_rabbits_texts() {
    let refused = |value| check(&table([("x-match", value)])).unwrap_err().to_string();
    for ok in ["all", "any", "all-with-x", "any-with-x"] {
        assert_eq!(check(&table([("x-match", Value::text(ok))])), Ok(()));
    }
    assert_eq!(check(&Table::default()), Ok(()));
    assert_eq!(
        refused(Value::text("foo")),
        "Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x"
    );
    assert_eq!(refused(Value::I8(1)), "Invalid x-match field type byte (value 1); expected longstr");
    assert_eq!(refused(Value::Bool(true)), "Invalid x-match field type bool (value true); expected longstr");
    assert_eq!(
        refused(Value::Table(table([("a", Value::I64(2))]))),
        "Invalid x-match field type table (value [{<<\"a\">>,long,2}]); expected longstr"
    );
    assert_eq!(
        refused(Value::LongStr(vec![255, 1])),
        "Invalid x-match field value <<255,1>>; expected all, any, all-with-x, or any-with-x"
    );
}

#[test]
fn all_and_any() {
    let wanted = |mode: &str| table([("x-match", Value::text(mode)), ("a", Value::I32(1)), ("b", Value::text("t"))]);
    let both = table([("b", Value::text("t")), ("z", Value::Void), ("a", Value::I32(1))]);
    let one = table([("a", Value::I32(1)), ("b", Value::text("other"))]);
    assert!(binds(wanted("all"), both.clone()));
    assert!(!binds(wanted("all"), one.clone()));
    assert!(binds(wanted("any"), both));
    assert!(binds(wanted("any"), one));
    assert!(!binds(wanted("any"), Table::default()));
    assert!(binds(table([("a", Value::I32(1))]), table([("a", Value::I32(1))])), "all is the default");
}

#[test]
fn no_conditions() {
    let anything = table([("a", Value::I32(1))]);
    for headers in [Table::default(), anything] {
        assert!(binds(Table::default(), headers.clone()));
        assert!(binds(table([("x-match", Value::text("all"))]), headers.clone()));
        assert!(binds(table([("x-match", Value::text("all-with-x"))]), headers.clone()));
        assert!(!binds(table([("x-match", Value::text("any"))]), headers.clone()));
        assert!(!binds(table([("x-match", Value::text("any-with-x"))]), headers));
    }
}

#[test]
fn names_with_x_count_only_when_asked() {
    let wanted = |mode: &str| table([("x-match", Value::text(mode)), ("x-a", Value::I32(1))]);
    let right = table([("x-a", Value::I32(1))]);
    let wrong = table([("x-a", Value::I32(2))]);
    assert!(binds(wanted("all"), wrong.clone()));
    assert!(!binds(wanted("any"), right.clone()));
    assert!(binds(wanted("all-with-x"), right.clone()));
    assert!(!binds(wanted("all-with-x"), wrong.clone()));
    assert!(binds(wanted("any-with-x"), right));
    assert!(!binds(wanted("any-with-x"), wrong));
}

#[test]
fn void_means_present() {
    let present = table([("a", Value::Void)]);
    assert!(binds(present.clone(), table([("a", Value::I32(1))])));
    assert!(binds(present.clone(), table([("a", Value::Void)])));
    assert!(!binds(present, table([("b", Value::I32(1))])));
    assert!(!binds(table([("a", Value::I32(1))]), table([("a", Value::Void)])));
}

#[test]
fn values_count_and_widths_do_not() {
    let same = |a: Value, b: Value| {
        binds(table([("h", a.clone())]), table([("h", b.clone())])) && binds(table([("h", b)]), table([("h", a)]))
    };
    let five = [Value::I8(5), Value::U8(5), Value::I16(5), Value::U16(5), Value::I32(5), Value::U32(5), Value::I64(5)];
    let more = [Value::Timestamp(5), Value::F32(5.0), Value::F64(5.0)];
    for a in five.iter().chain(&more) {
        for b in five.iter().chain(&more) {
            assert!(same(a.clone(), b.clone()), "{a:?} {b:?}");
        }
        assert!(!same(a.clone(), Value::text("5")));
        assert!(!same(a.clone(), Value::I8(6)));
    }
    assert!(same(Value::F32(0.5), Value::F64(0.5)));
    assert!(same(Value::F64(-0.0), Value::I8(0)));
    assert!(!same(Value::F64(1e300), Value::F64(2e300)));
    assert!(!same(Value::U8(255), Value::I8(-1)));
    assert!(!same(Value::Timestamp(u64::MAX), Value::I64(-1)));
    assert!(same(Value::text("t"), Value::Bytes(b"t".to_vec())));
    assert!(!same(Value::Bool(true), Value::I8(1)));
    assert!(same(Value::Decimal(1, 50), Value::Decimal(1, 50)));
    assert!(!same(Value::Decimal(1, 50), Value::Decimal(0, 5)));
    let array = |v| Value::Array(vec![Value::text("x"), v]);
    assert!(same(array(Value::I32(1)), array(Value::I32(1))));
    assert!(!same(array(Value::I32(1)), array(Value::I32(2))));
    assert!(!same(array(Value::I32(1)), array(Value::I64(1))));
    let nested = |v| Value::Table(table([("k", v)]));
    assert!(same(nested(Value::I32(1)), nested(Value::I32(1))));
    assert!(!same(nested(Value::I32(1)), nested(Value::I32(2))));
}

#[test]
fn of_a_repeated_header_the_first_counts() {
    let headers = table([("b", Value::I32(0)), ("a", Value::I32(1)), ("a", Value::I32(2))]);
    assert!(binds(table([("a", Value::I32(1))]), headers.clone()));
    assert!(!binds(table([("a", Value::I32(2))]), headers.clone()));
    let many = (0..100).map(|n| ("a", Value::I32(n))).collect::<Table>();
    assert!(binds(table([("a", Value::I32(0))]), many.clone()));
    assert!(!binds(table([("a", Value::I32(99))]), many));
}

#[test]
fn an_all_binding_is_filed_where_there_is_room() {
    let mut index = Headers::default();
    for n in 0..1000 {
        index.insert(&table([("type", Value::text("order")), ("id", Value::I64(n))]), n as usize);
    }
    let largest = index.filed.values().map(Few::len).max();
    assert_eq!(largest, Some(1), "no bucket collects them all");
    assert_eq!(routed(&index, &table([("id", Value::I32(77)), ("type", Value::text("order"))])), [77]);
}

#[test]
fn removing_everything_leaves_nothing() {
    let mut index = Headers::default();
    let arguments = [
        Table::default(),
        table([("a", Value::Void)]),
        table([("x-match", Value::text("any")), ("a", Value::I8(1)), ("b", Value::I8(1))]),
    ];
    let tickets: Vec<_> = arguments.iter().enumerate().map(|(n, arguments)| index.insert(arguments, n)).collect();
    assert_eq!(routed(&index, &table([("a", Value::I8(1))])), [0, 1, 2]);
    tickets.into_iter().for_each(|ticket| index.remove(ticket));
    assert!(index.filed.is_empty() && index.always.is_empty());
    assert!(index.matchers.iter().all(Option::is_none));
    index.insert(&arguments[0], 9);
    assert_eq!(index.matchers.len(), 3, "places are used again");
}

fn value() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        Value::I8(1),
        Value::I64(1),
        Value::U16(2),
        Value::Timestamp(2),
        Value::F64(1.0),
        Value::text("1"),
        Value::Bool(true),
        Value::Void,
        Value::Array(vec![Value::I8(1)]),
        Value::Table(Table::default()),
    ])
}

fn entries_of(most: usize) -> impl Strategy<Value = Table> {
    let name = prop::sample::select(vec!["a", "b", "c", "x-a", "x-b"]);
    prop::collection::btree_map(name, value(), 0..most).prop_map(Table::from_iter)
}

fn arguments() -> impl Strategy<Value = Table> {
    let mode = prop::sample::select(vec!["all", "any", "all-with-x", "any-with-x"]);
    (entries_of(4), prop::option::of(mode)).prop_map(|(mut table, mode)| {
        if let Some(mode) = mode {
            table.insert("x-match", Value::text(mode));
        }
        table
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn agrees_with_the_definition(
        bound in prop::collection::vec(arguments(), 1..20),
        removed in prop::collection::vec(any::<bool>(), 20),
        messages in prop::collection::vec(entries_of(6), 1..8),
    ) {
        let mut index = Headers::default();
        let tickets: Vec<_> = bound.iter().enumerate().map(|(n, arguments)| index.insert(arguments, n)).collect();
        (0..bound.len()).filter(|n| removed[*n]).for_each(|n| index.remove(tickets[n]));
        for headers in messages {
            let expected: Vec<_> =
                (0..bound.len()).filter(|n| !removed[*n] && matches(&bound[*n], &headers)).collect();
            prop_assert_eq!(routed(&index, &headers), expected, "{:?}", headers);
        }
    }
}

/// Run by hand in release mode: `cargo test --release -- --ignored --nocapture headers_speed`.
#[test]
#[ignore = "a benchmark"]
fn headers_speed() {
    let mut index = Headers::default();
    for n in 0..10_000 {
        index.insert(&table([("type", Value::text("order")), ("id", Value::I64(n))]), n as usize);
    }
    let headers = inside(&table([("type", Value::text("order")), ("id", Value::I32(77)), ("other", Value::Void)]));
    let mut out = Vec::new();
    let start = Instant::now();
    for _ in 0..1_000_000 {
        out.clear();
        index.route(&headers, &mut out);
        assert_eq!(out, [77]);
    }
    println!("10,000 bindings, 1 match: {:?} per route", start.elapsed() / 1_000_000);
}

use proptest::prelude::*;

use super::*;
use crate::frames::Properties;

const NOW: u64 = 1_700_000_000_999;

/// Content type, headers, delivery mode, priority, (expiration,) message id.
fn list(headers: &[(&str, Value)], expires: bool) -> Vec<u8> {
    let mut bytes = vec![0b1011_1000 | u8::from(expires), 0b1000_0000];
    bytes.extend(*b"\x04text");
    table(headers).encode(&mut bytes);
    bytes.extend(*b"\x02\x05");
    if expires {
        bytes.extend(*b"\x0260");
    }
    bytes.extend(*b"\x02id");
    bytes
}

fn table(entries: &[(&str, Value)]) -> Table {
    entries.iter().cloned().collect()
}

fn texts(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(Value::text).collect())
}

fn headers_of(properties: &[u8]) -> Table {
    Table::parse(Properties::parse(properties).unwrap().headers.unwrap()).unwrap()
}

fn died<'a>(queue: &'a str, reason: &'a str) -> Death<'a> {
    Death { queue, reason, at: NOW }
}

/// A message that went to exchange `e` with key `k`.
fn sent(properties: &[u8]) -> MessageView<'_> {
    MessageView { route: b"\x01e\x01k", properties, body: b"", ..MessageView::default() }
}

/// What a letter is when it dies itself.
fn again<'a>(letter: &'a DeadLetter<'_>) -> MessageView<'a> {
    MessageView { route: &letter.route, properties: &letter.properties, body: b"", ..MessageView::default() }
}

/// An entry of `x-death` for a message that was sent to `e` with key `k`.
fn entry(queue: &str, reason: &str, count: i64) -> Value {
    Value::Table(table(&[
        ("count", Value::I64(count)),
        ("reason", Value::text(reason)),
        ("queue", Value::text(queue)),
        ("time", Value::Timestamp(NOW / 1000)),
        ("exchange", Value::text("e")),
        ("routing-keys", texts(&["k"])),
    ]))
}

fn with_entries(entries: &[Value]) -> Vec<u8> {
    list(&[("x-death", Value::Array(entries.to_vec()))], false)
}

fn entries_of(properties: &[u8]) -> Vec<Value> {
    match headers_of(properties).get("x-death") {
        Some(Value::Array(entries)) => entries.clone(),
        other => panic!("no list of deaths: {other:?}"),
    }
}

#[test]
fn e102_the_list_has_rabbitmqs_fields_in_their_order() {
    let message = list(&[("CC", texts(&["c"])), ("BCC", texts(&["b"]))], true);
    let letter = letter(sent(&message), &died("q", "expired"), "dlx", None);
    let expected = table(&[
        ("original-expiration", Value::text("60")),
        ("count", Value::I64(1)),
        ("reason", Value::text("expired")),
        ("queue", Value::text("q")),
        ("time", Value::Timestamp(1_700_000_000)),
        ("exchange", Value::text("e")),
        ("routing-keys", texts(&["k", "c"])),
    ]);
    assert_eq!(entries_of(&letter.properties), [Value::Table(expected)]);
}

#[test]
fn e102_a_repeated_death_is_counted_and_moves_to_the_front() {
    let mut properties = list(&[], false);
    for (at, queue, reason) in
        [(0, "a", "rejected"), (1000, "b", "expired"), (2000, "a", "rejected"), (3000, "a", "maxlen")]
    {
        properties = letter(sent(&properties), &Death { at: NOW + at, ..died(queue, reason) }, "e", None).properties;
    }
    let time = |entry: Value, seconds| match entry {
        Value::Table(entry) => Value::Table(
            entry.iter().map(|(k, v)| (k, if k == "time" { Value::Timestamp(seconds) } else { v.clone() })).collect(),
        ),
        other => other,
    };
    let (first, second, third) = (1_700_000_000, 1_700_000_001, 1_700_000_003);
    let expected = [
        time(entry("a", "maxlen", 1), third),
        time(entry("a", "rejected", 2), first),
        time(entry("b", "expired", 1), second),
    ];
    assert_eq!(entries_of(&properties), expected);
}

#[test]
fn e103_the_first_death_stays_and_the_last_changes() {
    let one = letter(sent(&[0, 0]), &died("q1", "rejected"), "dlx", None);
    let two = letter(again(&one), &died("q2", "expired"), "", None);
    let headers = headers_of(&two.properties);
    let names: Vec<&str> = headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, [&FIRST[..], &["x-death"], &LAST].concat());
    let texts = |names: [&str; 3]| names.map(|name| headers.get(name).unwrap().as_text().unwrap().into_owned());
    assert_eq!(texts(FIRST), ["rejected", "q1", "e"]);
    assert_eq!(texts(LAST), ["expired", "q2", "dlx"]);
}

#[test]
fn e104_a_letter_does_not_expire_again() {
    let message = list(&[], true);
    let letter = letter(sent(&message), &died("q", "expired"), "dlx", None);
    assert_eq!(Properties::parse(&letter.properties).unwrap().expiration, None);
}

#[test]
fn e105_a_letter_goes_by_its_own_keys_or_by_the_one_that_is_set() {
    let message = list(&[("BCC", texts(&["b"])), ("CC", texts(&["c", "d"]))], false);
    let own = letter(sent(&message), &died("q", "rejected"), "dlx", None);
    assert_eq!(own.route, b"\x03dlx\x01k");
    assert_eq!(own.keys, [b"k", b"c", b"d", b"b"]);
    let set = letter(sent(&message), &died("q", "rejected"), "", Some("key"));
    assert_eq!(set.route, b"\0\x03key");
    assert_eq!(set.keys, [b"key"]);
    for letter in [own, set] {
        let headers = headers_of(&letter.properties);
        assert_eq!((headers.get("CC"), headers.get("BCC")), (Some(&texts(&["c", "d"])), None));
    }
}

#[test]
fn e105_a_key_that_was_set_stands_in_place_of_cc_for_good() {
    let message = list(&[("CC", texts(&["c"]))], false);
    let retried = letter(sent(&message), &died("work", "rejected"), "", Some("retry"));
    let back = letter(again(&retried), &died("retry", "expired"), "e", None);
    assert_eq!(back.keys, [b"retry"]);
    let Some(Value::Table(latest)) = entries_of(&back.properties).first().cloned() else { panic!("no entry") };
    assert_eq!(latest.get("routing-keys"), Some(&texts(&["retry"])));
    let kept = letter(sent(&message), &died("work", "rejected"), "e", None);
    assert_eq!(letter(again(&kept), &died("other", "expired"), "e", None).keys, [b"k", b"c"]);
}

#[test]
fn e107_a_letter_that_came_back_by_itself_is_a_cycle() {
    let cycle = |entries: &[(&str, &str)], target| {
        let entries: Vec<Value> = entries.iter().map(|(queue, reason)| entry(queue, reason, 1)).collect();
        is_cycle(&with_entries(&entries), target)
    };
    assert!(cycle(&[("a", "expired")], "a"));
    assert!(cycle(&[("b", "maxlen"), ("a", "expired")], "a"));
    assert!(cycle(&[("a", "delivery_limit"), ("b", "rejected")], "a"));
    assert!(!cycle(&[("a", "rejected")], "a"));
    assert!(!cycle(&[("b", "rejected"), ("a", "expired")], "a"));
    assert!(!cycle(&[("b", "expired"), ("a", "rejected")], "a"));
    assert!(!cycle(&[("a", "expired")], "b"));
    assert!(!cycle(&[], "a"));
    assert!(!is_cycle(&[0, 0], "a"));
    let of_a_client = [entry("b", "expired", 1), Value::text("a"), entry("a", "expired", 1)];
    assert!(!is_cycle(&with_entries(&of_a_client), "a"));
    assert!(is_cycle(&with_entries(&of_a_client), "b"));
}

#[test]
fn e107_a_queue_that_is_its_own_dead_letter_queue() {
    let expired = letter(sent(&[0, 0]), &died("q", "expired"), "", Some("q"));
    assert!(is_cycle(&expired.properties, "q"));
    let rejected = letter(sent(&[0, 0]), &died("q", "rejected"), "", Some("q"));
    assert!(!is_cycle(&rejected.properties, "q"));
}

#[test]
fn e108_a_list_that_a_client_republishes_is_counted_on() {
    let message = with_entries(&[entry("other", "expired", 4), entry("q", "rejected", 2)]);
    let letter = letter(sent(&message), &died("q", "rejected"), "dlx", None);
    assert_eq!(entries_of(&letter.properties), [entry("q", "rejected", 3), entry("other", "expired", 4)]);
}

#[test]
fn e108_a_strange_list_of_a_client_loses_no_message() {
    let with_count = |count: Option<Value>| {
        let Value::Table(full) = entry("q", "rejected", 0) else { panic!("no table") };
        let fields = full.iter().filter_map(|(k, v)| Some((k, if k == "count" { count.clone()? } else { v.clone() })));
        Value::Table(fields.collect())
    };
    let counts = |entries: Value| {
        let letter_of = list(&[("x-death", entries)], false);
        entries_of(&letter(sent(&letter_of), &died("q", "rejected"), "dlx", None).properties)
    };
    for (count, next) in [
        (Some(Value::I32(2)), 3),
        (Some(Value::text("2")), 3),
        (Some(Value::text("many")), 1),
        (Some(Value::Void), 1),
        (None, 1),
        (Some(Value::I64(i64::MAX)), i64::MAX),
    ] {
        assert_eq!(counts(Value::Array(vec![with_count(count)])), [entry("q", "rejected", next)]);
    }
    // Something else than a list starts anew.
    for other in [Value::text("[]"), Value::Table(Table::default()), Value::Void] {
        assert_eq!(counts(other), [entry("q", "rejected", 1)]);
    }
    // Of two entries for one queue and reason the first counts; what is no entry stays.
    let twice = vec![Value::Void, entry("q", "rejected", 5), Value::text("x"), entry("q", "rejected", 7)];
    assert_eq!(counts(Value::Array(twice)), [entry("q", "rejected", 6), Value::Void, Value::text("x")]);
}

#[test]
fn e112_everything_else_keeps_its_bytes() {
    let nested = Value::Table(table(&[("z", Value::F32(1.5)), ("a", texts(&["x"]))]));
    let headers = [("z", nested), ("BCC", texts(&["b"])), ("a", Value::Decimal(1, 2))];
    let message = list(&headers, true);
    let letter = letter(sent(&message), &died("q", "expired"), "dlx", None);
    let added = headers_of(&letter.properties);
    let others: Vec<(&str, Value)> = headers.iter().filter(|(name, _)| *name != "BCC").cloned().collect();
    let added = added.iter().filter(|(name, _)| name.starts_with("x-")).map(|(name, value)| (name, value.clone()));
    let expected: Vec<(&str, Value)> = others.into_iter().chain(added).collect();
    assert_eq!(letter.properties, list(&expected, false));
}

#[test]
fn a_message_without_headers_gets_them() {
    let letter = letter(sent(&[0x10, 0, 2]), &died("q", "rejected"), "dlx", None);
    assert_eq!(entries_of(&letter.properties), [entry("q", "rejected", 1)]);
    assert!(Properties::parse(&letter.properties).unwrap().is_persistent());
}

fn queue_and_reason() -> impl Strategy<Value = (&'static str, &'static str)> {
    let queues = prop::sample::select(vec!["a", "b", "c"]);
    (queues, prop::sample::select(vec!["rejected", "expired", "maxlen", "delivery_limit"]))
}

/// The rule of cycles, said of the whole list at once.
fn is_cycle_of(deaths: &[(&str, &str, i64)], target: &str) -> bool {
    let died_there = deaths.iter().position(|(queue, ..)| *queue == target);
    died_there.is_some_and(|at| deaths[..=at].iter().all(|(_, reason, _)| *reason != "rejected"))
}

proptest! {
    #[test]
    fn any_deaths_are_counted_once_for_each_queue_and_reason(
        deaths in prop::collection::vec(queue_and_reason(), 1..30),
    ) {
        let mut model: Vec<(&str, &str, i64)> = Vec::new();
        let mut properties = list(&[("a", Value::Void)], false);
        for (queue, reason) in deaths {
            let known = model.iter().position(|(q, r, _)| (*q, *r) == (queue, reason));
            let count = known.map_or(0, |at| model.remove(at).2);
            model.insert(0, (queue, reason, count + 1));
            properties = letter(sent(&properties), &died(queue, reason), "e", None).properties;
            let expected: Vec<Value> = model.iter().map(|(queue, reason, count)| entry(queue, reason, *count)).collect();
            prop_assert_eq!(entries_of(&properties), expected);
            for target in ["a", "b", "c", "d"] {
                prop_assert_eq!(is_cycle(&properties, target), is_cycle_of(&model, target));
            }
        }
        let headers = headers_of(&properties);
        prop_assert_eq!(headers.get("a"), Some(&Value::Void));
    }

    #[test]
    fn any_bytes_make_a_letter(bytes in any::<Vec<u8>>(), route in any::<Vec<u8>>(), as_list in any::<bool>()) {
        // As properties, as the inside of the headers, and as the inside of a list of deaths.
        let mut headers = bytes.clone();
        if as_list {
            headers = b"\x07x-death".to_vec();
            table::put_long(&mut headers, b'A', &bytes);
        }
        let wrapped = [&[0x20, 0], &u32::try_from(headers.len()).unwrap().to_be_bytes()[..], &headers].concat();
        for properties in [bytes, wrapped] {
            let view = MessageView { route: &route, properties: &properties, body: b"", ..MessageView::default() };
            let letter = letter(view, &died("q", "expired"), "dlx", None);
            let _ = is_cycle(&properties, "q");
            if Properties::parse(&properties).is_ok() {
                prop_assert!(Properties::parse(&letter.properties).is_ok());
                prop_assert!(is_cycle(&letter.properties, "q"));
            }
        }
    }
}

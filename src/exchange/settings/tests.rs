use super::*;

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    Table::from_iter(entries)
}

fn refused<const N: usize>(kind: ExchangeType, entries: [(&str, Value); N]) -> String {
    Settings::parse(kind, &table(entries)).unwrap_err().to_string()
}

fn matching<const N: usize>(kind: ExchangeType, entries: [(&str, Value); N]) -> Matching {
    Settings::parse(kind, &table(entries)).expect("allowed arguments").matching
}

#[test]
fn what_is_hashed() {
    let on = |key, value| matching(ExchangeType::ConsistentHash, [(key, Value::text(value))]);
    assert_eq!(on("alternate-exchange", "x"), Matching::ConsistentHash(HashOn::RoutingKey));
    assert_eq!(on("hash-header", "id"), Matching::ConsistentHash(HashOn::Header((*b"id").into())));
    let properties = [
        ("message_id", HashProperty::MessageId),
        ("correlation_id", HashProperty::CorrelationId),
        ("timestamp", HashProperty::Timestamp),
    ];
    for (name, property) in properties {
        assert_eq!(on("hash-property", name), Matching::ConsistentHash(HashOn::Property(property)));
    }
}

#[test]
fn what_cannot_be_hashed() {
    let kind = ExchangeType::ConsistentHash;
    let both = [("hash-header", Value::text("a")), ("hash-property", Value::text("message_id"))];
    assert_eq!(refused(kind, both), "hash-header and hash-property are mutually exclusive");
    assert_eq!(refused(kind, [("hash-property", Value::text("app_id"))]), "Unsupported property: app_id");
    assert_eq!(refused(kind, [("hash-header", Value::I32(1))]), "invalid type 'signedint' for arg 'hash-header'");
    // Other types do not look at them.
    assert_eq!(matching(ExchangeType::ModulusHash, [("hash-header", Value::I32(1))]), Matching::ModulusHash);
}

#[test]
fn a_delayed_exchange_is_also_one_of_another_type() {
    let delayed = |inner| Settings::parse(ExchangeType::Delayed, &table([("x-delayed-type", inner)]));
    let inner = ExchangeType::ALL.into_iter().filter(|kind| *kind != ExchangeType::Delayed);
    for kind in inner {
        let arguments = table([("x-delayed-type", Value::text(kind.name())), ("x-cache-size", Value::I32(1))]);
        let settings = Settings::parse(ExchangeType::Delayed, &arguments).expect("a type that exists");
        assert_eq!(settings, Settings { kind: ExchangeType::Delayed, ..Settings::parse(kind, &arguments).unwrap() });
        assert!(settings.delays() && !settings.routes_by_key());
    }
    let text = "Invalid argument, 'x-delayed-type' must be an existing exchange type";
    for wrong in [Value::text("x-delayed-message"), Value::text("nonsense"), Value::text(""), Value::I32(1)] {
        assert_eq!(delayed(wrong).unwrap_err().to_string(), text);
    }
    assert_eq!(refused(ExchangeType::Delayed, []), text);
    let inner = ("x-delayed-type", Value::text("x-consistent-hash"));
    let text = refused(ExchangeType::Delayed, [inner, ("hash-property", Value::text("app_id"))]);
    assert_eq!(text, "Unsupported property: app_id");
}

#[test]
fn only_what_the_key_decides_is_routed_by_key() {
    use Matching as M;
    let by_key = |matching: M| Settings::from(matching).routes_by_key();
    let on_key = M::ConsistentHash(HashOn::RoutingKey);
    assert!([M::Direct, M::Fanout, M::Topic, M::ModulusHash, on_key].into_iter().all(by_key));
    let on_header = M::ConsistentHash(HashOn::Header((*b"id").into()));
    assert!(![M::Headers, M::Random, M::LocalRandom, on_header].into_iter().any(by_key));
}

#[test]
fn how_much_history_is_kept() {
    let parse = |entries: &[(&str, Value)]| {
        Settings::parse(ExchangeType::RecentHistory, &Table::from_iter(entries.iter().cloned()))
    };
    let settings = parse(&[]).unwrap();
    assert_eq!((&settings.matching, settings.history), (&Matching::Fanout, Some(20)));
    assert!(!settings.routes_by_key());
    assert_eq!(parse(&[("x-recent-history-length", Value::I64(3))]).unwrap().history, Some(3));
    for (wrong, printed) in [(Value::I32(0), "0"), (Value::I32(-1), "-1"), (Value::text("5"), "<<\"5\">>")] {
        let text = parse(&[("x-recent-history-length", wrong)]).unwrap_err().to_string();
        assert_eq!(text, format!("Invalid argument {printed}, 'x-recent-history-length' must be a positive integer"));
    }
}

#[test]
fn what_counts_as_a_repetition() {
    let kind = ExchangeType::Deduplication;
    let parse = |kind, entries: &[(&str, Value)]| Settings::parse(kind, &Table::from_iter(entries.iter().cloned()));
    let settings = parse(kind, &[("x-cache-size", Value::I32(5)), ("x-cache-ttl", Value::text("70"))]).unwrap();
    let expected = Deduplication { size: 5, ttl: Some(70), header: "x-deduplication-header".into(), while_kept: false };
    assert_eq!((&settings.matching, &settings.deduplication), (&Matching::Fanout, &Some(expected)));
    assert!(!settings.routes_by_key());
    let on = ("x-message-deduplication", Value::Bool(true));
    let settings = parse(ExchangeType::Topic, &[on.clone(), ("x-deduplication-header", Value::text("id"))]).unwrap();
    let expected = Deduplication { size: 128, ttl: None, header: "id".into(), while_kept: false };
    assert_eq!((&settings.matching, &settings.deduplication), (&Matching::Topic, &Some(expected)));
    let off = ("x-message-deduplication", Value::Bool(false));
    assert_eq!(parse(ExchangeType::Topic, &[off]).unwrap().deduplication, None);

    let size = "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0";
    assert_eq!(refused(kind, []), size);
    for wrong in [Value::I32(0), Value::text("many"), Value::Void] {
        assert_eq!(refused(kind, [("x-cache-size", wrong.clone())]), size);
        assert_eq!(refused(ExchangeType::Direct, [on.clone(), ("x-cache-size", wrong)]), size);
    }
    let ttl = refused(kind, [("x-cache-size", Value::I32(5)), ("x-cache-ttl", Value::I32(0))]);
    assert_eq!(ttl, "Invalid argument, 'x-cache-ttl' must be an integer greater than 0");
    let flag = refused(ExchangeType::Direct, [("x-message-deduplication", Value::text("true"))]);
    assert_eq!(flag, "invalid type 'longstr' for arg 'x-message-deduplication'");
}

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
    for kind in ExchangeType::ALL.into_iter().filter(|kind| *kind != ExchangeType::Delayed) {
        let settings = delayed(Value::text(kind.name())).expect("a type that exists");
        assert_eq!((settings.kind, settings.matching.kind()), (ExchangeType::Delayed, kind));
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

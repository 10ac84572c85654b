use serde_json::json;

use super::*;

fn error(value: Json) -> String {
    Definition::new(&value, false).unwrap_err()
}

#[test]
fn wrong_definitions_are_refused_in_rabbitmqs_words() {
    let cases = [
        (json!({}), "no policy provided"),
        (json!([1]), "definition must be a dictionary: [1]"),
        (json!({"foo": "bar"}), r#"[{<<"foo">>,<<"bar">>}] are not recognised policy settings"#),
        (json!({"expires": 0}), "0 is not a valid queue expiry"),
        (json!({"message-ttl": "10"}), r#"<<"10">> is not a valid message TTL"#),
        (json!({"message-ttl": 1.5}), "1.5 is not a valid message TTL"),
        (json!({"max-length": -1}), "-1 is not a valid maximum length"),
        (json!({"max-length-bytes": null}), "null is not a valid maximum length in bytes"),
        (json!({"dead-letter-exchange": 7}), "7 is not a valid dead letter exchange name"),
        (json!({"alternate-exchange": true}), "true is not a valid alternate exchange name"),
        (json!({"overflow": "spill"}), r#"<<"spill">> is not a valid overflow value"#),
        (json!({"delivery-limit": "x"}), r#"<<"x">> is not a valid delivery limit"#),
        (json!({"queue-mode": "eager"}), r#"<<"eager">> is not a valid queue-mode value"#),
        (json!({"max-age": "0h"}), r#"<<"0h">> is not a valid max age"#),
        (
            json!({"ha-params": 2}),
            "ha-mode must be specified to specify ha-params, ha-sync-mode or ha-promote-on-shutdown",
        ),
        (json!({"ha-mode": "most"}), r#"<<"most">> is not a valid ha-mode value"#),
        (json!({"ha-mode": "exactly"}), "ha-mode=\"exactly\" takes an integer, none given"),
        (
            json!({"ha-mode": "all", "ha-sync-mode": "never"}),
            r#"ha-sync-mode must be "manual" or "automatic", got <<"never">>"#,
        ),
        // What is known is looked at before what is not.
        (json!({"aaa": 1, "max-length": "x"}), r#"<<"x">> is not a valid maximum length"#),
    ];
    for (value, text) in cases {
        assert_eq!(error(value), text);
    }
}

#[test]
fn an_operator_may_set_limits_only() {
    assert!(Definition::new(&json!({"max-length": 5, "overflow": "reject-publish"}), true).is_ok());
    assert_eq!(
        Definition::new(&json!({"dead-letter-exchange": "x"}), true).unwrap_err(),
        r#"[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised policy settings"#
    );
}

#[test]
fn a_policy_leaves_types_alone_that_lack_one_of_its_keys() {
    let suits = |value: Json| {
        let definition = Definition::new(&value, false).unwrap();
        [QueueType::Classic, QueueType::Quorum, QueueType::Stream].map(|kind| definition.suits(kind))
    };
    assert_eq!(suits(json!({"max-length-bytes": 1})), [true, true, true]);
    assert_eq!(suits(json!({"delivery-limit": 1})), [true, true, false]);
    assert_eq!(suits(json!({"ha-mode": "all", "message-ttl": 1})), [true, false, false]);
    assert_eq!(suits(json!({"max-age": "1h"})), [false, false, true]);
}

#[test]
fn keys_that_change_nothing_are_named() {
    let definition = Definition::new(&json!({"queue-mode": "lazy", "max-length": 1}), false).unwrap();
    assert_eq!(definition.without_effect(), ["queue-mode"]);
}

#[test]
fn an_operator_s_limits_cap_those_of_the_policy() {
    let of = |value: Json, operator| Definition::new(&value, operator).unwrap();
    let policy = of(json!({"max-length": 10, "expires": 5, "delivery-limit": -1, "dead-letter-exchange": "d"}), false);
    let operator = of(json!({"max-length": 7, "expires": 9, "delivery-limit": 4, "overflow": "drop-head"}), true);
    let expected = json!({
        "max-length": 7, "expires": 5, "delivery-limit": 4, "dead-letter-exchange": "d", "overflow": "drop-head"
    });
    assert_eq!(Json::Object(Definition::merged(Some(&policy), Some(&operator))), expected);
}

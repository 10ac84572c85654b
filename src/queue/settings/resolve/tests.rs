use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

/// The settings and notes of arguments, a policy and an operator policy; `Null` is none.
fn resolve(kind: QueueType, arguments: &[(&str, Value)], policy: Json, operator: Json) -> (Settings, Vec<Note>) {
    let arguments = arguments.iter().cloned().collect();
    let names = ["of the user".into(), "of the operator".into()];
    let read = |value: Json, is_operator| (!value.is_null()).then(|| Definition::new(&value, is_operator).unwrap());
    let (policy, operator) = (read(policy, false), read(operator, true));
    let [a, b] = &names;
    let sources = Sources {
        kind,
        arguments: &arguments,
        policy: policy.as_ref().map(|p| (a, p)),
        operator: operator.as_ref().map(|p| (b, p)),
    };
    sources.resolve()
}

fn classic(arguments: &[(&str, Value)], policy: Json, operator: Json) -> Settings {
    resolve(QueueType::Classic, arguments, policy, operator).0
}

#[test]
fn a_queue_without_anything_has_no_limits() {
    assert_eq!(classic(&[], Json::Null, Json::Null), Settings::default());
    let quorum = resolve(QueueType::Quorum, &[], Json::Null, Json::Null).0;
    assert_eq!(quorum, Settings { delivery_limit: Some(20), shows_delivery_count: true, ..Settings::default() });
}

#[test]
fn the_smallest_limit_counts() {
    let arguments = [("x-message-ttl", Value::I32(50)), ("x-max-length", Value::I64(9)), ("x-expires", Value::U8(4))];
    let policy = json!({"message-ttl": 40, "max-length": 12, "max-length-bytes": 100, "consumer-timeout": 7});
    let settings = classic(&arguments, policy, json!({"message-ttl": 60, "max-length": 5, "max-length-bytes": 70}));
    assert_eq!((settings.message_ttl, settings.max_length, settings.max_bytes), (Some(40), Some(5), Some(70)));
    assert_eq!((settings.expires, settings.consumer_timeout), (Some(4), Some(7)));
    let names = (settings.policy.as_deref(), settings.operator_policy.as_deref());
    assert_eq!(names, (Some("of the user"), Some("of the operator")));
}

#[test]
fn a_negative_delivery_limit_is_none_unless_somebody_sets_one() {
    let limit = |argument: i64, policy: Json, operator: Json| {
        resolve(QueueType::Quorum, &[("x-delivery-limit", Value::I64(argument))], policy, operator).0.delivery_limit
    };
    assert_eq!(limit(-1, Json::Null, Json::Null), None);
    assert_eq!(limit(-1, json!({"delivery-limit": 8}), Json::Null), Some(8));
    assert_eq!(limit(0, json!({"delivery-limit": 8}), json!({"delivery-limit": -1})), Some(0));
    assert_eq!(limit(30, Json::Null, json!({"delivery-limit": 25})), Some(25));
    let classic = classic(&[("x-delivery-limit", Value::I64(3))], Json::Null, Json::Null);
    assert_eq!((classic.delivery_limit, classic.shows_delivery_count), (Some(3), true));
}

#[test]
fn dead_letters_go_where_the_argument_says() {
    let policy = json!({"dead-letter-exchange": "p", "dead-letter-routing-key": "pk"});
    let both = [("x-dead-letter-exchange", Value::text("a")), ("x-dead-letter-routing-key", Value::text("ak"))];
    let letters = |arguments: &[(&str, Value)], policy: Json| {
        let letters = classic(arguments, policy, Json::Null).dead_letters?;
        Some((letters.exchange.to_string(), letters.key.map(|k| k.to_string())))
    };
    assert_eq!(letters(&[], policy.clone()), Some(("p".into(), Some("pk".into()))));
    assert_eq!(letters(&both, policy.clone()), Some(("a".into(), Some("ak".into()))));
    assert_eq!(letters(&both[..1], policy), Some(("a".into(), Some("pk".into()))));
    assert_eq!(letters(&[], json!({"dead-letter-routing-key": "pk"})), None);
}

#[test]
fn the_operators_overflow_counts_most_and_the_policys_least() {
    let argument = [("x-overflow", Value::text("reject-publish-dlx"))];
    let policy = json!({"overflow": "reject-publish"});
    assert_eq!(classic(&[], policy.clone(), Json::Null).overflow, Overflow::RejectPublish);
    assert_eq!(classic(&argument, policy.clone(), Json::Null).overflow, Overflow::RejectPublishDlx);
    assert_eq!(classic(&argument, policy, json!({"overflow": "drop-head"})).overflow, Overflow::DropHead);
    let (quorum, notes) = resolve(QueueType::Quorum, &argument, Json::Null, Json::Null);
    assert_eq!((quorum.overflow, notes), (Overflow::DropHead, vec![Note::NoRejectPublishDlx]));
}

#[test]
fn at_least_once_needs_reject_publish() {
    let quorum = |policy: Json| {
        let (settings, notes) = resolve(QueueType::Quorum, &[], policy, Json::Null);
        (settings.dead_letters.is_some_and(|letters| letters.at_least_once), notes)
    };
    let with =
        |overflow| json!({"dead-letter-exchange": "d", "dead-letter-strategy": "at-least-once", "overflow": overflow});
    assert_eq!(quorum(with("reject-publish")), (true, vec![]));
    assert_eq!(quorum(with("drop-head")), (false, vec![Note::AtMostOnce]));
    assert_eq!(quorum(json!({"dead-letter-strategy": "at-least-once"})), (false, vec![Note::NoDeadLetterExchange]));
}

#[test]
fn retries_are_delayed_as_the_arguments_and_the_policy_say() {
    let retry = |arguments: &[(&str, Value)], policy: Json| classic(arguments, policy, Json::Null).retry;
    let linear = Retry { of: RetryOf::Failed, min: 100, max: Some(300), exponential: false };
    let policy = json!({"delayed-retry-type": "failed", "delayed-retry-min": 100, "delayed-retry-max": 300});
    assert_eq!(retry(&[], policy.clone()), Some(linear));
    let arguments =
        [("x-delayed-retry-type", Value::text("all")), ("x-delayed-retry-backoff", Value::text("exponential"))];
    assert_eq!(retry(&arguments, policy.clone()), Some(Retry { of: RetryOf::All, exponential: true, ..linear }));
    assert_eq!(retry(&[("x-delayed-retry-type", Value::text("disabled"))], policy), None);
    let (settings, notes) = resolve(QueueType::Quorum, &arguments, Json::Null, Json::Null);
    assert_eq!((settings.retry, notes), (None, vec![Note::NoRetryMin]));
}

#[test]
fn deduplication_has_defaults() {
    let on = ("x-message-deduplication", Value::Bool(true));
    let defaults =
        Deduplication { size: 1 << 20, ttl: None, header: "x-deduplication-header".into(), while_kept: true };
    assert_eq!(classic(std::slice::from_ref(&on), Json::Null, Json::Null).deduplication, Some(defaults.clone()));
    assert_eq!(classic(&[], json!({"x-message-deduplication": true}), Json::Null).deduplication, Some(defaults));
    let off = [("x-message-deduplication", Value::Bool(false))];
    assert_eq!(classic(&off, json!({"x-message-deduplication": true}), Json::Null).deduplication, None);
    let all = [
        on,
        ("x-cache-size", Value::I32(5)),
        ("x-cache-ttl", Value::I64(1000)),
        ("x-deduplication-header", Value::text("id")),
    ];
    let said = Deduplication { size: 5, ttl: Some(1000), header: "id".into(), while_kept: false };
    assert_eq!(classic(&all, Json::Null, Json::Null).deduplication, Some(said));
}

#[test]
fn a_highest_priority_of_zero_is_none() {
    let highest = |n| classic(&[("x-max-priority", Value::I32(n))], Json::Null, Json::Null).max_priority;
    assert_eq!([highest(0), highest(1), highest(255)], [None, Some(1), Some(255)]);
}

proptest! {
    #[test]
    fn no_limit_is_larger_than_any_that_is_said(said in prop::array::uniform3(prop::option::of(0_u32..5))) {
        let [argument, policy, operator] = said;
        let arguments: Vec<_> = argument.map(|n| ("x-max-length", Value::U32(n))).into_iter().collect();
        let json = |n: Option<u32>| n.map_or(Json::Null, |n| json!({"max-length": n}));
        let settings = classic(&arguments, json(policy), json(operator));
        prop_assert_eq!(settings.max_length, said.into_iter().flatten().min().map(u64::from));
    }
}

use super::*;

const QUEUE: &str = "queue 'q' in vhost '/'";

fn table(entries: &[(&str, Value)]) -> Table {
    entries.iter().cloned().collect()
}

#[test]
fn wrong_values_are_named_as_rabbitmq_names_them() {
    let cases = [
        ("x-message-ttl", Value::I32(-1), "{value_negative,-1}"),
        ("x-message-ttl", Value::I64(315_360_000_001), "{value_too_large,315360000001}"),
        ("x-message-ttl", Value::text("10"), "\"expected integer, got longstr\""),
        ("x-message-ttl", Value::Timestamp(1), "\"expected integer, got timestamp\""),
        ("x-expires", Value::U8(0), "{value_zero,0}"),
        ("x-max-length", Value::I32(-7), "{value_negative,-7}"),
        ("x-overflow", Value::text("x"), "invalid_overflow"),
        ("x-overflow", Value::I32(1), "{unacceptable_type,signedint}"),
        ("x-max-priority", Value::I32(256), "{max_value_exceeded,256}"),
        ("x-single-active-consumer", Value::text("true"), "{unacceptable_type,longstr}"),
        ("x-queue-type", Value::text("x"), "\"unsupported queue type 'x'\""),
        ("x-queue-version", Value::I32(3), "\"unsupported queue version '3'\""),
        ("x-dead-letter-routing-key", Value::text("k"), "routing_key_but_no_dlx_defined"),
        ("x-max-age", Value::text("0h"), "invalid_max_age"),
        ("x-delayed-retry-type", Value::text("some"), "invalid_delayed_retry_type"),
        ("x-delayed-retry-min", Value::I32(-1), "{value_negative,-1}"),
        ("x-delayed-retry-backoff", Value::text("square"), "invalid_delayed_retry_backoff"),
        ("x-message-deduplication", Value::I32(1), "{unacceptable_type,signedint}"),
        ("x-cache-size", Value::I32(0), "{value_zero,0}"),
        ("x-cache-ttl", Value::I32(0), "{value_zero,0}"),
        ("x-deduplication-header", Value::text(""), "\"expected a name, got an empty one\""),
    ];
    for (key, value, term) in cases {
        let error = check(QUEUE, &table(&[(key, value)])).unwrap_err();
        assert_eq!(error, format!("invalid arg '{key}' for queue 'q' in vhost '/': {term}"));
    }
}

#[test]
fn an_argument_of_another_type_is_refused_and_an_unknown_one_accepted() {
    let error = check(QUEUE, &table(&[("x-max-age", Value::text("1h"))])).unwrap_err();
    assert_eq!(error, "invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_classic_queue");
    assert_eq!(check(QUEUE, &table(&[("x-mine", Value::Void)])), Ok(QueueType::Classic));
}

#[test]
fn declarations_are_compared_by_value() {
    let compare =
        |a: &[(&str, Value)], b: &[(&str, Value)]| check_equivalent(QUEUE, QueueType::Classic, &table(a), &table(b));
    let ttl = |v| [("x-message-ttl", v)];
    assert_eq!(compare(&ttl(Value::I32(10)), &ttl(Value::I64(10))), Ok(()));
    assert_eq!(compare(&[("x-mine", Value::I32(1))], &[]), Ok(()));
    assert_eq!(compare(&[], &[(QUEUE_TYPE, Value::text("classic"))]), Ok(()));
    assert_eq!(
        compare(&ttl(Value::I32(1000)), &[]).unwrap_err(),
        "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': \
         received none but current is the value '1000' of type 'signedint'"
    );
    assert_eq!(
        compare(&ttl(Value::I32(20)), &ttl(Value::I32(10))).unwrap_err(),
        "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '10' but current is '20'"
    );
}

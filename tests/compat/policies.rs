//! A-6: policies and operator policies; A-5 and A-8: what an operator sets besides.

use serde_json::{Value as Json, json};

use super::harness::*;

fn policy(pattern: &str, definition: Json) -> Json {
    json!({"pattern": pattern, "definition": definition})
}

/// A broker without policies.
fn broker() -> Option<Broker> {
    Broker::start_with(&[])
}

#[test]
fn a006_an_invalid_policy_is_refused_whole() {
    let Some(broker) = broker() else { return };
    let failed = |why: &str| Err(format!("Validation failed\n\n{why}\n"));
    for (policy, why) in [
        (policy("q", json!({})), "no policy provided"),
        (policy("q", json!({"foo": "bar"})), r#"[{<<"foo">>,<<"bar">>}] are not recognised policy settings"#),
        (policy("q", json!({"expires": 0})), "0 is not a valid queue expiry"),
        (policy("q", json!({"max-length": 5, "overflow": 1})), "1 is not a valid overflow value"),
        (json!({"pattern": "q"}), "Key \"definition\" not found in p"),
        (
            json!({"pattern": "q", "definition": {"max-length": 5}, "apply-to": "cats"}),
            "apply-to 'cats' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', \
             'exchanges', or 'all'",
        ),
        (
            json!({"pattern": "q", "definition": {"max-length": 5}, "priority": "high"}),
            r#"priority should be a number, actually was <<"high">>"#,
        ),
    ] {
        assert_eq!(broker.set_policy("p", policy, false), failed(why));
    }
    let error = broker.set_policy("p", policy("(", json!({"max-length": 5})), false).unwrap_err();
    assert!(error.starts_with("Validation failed\n\npattern should be a regular expression but is invalid"), "{error}");
    let operator = broker.set_policy("p", policy("q", json!({"dead-letter-exchange": "x"})), true);
    assert_eq!(operator, failed(r#"[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised policy settings"#));
    assert_eq!(broker.clear_policy("p", false), Err("no policy 'p' in vhost '/'".into()));
}

#[test]
fn a006_a_policy_is_in_force_at_once_and_until_it_is_cleared() {
    let Some(broker) = broker() else { return };
    let channel = broker.connect().channel();
    channel.declare(queue_declare("orders").arg("x-max-length", 50));
    channel.declare(queue_declare("other"));
    broker.set_policy("p", policy("^ord", json!({"max-length": 10, "message-ttl": 1000})), false).unwrap();
    let settings = broker.settings("orders");
    assert_eq!((settings.max_length, settings.message_ttl), (Some(10), Some(1000)));
    assert_eq!(broker.settings("other").max_length, None);
    channel.declare(queue_declare("ord2"));
    assert_eq!(broker.settings("ord2").max_length, Some(10));
    broker.set_policy("p", policy("^ord", json!({"max-length": 90})), false).unwrap();
    let settings = broker.settings("orders");
    assert_eq!((settings.max_length, settings.message_ttl), (Some(50), None));
    assert_eq!(broker.settings("ord2").max_length, Some(90));
    broker.clear_policy("p", false).unwrap();
    assert_eq!(broker.settings("orders").max_length, Some(50));
    assert_eq!(broker.settings("ord2").max_length, None);
}

#[test]
fn a006_a_policy_that_gets_another_pattern_leaves_the_queues_of_the_old_one() {
    let Some(broker) = broker() else { return };
    let channel = broker.connect().channel();
    let names = ["orders-1", "orders-2", "bills-1", "other"];
    for name in names {
        channel.declare(queue_declare(name));
    }
    let limits = || names.map(|name| broker.settings(name).max_length);
    let with = |pattern| broker.set_policy("p", policy(pattern, json!({"max-length": 5})), false).unwrap();
    for (pattern, expected) in [
        ("^orders-", [Some(5), Some(5), None, None]),
        ("^bills-", [None, None, Some(5), None]),
        ("-1$", [Some(5), None, Some(5), None]),
        ("^orders-2", [None, Some(5), None, None]),
        ("^o", [Some(5), Some(5), None, Some(5)]),
        ("^orders-1$", [Some(5), None, None, None]),
    ] {
        with(pattern);
        assert_eq!(limits(), expected, "{pattern}");
    }
    // Queues that come and go between two changes.
    channel.delete(queue_delete("orders-2"));
    channel.declare(queue_declare("orders-2"));
    channel.declare(queue_declare("orders-3"));
    with("^orders-");
    assert_eq!(limits(), [Some(5), Some(5), None, None]);
    assert_eq!(broker.settings("orders-3").max_length, Some(5));
    broker.clear_policy("p", false).unwrap();
    assert_eq!(limits(), [None; 4]);
    assert_eq!(broker.settings("orders-3").max_length, None);
}

#[test]
fn a006_the_highest_priority_counts_and_of_equals_the_first_by_name() {
    let Some(broker) = broker() else { return };
    let channel = broker.connect().channel();
    channel.declare(queue_declare("q"));
    let set = |name: &str, priority: i64, length: i64| {
        let policy = json!({"pattern": "q", "definition": {"max-length": length}, "priority": priority});
        broker.set_policy(name, policy, false).unwrap();
        broker.settings("q").max_length
    };
    assert_eq!(set("m", 0, 1), Some(1));
    assert_eq!(set("z", 0, 2), Some(1));
    assert_eq!(set("a", 0, 3), Some(3));
    assert_eq!(set("z", 5, 4), Some(4));
    assert_eq!(set("z", -1, 5), Some(3));
    broker.clear_policy("a", false).unwrap();
    assert_eq!(broker.settings("q").max_length, Some(1));
    assert_eq!(broker.effective_policy("q").policy.as_deref(), Some("m"));
}

#[test]
fn a006_a_policy_applies_to_what_it_is_for() {
    let Some(broker) = broker() else { return };
    let channel = broker.connect().channel();
    channel.declare(queue_declare("classic").durable());
    channel.declare(queue_declare("quorum").durable().arg("x-queue-type", "quorum"));
    let applies = |apply_to: &str, definition: Json| {
        let policy = json!({"pattern": "", "definition": definition, "apply-to": apply_to});
        broker.set_policy("p", policy, false).unwrap();
        ["classic", "quorum"].map(|queue| broker.effective_policy(queue).policy.is_some())
    };
    let length = || json!({"max-length": 1});
    assert_eq!(applies("all", length()), [true, true]);
    assert_eq!(applies("queues", length()), [true, true]);
    assert_eq!(applies("classic_queues", length()), [true, false]);
    assert_eq!(applies("quorum_queues", length()), [false, true]);
    assert_eq!(applies("streams", length()), [false, false]);
    assert_eq!(applies("exchanges", length()), [false, false]);
    // A key that a type does not know keeps the whole policy from it.
    assert_eq!(applies("all", json!({"max-length": 1, "ha-mode": "all"})), [true, false]);
    assert_eq!(applies("all", json!({"max-length": 1, "dead-letter-strategy": "at-most-once"})), [false, true]);
}

#[test]
fn a006_operators_cap_arguments_and_policies() {
    let Some(broker) = broker() else { return };
    let channel = broker.connect().channel();
    channel.declare(queue_declare("q").arg("x-max-length", 50).arg("x-overflow", "reject-publish"));
    broker.set_policy("p", policy("q", json!({"max-length": 30, "expires": 5000})), false).unwrap();
    broker.set_policy("cap", policy("q", json!({"max-length": 20, "overflow": "drop-head"})), true).unwrap();
    let settings = broker.settings("q");
    assert_eq!((settings.max_length, settings.expires), (Some(20), Some(5000)));
    assert_eq!(settings.overflow, leveret::queue::settings::Overflow::DropHead);
    let effective = broker.effective_policy("q");
    assert_eq!((effective.policy.as_deref(), effective.operator_policy.as_deref()), (Some("p"), Some("cap")));
    let merged = json!({"max-length": 20, "expires": 5000, "overflow": "drop-head"});
    assert_eq!(Json::Object(effective.definition), merged);
}

#[test]
fn a006_policies_survive_a_restart() {
    let Some(mut broker) = broker() else { return };
    broker.connect().channel().declare(queue_declare("q").durable());
    broker.set_policy("p", policy("q", json!({"max-length": 30})), false).unwrap();
    broker.set_policy("p", policy("q", json!({"max-length": 20, "message-ttl": 7})), true).unwrap();
    broker.restart();
    let settings = broker.settings("q");
    assert_eq!((settings.max_length, settings.message_ttl), (Some(20), Some(7)));
    broker.clear_policy("p", true).unwrap();
    broker.restart();
    let settings = broker.settings("q");
    assert_eq!((settings.max_length, settings.message_ttl), (Some(30), None));
}

#[test]
fn a006_an_alternate_exchange_by_policy() {
    let Some(broker) = broker() else { return };
    let channel = broker.connect().channel();
    let rest = channel.temporary_queue();
    channel.call(exchange_declare("main", "direct"));
    channel.call(exchange_declare("rest", "fanout"));
    channel.call(queue_bind(&rest, "rest", ""));
    // The same channel publishes each time, so that it has the route in its cache.
    let is_routed = || {
        channel.publish("main", "nowhere", "m");
        channel.ready(&rest) > 0 && channel.purge(&rest) > 0
    };
    assert!(!is_routed());
    let alternate = json!({"pattern": "^main$", "definition": {"alternate-exchange": "rest"}, "apply-to": "exchanges"});
    broker.set_policy("ae", alternate, false).unwrap();
    assert!(is_routed());
    broker.clear_policy("ae", false).unwrap();
    assert!(!is_routed());
}

#[test]
fn a006_operator_policies_of_the_configuration() {
    let Some(broker) = Broker::start_with(&[
        ("default_policies.operator.cap.vhost_pattern", "^/$"),
        ("default_policies.operator.cap.queue_pattern", "^q"),
        ("default_policies.operator.cap.max_length", "9"),
        ("default_policies.operator.not.vhost_pattern", "^other"),
        ("default_policies.operator.not.max_length", "1"),
    ]) else {
        return;
    };
    broker.connect().channel().declare(queue_declare("q"));
    assert_eq!(broker.settings("q").max_length, Some(9));
}

#[test]
fn a008_limits_of_a_vhost_count_at_once() {
    let Some(broker) = broker() else { return };
    let client = broker.connect();
    let channel = client.channel();
    broker.set_vhost_limits("/", r#"{"max-queues": 1}"#);
    channel.declare(queue_declare("one"));
    let text = "cannot declare queue 'two': queue limit in vhost '/' (1) is reached";
    channel.refuses(queue_declare("two"), 406, text);
    broker.set_vhost_limits("/", r#"{"max-queues": -1}"#);
    channel.declare(queue_declare("two"));
}

#[test]
fn e050_a_quorum_queue_is_not_deleted_under_conditions() {
    let Some(broker) = broker() else { return };
    let channel = broker.connect().channel();
    channel.declare(queue_declare("q").durable().arg("x-queue-type", "quorum"));
    for flag in ["if-unused", "if-empty"] {
        let delete = queue_delete("q");
        let delete = if flag == "if-unused" { delete.if_unused() } else { delete.if_empty() };
        let text = format!(
            "cannot delete queue 'q' in vhost '/'. queue.delete operations with {flag} flag set are not supported by quorum \
             queues"
        );
        broker.connect().channel().ends_connection(delete, 540, text);
    }
    let Some(lenient) = Broker::start_with(&[("quorum_queue.refuse_unsupported", "false")]) else { return };
    let channel = lenient.connect().channel();
    channel.declare(queue_declare("q").durable().arg("x-queue-type", "quorum"));
    channel.call(queue_delete("q").if_unused().if_empty());
}

#[test]
fn a005_a_quorum_queue_is_declared_again_as_a_classic_one_where_that_is_allowed() {
    let relaxed = [("quorum_queue.property_equivalence.relaxed_checks_on_redeclaration", "true")];
    let (Some(strict), Some(relaxed)) = (broker(), Broker::start_with(&relaxed)) else { return };
    for (broker, is_allowed) in [(strict, false), (relaxed, true)] {
        let channel = broker.connect().channel();
        channel.declare(queue_declare("q").durable().arg("x-queue-type", "quorum"));
        let again = || queue_declare("q").durable().arg("x-queue-type", "classic");
        if is_allowed {
            channel.declare(again());
            channel.declare(queue_declare("q").auto_delete().arg("x-max-priority", 5));
        } else {
            let text = "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': \
                        received 'classic' but current is 'quorum'";
            channel.refuses(again(), 406, text);
        }
    }
}

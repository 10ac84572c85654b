//! Bad input is refused with 400 and the name of what is wrong, and nothing is changed.

use serde_json::json;

use super::harness::Broker;

const NOT_AN_OBJECT: &str = "[1]";
const BROKEN: &str = "{\"a\":";

const PUBLISH_NUMBER: &str = r#"{"routing_key":"old","payload":7,"payload_encoding":"string","properties":{}}"#;
const PUBLISH_PROPERTY: &str =
    r#"{"routing_key":"old","payload":"","payload_encoding":"string","properties":{"colour":1}}"#;
const PUBLISH_BASE64: &str = r#"{"routing_key":"old","payload":"??","payload_encoding":"base64","properties":{}}"#;
const PUBLISH_EXPIRATION: &str =
    r#"{"routing_key":"old","payload":"","payload_encoding":"string","properties":{"expiration":"soon"}}"#;

/// Method, path, body, and what the reason names.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("PUT", "/api/queues/%2F/new", BROKEN, "not_json"),
    ("PUT", "/api/queues/%2F/new", NOT_AN_OBJECT, "not_json"),
    ("PUT", "/api/queues/%2F/new", "\"{}\"", "doubly-JSON-encoded"),
    ("PUT", "/api/queues/%2F/new", "{\"durable\":\"\u{1}\"}", "not_json"),
    ("PUT", "/api/queues/%2F/new", r#"{"durable":"yes"}"#, "'durable'"),
    ("PUT", "/api/queues/%2F/new", r#"{"arguments":"x"}"#, "'arguments'"),
    ("PUT", "/api/queues/%2F/new", r#"{"arguments":{"x-max-length":"many"}}"#, "x-max-length"),
    ("PUT", "/api/queues/%2F/new", r#"{"arguments":{"x-queue-type":"odd"}}"#, "x-queue-type"),
    ("PUT", "/api/queues/%2F/new", r#"{"argument":{}}"#, "unknown field 'argument'"),
    ("PUT", "/api/queues/%2F/new", r#"{"exclusive":true}"#, "'exclusive'"),
    ("PUT", "/api/queues/%2F/%ff", "{}", "not UTF-8"),
    ("PUT", "/api/exchanges/%2F/new", r#"{"type":7}"#, "'type'"),
    ("PUT", "/api/exchanges/%2F/new", r#"{"kind":"topic"}"#, "unknown field 'kind'"),
    ("PUT", "/api/exchanges/%2F/new", r#"{"type":"x-delayed-message"}"#, "x-delayed-type"),
    ("PUT", "/api/vhosts/new", r#"{"description":7}"#, "'description'"),
    ("PUT", "/api/vhosts/new", r#"{"tags":7}"#, "'tags'"),
    ("PUT", "/api/vhosts/new", r#"{"default_queue_type":"odd"}"#, "'default_queue_type'"),
    ("PUT", "/api/vhosts/new", r#"{"desription":"d"}"#, "'desription'"),
    ("PUT", "/api/users/new", r#"{"password":"p"}"#, "'tags'"),
    ("PUT", "/api/users/new", r#"{"password":7,"tags":""}"#, "'password'"),
    ("PUT", "/api/users/new", r#"{"password":"p","password_hash":"h","tags":""}"#, "only one"),
    ("PUT", "/api/users/new", r#"{"password_hash":"x","tags":""}"#, "'password_hash'"),
    ("PUT", "/api/users/new", r#"{"password":"p","hashing_algorithm":"rot13","tags":""}"#, "'hashing_algorithm'"),
    ("PUT", "/api/users/new", r#"{"password":"p","tags":"","limits":{"max-things":1}}"#, "'max-things'"),
    ("PUT", "/api/permissions/%2F/guest", r#"{"configure":"(","write":"","read":""}"#, "'('"),
    ("PUT", "/api/permissions/%2F/guest", r#"{"configure":"","write":""}"#, "'read'"),
    ("PUT", "/api/permissions/%2F/guest", r#"{"configure":"","write":"","read":7}"#, "'read'"),
    ("PUT", "/api/topic-permissions/%2F/guest", r#"{"exchange":"x","write":"[","read":""}"#, "'['"),
    ("PUT", "/api/policies/%2F/new", r#"{"pattern":"(","definition":{"max-length":1}}"#, "regular expression"),
    ("PUT", "/api/policies/%2F/new", r#"{"pattern":"","definition":{"max-lenght":1}}"#, "max-lenght"),
    ("PUT", "/api/policies/%2F/new", r#"{"pattern":"","definition":{"max-length":"x"}}"#, "maximum length"),
    ("PUT", "/api/policies/%2F/new", r#"{"pattern":"","definition":{"max-length":1},"aply-to":"all"}"#, "aply-to"),
    ("PUT", "/api/policies/%2F/new", "{}", "pattern"),
    (
        "PUT",
        "/api/operator-policies/%2F/new",
        r#"{"pattern":"","definition":{"alternate-exchange":"x"}}"#,
        "alternate-exchange",
    ),
    ("PUT", "/api/parameters/shovel/%2F/new", "{}", "'value'"),
    ("PUT", "/api/global-parameters/new", r#"{"values":1}"#, "'values'"),
    ("PUT", "/api/vhost-limits/%2F/max-queues", r#"{"value":"many"}"#, "'value'"),
    ("PUT", "/api/vhost-limits/%2F/max-things", r#"{"value":1}"#, "max-things"),
    ("PUT", "/api/user-limits/guest/max-channels", "{}", "'value'"),
    ("PUT", "/api/cluster-name", r#"{"name":""}"#, "'name'"),
    ("POST", "/api/users/bulk-delete", r#"{"users":7}"#, "'users'"),
    ("POST", "/api/bindings/%2F/e/amq.direct/q/old", r#"{"routing_key":7}"#, "'routing_key'"),
    ("POST", "/api/bindings/%2F/e/amq.headers/q/old", r#"{"arguments":{"x-match":"odd"}}"#, "x-match"),
    ("POST", "/api/queues/%2F/old/actions", r#"{"action":"jump"}"#, "'jump'"),
    ("POST", "/api/queues/%2F/old/get", r#"{"count":1,"encoding":"auto"}"#, "'ackmode'"),
    ("POST", "/api/queues/%2F/old/get", r#"{"count":1,"ackmode":"odd","encoding":"auto"}"#, "'ackmode'"),
    ("POST", "/api/queues/%2F/old/get", r#"{"count":-1,"ackmode":"ack_requeue_true","encoding":"auto"}"#, "'count'"),
    ("POST", "/api/queues/%2F/old/get", r#"{"count":1,"ackmode":"ack_requeue_true","encoding":"odd"}"#, "encoding"),
    ("POST", "/api/exchanges/%2F/amq.default/publish", "{}", "'routing_key'"),
    ("POST", "/api/exchanges/%2F/amq.default/publish", PUBLISH_NUMBER, "'payload'"),
    ("POST", "/api/exchanges/%2F/amq.default/publish", PUBLISH_PROPERTY, "'colour'"),
    ("POST", "/api/exchanges/%2F/amq.default/publish", PUBLISH_BASE64, "base64"),
    ("POST", "/api/exchanges/%2F/amq.default/publish", PUBLISH_EXPIRATION, "expiration"),
    ("PUT", "/api/leveret/log/level", r#"{"level":"loud"}"#, "'loud' is no log level: debug, info"),
    ("PUT", "/api/leveret/log/level", r#"{"category":"odd","level":"info"}"#, "'odd' is no log category: default"),
    ("PUT", "/api/leveret/log/level", "{}", "'level'"),
    ("GET", "/api/leveret/log/tail?lines=some", "", "'some'"),
    ("GET", "/api/queues?page=x", "", "Pagination"),
    ("GET", "/api/queues?page=1&page_size=1000", "", "page size 1000"),
    ("GET", "/api/queues?page=1&name=(&use_regex=true", "", "regular expression"),
    ("GET", "/api/queues?name=%ff", "", "not UTF-8"),
    ("GET", "/api/queues/%ff", "", "not UTF-8"),
];

#[test]
fn what_is_wrong_is_named_and_nothing_changes() {
    let broker = Broker::start();
    broker.put("/api/queues/%2F/old", "{}").expect(201);
    let lists = [
        "queues",
        "exchanges",
        "bindings",
        "vhosts",
        "users",
        "permissions",
        "topic-permissions",
        "policies",
        "operator-policies",
        "parameters",
        "global-parameters",
        "vhost-limits",
        "user-limits",
        "cluster-name",
    ];
    let state = || lists.map(|list| broker.json(&format!("/api/{list}")));
    let before = state();
    let mut wrong = Vec::new();
    for (method, path, body, name) in CASES {
        let response = broker.ask(super::harness::GUEST, method, path, body);
        let reason = serde_json::from_slice(&response.body).unwrap_or(json!(null))["reason"].to_string();
        if response.status != 400 || !reason.contains(name) {
            wrong.push(format!("{method} {path} {body}: {} {reason}", response.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(state(), before);
}

/// Something nested so many times in objects.
fn nested(times: usize) -> String {
    format!("{}1{}", r#"{"n":"#.repeat(times), "}".repeat(times))
}

/// What is stored must be readable in definitions, where it lies deeper, and in tables, which are not that deep.
#[test]
fn what_is_nested_too_deep_or_has_too_long_keys_is_refused() {
    let mut broker = Broker::start();
    let deep = [
        ("PUT", "/api/queues/%2F/q", format!(r#"{{"arguments":{}}}"#, nested(120))),
        ("PUT", "/api/exchanges/%2F/x", format!(r#"{{"arguments":{}}}"#, nested(70))),
        ("POST", "/api/bindings/%2F/e/amq.headers/q/old", format!(r#"{{"arguments":{}}}"#, nested(70))),
        ("PUT", "/api/parameters/shovel/%2F/s", format!(r#"{{"value":{}}}"#, nested(125))),
        ("PUT", "/api/global-parameters/g", format!(r#"{{"value":{}}}"#, nested(125))),
        (
            "POST",
            "/api/exchanges/%2F/amq.default/publish",
            format!(
                r#"{{"routing_key":"old","payload":"","payload_encoding":"string","properties":{{"headers":{}}}}}"#,
                nested(70)
            ),
        ),
    ];
    broker.put("/api/queues/%2F/old", "{}").expect(201);
    for (method, path, body) in deep {
        broker.ask(super::harness::GUEST, method, path, &body).expect_error(400, "nested more than 64 deep");
    }
    let long = json!({ "arguments": { "ä".repeat(128): 1 } }).to_string();
    broker.put("/api/queues/%2F/q", &long).expect_error(400, "has more than 255 bytes");
    // What is let through comes back.
    broker.put("/api/queues/%2F/q", &format!(r#"{{"arguments":{}}}"#, nested(60))).expect(201);
    broker.put("/api/global-parameters/s", &format!(r#"{{"value":{}}}"#, nested(60))).expect(201);
    let file = broker.get("/api/definitions").expect(200).text();
    broker.restart();
    broker.post("/api/definitions", &file).expect(204);
}

#[test]
fn properties_that_fit_into_no_frame_are_refused() {
    let broker = Broker::start();
    broker.put("/api/queues/%2F/q", "{}").expect(201);
    let publish = |bytes: usize| {
        let properties = json!({ "headers": { "h": "x".repeat(bytes) } });
        let body = json!({ "routing_key": "q", "payload": "", "payload_encoding": "string", "properties": properties });
        broker.post("/api/exchanges/%2F/amq.default/publish", &body.to_string())
    };
    publish(131_000).expect(200);
    publish(131_072).expect_error(400, "131050 fit into a frame");
}

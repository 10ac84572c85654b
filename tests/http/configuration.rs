//! The configuration is read again.

use serde_json::json;

use super::harness::{Broker, Response};

fn publish(broker: &Broker, size: usize) -> Response {
    let payload = "x".repeat(size);
    let body = json!({ "routing_key": "none", "payload": payload, "payload_encoding": "string", "properties": {} });
    broker.post("/api/exchanges/%2F/amq.default/publish", &body.to_string())
}

#[test]
fn reload_says_what_has_changed_and_it_counts_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rabbit.conf");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("max_message_size = 100\n");
    let broker = Broker::start_from(Some(&file), &[]);
    let reload = || broker.post("/api/leveret/config/reload", "{}");
    publish(&broker, 150).expect_error(400, "message size 150 is larger than configured max size 100");

    write("max_message_size = 200\ndefault_user = other\n");
    let expected = json!({
        "changed": ["max_message_size"], "needs_restart": ["default_user"], "failures": [], "warnings": [],
    });
    assert_eq!(reload().expect(200).json(), expected);
    publish(&broker, 150).expect(200);

    write("max_message_size = 300\nheartbeat = x\n");
    reload().expect_error(400, "rabbit.conf:2: heartbeat = x: expected a whole number");
    publish(&broker, 250).expect_error(400, "configured max size 200");

    broker.node.as_ref().unwrap().broker().on_reload(|_, _| Err("it cannot be read".to_owned()));
    write("max_message_size = 300\n");
    assert_eq!(reload().expect(200).json()["failures"], json!(["it cannot be read"]));
    publish(&broker, 250).expect(200);
}

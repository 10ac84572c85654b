//! Messages: published, taken, looked at, moved, deleted, cancelled.

use serde_json::{Value as Json, json};

use super::harness::{As, Broker};

fn publish(broker: &Broker, exchange: &str, key: &str, payload: &str, properties: &Json) -> Json {
    let body = json!({
        "routing_key": key, "payload": payload, "payload_encoding": "string", "properties": properties,
    });
    broker.post(&format!("/api/exchanges/%2F/{exchange}/publish"), &body.to_string()).expect(200).json()
}

fn get(broker: &Broker, queue: &str, mode: &str, count: usize) -> Vec<Json> {
    let body = json!({ "count": count, "ackmode": mode, "encoding": "auto" }).to_string();
    broker.post(&format!("/api/queues/%2F/{queue}/get"), &body).expect(200).json().as_array().unwrap().clone()
}

fn payloads(messages: &[Json]) -> Vec<&str> {
    messages.iter().map(|message| message["payload"].as_str().unwrap()).collect()
}

fn ready(broker: &Broker, queue: &str) -> Json {
    broker.json(&format!("/api/queues/%2F/{queue}"))["messages_ready"].clone()
}

#[test]
fn a_message_is_published_and_taken() {
    let broker = Broker::start();
    broker.put("/api/queues/%2F/q", "{}").expect(201);
    let properties = json!({ "delivery_mode": 2, "headers": { "n": 1 }, "app_id": "a", "timestamp": 5 });
    assert_eq!(publish(&broker, "amq.default", "q", "hello", &properties), json!({ "routed": true }));
    assert_eq!(publish(&broker, "amq.default", "none", "hello", &json!({})), json!({ "routed": false }));
    let expected = json!({
        "payload_bytes": 5, "redelivered": false, "exchange": "", "routing_key": "q", "message_count": 0,
        "properties": properties, "payload": "hello", "payload_encoding": "string",
    });
    assert_eq!(get(&broker, "q", "ack_requeue_true", 5), [expected]);
    let again = get(&broker, "q", "reject_requeue_true", 1);
    assert_eq!(again[0]["redelivered"], true);
    assert_eq!(ready(&broker, "q"), 1);
    let body = json!({ "count": 1, "ackmode": "ack_requeue_false", "encoding": "base64", "truncate": 3 });
    let taken = broker.post("/api/queues/%2F/q/get", &body.to_string()).expect(200).json();
    assert_eq!((&taken[0]["payload"], &taken[0]["payload_bytes"]), (&json!("aGVs"), &json!(5)));
    assert_eq!(ready(&broker, "q"), 0);
    assert_eq!(get(&broker, "q", "ack_requeue_false", 1), [json!(null); 0]);
    let counted = &broker.json("/api/overview")["message_stats"];
    let expected =
        [("publish", 2), ("confirm", 2), ("return_unroutable", 1), ("get", 2), ("get_no_ack", 1), ("redeliver", 2)];
    for (name, n) in expected {
        assert_eq!(counted[name], n, "{name} in {counted}");
    }
    let default = &broker.json("/api/exchanges/%2F/amq.default")["message_stats"];
    assert_eq!((&default["publish_in"], &default["publish_out"]), (&json!(2), &json!(1)));
}

#[test]
fn messages_are_put_back_in_their_order() {
    let broker = Broker::start();
    broker.put("/api/queues/%2F/q", "{}").expect(201);
    for n in 0..5 {
        publish(&broker, "amq.default", "q", &n.to_string(), &json!({}));
    }
    assert_eq!(payloads(&get(&broker, "q", "ack_requeue_true", 3)), ["0", "1", "2"]);
    assert_eq!(payloads(&get(&broker, "q", "reject_requeue_false", 1)), ["0"]);
    assert_eq!(payloads(&get(&broker, "q", "ack_requeue_false", 9)), ["1", "2", "3", "4"]);
}

#[test]
fn bytes_that_are_no_text_come_in_base64() {
    let broker = Broker::start();
    broker.put("/api/queues/%2F/q", "{}").expect(201);
    let body = r#"{"routing_key":"q","payload":"//8=","payload_encoding":"base64","properties":{}}"#;
    broker.post("/api/exchanges/%2F/amq.default/publish", body).expect(200);
    let taken = get(&broker, "q", "ack_requeue_false", 1);
    assert_eq!((&taken[0]["payload"], &taken[0]["payload_encoding"]), (&json!("//8="), &json!("base64")));
}

#[test]
fn a_full_queue_refuses() {
    let broker = Broker::start();
    broker.put("/api/queues/%2F/q", r#"{"arguments":{"x-max-length":1,"x-overflow":"reject-publish"}}"#).expect(201);
    publish(&broker, "amq.default", "q", "one", &json!({}));
    let body = r#"{"routing_key":"q","payload":"two","payload_encoding":"string","properties":{}}"#;
    broker.post("/api/exchanges/%2F/amq.default/publish", body).expect_error(400, "Check queue limits");
}

#[test]
fn looking_changes_nothing() {
    let broker = Broker::start();
    broker.put("/api/queues/%2F/q", "{}").expect(201);
    broker.post("/api/bindings/%2F/e/amq.topic/q/q", r##"{"routing_key":"#"}"##).expect(201);
    for n in 0..10 {
        let properties = json!({ "headers": { "n": n, "even": n % 2 == 0 }, "message_id": format!("m{n}") });
        publish(&broker, "amq.topic", &format!("k.{n}"), &n.to_string(), &properties);
    }
    let look = |query: &str| {
        let page = broker.json(&format!("/api/queues/%2F/q/messages?{query}"));
        let found = page["messages"].as_array().unwrap();
        (payloads(found).join(","), page["next"].clone())
    };
    let (all, next) = look("");
    assert_eq!((all.as_str(), next), ("0,1,2,3,4,5,6,7,8,9", json!(null)));
    let (first, next) = look("count=4");
    assert_eq!(first, "0,1,2,3");
    assert_eq!(look(&format!("count=4&from={next}")).0, "4,5,6,7");
    assert_eq!(look("key=%5Ek.%5B34%5D").0, "3,4");
    assert_eq!(look("header=even:true&header=n:6").0, "6");
    assert_eq!(look("message_id=m7&exchange=amq.topic").0, "7");
    assert_eq!(look("min_age=3600").0, "");
    assert_eq!(look("max_age=3600&count=1").0, "0");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !look("max_age=0").0.is_empty() {
        assert!(std::time::Instant::now() < until, "all of them are older than that by now");
    }
    assert_eq!(get(&broker, "q", "ack_requeue_true", 1)[0]["redelivered"], false, "nobody has had it");
    for query in [
        "key=(",
        "header=n",
        "min_age=x",
        "count=0",
        "count=1001",
        "from=x",
        "position=-1",
        "encoding=odd",
        "min_aeg=1",
    ] {
        broker.get(&format!("/api/queues/%2F/q/messages?{query}")).expect(400);
    }
}

#[test]
fn messages_are_moved_and_deleted_by_filter() {
    let broker = Broker::start();
    for queue in ["from", "to", "topic"] {
        broker.put(&format!("/api/queues/%2F/{queue}"), "{}").expect(201);
    }
    broker.post("/api/bindings/%2F/e/amq.topic/q/topic", r#"{"routing_key":"again.*"}"#).expect(201);
    for n in 0..6 {
        publish(&broker, "amq.default", "from", &n.to_string(), &json!({ "delivery_mode": 2, "headers": { "n": n } }));
    }
    let change = |method: &str, path: &str, body: &str| broker.ask(super::harness::GUEST, method, path, body);
    let path = "/api/queues/%2F/from/messages";
    change("POST", &format!("{path}/move?min_aeg=100"), r#"{"queue":"to"}"#).expect(400);
    let moved = change("POST", &format!("{path}/move?count=2"), r#"{"queue":"to"}"#).expect(200).json();
    assert_eq!((&moved["moved"], &moved["stayed"]), (&json!(2), &json!(0)));
    assert_eq!(payloads(&get(&broker, "to", "ack_requeue_false", 9)), ["0", "1"]);
    let body = r#"{"exchange":"amq.topic","routing_key":"again.x"}"#;
    let moved = change("POST", &format!("{path}/move?header=n:3"), body).expect(200).json();
    assert_eq!(moved["moved"], 1);
    let got = get(&broker, "topic", "ack_requeue_false", 9);
    assert_eq!((&got[0]["payload"], &got[0]["routing_key"]), (&json!("3"), &json!("again.x")));
    let moved = change("POST", &format!("{path}/move"), r#"{"exchange":"amq.topic"}"#).expect(200).json();
    assert_eq!((&moved["moved"], &moved["stayed"]), (&json!(0), &json!(3)), "what has no route stays");
    change("DELETE", path, "").expect_error(400, "a filter is missing");
    let deleted = change("DELETE", &format!("{path}?header=n:4"), "").expect(200).json();
    assert_eq!(deleted["deleted"], 1);
    assert_eq!(payloads(&get(&broker, "from", "ack_requeue_false", 9)), ["2", "5"]);
    change("POST", &format!("{path}/move"), r#"{"queue":"from"}"#).expect_error(400, "already");
    change("POST", &format!("{path}/move"), r#"{"queue":"none"}"#).expect_error(404, "no queue 'none'");
    change("POST", &format!("{path}/move"), "{}").expect_error(400, "'queue' and 'exchange'");
}

#[test]
fn delayed_messages_are_seen_and_cancelled() {
    let broker = Broker::start();
    let body = r#"{"type":"x-delayed-message","arguments":{"x-delayed-type":"fanout"}}"#;
    broker.put("/api/exchanges/%2F/later", body).expect(201);
    broker.put("/api/queues/%2F/q", "{}").expect(201);
    broker.post("/api/bindings/%2F/e/later/q/q", "{}").expect(201);
    for n in 0..3 {
        let properties = json!({ "headers": { "x-delay": 3_600_000 }, "message_id": format!("m{n}") });
        assert_eq!(publish(&broker, "later", "", &n.to_string(), &properties)["routed"], true);
    }
    assert_eq!(broker.json("/api/exchanges/%2F/later")["messages_delayed"], 3);
    let page = broker.json("/api/exchanges/%2F/later/delayed");
    let first = &page["messages"][0];
    assert!(first["due"].as_u64().unwrap() > first["published"].as_u64().unwrap() + 3_590_000, "{first}");
    let cancelled = broker.delete("/api/exchanges/%2F/later/delayed?message_id=m1").expect(200).json();
    assert_eq!(cancelled["deleted"], 1);
    let left = broker.json("/api/exchanges/%2F/later/delayed");
    assert_eq!(payloads(left["messages"].as_array().unwrap()), ["0", "2"]);
    broker.get("/api/exchanges/%2F/amq.topic/delayed").expect_error(400, "delays no messages");
}

#[test]
fn publishing_and_getting_need_permission() {
    let broker = Broker::start();
    broker.put("/api/users/anna", r#"{"password":"p","tags":"management"}"#).expect(201);
    broker.put("/api/permissions/%2F/anna", r#"{"configure":"","write":"^amq.topic$","read":"^own$"}"#).expect(201);
    let topic = r#"{"exchange":"amq.topic","write":"^a","read":".*"}"#;
    broker.put("/api/topic-permissions/%2F/anna", topic).expect(201);
    broker.put("/api/queues/%2F/q", "{}").expect(201);
    let anna = As::User("anna", "p");
    let body = |key: &str| {
        json!({ "routing_key": key, "payload": "", "payload_encoding": "string", "properties": {} }).to_string()
    };
    let publish =
        |exchange: &str, body: &str| broker.ask(anna, "POST", &format!("/api/exchanges/%2F/{exchange}/publish"), body);
    publish("amq.topic", &body("a")).expect(200);
    publish("amq.topic", &body("b")).expect_error(401, "write access to topic 'b'");
    publish("amq.direct", &body("a")).expect_error(401, "write access to exchange 'amq.direct'");
    publish("amq.default", &body("q")).expect_error(401, "write access");
    let get = r#"{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}"#;
    broker.ask(anna, "POST", "/api/queues/%2F/q/get", get).expect_error(401, "read access to queue 'q'");
    broker.ask(anna, "GET", "/api/queues/%2F/q/messages", "").expect_error(401, "read access to queue 'q'");
    assert_eq!(broker.json("/api/aliveness-test/%2F"), json!({ "status": "ok" }));
    broker.ask(anna, "GET", "/api/aliveness-test/%2F", "").expect(401);
}

//! Users, permissions, limits.

use serde_json::json;

use super::harness::{As, Broker};

#[test]
fn a_user_is_made_changed_and_deleted() {
    let broker = Broker::start();
    broker.put("/api/users/anna", r#"{"password":"one","tags":"management"}"#).expect(201);
    broker.ask(As::User("anna", "one"), "GET", "/api/whoami", "").expect(200);
    broker.put("/api/users/anna", r#"{"password":"two","tags":["monitoring","policymaker"]}"#).expect(204);
    broker.ask(As::User("anna", "one"), "GET", "/api/whoami", "").expect(401);
    let who = broker.ask(As::User("anna", "two"), "GET", "/api/whoami", "").json();
    assert_eq!(who, json!({ "name": "anna", "tags": ["monitoring", "policymaker"] }));
    let shown = broker.json("/api/users/anna");
    assert_eq!(shown["hashing_algorithm"], "rabbit_password_hashing_sha256");
    let hash = shown["password_hash"].as_str().unwrap();
    let body = json!({ "password_hash": hash, "tags": "management" }).to_string();
    broker.put("/api/users/bert", &body).expect(201);
    broker.ask(As::User("bert", "two"), "GET", "/api/whoami", "").expect(200);
    broker.put("/api/users/carl", r#"{"tags":""}"#).expect(201);
    broker.ask(As::User("carl", ""), "GET", "/api/whoami", "").expect(401);
    let without: Vec<_> = broker.json("/api/users/without-permissions").as_array().unwrap().clone();
    assert_eq!(without.len(), 3);
    broker.delete("/api/users/anna").expect(204);
    broker.delete("/api/users/anna").expect(404);
    broker.post("/api/users/bulk-delete", r#"{"users":["bert","carl","nobody"]}"#).expect(204);
    assert_eq!(broker.json("/api/users?columns=name"), json!([{ "name": "guest" }]));
    let hash = broker.json("/api/auth/hash_password/two")["ok"].as_str().unwrap().to_owned();
    let body = json!({ "password_hash": hash, "tags": "management" }).to_string();
    broker.put("/api/users/dora", &body).expect(201);
    broker.ask(As::User("dora", "two"), "GET", "/api/whoami", "").expect(200);
}

#[test]
fn permissions_are_set_and_taken_away() {
    let broker = Broker::start();
    broker.put("/api/users/anna", r#"{"password":"p","tags":""}"#).expect(201);
    let body = r#"{"configure":"^a","write":".*","read":""}"#;
    broker.get("/api/permissions/%2F/anna").expect(404);
    broker.put("/api/permissions/%2F/anna", body).expect(201);
    broker.put("/api/permissions/%2F/anna", body).expect(204);
    let expected = json!({ "user": "anna", "vhost": "/", "configure": "^a", "write": ".*", "read": "" });
    assert_eq!(broker.json("/api/permissions/%2F/anna"), expected);
    assert_eq!(broker.json("/api/users/anna/permissions"), json!([expected]));
    assert_eq!(broker.json("/api/vhosts/%2F/permissions").as_array().unwrap().len(), 2);
    broker.put("/api/permissions/none/anna", body).expect_error(400, "vhost_or_user_not_found");
    broker.put("/api/permissions/%2F/nobody", body).expect_error(400, "vhost_or_user_not_found");
    for exchange in ["x", "y"] {
        let body = json!({ "exchange": exchange, "write": "^w", "read": "^r" }).to_string();
        broker.put("/api/topic-permissions/%2F/anna", &body).expect(if exchange == "x" { 201 } else { 204 });
    }
    assert_eq!(broker.json("/api/topic-permissions/%2F/anna").as_array().unwrap().len(), 2);
    broker.delete("/api/topic-permissions/%2F/anna/x").expect(204);
    assert_eq!(broker.json("/api/users/anna/topic-permissions")[0]["exchange"], "y");
    broker.delete("/api/topic-permissions/%2F/anna").expect(204);
    assert_eq!(broker.json("/api/vhosts/%2F/topic-permissions"), json!([]));
    broker.delete("/api/permissions/%2F/anna").expect(204);
    broker.delete("/api/permissions/%2F/anna").expect(404);
}

#[test]
fn limits_are_set_and_removed() {
    let broker = Broker::start();
    broker.put("/api/vhost-limits/%2F/max-queues", r#"{"value":1}"#).expect(204);
    broker.put("/api/vhost-limits/%2F/max-connections", r#"{"value":7}"#).expect(204);
    let expected = json!([{ "vhost": "/", "value": { "max-queues": 1, "max-connections": 7 } }]);
    assert_eq!(broker.json("/api/vhost-limits"), expected);
    broker.put("/api/queues/%2F/one", "{}").expect(201);
    broker.put("/api/queues/%2F/two", "{}").expect_error(400, "queue limit in vhost '/' (1) is reached");
    broker.delete("/api/vhost-limits/%2F/max-queues").expect(204);
    broker.put("/api/queues/%2F/two", "{}").expect(201);
    broker.delete("/api/vhost-limits/%2F/max-connections").expect(204);
    assert_eq!(broker.json("/api/vhost-limits/%2F"), json!([]));
    broker.put("/api/user-limits/guest/max-channels", r#"{"value":"5"}"#).expect(204);
    assert_eq!(broker.json("/api/user-limits/guest"), json!([{ "user": "guest", "value": { "max-channels": 5 } }]));
    assert_eq!(broker.json("/api/users/guest")["limits"], json!({ "max-channels": 5 }));
    broker.delete("/api/user-limits/guest/max-channels").expect(204);
    assert_eq!(broker.json("/api/user-limits"), json!([]));
}

#[test]
fn limits_that_are_set_at_the_same_time_are_all_set() {
    let broker = Broker::start();
    for round in 1..=30 {
        let value = format!(r#"{{"value":{round}}}"#);
        let set = &|path: &str| drop(broker.put(path, &value).expect(204));
        std::thread::scope(|scope| {
            for path in [
                "/api/vhost-limits/%2F/max-queues",
                "/api/vhost-limits/%2F/max-connections",
                "/api/user-limits/guest/max-channels",
                "/api/user-limits/guest/max-connections",
            ] {
                scope.spawn(move || set(path));
            }
        });
        let (vhost, user) = (broker.json("/api/vhost-limits/%2F"), broker.json("/api/user-limits/guest"));
        assert_eq!(vhost[0]["value"], json!({ "max-queues": round, "max-connections": round }));
        assert_eq!(user[0]["value"], json!({ "max-channels": round, "max-connections": round }));
    }
}

//! Policies, parameters and what belongs to the cluster.

use serde_json::json;

use super::harness::{As, Broker};

#[test]
fn a_policy_comes_into_force_and_goes() {
    let broker = Broker::start();
    broker.put("/api/queues/%2F/orders", "{}").expect(201);
    let body = r#"{"pattern":"^o","definition":{"max-length":10},"priority":3,"apply-to":"queues"}"#;
    broker.put("/api/policies/%2F/p", body).expect(201);
    broker.put("/api/policies/%2F/p", body).expect(204);
    let expected = json!({
        "vhost": "/", "name": "p", "pattern": "^o", "definition": { "max-length": 10 }, "priority": 3,
        "apply-to": "queues",
    });
    assert_eq!(broker.json("/api/policies/%2F/p"), expected);
    assert_eq!(broker.json("/api/policies"), json!([expected]));
    let cap = r#"{"pattern":"","definition":{"max-length":5}}"#;
    broker.put("/api/operator-policies/%2F/cap", cap).expect(201);
    let queue = broker.json("/api/queues/%2F/orders");
    assert_eq!((&queue["policy"], &queue["operator_policy"]), (&json!("p"), &json!("cap")));
    assert_eq!(queue["effective_policy_definition"], json!({ "max-length": 5 }));
    let parameters = broker.json("/api/parameters/operator_policy/%2F");
    assert_eq!((&parameters[0]["name"], &parameters[0]["value"]["pattern"]), (&json!("cap"), &json!("")));
    broker.delete("/api/operator-policies/%2F/cap").expect(204);
    broker.delete("/api/policies/%2F/p").expect(204);
    broker.delete("/api/policies/%2F/p").expect(404);
    assert_eq!(broker.json("/api/queues/%2F/orders")["policy"], json!(null));
}

#[test]
fn parameters_without_effect_are_refused_unless_they_come_with_definitions() {
    let broker = Broker::start();
    let value = json!({ "src-uri": "amqp://", "list": [1, 2.5, null] });
    let parameter = json!({ "value": value, "component": "shovel", "vhost": "/", "name": "s" });
    let body = parameter.to_string();
    let refused = broker.put("/api/parameters/shovel/%2F/s", &body);
    refused.expect_error(400, "component shovel not found: this broker has no shovels");
    let file = json!({ "parameters": [parameter] }).to_string();
    let planned = broker.post("/api/leveret/definitions/plan", &file).expect(200).json();
    let warning = "parameters of component 'shovel' are kept and have no effect: this broker has no shovels";
    assert_eq!(planned["warnings"], json!([warning]));
    broker.post("/api/definitions", &file).expect(204);
    let expected = json!({ "component": "shovel", "vhost": "/", "name": "s", "value": value });
    assert_eq!(broker.json("/api/parameters/shovel/%2F/s"), expected);
    assert_eq!(broker.json("/api/parameters/shovel"), json!([expected]));
    assert_eq!(broker.json("/api/parameters/federation-upstream"), json!([]));
    broker.delete("/api/parameters/shovel/%2F/s").expect(204);
    broker.delete("/api/parameters/shovel/%2F/s").expect(404);
    broker.put("/api/parameters/nonsense/%2F/s", &body).expect_error(400, "component nonsense not found");
    broker.put("/api/global-parameters/g", r#"{"value":{"a":1}}"#).expect(201);
    assert_eq!(broker.json("/api/global-parameters/g"), json!({ "name": "g", "value": { "a": 1 } }));
    broker.delete("/api/global-parameters/g").expect(204);
    broker.get("/api/global-parameters/g").expect(404);
    let names: Vec<_> =
        broker.json("/api/global-parameters").as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
    assert!(!names.contains(&json!("imported_definition_hash_value")), "{names:?}");
}

#[test]
fn the_cluster_has_a_name_and_features() {
    let broker = Broker::start();
    assert_eq!(broker.json("/api/cluster-name"), json!({ "name": "leveret@localhost" }));
    broker.put("/api/cluster-name", r#"{"name":"orders"}"#).expect(204);
    assert_eq!(broker.json("/api/cluster-name"), json!({ "name": "orders" }));
    let flags = broker.json("/api/feature-flags");
    assert!(flags.as_array().unwrap().iter().any(|f| f["name"] == "stream_queue" && f["state"] == "enabled"));
    broker.put("/api/feature-flags/quorum_queue/enable", "{}").expect(204);
    broker.put("/api/feature-flags/none/enable", "{}").expect_error(400, "unsupported feature flag 'none'");
    assert_eq!(broker.get("/api/version").expect(200).text(), "3.13.7");
    assert_eq!(broker.json("/api/deprecated-features/used"), json!([]));
    broker.put("/api/queues/%2F/t", r#"{"durable":false}"#).expect(201);
    assert_eq!(broker.json("/api/deprecated-features/used")[0]["name"], "transient_nonexcl_queues");
    broker.post("/api/rebalance/queues", "").expect(204);
}

#[test]
fn rates_are_not_a_policymaker_s_to_set() {
    let broker = Broker::start();
    broker.put("/api/users/paul", r#"{"password":"p","tags":"policymaker"}"#).expect(201);
    let paul = As::User("paul", "p");
    broker.put("/api/user-limits/paul/max-publish-rate", r#"{"value":5}"#).expect(204);
    let path = "/api/global-parameters/publish-rates.user.paul";
    let body = r#"{"value":{"max-publish-rate":5000}}"#;
    broker.ask(paul, "PUT", path, body).expect_error(401, "Not administrator user");
    broker.ask(paul, "DELETE", path, "").expect_error(401, "Not administrator user");
    assert_eq!(broker.json(path)["value"], json!({ "max-publish-rate": 5 }));
    broker.ask(paul, "PUT", "/api/global-parameters/mine", r#"{"value":1}"#).expect(201);
    broker.put(path, body).expect(204);
}

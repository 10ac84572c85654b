//! Virtual hosts, exchanges, queues and bindings: codes, bodies, pages.

use serde_json::{Value as Json, json};

use super::harness::{As, Broker};

fn names(list: &Json) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn a_vhost_is_made_changed_and_deleted() {
    let broker = Broker::start();
    let body = r#"{"description":"d","tags":"a,b","default_queue_type":"quorum"}"#;
    broker.put("/api/vhosts/a%2Fb", body).expect(201);
    let vhost = broker.json("/api/vhosts/a%2Fb");
    assert_eq!((&vhost["name"], &vhost["tags"]), (&json!("a/b"), &json!(["a", "b"])));
    assert_eq!(vhost["metadata"], json!({ "description": "d", "tags": ["a", "b"], "default_queue_type": "quorum" }));
    assert_eq!(vhost["tracing"], false);
    broker.put("/api/vhosts/a%2Fb", r#"{"tracing":true}"#).expect(204);
    let vhost = broker.json("/api/vhosts/a%2Fb");
    assert_eq!((&vhost["tracing"], &vhost["description"]), (&json!(true), &json!("d")), "the rest stays");
    assert_eq!(names(&broker.json("/api/vhosts")), ["/", "a/b"]);
    broker.put("/api/queues/a%2Fb/q", "{}").expect(201);
    let quorum = broker.json("/api/queues/a%2Fb/q");
    assert_eq!((&quorum["type"], &quorum["durable"]), (&json!("quorum"), &json!(true)), "the virtual host's type");
    assert_eq!((&quorum["leader"], &quorum["members"]), (&quorum["node"], &json!([quorum["node"]])));
    broker.delete("/api/vhosts/a%2Fb").expect(204);
    broker.get("/api/vhosts/a%2Fb").expect_error(404, "Not Found");
    broker.get("/api/queues/a%2Fb").expect_error(404, "Not Found");
    broker.put("/api/queues/a%2Fb/q", "{}").expect_error(404, "vhost_not_found");
}

#[test]
fn a_protected_vhost_is_not_deleted() {
    let mut broker = Broker::start();
    broker.put("/api/vhosts/v", "{}").expect(201);
    let protection = "/api/vhosts/v/deletion/protection";
    broker.post("/api/vhosts/none/deletion/protection", "").expect_error(404, "vhost_not_found");
    broker.post(protection, "").expect(204);
    let is_protected = |broker: &Broker| broker.json("/api/vhosts/v")["protected_from_deletion"].clone();
    broker.put("/api/vhosts/v", r#"{"description":"changed"}"#).expect(204);
    assert_eq!(is_protected(&broker), true, "it stays");
    let reason = "Refusing to delete virtual host 'v' because it is protected from deletion";
    broker.delete("/api/vhosts/v").expect_error(412, reason);
    broker.restart();
    broker.delete("/api/vhosts/v").expect_error(412, reason);

    // A definitions file tells of it, keeps it where it is silent, and lifts it where it says so.
    let exported = broker.json("/api/definitions");
    let of_v = |exported: &Json| exported["vhosts"].as_array().unwrap().iter().find(|v| v["name"] == "v").cloned();
    assert_eq!(of_v(&exported).unwrap()["metadata"]["protected_from_deletion"], true);
    let import = |metadata: Json| {
        let file = json!({ "vhosts": [{ "name": "v", "metadata": metadata }] }).to_string();
        broker.post("/api/definitions", &file).expect(204);
    };
    import(json!({}));
    assert_eq!(is_protected(&broker), true);
    let prune = json!({ "vhosts": [{ "name": "/" }] }).to_string();
    let refused = broker.post("/api/leveret/definitions/apply?prune=true", &prune);
    assert!(refused.status >= 400 && refused.text().contains(reason), "{}", refused.text());
    import(json!({ "protected_from_deletion": false }));
    assert_eq!(is_protected(&broker), false);
    import(json!({ "protected_from_deletion": true }));
    broker.delete(protection).expect(204);
    broker.delete("/api/vhosts/v").expect(204);
}

#[test]
fn a_queue_is_declared_shown_and_deleted() {
    let broker = Broker::start();
    let body = r#"{"durable":true,"arguments":{"x-max-length":10,"x-dead-letter-exchange":"dlx"}}"#;
    broker.put("/api/queues/%2F/q", body).expect(201);
    broker.put("/api/queues/%2F/q", body).expect(204);
    let queue = broker.json("/api/queues/%2F/q");
    let expected = json!({
        "name": "q", "vhost": "/", "type": "classic", "durable": true, "auto_delete": false, "exclusive": false,
        "arguments": { "x-max-length": 10, "x-dead-letter-exchange": "dlx" }, "state": "running",
        "messages": 0, "messages_ready": 0, "messages_unacknowledged": 0, "consumers": 0,
        "policy": null, "operator_policy": null, "effective_policy_definition": {},
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&queue[key], value, "{key}");
    }
    broker
        .put("/api/queues/%2F/q", r#"{"durable":false}"#)
        .expect_error(400, "inequivalent arg 'durable' for queue 'q'");
    let bindings = broker.json("/api/queues/%2F/q/bindings");
    assert_eq!((&bindings[0]["source"], &bindings[0]["properties_key"]), (&json!(""), &json!("q")));
    broker.delete("/api/queues/%2F/q/contents").expect(204);
    broker.delete("/api/queues/%2F/q?if-empty=true&if-unused=true").expect(204);
    broker.delete("/api/queues/%2F/q").expect(404);
    broker.put("/api/queues/%2F/amq.mine", "{}").expect_error(401, "");
}

#[test]
fn an_exchange_is_declared_shown_and_deleted() {
    let broker = Broker::start();
    broker.put("/api/exchanges/%2F/x", r#"{"type":"topic","arguments":{"alternate-exchange":"y"}}"#).expect(201);
    broker.put("/api/exchanges/%2F/x", r#"{"type":"topic","arguments":{"alternate-exchange":"y"}}"#).expect(204);
    broker.put("/api/exchanges/%2F/x", r#"{"type":"direct"}"#).expect_error(400, "inequivalent arg 'type'");
    broker.put("/api/exchanges/%2F/z", r#"{"type":"none"}"#).expect_error(400, "unknown exchange type 'none'");
    let shown = broker.json("/api/exchanges/%2F/x");
    assert_eq!((&shown["type"], &shown["arguments"]), (&json!("topic"), &json!({ "alternate-exchange": "y" })));
    let list = broker.json("/api/exchanges/%2F?columns=name");
    let expected = ["", "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.rabbitmq.trace", "amq.topic", "x"];
    assert_eq!(names(&list), expected);
    assert_eq!(broker.json("/api/exchanges/%2F/amq.default")["type"], "direct");
    broker.delete("/api/exchanges/%2F/x?if-unused=true").expect(204);
    broker.delete("/api/exchanges/%2F/x").expect(404);
    broker.delete("/api/exchanges/%2F/amq.direct").expect(401);
    broker.delete("/api/exchanges/%2F/amq.default").expect_error(400, "default exchange");
}

#[test]
fn bindings_have_names_that_lead_back_to_them() {
    let broker = Broker::start();
    broker.put("/api/exchanges/%2F/x", r#"{"type":"topic"}"#).expect(201);
    broker.put("/api/exchanges/%2F/y", r#"{"type":"fanout"}"#).expect(201);
    broker.put("/api/queues/%2F/q%20r", "{}").expect(201);
    let path = "/api/bindings/%2F/e/x/q/q%20r";
    let bodies = [
        r#"{}"#,
        r#"{"routing_key":"a.b"}"#,
        r#"{"routing_key":"a/~ b"}"#,
        r#"{"routing_key":"","arguments":{"n":1}}"#,
        r#"{"routing_key":"k","arguments":{"n":1}}"#,
    ];
    for body in bodies {
        let response = broker.post(path, body).expect(201);
        let location = response.header("location").unwrap();
        let (_, props) = location.split_once('/').unwrap();
        let shown = broker.json(&format!("{path}/{props}"));
        let asked: Json = serde_json::from_str(body).unwrap();
        assert_eq!(shown["routing_key"], asked.get("routing_key").cloned().unwrap_or(json!("")), "{body}");
        assert_eq!(shown["arguments"], asked.get("arguments").cloned().unwrap_or(json!({})), "{body}");
    }
    broker.post("/api/bindings/%2F/e/x/e/y", r##"{"routing_key":"#"}"##).expect(201);
    let list = broker.json("/api/exchanges/%2F/x/bindings/source");
    assert_eq!(list.as_array().unwrap().len(), 6);
    assert_eq!(broker.json("/api/exchanges/%2F/y/bindings/destination")[0]["destination_type"], "exchange");
    assert_eq!(broker.json(path).as_array().unwrap().len(), 5);
    assert_eq!(broker.json("/api/bindings/%2F").as_array().unwrap().len(), 7);
    for binding in broker.json(path).as_array().unwrap() {
        // As a tool does it: what the list says, encoded once more.
        let key = binding["properties_key"].as_str().unwrap().replace('%', "%25").replace('+', "%2B");
        broker.delete(&format!("{path}/{key}")).expect(204);
        broker.delete(&format!("{path}/{key}")).expect(404);
    }
    assert_eq!(broker.json(path), json!([]));
    broker.post("/api/bindings/%2F/e/none/q/q%20r", "{}").expect(404);
    broker.post("/api/bindings/%2F/e/amq.default/q/q%20r", "{}").expect_error(401, "default exchange");
}

#[test]
fn lists_are_paged_sorted_and_cut() {
    let broker = Broker::start();
    for n in 0..250 {
        broker.put(&format!("/api/queues/%2F/q{n:03}"), "{}").expect(201);
    }
    let page = broker.json("/api/queues?page=3&page_size=100&name=q&sort=name&sort_reverse=true&columns=name");
    assert_eq!((&page["total_count"], &page["item_count"], &page["page_count"]), (&json!(250), &json!(50), &json!(3)));
    assert_eq!(page["items"][0], json!({ "name": "q049" }));
    let list = broker.ask(As::Local, "GET", "/api/queues/%2F?columns=name,messages", "").expect(200);
    assert_eq!(list.header("transfer-encoding"), Some("chunked"), "a long list comes in bits");
    let filtered = broker.json("/api/queues?page=1&name=%5Eq00%5B12%5D%24&use_regex=true&columns=name");
    assert_eq!(names(&filtered["items"]), ["q001", "q002"]);
}

#[test]
fn permissions_count_for_each_object() {
    let broker = Broker::start();
    broker.put("/api/users/anna", r#"{"password":"p","tags":"management"}"#).expect(201);
    broker.put("/api/permissions/%2F/anna", r#"{"configure":"^a-","write":"^a-","read":"^a-"}"#).expect(201);
    let anna = As::User("anna", "p");
    broker.ask(anna, "PUT", "/api/queues/%2F/a-q", "{}").expect(201);
    broker.ask(anna, "PUT", "/api/exchanges/%2F/a-x", "{}").expect(201);
    broker.ask(anna, "POST", "/api/bindings/%2F/e/a-x/q/a-q", "{}").expect(201);
    broker.put("/api/queues/%2F/b-q", "{}").expect(201);
    let refused = [
        ("PUT", "/api/queues/%2F/c-q"),
        ("DELETE", "/api/queues/%2F/b-q"),
        ("DELETE", "/api/queues/%2F/b-q/contents"),
        ("PUT", "/api/exchanges/%2F/b-x"),
        ("POST", "/api/bindings/%2F/e/a-x/q/b-q"),
        ("POST", "/api/bindings/%2F/e/amq.topic/q/a-q"),
    ];
    for (method, path) in refused {
        broker.ask(anna, method, path, "{}").expect_error(401, "refused for user 'anna'");
    }
    broker.ask(anna, "GET", "/api/queues/%2F/b-q", "").expect(200);
}

#[test]
fn a_binding_whose_name_is_another_s_encoded_once_more_is_not_taken_for_it() {
    let broker = Broker::start();
    broker.put("/api/queues/%2F/q", "{}").expect(201);
    let path = "/api/bindings/%2F/e/amq.topic/q/q";
    let keys = ["a%252Fb", "a%2Fb", "a/b", "x+y", "x y"];
    keys.iter().for_each(|key| drop(broker.post(path, &json!({ "routing_key": key }).to_string()).expect(201)));
    for (deleted, key) in keys.iter().enumerate() {
        let list = broker.json(path);
        let binding = list.as_array().unwrap().iter().find(|binding| binding["routing_key"] == *key).unwrap();
        let props = binding["properties_key"].as_str().unwrap().replace('%', "%25").replace('+', "%2B");
        broker.delete(&format!("{path}/{props}")).expect(204);
        let left: Vec<_> = broker.json(path).as_array().unwrap().iter().map(|b| b["routing_key"].clone()).collect();
        assert!(left.len() == keys.len() - deleted - 1 && !left.contains(&json!(key)), "{key}: {left:?}");
    }
}

#[test]
fn an_alternate_exchange_needs_the_permission_to_write_to_it() {
    let broker = Broker::start();
    broker.put("/api/users/anna", r#"{"password":"p","tags":"management"}"#).expect(201);
    broker.put("/api/permissions/%2F/anna", r#"{"configure":"^a-","write":"^a-","read":"^a-"}"#).expect(201);
    let anna = As::User("anna", "p");
    let with = |alternate: &str| json!({ "arguments": { "alternate-exchange": alternate } }).to_string();
    let refused = broker.ask(anna, "PUT", "/api/exchanges/%2F/a-x", &with("b-x"));
    refused.expect_error(401, "write access to exchange 'b-x' in vhost '/' refused for user 'anna'");
    broker.get("/api/exchanges/%2F/a-x").expect(404);
    broker.ask(anna, "PUT", "/api/exchanges/%2F/a-x", &with("a-y")).expect(201);
    broker.ask(anna, "PUT", "/api/exchanges/%2F/a-x", &with("a-y")).expect(204);
}

#[test]
fn the_overview_shows_everybody_what_is_theirs() {
    let broker = Broker::start();
    broker.put("/api/users/ann", r#"{"password":"ann's","tags":"management"}"#).expect(201);
    broker.put("/api/vhosts/mine", "{}").expect(201);
    broker.put("/api/permissions/mine/ann", r#"{"configure":".*","write":".*","read":".*"}"#).expect(201);
    let message = r#"{"properties":{},"routing_key":"q","payload":"x","payload_encoding":"string"}"#;
    for (vhost, messages) in [("%2F", 3), ("mine", 2)] {
        broker.put(&format!("/api/queues/{vhost}/q"), "{}").expect(201);
        for _ in 0..messages {
            broker.post(&format!("/api/exchanges/{vhost}/amq.default/publish"), message).expect(200);
        }
    }
    let shared = broker.node.as_ref().unwrap().shared();
    shared.census.tick(shared, 5.0);
    let path = "/api/overview?lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5";
    let whole = broker.json(path);
    assert_eq!((&whole["queue_totals"]["messages"], &whole["message_stats"]["publish"]), (&json!(5), &json!(5)));
    assert!(!whole["listeners"].as_array().unwrap().is_empty());
    let hers = broker.ask(As::User("ann", "ann's"), "GET", path, "").expect(200).json();
    assert_eq!((&hers["queue_totals"]["messages"], &hers["message_stats"]["publish"]), (&json!(2), &json!(2)));
    assert_eq!(hers["queue_totals"]["messages_details"]["samples"][0]["sample"], 2);
    assert_eq!(hers["message_stats"]["publish_details"]["rate"], 0.4);
    assert_eq!((&hers["object_totals"]["queues"], &hers["listeners"]), (&json!(1), &Json::Null));
}

#[test]
fn limits_of_the_node_are_told_in_rabbitmqs_words() {
    let limits = [("vhost_max", "2"), ("cluster_queue_limit", "1"), ("cluster_exchange_limit", "20")];
    let broker = Broker::start_with(&limits);
    broker.put("/api/vhosts/two", "{}").expect(201);
    broker.put("/api/vhosts/three", "{}").expect_error(400, "cannot create vhost 'three': vhost limit of 2 is reached");
    broker.put("/api/vhosts/two", "{}").expect(204);
    broker.put("/api/queues/%2F/q", "{}").expect(201);
    let text = "cannot declare queue 'r': queue limit in cluster (1) is reached";
    broker.put("/api/queues/two/r", "{}").expect_error(400, text);
    let declare = |n: usize| broker.put(&format!("/api/exchanges/%2F/e{n}"), r#"{"type":"direct"}"#);
    let last = (0..20).find(|n| declare(*n).status != 201).unwrap();
    let text = format!("cannot declare exchange 'e{last}' in vhost '/': exchange limit of 20 is reached");
    declare(last).expect_error(400, &text);
    let named =
        broker.json("/api/exchanges?columns=name").as_array().unwrap().iter().filter(|e| e["name"] != "").count();
    assert_eq!(named, 20, "those that are there from the start count");
}

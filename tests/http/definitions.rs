//! Definitions over HTTP.

use serde_json::json;

use crate::http::harness::{As, Broker, GUEST};

fn post(broker: &Broker, path: &str, body: &serde_json::Value) -> crate::http::harness::Response {
    broker.ask(GUEST, "POST", path, &body.to_string())
}

#[test]
fn what_is_imported_is_exported_and_survives_a_restart() {
    let mut broker = Broker::start();
    let file = json!({
        "vhosts": [{"name": "v"}],
        "queues": [{"name": "q", "vhost": "v", "durable": true, "auto_delete": false, "arguments": {"x-max-length": 3}}],
        "bindings": [{"source": "amq.topic", "vhost": "v", "destination": "q", "destination_type": "queue",
                      "routing_key": "a.#", "arguments": {}}]
    });
    post(&broker, "/api/definitions", &file).expect(204);
    broker.restart();
    let out = broker.get("/api/definitions?download=my%20file.json").expect(200);
    assert_eq!(out.header("content-disposition"), Some("attachment; filename=myfile.json"));
    let out = out.json();
    assert_eq!((&out["queues"], &out["bindings"]), (&file["queues"], &file["bindings"]));
    let plan = post(&broker, "/api/leveret/definitions/plan?prune=true", &out).expect(200).json();
    assert_eq!(plan["text"], "no differences\n");
    let of_vhost = broker.get("/api/definitions/v").expect(200).json();
    assert_eq!(of_vhost["queues"][0]["name"], "q");
    broker.get("/api/definitions/nix").expect_error(400, "vhost_not_found");
}

#[test]
fn a_refused_file_changes_nothing_and_says_why() {
    let broker = Broker::start();
    post(&broker, "/api/definitions", &json!({"queues": [{"name": "q", "vhost": "/"}]})).expect(204);
    let file = json!({"queues": [{"name": "a", "vhost": "/"}, {"name": "q", "vhost": "/", "durable": false}]});
    post(&broker, "/api/definitions", &file).expect_error(400, "inequivalent arg 'durable' for queue 'q' in vhost '/'");
    let refused = post(&broker, "/api/leveret/definitions/apply", &file).expect(400).json();
    assert_eq!((&refused["applied"], &refused["summary"]["conflict"]), (&json!(false), &json!(1)));
    assert_eq!(refused["problems"][0]["item"], "queue 'q' in vhost '/'");
    let names = broker.get("/api/definitions").expect(200).json()["queues"].clone();
    assert_eq!(names.as_array().unwrap().len(), 1);
    broker.ask(GUEST, "POST", "/api/definitions", "[1").expect_error(400, "not JSON");
    broker.ask(As::Nobody, "GET", "/api/definitions", "").expect(401);
}

#[test]
fn applying_makes_the_broker_as_the_file_says() {
    let broker = Broker::start();
    let queues = |names: &[&str]| {
        let queues: Vec<_> = names.iter().map(|name| json!({"name": name, "vhost": "/"})).collect();
        json!({"vhosts": [{"name": "/"}], "queues": queues})
    };
    post(&broker, "/api/leveret/definitions/apply", &queues(&["a", "b"])).expect(200);
    let planned = post(&broker, "/api/leveret/definitions/plan?prune=true", &queues(&["b", "c"])).expect(200).json();
    assert_eq!(planned["text"], "+ queue 'c' in vhost '/'\n- queue 'a' in vhost '/'\n");
    let applied = post(&broker, "/api/leveret/definitions/apply?prune=true", &queues(&["b", "c"])).expect(200).json();
    assert_eq!((&applied["applied"], &applied["text"]), (&json!(true), &planned["text"]));
    let again = post(&broker, "/api/leveret/definitions/plan?prune=true", &queues(&["b", "c"])).expect(200).json();
    assert_eq!(again["text"], "no differences\n");
}

#[test]
fn definitions_of_the_configuration_come_before_the_default_user() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("2.json"), r#"{"queues": [{"name": "q", "vhost": "v"}]}"#).unwrap();
    let users = r#"{"vhosts": [{"name": "v"}], "users": [{"name": "ann", "password": "pw", "tags": "administrator"}]}"#;
    std::fs::write(dir.path().join("1.json"), users).unwrap();
    std::fs::write(dir.path().join("not.txt"), "no definitions").unwrap();
    let path = dir.path().display().to_string();
    let mut broker = Broker::start_with(&[("load_definitions", &path), ("definitions.skip_if_unchanged", "true")]);
    let ann = As::User("ann", "pw");
    broker.get("/api/definitions").expect(401);
    let out = broker.ask(ann, "GET", "/api/definitions", "").expect(200).json();
    let names = |section: &str| out[section].as_array().unwrap().iter().map(|i| i["name"].clone()).collect::<Vec<_>>();
    assert_eq!(
        (names("users"), names("vhosts"), names("queues")),
        (vec!["ann".into()], vec!["v".into()], vec!["q".into()])
    );
    assert_eq!(out["global_parameters"], json!([]));
    // Unchanged files are not looked at again: what was taken away since stays away.
    post_as(&broker, ann, r#"{"vhosts": [{"name": "v"}], "queues": []}"#);
    broker.restart();
    let out = broker.ask(ann, "GET", "/api/definitions", "").expect(200).json();
    assert_eq!(out["queues"], json!([]));
    std::fs::write(dir.path().join("2.json"), r#"{"queues": [{"name": "q2", "vhost": "v"}]}"#).unwrap();
    broker.restart();
    let out = broker.ask(ann, "GET", "/api/definitions", "").expect(200).json();
    assert_eq!(out["queues"][0]["name"], "q2");
    // A node that is reset begins as one that has never run.
    for step in ["stop_app", "reset"] {
        let done = broker.ask(As::Local, "POST", &format!("/api/leveret/node/{step}"), "");
        assert!(done.status < 300, "{step}: {done:?}");
    }
    broker.get("/api/definitions").expect(401);
    let out = broker.ask(ann, "GET", "/api/definitions", "").expect(200).json();
    assert_eq!((&out["queues"][0]["name"], out["users"].as_array().unwrap().len()), (&json!("q2"), 1));
}

#[test]
fn default_users_get_permissions_in_new_virtual_hosts_that_are_for_them() {
    let broker = Broker::start_with(&[
        ("default_users.app.password", "pw"),
        ("default_users.app.vhost_pattern", "^app-"),
        ("default_users.app.configure", "^app"),
        ("default_permissions.write", "^w"),
    ]);
    broker.put("/api/vhosts/app-1", "{}").expect(201);
    broker.put("/api/vhosts/other", "{}").expect(201);
    let permissions = broker.get("/api/users/app/permissions").expect(200).json();
    let expected = json!([{"user": "app", "vhost": "app-1", "configure": "^app", "write": "^w", "read": ".*"}]);
    assert_eq!(permissions, expected);
    // Who has been deleted does not come back.
    broker.delete("/api/users/app").expect(204);
    broker.put("/api/vhosts/app-2", "{}").expect(201);
    broker.get("/api/users/app").expect(404);
    let permissions = broker.json("/api/permissions");
    assert!(permissions.as_array().unwrap().iter().all(|permission| permission["user"] == "guest"), "{permissions}");
}

fn post_as(broker: &Broker, who: As<'_>, body: &str) {
    broker.ask(who, "POST", "/api/leveret/definitions/apply?prune=true", body).expect(200);
}

#[test]
fn thousands_of_queues_and_bindings_come_at_once() {
    let broker = Broker::start();
    let queues: Vec<_> = (0..2000).map(|i| json!({"name": format!("q{i}"), "vhost": "/"})).collect();
    let binding = |i: u32| {
        json!({"source": "amq.direct", "vhost": "/", "destination": format!("q{}", i % 2000), "destination_type": "queue",
               "routing_key": format!("k{i}"), "arguments": {}})
    };
    let file = json!({"queues": queues, "bindings": (0..20_000).map(binding).collect::<Vec<_>>()});
    post(&broker, "/api/definitions", &file).expect(204);
    let out = broker.get("/api/definitions").expect(200).json();
    assert_eq!((out["queues"].as_array().unwrap().len(), out["bindings"].as_array().unwrap().len()), (2000, 20_000));
}

#[test]
fn what_is_pruned_stays_away_with_all_that_is_in_it() {
    let mut broker = Broker::start();
    broker.put("/api/vhosts/gone", "{}").expect(201);
    broker.put("/api/queues/gone/q", "{}").expect(201);
    broker.post("/api/bindings/gone/e/amq.topic/q/q", r#"{"routing_key":"k"}"#).expect(201);
    broker.put("/api/policies/gone/p", r#"{"pattern":"","definition":{"max-length":1}}"#).expect(201);
    broker.put("/api/users/leaving", r#"{"password":"p","tags":""}"#).expect(201);
    let all = r#"{"configure":"","write":"","read":""}"#;
    broker.put("/api/permissions/%2F/leaving", all).expect(201);
    broker.put("/api/permissions/gone/guest", all).expect(204);
    let guest = broker.get("/api/definitions").expect(200).json()["users"][0].clone();
    let file = json!({"vhosts": [{"name": "/"}], "users": [guest]});
    post(&broker, "/api/leveret/definitions/apply?prune=true", &file).expect(200);
    broker.restart();
    let left = broker.get("/api/definitions").expect(200).json();
    let count = |section: &str| left[section].as_array().unwrap().len();
    let counts = ["vhosts", "users", "permissions", "policies", "queues", "bindings"].map(count);
    assert_eq!(counts, [1, 1, 1, 0, 0, 0], "{left}");
    // Names that come back bring nothing with them.
    broker.put("/api/vhosts/gone", "{}").expect(201);
    broker.restart();
    assert_eq!(broker.json("/api/queues/gone"), json!([]));
}

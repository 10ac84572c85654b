//! Health checks.

use serde_json::json;

use super::harness::{As, Broker};

#[test]
fn checks_of_a_healthy_node_are_ok() {
    let broker = Broker::start();
    let checks = [
        "alarms",
        "local-alarms",
        "virtual-hosts",
        "node-is-mirror-sync-critical",
        "node-is-quorum-critical",
        "is-in-service",
        "ready-to-serve-clients",
        "below-node-connection-limit",
        "protocol-listener/amqp091",
        "protocol-listener/http",
        "metadata-store/initialized/with-data",
        "quorum-queues-without-elected-leaders/all-vhosts/",
        "quorum-queues-without-elected-leaders/vhost/%2F/pattern/x",
    ];
    for check in checks {
        assert_eq!(broker.json(&format!("/api/health/checks/{check}"))["status"], "ok", "{check}");
    }
    assert_eq!(broker.json("/api/healthchecks/node"), json!({ "status": "ok" }));
    let port = broker.http.port();
    let check = broker.json(&format!("/api/health/checks/port-listener/{port}"));
    assert_eq!(check, json!({ "status": "ok", "port": port }));
}

#[test]
fn what_is_not_served_is_said() {
    let broker = Broker::start();
    let check = broker.get("/api/health/checks/port-listener/1").expect(503).json();
    assert_eq!((&check["reason"], &check["missing"]), (&json!("No active listener"), &json!(1)));
    let check = broker.get("/api/health/checks/protocol-listener/mqtt").expect(503).json();
    assert_eq!(check["protocols"], json!(["amqp", "http"]));
    broker.get("/api/health/checks/port-listener/x").expect_error(400, "'x' is not a port");
}

#[test]
fn an_alarm_is_told() {
    let broker = Broker::start_with(&[("disk_free_limit.absolute", "1000TB")]);
    // The disk is looked at from time to time.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while broker.get("/readyz").status == 200 {
        assert!(std::time::Instant::now() < deadline, "no alarm");
        std::thread::yield_now();
    }
    let check = broker.get("/api/health/checks/alarms").expect(503).json();
    assert_eq!(check["alarms"][0]["resource"], "disk");
    assert_eq!(broker.json("/api/healthchecks/node")["status"], "failed");
    assert_eq!(broker.get("/healthz").status, 200);
}

#[test]
fn without_tls_no_certificate_ends() {
    let broker = Broker::start();
    let check = "/api/health/checks/certificate-expiration";
    assert_eq!(broker.json(&format!("{check}/1/weeks")), json!({ "status": "ok" }));
    broker.get(&format!("{check}/1/moons")).expect_error(400, "Time unit not recognised");
    broker.get(&format!("{check}/soon/days")).expect_error(400, "'soon'");
}

#[test]
fn logins_that_were_tried_are_counted_until_they_are_forgotten() {
    let broker = Broker::start();
    let node = broker.json("/api/overview")["node"].as_str().unwrap().to_owned();
    let path = format!("/api/auth/attempts/{node}");
    let row = |protocol: &str, failed: u64, succeeded: u64| {
        json!({
            "protocol": protocol,
            "auth_attempts": failed + succeeded,
            "auth_attempts_failed": failed,
            "auth_attempts_succeeded": succeeded,
        })
    };
    broker.ask(As::User("guest", "wrong"), "GET", "/api/whoami", "").expect(401);
    let tried = |path: &str| broker.ask(As::Local, "GET", path, "").expect(200).json();
    assert_eq!(tried(&path), json!([row("amqp091", 0, 0), row("http", 1, 1)]));
    let by_source = format!("{path}/source");
    assert_eq!(tried(&by_source), json!([]), "not unless it is wanted");
    let switch = |on: &str| {
        let body = json!({ "value": on }).to_string();
        broker.ask(As::Local, "PUT", "/api/leveret/node/env/track_auth_attempt_source", &body).expect(204);
    };
    switch("true");
    broker.ask(As::User("eve", "guess"), "GET", "/api/whoami", "").expect(401);
    broker.json("/api/whoami");
    let mut expected = [row("http", 1, 0), row("http", 0, 1)];
    for (row, name) in expected.iter_mut().zip(["eve", "guest"]) {
        row["remote_address"] = "127.0.0.1".into();
        row["username"] = name.into();
    }
    assert_eq!(tried(&by_source), json!(expected));
    switch("false");
    broker.json("/api/whoami");
    assert_eq!(tried(&by_source), json!(expected), "what was kept stays");
    broker.ask(As::Local, "DELETE", &by_source, "").expect(204);
    assert_eq!((tried(&by_source), tried(&path)), (json!([]), json!([row("amqp091", 0, 0), row("http", 0, 0)])));
    broker.get("/api/auth/attempts/nobody@nowhere").expect_error(404, "Not Found");
}

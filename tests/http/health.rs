//! Health checks.

use serde_json::json;

use super::harness::Broker;

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
    let tried = broker.json(&path);
    assert_eq!((&tried[0]["protocol"], &tried[0]["auth_attempts"]), (&json!("amqp091"), &json!(0)));
    broker.delete(&path).expect(204);
    broker.get("/api/auth/attempts/nobody@nowhere").expect_error(404, "Not Found");
}

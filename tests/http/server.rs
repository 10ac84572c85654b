//! What every route has: errors, limits, origins, the prefix.

use super::harness::{As, Broker, GUEST};

#[test]
fn paths_and_methods_that_are_not_there() {
    let broker = Broker::start();
    let response = broker.get("/api/nothing").expect(404);
    assert_eq!(response.json(), serde_json::json!({ "error": "Object Not Found", "reason": "Not Found" }));
    let response = broker.delete("/api/whoami").expect(405);
    assert_eq!(response.header("allow"), Some("GET,HEAD"));
    assert_eq!(broker.get("/api/whoami/").expect(200).json()["name"], "guest");
}

#[test]
fn health_needs_no_login() {
    let broker = Broker::start();
    for path in ["/healthz", "/readyz", "/", "/api/index.html"] {
        broker.ask(As::Nobody, "GET", path, "").expect(200);
    }
}

#[test]
fn a_prefix_stands_before_every_path() {
    let broker = Broker::start_with(&[("management.path_prefix", "/broker/one/")]);
    broker.get("/broker/one/api/whoami").expect(200);
    broker.get("/broker/one").expect(200);
    broker.get("/api/whoami").expect(404);
    broker.get("/broker/onerous/api/whoami").expect(404);
}

#[test]
fn origins_are_answered_when_they_are_allowed() {
    let broker = Broker::start_with(&[("management.cors.allow_origins.1", "https://good.example")]);
    let ask = |method: &str, origin: &str| {
        let login = if method == "OPTIONS" { "" } else { "authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n" };
        let head = format!(
            "{method} /api/whoami HTTP/1.1\r\nhost: t\r\nconnection: close\r\norigin: {origin}\r\n{login}\
             access-control-request-headers: authorization\r\n\r\n"
        );
        broker.raw(head.as_bytes()).expect(200)
    };
    let response = ask("OPTIONS", "https://good.example");
    assert_eq!(response.header("access-control-allow-origin"), Some("https://good.example"));
    assert_eq!(response.header("access-control-allow-headers"), Some("authorization"));
    assert_eq!(response.header("access-control-allow-methods"), Some("GET,HEAD"));
    assert_eq!(response.header("access-control-max-age"), Some("1800"));
    let response = ask("GET", "https://good.example");
    assert_eq!(response.header("access-control-allow-origin"), Some("https://good.example"));
    for method in ["OPTIONS", "GET"] {
        assert_eq!(ask(method, "https://bad.example").header("access-control-allow-origin"), None);
    }
}

#[test]
fn bad_bytes_are_refused() {
    let broker = Broker::start();
    broker.get("/api/whoami?x=%ff").expect_error(400, "not UTF-8");
    assert_eq!(broker.raw(b"NONSENSE\r\n\r\n").status, 400);
    broker.ask(GUEST, "GET", "/api/whoami", &"x".repeat(1024)).expect(200);
    let broker = Broker::start_with(&[("management.http.max_body_size", "1024")]);
    broker.ask(GUEST, "GET", "/api/whoami", &"x".repeat(1025)).expect_error(400, "body size limit");
}

#[test]
fn nobody_s_body_is_waited_for_where_no_login_is_needed() {
    let broker = Broker::start();
    // It is announced and never comes.
    let head = b"GET /healthz HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 19000000\r\n\r\n";
    assert_eq!(broker.raw(head).expect(200).text(), "ok\n");
}

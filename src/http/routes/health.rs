//! Health checks: 200 with `{"status":"ok"}`, or 503 with what is wrong.

use axum::http::StatusCode;
use serde_json::{Value as Json, json};

use super::certificates;
use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Http, Route, Work};

const QUORUM_HELP: &str = "Whether quorum queues have a leader: on one node they have.";

pub const ROUTES: &[Route] = &[
    Route::get("/api/health/checks/alarms", Access::Login, "No alarm in the cluster.", Work::Quick(alarms)),
    Route::get("/api/health/checks/local-alarms", Access::Login, "No alarm on this node.", Work::Quick(alarms)),
    Route::get(
        "/api/health/checks/port-listener/{port}",
        Access::Login,
        "Something listens on a port.",
        Work::Quick(port),
    ),
    Route::get(
        "/api/health/checks/protocol-listener/{protocol}",
        Access::Login,
        "A protocol is served: amqp091, amqps, http, https and so on.",
        Work::Quick(protocol),
    ),
    Route::get("/api/health/checks/virtual-hosts", Access::Login, "All virtual hosts run.", Work::Quick(fine)),
    Route::get(
        "/api/health/checks/node-is-mirror-sync-critical",
        Access::Login,
        "Whether mirrors depend on this node: on one node none do.",
        Work::Quick(single),
    ),
    Route::get(
        "/api/health/checks/node-is-quorum-critical",
        Access::Login,
        "Whether a quorum depends on this node: on one node none does.",
        Work::Quick(single),
    ),
    Route::get("/api/health/checks/is-in-service", Access::Login, "The node serves clients.", Work::Quick(serving)),
    Route::get(
        "/api/health/checks/ready-to-serve-clients",
        Access::Login,
        "The node serves clients and can take more.",
        Work::Quick(ready),
    ),
    Route::get(
        "/api/health/checks/below-node-connection-limit",
        Access::Login,
        "There is room for more connections.",
        Work::Quick(connections),
    ),
    Route::get(
        "/api/health/checks/reached-target-cluster-size",
        Access::Login,
        "All nodes of the cluster are there.",
        Work::Quick(fine),
    ),
    Route::get(
        "/api/health/checks/metadata-store/initialized",
        Access::Login,
        "The catalog is loaded.",
        Work::Quick(fine),
    ),
    Route::get(
        "/api/health/checks/metadata-store/initialized/with-data",
        Access::Login,
        "The catalog is loaded and has a virtual host.",
        Work::Quick(with_data),
    ),
    Route::get(
        "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts",
        Access::Login,
        QUORUM_HELP,
        Work::Quick(fine),
    ),
    Route::get(
        "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
        Access::Login,
        QUORUM_HELP,
        Work::Quick(fine),
    ),
    Route::get(
        "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}",
        Access::Vhost,
        QUORUM_HELP,
        Work::Quick(fine),
    ),
    Route::get(
        "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
        Access::Vhost,
        QUORUM_HELP,
        Work::Quick(fine),
    ),
    Route::get(
        "/api/health/checks/certificate-expiration/{within}/{unit}",
        Access::Login,
        "No certificate of the node ends within so many days, weeks, months or years.",
        Work::Blocking(certificates::check),
    ),
    Route::get("/api/healthchecks/node", Access::Monitoring, "No alarm, and clients are served.", Work::Quick(node)),
    Route::get("/api/healthchecks/node/{node}", Access::Monitoring, "The same.", Work::Quick(node)),
];

pub fn ok(value: Json) -> Outcome {
    let mut answer = json!({ "status": "ok" });
    if let (Some(answer), Json::Object(more)) = (answer.as_object_mut(), value) {
        answer.extend(more);
    }
    Answer::json(&answer)
}

pub fn failed(reason: &str, more: Json) -> Outcome {
    let mut answer = json!({ "status": "failed", "reason": reason });
    if let (Some(answer), Json::Object(more)) = (answer.as_object_mut(), more) {
        answer.extend(more);
    }
    Answer::json_with(StatusCode::SERVICE_UNAVAILABLE, &answer)
}

fn fine(call: &Call) -> Outcome {
    if call.route.contains("{vhost}") {
        call.vhost()?;
    }
    ok(Json::Null)
}

fn single(_: &Call) -> Outcome {
    ok(json!({ "reason": "single node cluster" }))
}

/// The resources because of which publishers wait.
pub fn alarmed(http: &Http) -> Vec<&'static str> {
    let broker = http.broker();
    let memory = broker.memory.is_over().then_some("memory");
    let disk = broker.store.as_ref().is_some_and(|store| store.disk_alarm()).then_some("disk");
    memory.into_iter().chain(disk).collect()
}

fn alarms(call: &Call) -> Outcome {
    let alarms = alarmed(&call.http);
    if alarms.is_empty() {
        return ok(Json::Null);
    }
    let node = call.http.node_name();
    let alarms: Vec<_> = alarms.iter().map(|resource| json!({ "node": node, "resource": resource })).collect();
    let reason = match call.route.ends_with("local-alarms") {
        true => "There are alarms in effect on the node",
        false => "There are alarms in effect in the cluster",
    };
    failed(reason, json!({ "alarms": alarms }))
}

fn port(call: &Call) -> Outcome {
    let text = call.path("port");
    let invalid = |_| ApiError::bad_request(format!("'{text}' is not a port"));
    let port: u16 = text.parse().map_err(invalid)?;
    let ports: Vec<_> = call.http.node.listeners().iter().map(|listener| listener.address.port()).collect();
    match ports.contains(&port) {
        true => ok(json!({ "port": port })),
        false => failed("No active listener", json!({ "missing": port, "ports": ports })),
    }
}

/// RabbitMQ's names of a protocol, as its check takes them.
fn protocol_name(name: &str) -> &str {
    match name {
        "amqp091" | "amqp0.9.1" | "amqp-0-9-1" | "amqp0-9-1" => "amqp",
        "amqps" | "amqp091/ssl" | "amqp/tls" => "amqp/ssl",
        other => other,
    }
}

fn protocol(call: &Call) -> Outcome {
    let asked = call.path("protocol");
    let mut protocols: Vec<_> = call.http.node.listeners().iter().map(|listener| listener.protocol).collect();
    protocols.dedup();
    match protocols.contains(&protocol_name(asked)) {
        true => ok(json!({ "protocol": protocol_name(asked) })),
        false => failed("No active listener", json!({ "missing": asked, "protocols": protocols })),
    }
}

fn is_serving(http: &Http) -> bool {
    http.node.listeners().iter().any(|listener| listener.protocol.starts_with("amqp"))
}

fn serving(call: &Call) -> Outcome {
    match is_serving(&call.http) {
        true => ok(Json::Null),
        false => failed("this node is being drained or its applications are stopped", Json::Null),
    }
}

fn has_room(http: &Http) -> bool {
    let most = http.broker().limits().connection_max;
    most.is_none_or(|most| (http.shared.registry.count() as u64) < most)
}

fn connections(call: &Call) -> Outcome {
    let (now, most) = (call.http.shared.registry.count(), call.broker().limits().connection_max);
    let numbers = json!({ "current": now, "limit": most.map_or_else(|| json!("infinity"), Json::from) });
    match has_room(&call.http) {
        true => ok(numbers),
        false => failed("node connection limit is reached", numbers),
    }
}

fn ready(call: &Call) -> Outcome {
    match is_serving(&call.http) && has_room(&call.http) {
        true => ok(Json::Null),
        false => failed("the node does not take more clients", Json::Null),
    }
}

fn with_data(call: &Call) -> Outcome {
    match call.broker().vhosts().is_empty() {
        false => ok(Json::Null),
        true => failed("there is no virtual host", Json::Null),
    }
}

fn node(call: &Call) -> Outcome {
    let named = call.path("node");
    if call.route.contains("{node}") && named != call.http.node_name() {
        return Err(ApiError::not_found());
    }
    // RabbitMQ answers this one with 200 in any case.
    let problem = match (alarmed(&call.http).is_empty(), is_serving(&call.http)) {
        (true, true) => return ok(Json::Null),
        (false, _) => "resource alarm(s) in effect",
        (_, false) => "clients are not served",
    };
    Answer::json(&json!({ "status": "failed", "reason": problem }))
}

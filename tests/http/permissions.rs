//! What is whose: objects that need a permission each, and lists that show only one's own.

use lapin::{Connection, ConnectionProperties};
use serde_json::{Value as Json, json};

use super::harness::{As, Broker};

const ANNA: As<'static> = As::User("anna", "p");
const MONITOR: As<'static> = As::User("monitor", "p");

/// A broker with anna, who may use what begins with `a-` and nothing else, and somebody who watches.
fn start() -> Broker {
    let broker = Broker::start();
    broker.put("/api/users/anna", r#"{"password":"p","tags":"management"}"#).expect(201);
    broker.put("/api/permissions/%2F/anna", r#"{"configure":"^a-","write":"^a-","read":"^a-"}"#).expect(201);
    broker.put("/api/users/monitor", r#"{"password":"p","tags":"monitoring"}"#).expect(201);
    broker
}

/// A connection of AMQP.
fn connect(broker: &Broker, user: &str, password: &str) -> Connection {
    let address = broker.node.as_ref().unwrap().amqp_addrs()[0];
    let uri = format!("amqp://{user}:{password}@{address}/%2f");
    broker.runtime.block_on(Connection::connect(&uri, ConnectionProperties::default())).unwrap()
}

fn fields(list: &Json, field: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_dead_letter_exchange_needs_the_permission_to_write_to_it() {
    let broker = start();
    let with = |to: &str| json!({ "arguments": { "x-dead-letter-exchange": to } }).to_string();
    let refused = broker.ask(ANNA, "PUT", "/api/queues/%2F/a-q", &with("b-x"));
    refused.expect_error(401, "write access to exchange 'b-x' in vhost '/' refused for user 'anna'");
    broker.ask(ANNA, "PUT", "/api/queues/%2F/a-q", &with("a-x")).expect(201);
}

#[test]
fn routing_keys_of_topic_exchanges_have_permissions_of_their_own() {
    let broker = start();
    broker.ask(ANNA, "PUT", "/api/exchanges/%2F/a-x", r#"{"type":"topic"}"#).expect(201);
    broker.ask(ANNA, "PUT", "/api/queues/%2F/a-q", "{}").expect(201);
    let topic = r#"{"exchange":"a-x","write":"^w","read":"^r"}"#;
    broker.put("/api/topic-permissions/%2F/anna", topic).expect(201);
    let bind = |key: &str| {
        broker.ask(ANNA, "POST", "/api/bindings/%2F/e/a-x/q/a-q", &json!({ "routing_key": key }).to_string())
    };
    bind("r.1").expect(201);
    bind("w.1").expect_error(401, "read access to topic 'w.1' in exchange 'a-x' in vhost '/' refused for user 'anna'");
    // What is moved would go with its own routing key.
    let moved = |body: &str| broker.ask(ANNA, "POST", "/api/queues/%2F/a-q/messages/move", body);
    moved(r#"{"exchange":"a-x"}"#).expect_error(401, "is 'routing_key' given?");
    moved(r#"{"exchange":"a-x","routing_key":"r.1"}"#).expect_error(401, "write access to topics of 'a-x' refused");
    moved(r#"{"exchange":"a-x","routing_key":"w.1"}"#).expect(200);
}

#[test]
fn nobody_publishes_as_somebody_else() {
    let broker = start();
    broker.ask(ANNA, "PUT", "/api/exchanges/%2F/a-x", "{}").expect(201);
    let publish = |user_id: &str| {
        let properties = json!({ "user_id": user_id });
        let body = json!({ "routing_key": "", "payload": "", "payload_encoding": "string", "properties": properties });
        broker.ask(ANNA, "POST", "/api/exchanges/%2F/a-x/publish", &body.to_string())
    };
    publish("guest").expect_error(400, "user_id property set to 'guest' but authenticated user was 'anna'");
    publish("anna").expect(200);
    broker.put("/api/users/anna", r#"{"password":"p","tags":"management,impersonator"}"#).expect(204);
    publish("guest").expect(200);
}

#[test]
fn connections_are_seen_and_closed_by_their_users_and_by_who_watches() {
    let broker = start();
    let (of_guest, _of_anna) = (connect(&broker, "guest", "guest"), connect(&broker, "anna", "p"));
    let _channel = broker.runtime.block_on(of_guest.create_channel()).unwrap();
    let users = |who: As<'_>, path: &str| {
        let mut users = fields(&broker.ask(who, "GET", path, "").expect(200).json(), "user");
        users.sort();
        users
    };
    for path in ["/api/connections", "/api/vhosts/%2F/connections"] {
        assert_eq!(users(ANNA, path), ["anna"], "{path}");
    }
    assert_eq!(users(MONITOR, "/api/connections"), ["anna", "guest"]);
    assert_eq!(users(ANNA, "/api/connections/username/guest"), [""; 0]);
    assert_eq!(broker.ask(ANNA, "GET", "/api/channels", "").expect(200).json(), json!([]));
    let list = broker.json("/api/connections/username/guest");
    let name = list[0]["name"].as_str().unwrap().replace(' ', "%20").replace('>', "%3E");
    for (method, path) in [("GET", ""), ("GET", "/channels"), ("DELETE", "")] {
        broker.ask(ANNA, method, &format!("/api/connections/{name}{path}"), "").expect(404);
    }
    broker.ask(ANNA, "GET", &format!("/api/channels/{name}%20(1)"), "").expect(404);
    broker.ask(ANNA, "DELETE", "/api/connections/username/guest", "").expect(204);
    assert_eq!(users(MONITOR, "/api/connections"), ["anna", "guest"], "it is still there");
    broker.ask(ANNA, "DELETE", "/api/connections/username/anna", "").expect(204);
}

#[test]
fn limits_and_virtual_hosts_of_others_are_not_listed() {
    let broker = start();
    broker.put("/api/vhosts/other", "{}").expect(201);
    broker.put("/api/queues/other/q", "{}").expect(201);
    for user in ["anna", "guest"] {
        broker.put(&format!("/api/user-limits/{user}/max-channels"), r#"{"value":5}"#).expect(204);
    }
    for vhost in ["%2F", "other"] {
        broker.put(&format!("/api/vhost-limits/{vhost}/max-queues"), r#"{"value":5}"#).expect(204);
    }
    let list = |who: As<'_>, path: &str| broker.ask(who, "GET", path, "").expect(200).json();
    assert_eq!(fields(&list(ANNA, "/api/user-limits"), "user"), ["anna"]);
    assert_eq!(list(ANNA, "/api/user-limits/guest"), json!([]));
    assert_eq!(fields(&broker.json("/api/user-limits"), "user"), ["anna", "guest"]);
    assert_eq!(fields(&list(ANNA, "/api/vhost-limits"), "vhost"), ["/"]);
    assert_eq!(fields(&list(ANNA, "/api/vhosts"), "name"), ["/"]);
    assert_eq!(fields(&list(MONITOR, "/api/vhosts"), "name"), ["/", "other"]);
    assert_eq!(list(ANNA, "/api/queues"), json!([]));
    assert_eq!(fields(&broker.json("/api/queues"), "name"), ["q"]);
    broker.ask(ANNA, "GET", "/api/queues/other/q", "").expect_error(401, "User not authorised to access virtual host");
}

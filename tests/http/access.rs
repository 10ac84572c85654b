//! Every route, asked by users of every tag.

use leveret::auth::{Hashing, Permissions, User, password};
use leveret::http::{Access, Route, routes};
use leveret::persist::record::PermissionRecord;
use leveret::vhost::Command;
use leveret::vhost::broker::default_vhost;

use super::harness::{As, Broker, GUEST};

const TAGS: [&str; 5] = ["", "management", "policymaker", "monitoring", "administrator"];

/// Users named after their tags, with permissions in `mine` and not in `other`.
fn add_users(broker: &Broker) {
    let broker = broker.node.as_ref().unwrap().broker();
    for vhost in ["mine", "other"] {
        broker.apply(Command::PutVhost(default_vhost(vhost))).unwrap();
    }
    for tag in TAGS {
        let tags = if tag.is_empty() { vec![] } else { vec![tag.to_owned()] };
        let name = user(tag);
        let hash = password::hash(b"secret", Hashing::Sha256).unwrap();
        broker.apply(Command::PutUser(User { password_hash: Some(hash), tags, ..User::new(name) })).unwrap();
        let (vhost, permissions) = ("mine".to_owned(), Permissions::all());
        broker.apply(Command::SetPermissions(PermissionRecord { user: name.to_owned(), vhost, permissions })).unwrap();
    }
}

fn user(tag: &'static str) -> &'static str {
    if tag.is_empty() { "plain" } else { tag }
}

/// Whether a user with one tag may use a route, in a virtual host that is theirs or not: written out once more, so that
/// the broker is not asked about itself.
fn may(access: Access, tag: &str, in_mine: bool) -> bool {
    match access {
        Access::Open => true,
        _ if tag.is_empty() => false,
        Access::Login => true,
        Access::Vhost => in_mine || tag == "administrator",
        Access::VisibleVhost => in_mine || tag == "administrator" || tag == "monitoring",
        Access::Monitoring => tag == "administrator" || tag == "monitoring",
        Access::Policies => tag == "administrator" || (tag == "policymaker" && in_mine),
        Access::Policymaker => tag == "administrator" || tag == "policymaker",
        Access::Administrator => tag == "administrator",
    }
}

/// The path with names that nothing has, so that nothing happens.
fn path_of(route: &Route, vhost: &str) -> String {
    let parts = route.path.split('/').map(|part| match part {
        "{vhost}" => vhost,
        part if part.starts_with('{') => "none-such",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn no_route_answers_whom_it_is_not_for() {
    let broker = Broker::start();
    add_users(&broker);
    let mut wrong = Vec::new();
    for route in routes::all() {
        for vhost in ["mine", "other"] {
            let path = path_of(route, vhost);
            if route.access != Access::Open {
                let response = broker.ask(As::Nobody, route.method.as_str(), &path, "");
                if response.status != 401 || response.header("www-authenticate").is_none() {
                    wrong.push(format!("{} {path} without login: {}", route.method, response.status));
                }
            }
            for tag in TAGS {
                let allowed = may(route.access, tag, vhost == "mine" || !route.path.contains("{vhost}"));
                if allowed && route.access != Access::Open {
                    continue;
                }
                let response = broker.ask(As::User(user(tag), "secret"), route.method.as_str(), &path, "");
                if (response.status == 401) == allowed {
                    wrong.push(format!("{} {path} as '{tag}': {}", route.method, response.status));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Only reading ones: nothing must change while the others are asked.
#[test]
fn every_reading_route_answers_whom_it_is_for() {
    let broker = Broker::start();
    add_users(&broker);
    let mut wrong = Vec::new();
    for route in routes::all().filter(|route| route.method == "GET") {
        for tag in TAGS.into_iter().filter(|tag| may(route.access, tag, true)) {
            let path = path_of(route, "mine");
            let response = broker.ask(As::User(user(tag), "secret"), "GET", &path, "");
            if response.status == 401 || response.status >= 500 && response.status != 503 {
                wrong.push(format!("GET {path} as '{tag}': {}", response.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn wrong_passwords_and_unknown_users_are_the_same() {
    let broker = Broker::start();
    for who in [As::User("guest", "wrong"), As::User("nobody", "guest"), As::User("guest", "")] {
        let response = broker.ask(who, "GET", "/api/whoami", "").expect(401);
        assert_eq!(response.json(), serde_json::json!({ "error": "not_authorized", "reason": "Not_Authorized" }));
        assert_eq!(response.header("www-authenticate"), Some("Basic realm=\"RabbitMQ Management\""));
    }
    add_users(&broker);
    broker.ask(As::User("plain", "secret"), "GET", "/api/whoami", "").expect_error(401, "Not management user");
}

#[test]
fn the_local_socket_asks_for_no_password() {
    use std::os::unix::fs::PermissionsExt as _;
    let broker = Broker::start();
    let who = broker.ask(As::Local, "GET", "/api/whoami", "").expect(200).json();
    assert_eq!(who, serde_json::json!({ "name": "local operator", "tags": ["administrator"] }));
    let mode = std::fs::metadata(broker.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(broker.ask(GUEST, "GET", "/api/whoami", "").json()["name"], "guest");
    let socket = broker.socket();
    drop(broker);
    assert!(!socket.exists(), "it goes with the broker");
}

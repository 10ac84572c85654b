//! Users, permissions, virtual hosts and their limits.

use super::broker::Broker;
use super::harness::{ctl, run};

fn quiet(broker: &Broker, words: &[&str]) -> String {
    ctl(broker, &[words, &["-q"]].concat()).good()
}

#[test]
fn users_come_and_go() {
    let broker = Broker::start();
    let said = ctl(&broker, &["add_user", "u1", "p1"]).good();
    let done = "Done. Don't forget to grant the user permissions to some virtual hosts! See 'rabbitmqctl help set_permissions' \
                to learn more.";
    assert_eq!(said, format!("Adding user \"u1\" ...\n{done}\n"));
    assert_eq!(ctl(&broker, &["add_user", "u1", "p1"]).failed(70), "Error:\nUser \"u1\" already exists\n");
    let said = ctl(&broker, &["set_user_tags", "u1", "monitoring", "policymaker"]).good();
    assert_eq!(said, "Setting tags for user \"u1\" to [monitoring, policymaker] ...\n");
    // The password is still the same.
    quiet(&broker, &["authenticate_user", "u1", "p1"]);
    let listed = ctl(&broker, &["list_users"]).good();
    assert_eq!(listed, "Listing users ...\nuser\ttags\nguest\t[administrator]\nu1\t[monitoring, policymaker]\n");
    assert_eq!(ctl(&broker, &["list_users", "-s"]).good(), "guest\t[administrator]\nu1\t[monitoring, policymaker]\n");
    let csv = ctl(&broker, &["list_users", "--formatter", "csv"]).good();
    assert_eq!(csv, "\"user\",\"tags\"\n\"guest\",\"[administrator]\"\n\"u1\",\"[monitoring, policymaker]\"\n");
    let json: serde_json::Value =
        serde_json::from_str(&ctl(&broker, &["list_users", "--formatter=json"]).good()).unwrap();
    assert_eq!(json[1], serde_json::json!({ "user": "u1", "tags": ["monitoring", "policymaker"] }));
    quiet(&broker, &["change_password", "u1", "p2"]);
    assert_eq!(ctl(&broker, &["authenticate_user", "u1", "p1"]).code, 65);
    quiet(&broker, &["authenticate_user", "u1", "p2"]);
    quiet(&broker, &["clear_password", "u1"]);
    assert_eq!(ctl(&broker, &["authenticate_user", "u1", "p2"]).code, 65);
    assert_eq!(ctl(&broker, &["delete_user", "u1"]).good(), "Deleting user \"u1\" ...\n");
    assert_eq!(ctl(&broker, &["delete_user", "u1"]).failed(67), "Error:\nUser \"u1\" does not exist\n");
    assert_eq!(ctl(&broker, &["change_password", "u1", "x"]).failed(67), "Error:\nUser \"u1\" does not exist\n");
    assert_eq!(ctl(&broker, &["add_user", "", "x"]).code, 65);
}

#[test]
fn a_password_that_is_not_given_is_read() {
    let broker = Broker::start();
    let dir = broker.socket().parent().unwrap().to_owned();
    let said = run("rabbitmqctl", Some(&dir), &["add_user", "ann"], "from-stdin\n").good();
    assert!(!said.contains("from-stdin"), "{said}");
    quiet(&broker, &["authenticate_user", "ann", "from-stdin"]);
    let hash = run("rabbitmqctl", None, &["hash_password", "-q", "other"], "").good();
    quiet(&broker, &["add_user", "bob", hash.trim(), "--pre-hashed-password"]);
    quiet(&broker, &["authenticate_user", "bob", "other"]);
}

#[test]
fn permissions_are_set_and_listed() {
    let broker = Broker::start();
    quiet(&broker, &["add_vhost", "v1"]);
    quiet(&broker, &["add_user", "u1", "p1"]);
    let said = ctl(&broker, &["set_permissions", "-p", "v1", "u1", "^a", ".*", ""]).good();
    assert_eq!(said, "Setting permissions for user \"u1\" in vhost \"v1\" ...\n");
    let listed = ctl(&broker, &["list_permissions", "-p", "v1"]).good();
    assert_eq!(listed, "Listing permissions for vhost \"v1\" ...\nuser\tconfigure\twrite\tread\nu1\t^a\t.*\t\n");
    let listed = ctl(&broker, &["list_user_permissions", "u1"]).good();
    assert_eq!(listed, "Listing permissions for user \"u1\" ...\nvhost\tconfigure\twrite\tread\nv1\t^a\t.*\t\n");
    let text = ctl(&broker, &["set_permissions", "-p", "nov", "u1", "", "", ""]).failed(65);
    assert_eq!(text, "Error:\nVirtual host nov does not exist\n");
    let text = ctl(&broker, &["set_permissions", "-p", "v1", "nou", "", "", ""]).failed(67);
    assert_eq!(text, "Error:\nUser \"nou\" does not exist\n");
    assert_eq!(ctl(&broker, &["set_permissions", "-p", "v1", "u1", "(", "", ""]).code, 69);
    let text = ctl(&broker, &["list_permissions", "-p", "nov"]).failed(65);
    assert_eq!(text, "Virtual host 'nov' does not exist\n");
    quiet(&broker, &["set_topic_permissions", "-p", "v1", "u1", "amq.topic", "^a", ".*"]);
    assert_eq!(
        quiet(&broker, &["list_topic_permissions", "-p", "v1"]),
        "user\texchange\twrite\tread\nu1\tamq.topic\t^a\t.*\n"
    );
    quiet(&broker, &["clear_topic_permissions", "-p", "v1", "u1", "amq.topic"]);
    assert_eq!(quiet(&broker, &["list_topic_permissions", "-p", "v1"]), "");
    quiet(&broker, &["clear_permissions", "-p", "v1", "u1"]);
    assert_eq!(quiet(&broker, &["list_permissions", "-p", "v1"]), "");
}

#[test]
fn virtual_hosts_have_descriptions_tags_and_limits() {
    let broker = Broker::start();
    assert_eq!(ctl(&broker, &["add_vhost", "v1"]).good(), "Adding vhost \"v1\" ...\n");
    ctl(&broker, &["add_vhost", "v1"]).good();
    quiet(&broker, &["add_vhost", "v2", "--description", "for tests", "--tags", "a,b"]);
    assert_eq!(ctl(&broker, &["list_vhosts"]).good(), "Listing vhosts ...\nname\n/\nv1\nv2\n");
    quiet(&broker, &["trace_on", "-p", "v2"]);
    let listed = quiet(&broker, &["list_vhosts", "name", "description", "tags", "tracing"]);
    assert_eq!(listed.lines().last(), Some("v2\tfor tests\t[a, b]\ttrue"));
    assert_eq!(
        ctl(&broker, &["trace_off", "-p", "v2"]).good(),
        "Stopping tracing for vhost \"v2\" ...\nTrace disabled for vhost v2\n"
    );
    quiet(&broker, &["set_vhost_tags", "v2", "c"]);
    let listed = quiet(&broker, &["list_vhosts", "name", "description", "tags", "tracing"]);
    assert_eq!(listed.lines().last(), Some("v2\tfor tests\t[c]\tfalse"));
    quiet(&broker, &["set_vhost_limits", "-p", "v1", "{\"max-connections\": 10, \"max-queues\": 5}"]);
    quiet(&broker, &["set_vhost_limits", "-p", "v1", "{\"max-connections\": 20}"]);
    assert_eq!(quiet(&broker, &["list_vhost_limits", "-p", "v1"]), "{\"max-connections\":20}\n");
    quiet(&broker, &["clear_vhost_limits", "-p", "v1"]);
    assert_eq!(quiet(&broker, &["list_vhost_limits", "-p", "v1"]), "{}\n");
    quiet(&broker, &["set_user_limits", "guest", "{\"max-channels\": 7}"]);
    assert_eq!(quiet(&broker, &["list_user_limits", "--user", "guest"]), "{\"max-channels\":7}\n");
    assert_eq!(quiet(&broker, &["list_user_limits", "--global"]), "user\tlimits\nguest\t{\"max-channels\":7}\n");
    quiet(&broker, &["clear_user_limits", "guest", "all"]);
    assert_eq!(quiet(&broker, &["list_user_limits"]), "{}\n");
    assert_eq!(ctl(&broker, &["set_user_limits", "guest", "{max}"]).code, 69);
    assert_eq!(ctl(&broker, &["delete_vhost", "v1"]).good(), "Deleting vhost \"v1\" ...\n");
    assert_eq!(ctl(&broker, &["delete_vhost", "v1"]).failed(65), "Virtual host 'v1' does not exist\n");
    quiet(&broker, &["restart_vhost"]);
}

#[test]
fn tags_are_set_without_touching_the_password() {
    let broker = Broker::start();
    let dir = broker.socket().parent().unwrap().to_owned();
    let user = r#"{"name": "u", "password": "pw", "hashing_algorithm": "rabbit_password_hashing_sha512", "tags": ""}"#;
    run("rabbitmqctl", Some(&dir), &["import_definitions"], &format!(r#"{{"users": [{user}]}}"#)).good();
    quiet(&broker, &["set_user_tags", "u", "monitoring"]);
    quiet(&broker, &["authenticate_user", "u", "pw"]);
}

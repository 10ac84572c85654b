//! Policies, parameters, queues, exchanges and bindings.

use super::broker::Broker;
use super::harness::{ctl, tool};

fn quiet(broker: &Broker, words: &[&str]) -> String {
    ctl(broker, &[words, &["-q"]].concat()).good()
}

fn put(broker: &Broker, path: &str, body: &str) {
    let response = broker.ask(super::broker::GUEST, "PUT", path, body);
    assert!(response.status < 300, "{path}: {response:?}");
}

fn post(broker: &Broker, path: &str, body: &str) {
    let response = broker.ask(super::broker::GUEST, "POST", path, body);
    assert!(response.status < 300, "{path}: {response:?}");
}

#[test]
fn policies_are_set_and_listed() {
    let broker = Broker::start();
    let definition = "{\"max-length\":10}";
    let said = ctl(&broker, &["set_policy", "pol", "^q", definition, "--priority", "3", "--apply-to", "queues"]).good();
    let expected = "Setting policy \"pol\" for pattern \"^q\" to \"{\"max-length\":10}\" with priority \"3\" for vhost \"/\" ...\n";
    assert_eq!(said, expected);
    let header = "vhost\tname\tpattern\tapply-to\tdefinition\tpriority\n";
    let listed = ctl(&broker, &["list_policies"]).good();
    assert_eq!(listed, format!("Listing policies for vhost \"/\" ...\n{header}/\tpol\t^q\tqueues\t{definition}\t3\n"));
    for wrong in ["{\"max-leng\":10}", "{max}", "[]"] {
        assert_eq!(ctl(&broker, &["set_policy", "other", "^q", wrong]).code, 69, "{wrong}");
    }
    assert_eq!(ctl(&broker, &["set_policy", "p", "(", definition]).code, 69);
    assert_eq!(ctl(&broker, &["clear_policy", "pol"]).good(), "Clearing policy \"pol\" on vhost \"/\" ...\n");
    assert_eq!(ctl(&broker, &["clear_policy", "pol"]).failed(65), "Error:\nParameter does not exist\n");
    quiet(&broker, &["set_operator_policy", "opol", "^q", definition]);
    assert_eq!(quiet(&broker, &["list_operator_policies"]), format!("{header}/\topol\t^q\tqueues\t{definition}\t0\n"));
    quiet(&broker, &["clear_operator_policy", "opol"]);
    assert_eq!(ctl(&broker, &["list_policies", "-p", "nov"]).failed(65), "Virtual host 'nov' does not exist\n");
}

#[test]
fn global_parameters_are_set_and_listed() {
    let broker = Broker::start();
    quiet(&broker, &["set_global_parameter", "gp", "{\"a\":1}"]);
    assert!(quiet(&broker, &["list_global_parameters"]).lines().any(|line| line == "gp\t{\"a\":1}"));
    quiet(&broker, &["clear_global_parameter", "gp"]);
    assert_eq!(ctl(&broker, &["clear_global_parameter", "gp"]).failed(65), "Error:\nParameter does not exist\n");
    assert_eq!(ctl(&broker, &["set_global_parameter", "gp", "{a"]).code, 69);
    assert_eq!(quiet(&broker, &["list_parameters"]), "");
    quiet(&broker, &["set_cluster_name", "flock"]);
}

#[test]
fn queues_are_listed_purged_and_deleted() {
    let broker = Broker::start();
    put(&broker, "/api/queues/%2F/q1", "{\"durable\":true,\"arguments\":{\"x-max-length\":100}}");
    put(&broker, "/api/queues/%2F/q%202", "{\"durable\":true}");
    let listed = ctl(&broker, &["list_queues"]).good();
    assert_eq!(listed, "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\nname\tmessages\nq 2\t0\nq1\t0\n");
    let listed = quiet(&broker, &["list_queues", "name,arguments", "durable", "policy", "type"]);
    assert_eq!(listed.lines().last(), Some("q1\t[{\"x-max-length\",100}]\ttrue\t\tclassic"));
    let columns = "name,messages_persistent,message_bytes_persistent,head_message_timestamp";
    let listed = quiet(&broker, &["list_queues", "-s", columns]);
    assert_eq!(listed.lines().last(), Some("q1\t0\t0\t"));
    let json = quiet(&broker, &["list_queues", "name", "arguments", "--formatter", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[1]["arguments"], serde_json::json!([["x-max-length", "signedint", 100]]));
    assert_eq!(quiet(&broker, &["list_queues", "--offline"]), "");
    assert_eq!(ctl(&broker, &["list_queues", "-p", "nov"]).failed(65), "Virtual host 'nov' does not exist\n");
    assert_eq!(ctl(&broker, &["purge_queue", "q1"]).good(), "Purging queue 'q1' in vhost '/' ...\n");
    assert_eq!(ctl(&broker, &["purge_queue", "nope"]).failed(65), "Error:\nnot_found\n");
    let said = ctl(&broker, &["delete_queue", "q1", "--if-empty"]).good();
    let expected = "Deleting queue 'q1' on vhost '/' if queue is empty ...\nQueue was successfully deleted with 0 ready messages\n";
    assert_eq!(said, expected);
    assert_eq!(ctl(&broker, &["delete_queue", "q1"]).failed(65), "Error:\nQueue not found\n");
    quiet(&broker, &["list_unresponsive_queues"]);
    let text = tool(&broker, "rabbitmq-queues", &["quorum_status", "q 2"]).failed(69);
    assert_eq!(text, "Error:\nCannot get quorum status of a classic queue\n");
}

#[test]
fn exchanges_and_bindings_are_listed() {
    let broker = Broker::start();
    put(&broker, "/api/exchanges/%2F/ex", "{\"type\":\"topic\",\"durable\":true}");
    put(&broker, "/api/queues/%2F/q1", "{\"durable\":true}");
    post(&broker, "/api/bindings/%2F/e/ex/q/q1", "{\"routing_key\":\"a.*\",\"arguments\":{\"h\":1}}");
    let listed = ctl(&broker, &["list_exchanges", "name", "type", "durable", "auto_delete"]).good();
    assert!(listed.starts_with("Listing exchanges for vhost / ...\nname\ttype\tdurable\tauto_delete\n"), "{listed}");
    for line in ["\tdirect\ttrue\tfalse", "amq.topic\ttopic\ttrue\tfalse", "ex\ttopic\ttrue\tfalse"] {
        assert!(listed.lines().any(|listed| listed == line), "{line}");
    }
    let listed = ctl(&broker, &["list_bindings"]).good();
    let head = "Listing bindings for vhost /...\n\
                source_name\tsource_kind\tdestination_name\tdestination_kind\trouting_key\targuments\n";
    assert!(listed.starts_with(head), "{listed}");
    for line in ["\texchange\tq1\tqueue\tq1\t[]", "ex\texchange\tq1\tqueue\ta.*\t[{\"h\",1}]"] {
        assert!(listed.lines().any(|listed| listed == line), "{line}\n{listed}");
    }
}

#[test]
fn a_protected_vhost_is_not_deleted_until_the_protection_is_lifted() {
    let broker = Broker::start();
    ctl(&broker, &["add_vhost", "v"]).good();
    for (protect, unprotect) in [
        ("enable_vhost_deletion_protection", "disable_vhost_deletion_protection"),
        ("enable_vhost_protection_from_deletion", "disable_vhost_protection_from_deletion"),
    ] {
        assert!(ctl(&broker, &[protect, "v"]).good().starts_with("Protecting virtual host \"v\""));
        let text = ctl(&broker, &["delete_vhost", "v"]).failed(65);
        assert!(text.contains("Cannot delete this virtual host: it is protected from deletion."), "{text}");
        let listed = ctl(&broker, &["list_vhosts", "name", "protected_from_deletion", "-s"]).good();
        assert!(listed.contains("v\ttrue\n"), "{listed}");
        ctl(&broker, &[unprotect, "v"]).good();
    }
    ctl(&broker, &["enable_vhost_deletion_protection", "none"]).failed(65);
    ctl(&broker, &["enable_vhost_deletion_protection", "v"]).good();
    // What is removed altogether takes it along.
    ctl(&broker, &["stop_app"]).good();
    ctl(&broker, &["reset"]).good();
    ctl(&broker, &["start_app"]).good();
    assert_eq!(ctl(&broker, &["list_vhosts", "-s"]).good(), "/\n");
}

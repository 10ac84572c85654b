//! What needs no node, and what happens when there is none.

use super::broker::Broker;
use super::harness::{ctl, run, tool};

fn alone(name: &str, words: &[&str]) -> super::harness::Done {
    run(name, None, words, "")
}

#[test]
fn the_program_is_the_tool_that_it_is_called_as() {
    let help = alone("rabbitmq-upgrade", &["help"]).good();
    assert!(
        help.contains("rabbitmq-upgrade [--node <node>]") && help.contains("   drain ") && !help.contains("add_user")
    );
    let help = alone("/usr/sbin/rabbitmqctl", &["--help"]).good();
    assert!(help.contains("   add_user ") && !help.contains("   drain "));
    let help = alone("leveret", &["help"]).good();
    assert!(help.contains("   add_user ") && help.contains("   drain ") && help.contains("   explain_route "));
    for words in [&["version"][..], &["--version"], &["version", "-qs"]] {
        // Scripts take it for RabbitMQ's.
        assert_eq!(alone("rabbitmqctl", words).good(), "3.13.7\n", "{words:?}");
        assert_eq!(alone("leveret", words).good(), format!("{}\n", env!("CARGO_PKG_VERSION")), "{words:?}");
    }
}

#[test]
fn wrong_calls_are_answered_with_the_usage() {
    let text = alone("rabbitmqctl", &["list_quues"]).failed(64);
    assert_eq!(text, "\nCommand 'list_quues' not found. \nDid you mean 'list_queues'? \n");
    let text = alone("rabbitmqctl", &["delete_vhost"]).failed(64);
    let expected = "Error (argument validation): not enough arguments.\nArguments given:\n\tdelete_vhost\n\nUsage\n\n\
                    rabbitmqctl [--node <node>] [--quiet] delete_vhost <vhost>\n";
    assert_eq!(text, expected);
    assert!(alone("rabbitmqctl", &[]).failed(64).contains("Available commands:"));
}

#[test]
fn passwords_are_not_repeated() {
    let text = alone("rabbitmqctl", &["add_user", "ann", "hidden", "more"]).failed(64);
    assert!(text.contains("too many arguments") && !text.contains("hidden"), "{text}");
}

#[test]
fn without_a_node_the_code_is_69() {
    let nowhere = tempfile::tempdir().unwrap();
    let text = run("rabbitmqctl", Some(nowhere.path()), &["list_queues"], "").failed(69);
    assert!(text.starts_with("Error: unable to perform an operation"), "{text}");
    let socket = nowhere.path().join("leveret.sock");
    assert!(text.contains(&format!("no node answers at {}: No such file", socket.display())), "{text}");
    assert!(
        text.contains("That is where --data-dir says.") && text.contains("start it (`leveret`, or its service)"),
        "{text}"
    );
    // What a node leaves that was killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let text = run("rabbitmqctl", Some(nowhere.path()), &["list_queues"], "").failed(69);
    assert!(text.contains("has ended without saying so"), "{text}");
}

#[test]
fn another_nodes_name_is_refused() {
    let broker = Broker::start();
    let text = ctl(&broker, &["-n", "other@nowhere", "ping"]).failed(69);
    assert!(text.starts_with("Error: unable to perform an operation on node 'other@nowhere'."), "{text}");
    let name = broker.node.as_ref().unwrap().broker().node_name().to_owned();
    ctl(&broker, &["-n", &name, "--longnames", "ping"]).good();
}

#[test]
fn the_http_api_does_as_well_as_the_socket() {
    let broker = Broker::start();
    let url = format!("http://guest:guest@{}", broker.http);
    assert!(run("rabbitmqctl", None, &["--url", &url, "ping"], "").good().ends_with("Ping succeeded\n"));
    let wrong = format!("http://guest:wrong@{}", broker.http);
    let text = run("rabbitmqctl", None, &["--url", &wrong, "ping"], "").failed(69);
    assert!(!text.contains("wrong"), "{text}");
    assert_eq!(run("rabbitmqctl", None, &["--url", "ftp://h", "ping"], "").code, 65);
}

#[test]
fn passwords_come_from_the_standard_input() {
    let hash = run("rabbitmqctl", None, &["hash_password", "-q"], "secret\n").good();
    assert!(hash.trim().len() == 48 && !hash.contains("secret"), "{hash}");
}

#[test]
fn what_are_plugins_elsewhere_is_there() {
    let plugins = |words: &[&str]| alone("rabbitmq-plugins", words);
    assert_eq!(plugins(&["is_enabled", "rabbitmq_management"]).good(), "Plugin rabbitmq_management is enabled\n");
    assert!(plugins(&["is_enabled", "rabbitmq_mqtt"]).failed(69).contains("Plugin rabbitmq_mqtt is not enabled"));
    assert!(plugins(&["list", "-E", "-m", "-q"]).good().lines().any(|name| name == "rabbitmq_prometheus"));
    plugins(&["enable", "rabbitmq_management", "rabbitmq_auth_backend_http"]).good();
    // All that tell of them tell the same.
    let broker = Broker::start();
    let listed = plugins(&["list", "-E", "-m", "-q"]).good();
    let listed: Vec<_> = listed.lines().collect();
    assert_eq!(ctl(&broker, &["list_plugins"]).good().lines().collect::<Vec<_>>(), listed);
    let status: serde_json::Value =
        serde_json::from_str(&ctl(&broker, &["status", "--formatter", "json"]).good()).unwrap();
    assert_eq!(status["active_plugins"], serde_json::json!(listed));
    assert_eq!(broker.json("/api/nodes")[0]["enabled_plugins"], serde_json::json!(listed));
    assert_eq!(plugins(&["enable", "rabbitmq_nope"]).failed(70), "Error:\n{:plugins_not_found, [:rabbitmq_nope]}\n");
}

#[test]
fn clustering_is_not_there_yet() {
    let broker = Broker::start();
    assert!(ctl(&broker, &["join_cluster", "rabbit@other"]).failed(69).contains("next stage"));
    let text = ctl(&broker, &["forget_cluster_node", "rabbit@other"]).failed(69);
    assert!(text.contains("not_a_cluster_node"), "{text}");
    assert!(tool(&broker, "rabbitmq-queues", &["grow", "rabbit@other", "all"]).failed(69).contains("next stage"));
    tool(&broker, "rabbitmq-upgrade", &["await_online_quorum_plus_one"]).good();
    ctl(&broker, &["await_online_nodes", "1"]).good();
}

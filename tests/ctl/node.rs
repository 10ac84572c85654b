//! What is done with the node itself.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use leveret::vhost::Command;
use leveret::vhost::broker::default_vhost;

use super::broker::Broker;
use super::harness::{ctl, tool};
use crate::compat::harness::wire::is_connection_close;
use crate::compat::harness::{Client, Options};

fn amqp(broker: &Broker) -> SocketAddr {
    broker.node.as_ref().unwrap().amqp_addrs()[0]
}

fn state(broker: &Broker) -> &leveret::vhost::Broker {
    broker.node.as_ref().unwrap().broker()
}

/// Whether the broker says something to a client that says hello.
fn serves(address: SocketAddr) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut first = [0; 1];
    stream.write_all(b"AMQP\0\0\x09\x01").is_ok() && stream.read_exact(&mut first).is_ok()
}

#[test]
fn stop_app_shuts_the_listeners_and_start_app_opens_them() {
    let broker = Broker::start();
    let (address, node) = (amqp(&broker), state(&broker).node_name().to_owned());
    assert!(serves(address));
    assert_eq!(ctl(&broker, &["stop_app"]).good(), format!("Stopping rabbit application on node {node} ...\n"));
    assert!(!serves(address));
    ctl(&broker, &["stop_app"]).good();
    let text = ctl(&broker, &["list_queues"]).failed(64);
    assert!(
        text.starts_with("Error: this command requires the 'rabbit' app to be running on the target node."),
        "{text}"
    );
    assert_eq!(tool(&broker, "rabbitmq-diagnostics", &["check_running"]).code, 69);
    tool(&broker, "rabbitmq-diagnostics", &["ping"]).good();
    let text = ctl(&broker, &["status"]).good();
    assert!(text.contains("Is running?: false: the app is stopped, start_app starts it\n"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&ctl(&broker, &["status", "--formatter", "json"]).good()).unwrap();
    assert_eq!(json["is_running"], false);
    assert_eq!(ctl(&broker, &["start_app"]).good(), format!("Starting node {node} ...\n"));
    assert!(serves(address));
    ctl(&broker, &["start_app"]).good();
    let running = format!("RabbitMQ on node {node} is fully booted and running\n");
    assert_eq!(tool(&broker, "rabbitmq-diagnostics", &["check_running", "-q"]).good(), running);
    ctl(&broker, &["await_startup"]).good();
}

#[test]
fn stop_app_cuts_off_clients_that_do_not_answer() {
    let broker = Broker::start();
    let node = broker.node.as_ref().unwrap();
    node.set_patience(Duration::from_millis(200));
    let silent = Client::new(amqp(&broker));
    silent.handshake(&Options::default());
    assert_eq!(node.connections().count(), 1);
    ctl(&broker, &["stop_app"]).good();
    assert_eq!(node.connections().count(), 0);
    let told = silent.expect_method("the close that is not answered");
    assert!(is_connection_close(&told), "{told:?}");
    silent.wire().expect_any_end();
}

#[test]
fn start_app_says_when_a_port_is_taken() {
    let broker = Broker::start();
    let address = amqp(&broker);
    ctl(&broker, &["stop_app"]).good();
    let taken = std::net::TcpListener::bind(address).unwrap();
    let text = ctl(&broker, &["start_app"]).failed(69);
    assert!(text.contains(&address.port().to_string()), "{text}");
    drop(taken);
    ctl(&broker, &["start_app"]).good();
    assert!(serves(address));
}

#[test]
fn suspended_and_drained_nodes_take_no_connections() {
    let broker = Broker::start();
    let address = amqp(&broker);
    for (stop, start) in [("suspend_listeners", "resume_listeners"), ("drain", "revive")] {
        let tool = |word| {
            tool(&broker, if word == "drain" || word == "revive" { "rabbitmq-upgrade" } else { "rabbitmqctl" }, &[word])
        };
        tool(stop).good();
        assert!(!serves(address), "{stop}");
        tool(start).good();
        assert!(serves(address), "{start}");
    }
}

#[test]
fn reset_removes_everything_and_only_after_stop_app() {
    let broker = Broker::start();
    state(&broker).apply(Command::PutVhost(default_vhost("extra"))).unwrap();
    let text = ctl(&broker, &["reset"]).failed(64);
    assert!(
        text.starts_with("Error: this command requires the 'rabbit' app to be stopped on the target node."),
        "{text}"
    );
    ctl(&broker, &["stop_app"]).good();
    ctl(&broker, &["reset"]).good();
    ctl(&broker, &["start_app"]).good();
    assert!(state(&broker).vhost("extra").is_none() && state(&broker).vhost("/").is_some());
    assert_eq!(ctl(&broker, &["authenticate_user", "guest", "guest", "-q"]).good(), "Success\n");
}

#[test]
fn alarms_are_set_by_the_expressions_of_client_suites() {
    let broker = Broker::start();
    for (resource, is_on) in [
        ("memory", (|broker| state(broker).memory.is_over()) as fn(&Broker) -> bool),
        ("disk", |broker| state(broker).store.as_ref().unwrap().disk_alarm()),
    ] {
        let set = format!("rabbit_alarm:set_alarm({{{{resource_limit, {resource}, node()}}, []}}).");
        assert_eq!(ctl(&broker, &["eval", &set]).good(), "ok\n");
        assert!(is_on(&broker), "{resource}");
        let clear = format!("rabbit_alarm:clear_alarm({{resource_limit, {resource}, node()}}).");
        assert_eq!(ctl(&broker, &["eval", &clear]).good(), "ok\n");
        assert!(!is_on(&broker), "{resource}");
    }
    ctl(&broker, &["eval", "application:set_env(rabbit, channel_max, 7)."]).good();
    assert_eq!(state(&broker).channel_max.load(std::sync::atomic::Ordering::Relaxed), 7);
    ctl(&broker, &["eval", "application:set_env(rabbit, loopback_users, [])."]).good();
    assert!(!state(&broker).directory.is_loopback_only("guest"));
    assert!(ctl(&broker, &["eval", "1+1."]).failed(70).contains("does not run on Erlang"));
}

#[test]
fn watermarks_are_shares_or_amounts() {
    let broker = Broker::start();
    let node = state(&broker).node_name().to_owned();
    let said = ctl(&broker, &["set_vm_memory_high_watermark", "absolute", "2GB"]).good();
    assert_eq!(said, format!("Setting memory threshold on {node} to 2GB bytes ...\n"));
    assert_eq!(state(&broker).memory.limit(), 2_000_000_000);
    ctl(&broker, &["set_vm_memory_high_watermark", "0.5"]).good();
    assert_ne!(state(&broker).memory.limit(), 2_000_000_000);
    assert_eq!(ctl(&broker, &["set_vm_memory_high_watermark", "abc"]).code, 65);
    assert_eq!(ctl(&broker, &["set_vm_memory_high_watermark", "1.5"]).code, 65);
    ctl(&broker, &["set_disk_free_limit", "100MB"]).good();
    let store = state(&broker).store.as_ref().unwrap();
    assert_eq!(store.disk_limit(), 100_000_000);
    // More than there is: the command returns when publishers wait.
    for (limit, is_over) in [("900TB", true), ("1MB", false)] {
        ctl(&broker, &["set_disk_free_limit", limit]).good();
        assert_eq!(store.disk_alarm(), is_over, "{limit}");
    }
    assert_eq!(ctl(&broker, &["set_disk_free_limit", "lots"]).code, 69);
}

#[test]
fn passwords_are_tried() {
    let broker = Broker::start();
    let said = ctl(&broker, &["authenticate_user", "guest", "guest"]).good();
    assert_eq!(said, "Authenticating user \"guest\" ...\nSuccess\n");
    let text = ctl(&broker, &["authenticate_user", "guest", "wrong"]).failed(65);
    assert_eq!(text, "Error:\nError: failed to authenticate user \"guest\"\nuser 'guest' - invalid credentials\n");
}

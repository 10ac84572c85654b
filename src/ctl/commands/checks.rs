//! Health checks: exit code 0 when all is well.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use serde_json::Value as Json;

use super::status::{alarm_lines, listeners, plain};
use super::{CTL_AND_DIAGNOSTICS, DIAGNOSTICS};
use crate::ctl::command::{Command, Needs, Opt, Tool};
use crate::ctl::exit::{Failure, code};
use crate::ctl::session::{Session, path};

/// How long a listener gets to take a connection.
const CONNECT: Duration = Duration::from_secs(10);
const WITH_QUEUES: &[Tool] = &[Tool::Diagnostics, Tool::Queues];

pub const COMMANDS: &[Command] = &[
    Command::new("check_running", "Whether the node serves clients", running).of(DIAGNOSTICS).needs(Needs::Node),
    Command::new("check_alarms", "Whether no alarm is on", alarms).of(DIAGNOSTICS),
    Command::new("check_local_alarms", "Whether no alarm is on at this node", local_alarms).of(DIAGNOSTICS),
    Command::new("check_port_listener", "Whether the node listens on a port", port_listener)
        .takes(1, "<port>")
        .of(DIAGNOSTICS),
    Command::new("check_protocol_listener", "Whether the node listens for a protocol", protocol_listener)
        .takes(1, "<protocol>")
        .of(DIAGNOSTICS),
    Command::new("check_port_connectivity", "Whether every listener takes connections", port_connectivity)
        .options(&[Opt::text("address", "<address>", "the address to connect to")])
        .of(DIAGNOSTICS),
    Command::new("check_virtual_hosts", "Whether all virtual hosts run", virtual_hosts).of(DIAGNOSTICS),
    Command::new("check_certificate_expiration", "Whether no certificate of a listener ends soon", certificates)
        .options(&[
            Opt::number("within", "<period>", "how soon [4]"),
            Opt::text("unit", "<unit>", "days, weeks, months or years [weeks]"),
        ])
        .of(DIAGNOSTICS),
    Command::new("check_if_node_is_quorum_critical", "Whether queues would do without this node", single_node)
        .of(WITH_QUEUES),
    Command::new("check_if_node_is_mirror_sync_critical", "Whether queues would do without this node", single_node)
        .of(WITH_QUEUES),
    Command::new("check_if_cluster_has_classic_queue_mirroring_policy", "Whether no policy mirrors queues", mirroring)
        .of(DIAGNOSTICS),
    Command::new("check_if_any_deprecated_features_are_used", "Whether nothing deprecated is used", deprecated)
        .of(DIAGNOSTICS),
    Command::new("node_health_check", "Whether the node serves clients and no alarm is on", health)
        .of(CTL_AND_DIAGNOSTICS),
];

fn running(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Checking if RabbitMQ is running on node {node} ..."))?;
    if session.runs() {
        return session.say(format!("RabbitMQ on node {node} is fully booted and running"));
    }
    Err(Failure::refused(format!(
        "RabbitMQ on node {node} is not running or has not fully booted yet (check with is_booting)"
    )))
}

fn alarms(session: &mut Session) -> Result<(), Failure> {
    no_alarm(session, "alarms, local or clusterwide", Failure::bare)
}

fn local_alarms(session: &mut Session) -> Result<(), Failure> {
    no_alarm(session, "local alarms", Failure::error)
}

fn no_alarm(session: &mut Session, which: &str, failure: fn(u8, String) -> Failure) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Asking node {node} to report any local resource alarms ..."))?;
    let lines = alarm_lines(session)?;
    if lines.is_empty() {
        return session.say(format!("Node {node} reported no {which}"));
    }
    Err(failure(code::UNAVAILABLE, lines.join("\n")))
}

fn port_listener(session: &mut Session) -> Result<(), Failure> {
    let (port, node) = (session.argument(0), session.node().to_owned());
    session.banner(format!("Asking node {node} if there's an active listener on port {port} ..."))?;
    let ports = words(&listeners(session)?, "port");
    if ports.contains(&port) {
        return session.say(format!("A listener for port {port} is running on node {node}."));
    }
    let text = format!(
        "No listener for port {port} is active on node {node}. Found listeners that use the following ports: {}",
        ports.join(", ")
    );
    Err(Failure::bare(code::UNAVAILABLE, text))
}

fn protocol_listener(session: &mut Session) -> Result<(), Failure> {
    let (protocol, node) = (session.argument(0), session.node().to_owned());
    session.banner(format!("Asking node {node} if there's an active listener for protocol {protocol} ..."))?;
    let protocols = words(&listeners(session)?, "protocol");
    let wanted = protocol.to_lowercase();
    let wanted = match wanted.as_str() {
        "amqp091" | "amqp0.9.1" | "amqp 0.9.1" | "amqp0-9-1" | "amqp 0-9-1" => "amqp",
        "amqps" | "amqp-ssl" => "amqp/ssl",
        "prometheus" => "http/prometheus",
        other => other,
    };
    if protocols.iter().any(|known| known == wanted) {
        return session.say(format!("A listener for protocol {protocol} is running on node {node}."));
    }
    Err(Failure::refused(format!(
        "No listener for protocol {protocol} is active on node {node}. Found listeners for the following protocols: {}",
        protocols.join(", ")
    )))
}

fn port_connectivity(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Testing TCP connections to all active listeners on node {node} ..."))?;
    let listeners = listeners(session)?;
    let asked = session.given.option("address").map(str::to_owned);
    let mut refused = Vec::new();
    for listener in &listeners {
        let interface = plain(listener.get("interface").unwrap_or(&Json::Null));
        let interface = interface.trim_start_matches('[').trim_end_matches(']').to_owned();
        // A listener on all interfaces is reached by the loopback one.
        let address = asked.clone().unwrap_or(match interface.as_str() {
            "::" | "0.0.0.0" | "" => "localhost".to_owned(),
            other => other.to_owned(),
        });
        let port = listener.get("port").and_then(Json::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
        if !connects(&address, port) {
            refused.push(port.to_string());
        }
    }
    if refused.is_empty() {
        let ports = words(&listeners, "port").join(", ");
        return session.say(format!("Successfully connected to ports {ports} on node {node}."));
    }
    Err(Failure::bare(
        code::UNAVAILABLE,
        format!("Connection attempts failed to the following ports on node {node}: {}", refused.join(", ")),
    ))
}

fn connects(address: &str, port: u16) -> bool {
    let Ok(addresses) = (address, port).to_socket_addrs() else { return false };
    addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, CONNECT).is_ok())
}

fn virtual_hosts(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Checking if all vhosts are running on node {node} ..."))?;
    check(session, &path(&["health", "checks", "virtual-hosts"]))?;
    session.say(format!("Node {node} reported all vhosts as running"))
}

fn certificates(session: &mut Session) -> Result<(), Failure> {
    let within = session.given.option("within").unwrap_or("4").to_owned();
    let unit = session.given.option("unit").unwrap_or("weeks").to_owned();
    let node = session.node().to_owned();
    session.banner(format!("Checking certificate expiration on node {node} ..."))?;
    check(session, &path(&["health", "checks", "certificate-expiration", &within, &unit]))?;
    let unit = if within == "1" { unit.trim_end_matches('s') } else { &unit };
    session.say(format!("No certificates are expiring within {within} {unit}."))
}

fn single_node(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Checking if queues need node {node} ..."))?;
    session.say(format!("Node {node} seems to be the only one in a single node cluster, the check does not apply"))
}

fn mirroring(session: &mut Session) -> Result<(), Failure> {
    let policies = session.get("/api/policies")?;
    let mirrors =
        |policy: &&Json| policy.get("definition").is_some_and(|definition| definition.get("ha-mode").is_some());
    let found: Vec<String> = policies
        .as_array()
        .into_iter()
        .flatten()
        .filter(mirrors)
        .map(|policy| plain(policy.get("name").unwrap_or(&Json::Null)))
        .collect();
    if found.is_empty() {
        return session.say("Cluster reported no policies that enable classic queue mirroring");
    }
    Err(Failure::refused(format!("These policies mirror classic queues: {}", found.join(", "))))
}

fn deprecated(session: &mut Session) -> Result<(), Failure> {
    session.banner("Checking if any deprecated features are used ...")?;
    let used = session.find("/api/deprecated-features/used")?.unwrap_or_default();
    let names = words(used.as_array().map_or(&[][..], Vec::as_slice), "name");
    if names.is_empty() {
        return session.say("Cluster reported no deprecated features in use");
    }
    Err(Failure::refused(format!("Deprecated features in use: {}", names.join(", "))))
}

fn health(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Checking health of node {node} ..."))?;
    let lines = alarm_lines(session)?;
    if !lines.is_empty() {
        return Err(Failure::error(
            code::SOFTWARE,
            format!("Error: resource alarms are in effect:\n{}", lines.join("\n")),
        ));
    }
    session.say("Health check passed")
}

/// A health check of the HTTP API: 200 or 503 with a reason.
fn check(session: &mut Session, route: &str) -> Result<(), Failure> {
    session.get(route).map(|_| ())
}

fn words(items: &[Json], field: &str) -> Vec<String> {
    let mut words: Vec<String> = items.iter().filter_map(|item| item.get(field)).map(plain).collect();
    words.sort();
    words.dedup();
    words
}

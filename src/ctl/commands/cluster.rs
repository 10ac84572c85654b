//! Commands about more than one node. There is one so far: what it can answer, it does.

use serde_json::{Value as Json, json};

use super::status::{alarm_lines, listener_line, listeners};
use super::{CTL_AND_DIAGNOSTICS, DIAGNOSTICS, needs_cluster};
use crate::ctl::command::{Command, Needs, Opt};
use crate::ctl::exit::{Failure, code};
use crate::ctl::help::heading;
use crate::ctl::session::Session;

pub const COMMANDS: &[Command] = &[
    Command::new("cluster_status", "The nodes, their versions, alarms, listeners and feature flags", cluster_status)
        .of(CTL_AND_DIAGNOSTICS),
    Command::new("await_online_nodes", "Waits for a number of nodes", await_online_nodes).takes(1, "<count>"),
    Command::new("discover_peers", "Looks for other nodes", discover_peers).of(DIAGNOSTICS),
    Command::new("join_cluster", "Makes the node a member of another's cluster", not_yet)
        .takes(1, "<existing_cluster_member>")
        .options(&[Opt::switch("disc", "accepted"), Opt::switch("ram", "accepted")])
        .needs(Needs::Node),
    Command::new("forget_cluster_node", "Removes a node from the cluster", forget_node)
        .takes(1, "<existing_cluster_member_node>")
        .options(&[Opt::switch("offline", "accepted")]),
    Command::new("change_cluster_node_type", "Changes the kind of member that the node is", not_yet)
        .takes(1, "<disc | ram>")
        .needs(Needs::Node),
    Command::new("update_cluster_nodes", "Reads the list of members from another node", not_yet)
        .takes(1, "<seed_node>")
        .needs(Needs::Node),
    Command::new("rename_cluster_node", "Renames members", not_yet)
        .takes_from(2, "<oldnode1> <newnode1> [oldnode2] [newnode2] ...")
        .needs(Needs::Node),
    Command::new("force_boot", "Lets a node start without its cluster", force_boot).needs(Needs::NoNode),
    Command::new("sync_queue", "Copies a mirrored queue to mirrors that lag", not_yet).takes(1, "<queue>"),
    Command::new("cancel_sync_queue", "Stops sync_queue", not_yet).takes(1, "<queue>"),
];

fn not_yet(session: &mut Session) -> Result<(), Failure> {
    Err(needs_cluster(session.given.command.name))
}

fn forget_node(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Removing node {name} from the cluster"))?;
    let text = "{:not_a_cluster_node, 'The node selected is not in the cluster.'}";
    if name == session.node() { Err(needs_cluster("forget_cluster_node")) } else { Err(Failure::refused(text)) }
}

/// A node on its own waits for no other.
fn force_boot(session: &mut Session) -> Result<(), Failure> {
    session.say("A node of this version waits for no other when it starts: there is nothing to force")
}

fn await_online_nodes(session: &mut Session) -> Result<(), Failure> {
    let count = session.argument(0);
    let number: u64 = count.parse().map_err(|_| Failure::bad_argument("Bad argument."))?;
    let node = session.node().to_owned();
    session.banner(format!("Will wait for at least {count} nodes to join the cluster of {node}."))?;
    if number <= 1 { Ok(()) } else { Err(needs_cluster(&format!("waiting for {number} nodes"))) }
}

fn discover_peers(session: &mut Session) -> Result<(), Failure> {
    session.banner("Discovering peers nodes ...")?;
    session.say("No peers discovered")
}

fn cluster_status(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Cluster status of node {node} ..."))?;
    let overview = session.get("/api/overview")?;
    let text = |field: &str| overview.get(field).and_then(Json::as_str).unwrap_or_default().to_owned();
    let (cluster, version, runtime) = (text("cluster_name"), text("rabbitmq_version"), text("erlang_version"));
    let listeners = listeners(session)?;
    let alarms = alarm_lines(session)?;
    let flags = session.get("/api/feature-flags")?;
    let flags = flags.as_array().cloned().unwrap_or_default();
    let state = node_state(session)?;
    let done = session.out.as_json(|| {
        json!({
            "cluster_name": cluster, "disk_nodes": [node], "ram_nodes": [], "running_nodes": [node], "partitions": {},
            "alarms": alarms, "feature_flags": flags, "listeners": { &node: listeners }, "maintenance_status": { &node: state },
            "versions": { &node: { "rabbitmq_name": "RabbitMQ", "rabbitmq_version": version, "erlang_version": runtime } },
        })
    })?;
    if done {
        return Ok(());
    }
    section(session, "Basics", &[format!("Cluster name: {cluster}")])?;
    section(session, "Disk Nodes", std::slice::from_ref(&node))?;
    section(session, "Running Nodes", std::slice::from_ref(&node))?;
    let on = if runtime.is_empty() { String::new() } else { format!(" on {runtime}") };
    section(session, "Versions", &[format!("{node}: RabbitMQ {version}{on}")])?;
    section(session, "Maintenance status", &[format!("Node: {node}, status: {state}")])?;
    section(session, "Alarms", &or_none(alarms))?;
    section(session, "Network Partitions", &or_none(Vec::new()))?;
    let lines: Vec<String> = listeners.iter().map(|l| format!("Node: {node}, {}", listener_line(l))).collect();
    section(session, "Listeners", &lines)?;
    let word = |flag: &Json, field: &str| flag.get(field).and_then(Json::as_str).unwrap_or_default().to_owned();
    let lines: Vec<String> =
        flags.iter().map(|flag| format!("Flag: {}, state: {}", word(flag, "name"), word(flag, "state"))).collect();
    section(session, "Feature flags", &lines)
}

fn node_state(session: &mut Session) -> Result<&'static str, Failure> {
    let state = session.find("/api/leveret/node/status")?.unwrap_or_default();
    let drained = state.get("under_maintenance").and_then(Json::as_bool) == Some(true);
    Ok(if drained { "under maintenance" } else { "not under maintenance" })
}

/// A heading with lines below.
pub fn section(session: &mut Session, title: &str, lines: &[String]) -> Result<(), Failure> {
    session.out.line(heading(title))?;
    session.out.line("")?;
    lines.iter().try_for_each(|line| session.out.line(line))?;
    session.out.line("")
}

pub fn or_none(lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() { vec!["(none)".to_owned()] } else { lines }
}

/// A number that the table says is there.
pub fn whole_number(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| Failure::error(code::DATA, format!("'{text}' is no whole number")))
}

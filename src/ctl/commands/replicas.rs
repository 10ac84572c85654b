//! Queues with several replicas: there are none yet, and these commands say so.

use hyper::Method;
use serde_json::{Value as Json, json};

use super::needs_cluster;
use crate::ctl::command::{Command, Opt, Tool};
use crate::ctl::exit::{Failure, code};
use crate::ctl::session::{Session, path};
use crate::ctl::term::Term;

const QUEUES: &[Tool] = &[Tool::Queues];
const WITH_DIAGNOSTICS: &[Tool] = &[Tool::Queues, Tool::Diagnostics];
const PATTERNS: &[Opt] = &[
    Opt::text("vhost-pattern", "<pattern>", "virtual hosts"),
    Opt::text("queue-pattern", "<pattern>", "queues"),
    Opt::text("membership", "<kind>", "accepted"),
    Opt::switch("errors-only", "accepted"),
];

pub const COMMANDS: &[Command] = &[
    Command::new("quorum_status", "The replicas of a quorum queue", quorum_status)
        .takes(1, "<queue>")
        .of(WITH_DIAGNOSTICS),
    Command::new("stream_status", "The replicas of a stream", no_streams)
        .takes(1, "<stream>")
        .options(&[Opt::switch("tracking", "accepted")])
        .of(WITH_DIAGNOSTICS),
    Command::new("add_member", "Adds a replica to a queue", not_yet)
        .takes(2, "<queue> <node>")
        .options(PATTERNS)
        .of(QUEUES),
    Command::new("delete_member", "Removes a replica of a queue", not_yet).takes(2, "<queue> <node>").of(QUEUES),
    Command::new("grow", "Adds replicas on a node", not_yet)
        .takes(2, "<node> <all | even>")
        .options(PATTERNS)
        .of(QUEUES),
    Command::new("shrink", "Removes the replicas on a node", not_yet).takes(1, "<node>").options(PATTERNS).of(QUEUES),
    Command::new("rebalance", "Spreads leaders over the nodes", rebalance)
        .takes(1, "< all | classic | quorum >")
        .options(PATTERNS)
        .of(QUEUES),
    Command::new("transfer_leadership", "Moves the leader of a queue", not_yet).takes_from(1, "<queue> ...").of(QUEUES),
    Command::new("reclaim_quorum_memory", "Writes a quorum queue's log out", reclaim)
        .takes(1, "<quorum queue>")
        .of(WITH_DIAGNOSTICS),
    Command::new("await_online_quorum_plus_one", "Waits until no queue needs this node", only_node)
        .of(&[Tool::Upgrade]),
    Command::new("await_online_synchronized_mirror", "Waits until no queue needs this node", only_node)
        .of(&[Tool::Upgrade]),
];

fn not_yet(session: &mut Session) -> Result<(), Failure> {
    Err(needs_cluster(session.given.command.name))
}

fn no_streams(_: &mut Session) -> Result<(), Failure> {
    Err(Failure::refused("Cannot get stream status: there are no streams in this version"))
}

fn quorum_status(session: &mut Session) -> Result<(), Failure> {
    let (queue, vhost, node) = (session.argument(0), session.vhost(), session.node().to_owned());
    session.banner(format!("Status of quorum queue {queue} on node {node} ..."))?;
    let found = session.find(&format!("{}?columns=type", path(&["queues", &vhost, &queue])))?;
    let found = found.ok_or_else(|| Failure::missing("not_found"))?;
    if found.get("type").and_then(Json::as_str) != Some("quorum") {
        return Err(Failure::refused("Cannot get quorum status of a classic queue"));
    }
    let mut rows = session.out.rows(vec!["Node Name", "Raft State", "Membership"]);
    rows.row(&[Term::text(node), Term::text("leader"), Term::text("voter")])
        .map_err(crate::ctl::output::cannot_write)?;
    rows.finish().map_err(crate::ctl::output::cannot_write)
}

fn rebalance(session: &mut Session) -> Result<(), Failure> {
    let which = session.argument(0);
    if !matches!(which.as_str(), "all" | "classic" | "quorum" | "stream") {
        return Err(Failure::usage(format!("queue type '{which}' is not supported. Try one of all, classic, quorum")));
    }
    session.banner(format!("Re-balancing leaders of {which} queues..."))?;
    let reply = session.send(Method::POST, &path(&["rebalance", "queues"]), Some(&json!({})))?;
    session.accept(reply)?;
    let node = session.node().to_owned();
    session.say(format!("{node} is the only node: every leader is on it"))
}

fn reclaim(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Will flush quorum queue {name} ..."))?;
    Err(Failure::error(code::SOFTWARE, "the journal is shared by all queues and reclaims space by itself"))
}

fn only_node(session: &mut Session) -> Result<(), Failure> {
    session.banner("Will wait until no queue needs this node ...")?;
    session.say("Target node seems to be the only one in a single node cluster, the command does not apply")
}

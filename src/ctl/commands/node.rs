//! Starting and stopping, and waiting for it.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::{CTL_AND_DIAGNOSTICS, DIAGNOSTICS, EVERYWHERE};
use crate::ctl::command::{Command, Needs, Opt};
use crate::ctl::exit::{Failure, code};
use crate::ctl::session::{Session, path};

/// How long is waited for a node to come or go, unless `--timeout` says otherwise.
const WAIT: Duration = Duration::from_secs(300);
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub const COMMANDS: &[Command] = &[
    Command::new("start_app", "Begins to serve clients again after stop_app", start_app).needs(Needs::Node),
    Command::new("stop_app", "Closes all connections and listeners; the process stays", stop_app).needs(Needs::Node),
    Command::new("reset", "Removes all users, virtual hosts, queues and messages; after stop_app", reset)
        .needs(Needs::Stopped),
    Command::new("force_reset", "The same as reset", reset).needs(Needs::Stopped),
    Command::new("stop", "Stops the node", stop)
        .takes_between(0, 1, "[<pidfile>]")
        .options(&[Opt::switch("idempotent", "no error when it does not run")])
        .needs(Needs::NoNode),
    Command::new("shutdown", "Stops the node and waits until it has stopped", shutdown)
        .options(&[Opt::switch("wait", "waits (the default)"), Opt::switch("no-wait", "does not wait")])
        .needs(Needs::Node),
    Command::new("await_startup", "Waits until the node serves clients", await_startup)
        .of(EVERYWHERE)
        .needs(Needs::NoNode),
    Command::new("wait", "Waits until the node serves clients", await_startup)
        .takes_between(0, 1, "[<pidfile>]")
        .options(&[Opt::number("pid", "<pid>", "accepted without effect").short('P')])
        .of(CTL_AND_DIAGNOSTICS)
        .needs(Needs::NoNode),
    Command::new("ping", "Whether the node answers", ping).of(CTL_AND_DIAGNOSTICS).needs(Needs::Node),
    Command::new("is_running", "Whether the node serves clients", is_running).of(DIAGNOSTICS).needs(Needs::Node),
    Command::new("is_booting", "Whether the node is still starting", is_booting).of(DIAGNOSTICS).needs(Needs::Node),
    Command::new("suspend_listeners", "Takes no new client connections", suspend),
    Command::new("resume_listeners", "Takes client connections again", resume),
];

/// Asks the node to do something with itself.
pub fn tell(session: &mut Session, what: &str) -> Result<Json, Failure> {
    session.post(&path(&["leveret", "node", what]), &json!({}))
}

fn start_app(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Starting node {node} ..."))?;
    tell(session, "start_app").map(|_| ())
}

fn stop_app(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Stopping rabbit application on node {node} ..."))?;
    tell(session, "stop_app").map(|_| ())
}

fn reset(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Resetting node {node} ..."))?;
    tell(session, "reset").map(|_| ())
}

fn stop(session: &mut Session) -> Result<(), Failure> {
    session.banner("Stopping and halting node ...")?;
    match tell(session, "stop") {
        Err(failure) if failure.code == code::UNAVAILABLE && session.given.has("idempotent") => {
            session.say("Node is already down")
        }
        told => told.map(|_| ()),
    }
}

fn shutdown(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Shutting down RabbitMQ node {node} ..."))?;
    tell(session, "stop")?;
    if session.given.has("no-wait") || session.given.option("wait") == Some("false") {
        return Ok(());
    }
    session.banner(format!("Waiting for node {node} to stop ..."))?;
    until(session, Result::is_err)?;
    session.say(format!("Node {node} has stopped"))
}

fn await_startup(session: &mut Session) -> Result<(), Failure> {
    until(session, |state| state.as_ref().is_ok_and(runs))
}

fn ping(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Will ping {node}. This only checks that the process answers."))?;
    session.say("Ping succeeded")
}

fn is_running(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Asking node {node} for its status ..."))?;
    match session.runs() {
        true => session.say(format!("RabbitMQ on node {node} is fully booted and running")),
        false => session
            .say(format!("RabbitMQ on node {node} is not running or has not fully booted yet (check with is_booting)")),
    }
}

fn is_booting(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Asking node {node} for its boot status ..."))?;
    // A node answers from when it has started on.
    session.say(format!(
        "RabbitMQ on node {node} is fully booted (check with is_running), stopped or has not started booting yet"
    ))
}

fn suspend(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!(
        "Will suspend client connection listeners on node {node}. The node will no longer accept client connections!"
    ))?;
    tell(session, "suspend_listeners").map(|_| ())
}

fn resume(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!(
        "Will resume client connection listeners on node {node}. The node will now accept client connections"
    ))?;
    tell(session, "resume_listeners").map(|_| ())
}

fn runs(node: &Json) -> bool {
    node.get("running").and_then(Json::as_bool) == Some(true)
}

/// Looks at the node until it is as wanted.
fn until(session: &mut Session, is_so: impl Fn(&Result<Json, Failure>) -> bool) -> Result<(), Failure> {
    let wait = match session.given.option("timeout") {
        None => Some(WAIT),
        Some("infinity") => None,
        Some(seconds) => seconds.parse().ok().map(Duration::from_secs),
    };
    let began = Instant::now();
    loop {
        let state = session.get(&path(&["leveret", "node", "status"]));
        if is_so(&state) {
            return Ok(());
        }
        if wait.is_some_and(|wait| began.elapsed() >= wait) {
            let text = format!("operation timed out after {} seconds", began.elapsed().as_secs());
            return Err(Failure::error(code::TEMPORARY, text));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

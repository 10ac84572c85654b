//! Before and after an upgrade.

use super::node::tell;
use crate::ctl::command::{Command, Tool};
use crate::ctl::exit::Failure;
use crate::ctl::session::Session;

const UPGRADE: &[Tool] = &[Tool::Upgrade];

pub const COMMANDS: &[Command] = &[
    Command::new("drain", "Maintenance: closes client connections and takes no new ones", drain).of(UPGRADE),
    Command::new("revive", "Ends maintenance", revive).of(UPGRADE),
    Command::new("post_upgrade", "What is left to do after an upgrade: nothing", post_upgrade).of(UPGRADE),
];

fn drain(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!(
        "Will put node {node} into maintenance mode. The node will no longer serve any client traffic!"
    ))?;
    tell(session, "drain").map(|_| ())
}

fn revive(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!(
        "Will put node {node} back into regular operating mode. The node will again serve client traffic."
    ))?;
    tell(session, "revive").map(|_| ())
}

fn post_upgrade(session: &mut Session) -> Result<(), Failure> {
    session.banner("Executing post upgrade tasks...")?;
    session.say("There is nothing to do")
}

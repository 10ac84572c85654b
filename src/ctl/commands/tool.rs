//! What the tool says of itself.

use super::EVERYWHERE;
use crate::ctl::command::{Command, Needs, Opt};
use crate::ctl::exit::{Failure, code};
use crate::ctl::session::Session;
use crate::ctl::{help, table};

pub const COMMANDS: &[Command] = &[
    Command::new("help", "Says what there is, or what a command does", show_help)
        .takes_between(0, 1, "[<command>]")
        .options(&[Opt::switch("list-commands", "names of commands only")])
        .of(EVERYWHERE)
        .needs(Needs::NoNode),
    Command::new(
        "version",
        "The version of this tool: Leveret's; by one of RabbitMQ's names, the RabbitMQ version that it answers as",
        version,
    )
    .of(EVERYWHERE)
    .needs(Needs::NoNode),
    Command::new("autocomplete", "Commands that begin with a text", autocomplete)
        .takes_between(0, 1, "[prefix]")
        .of(EVERYWHERE)
        .needs(Needs::NoNode),
];

fn show_help(session: &mut Session) -> Result<(), Failure> {
    let tool = session.given.tool;
    if session.given.has("list-commands") {
        return complete(session, "");
    }
    let text = match session.given.argument(0) {
        None => help::of_tool(tool),
        Some(name) => match table::find(tool, name) {
            Some(command) => help::of_command(tool, command),
            None => return Err(Failure::bare(code::USAGE, help::not_found(tool, name).trim_end())),
        },
    };
    session.out.bytes(text.as_bytes())
}

fn version(session: &mut Session) -> Result<(), Failure> {
    let version = session.given.tool.version();
    session.out.line(version)
}

fn autocomplete(session: &mut Session) -> Result<(), Failure> {
    let prefix = session.argument(0);
    complete(session, &prefix)
}

fn complete(session: &mut Session, prefix: &str) -> Result<(), Failure> {
    let commands = table::of_tool(session.given.tool).map(|command| command.name);
    let mut names: Vec<_> = commands.filter(|name| name.starts_with(prefix)).collect();
    names.sort_unstable();
    names.dedup();
    names.iter().try_for_each(|name| session.out.line(name))
}

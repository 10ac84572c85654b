//! `leveret ctl`: the operator's command line. It is a client of the HTTP API and of nothing else, by default over the
//! socket in the node's data directory, which needs no password.
//!
//! The words of the command line are sorted by [`arguments`] with the help of the one [`table`] of all commands, from which
//! [`help`] comes as well. A command is carried out by a function in [`commands`], which gets a [`session`]: the request side
//! ([`client`]) and the output side ([`output`], [`format`]). What goes wrong is a [`exit::Failure`]: RabbitMQ's exit code
//! and a text. Called as `rabbitmqctl`, `rabbitmq-diagnostics`, `rabbitmq-queues`, `rabbitmq-plugins` or
//! `rabbitmq-upgrade`, the program answers with that tool's commands, names, columns and output.

pub mod arguments;
pub mod client;
pub mod command;
pub mod commands;
pub mod exit;
pub mod format;
pub mod help;
pub mod listing;
pub mod output;
pub mod session;
pub mod table;
pub mod term;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use arguments::{Asked, Parsed};
use command::Command;
pub use command::Tool;
use exit::{Failure, code};
use session::Session;

/// The tool that this program has been called as, if it is one of RabbitMQ's names.
pub fn called_as(program: &OsString) -> Option<Tool> {
    Tool::of_program(Path::new(program).file_name()?.to_str()?)
}

/// Carries out a command line, given without the program's name.
pub fn run(tool: Tool, words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Result<Vec<String>, OsString> = words.into_iter().map(OsString::into_string).collect();
    match words {
        Ok(words) => ExitCode::from(carry_out(arguments::parse(tool, &words), &words)),
        Err(word) => {
            eprintln!("{}: '{}' is not UTF-8", tool.name(), word.display());
            ExitCode::from(code::DATA)
        }
    }
}

fn carry_out(asked: Asked, words: &[String]) -> u8 {
    match asked {
        Asked::Help(tool, None) => {
            print!("{}", help::of_tool(tool));
            0
        }
        Asked::Help(_, Some(command)) if command.name == "help" => 0,
        Asked::Help(tool, Some(command)) => {
            print!("{}", help::of_command(tool, command));
            0
        }
        Asked::Version(tool) => {
            println!("{}", tool.version());
            0
        }
        Asked::Nothing(tool) => {
            eprint!("{}", help::of_tool(tool));
            code::USAGE
        }
        Asked::Unknown(tool, name) => {
            eprint!("{}", help::not_found(tool, &name));
            code::USAGE
        }
        Asked::Wrong(tool, command, failure) => report(&failure, tool, command, words),
        Asked::Command(parsed) => {
            let (tool, command) = (parsed.tool, parsed.command);
            perform(parsed).map_or_else(|failure| report(&failure, tool, command, words), |()| 0)
        }
    }
}

fn perform(parsed: Parsed) -> Result<(), Failure> {
    let run = parsed.command.run;
    let mut session = Session::open(parsed)?;
    run(&mut session)?;
    session.out.flush()
}

fn report(failure: &Failure, tool: Tool, command: &Command, words: &[String]) -> u8 {
    let given = if command.secret { format!("{} (not shown)", command.name) } else { shown(words) };
    eprint!("{}", failure.text_for(&given, &command.usage(tool)));
    failure.code
}

/// The words of a command line as messages repeat them: without the passwords of addresses.
fn shown(words: &[String]) -> String {
    let plain = |word: &String| match word.split_once("://").zip(word.rsplit_once('@')) {
        Some(((scheme, rest), (_, place))) if rest.contains('@') => format!("{scheme}://***@{place}"),
        _ => word.clone(),
    };
    words.iter().map(plain).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_addresses_are_not_repeated() {
        let words = ["--url=http://joe:p@ss@host:15672/x", "list_queues", "a@b", "http://host", "-p", "v"];
        let shown = shown(&words.map(str::to_owned));
        assert_eq!(shown, "--url=http://***@host:15672/x list_queues a@b http://host -p v");
    }
}

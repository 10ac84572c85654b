//! What the command line understands, as one tree of words, and what is made from it: completion for shells and the manual
//! page.
//!
//! The tree comes from where the words themselves come from, the descriptions that [`clap`] parses by and the table of
//! [`crate::ctl`]'s commands, so that neither can tell of something that is not there.

#[cfg(test)]
mod compatibility;
pub mod completion;
pub mod manual;

use clap::builder::StyledStr;

use crate::ctl::arguments::GENERAL;
use crate::ctl::command::{self, Opt, Takes, Tool};
use crate::ctl::table;

/// A word, and what may follow it.
#[derive(Clone, Debug, Default)]
pub struct Word {
    pub name: String,
    pub help: String,
    /// The arguments that are no options, as help shows them.
    pub arguments: String,
    pub flags: Vec<Flag>,
    pub words: Vec<Word>,
}

/// An option.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flag {
    pub long: String,
    pub short: Option<char>,
    pub help: String,
    /// What its value is called; none takes none.
    pub value: Option<String>,
    /// The values that there are, when there are few.
    pub values: Vec<String>,
}

impl Word {
    /// The whole program.
    pub fn of_program(program: &clap::Command) -> Self {
        let words = program.get_subcommands().filter(|sub| sub.get_name() != "help");
        Self {
            name: program.get_name().to_owned(),
            help: first_line(program.get_about()),
            arguments: positional(program),
            flags: program.get_arguments().filter_map(Flag::of_clap).collect(),
            words: words
                .map(|sub| match sub.get_name() {
                    "ctl" => Self { help: first_line(sub.get_about()), ..Self::of_ctl() },
                    _ => Self::of_program(sub),
                })
                .collect(),
        }
    }

    /// `leveret ctl`.
    fn of_ctl() -> Self {
        let mut words: Vec<Self> = table::of_tool(Tool::Leveret).map(Self::of_command).collect();
        words.sort_by(|a, b| a.name.cmp(&b.name));
        words.dedup_by(|a, b| a.name == b.name);
        let flags = GENERAL.iter().filter(|option| !option.help.starts_with("accepted")).map(Flag::of_ctl).collect();
        Self { name: "ctl".to_owned(), arguments: "<command>".to_owned(), flags, words, ..Self::default() }
    }

    fn of_command(command: &command::Command) -> Self {
        Self {
            name: command.name.to_owned(),
            help: command.help.to_owned(),
            arguments: command.arguments.to_owned(),
            flags: command.options.iter().map(Flag::of_ctl).collect(),
            words: Vec::new(),
        }
    }

    /// Every word with those before it, itself first.
    fn paths(&self) -> Vec<(String, &Self)> {
        let mut paths = vec![(self.name.clone(), self)];
        for word in &self.words {
            paths.extend(word.paths().into_iter().map(|(path, word)| (format!("{} {path}", self.name), word)));
        }
        paths
    }
}

impl Flag {
    fn of_clap(arg: &clap::Arg) -> Option<Self> {
        let long = arg.get_long().filter(|_| !arg.is_hide_set())?;
        let takes = arg.get_action().takes_values();
        let value = arg.get_value_names().and_then(<[_]>::first).map_or("VALUE", |name| name.as_str());
        Some(Self {
            long: long.to_owned(),
            short: arg.get_short(),
            help: first_line(arg.get_help()),
            value: takes.then(|| value.to_owned()),
            values: if takes { values(arg) } else { Vec::new() },
        })
    }

    fn of_ctl(option: &Opt) -> Self {
        let values: &[&str] =
            if option.name == "formatter" { &["table", "pretty_table", "json", "csv", "erlang"] } else { &[] };
        Self {
            long: option.name.to_owned(),
            short: option.short,
            help: option.help.to_owned(),
            value: (option.takes != Takes::Nothing).then(|| option.value.to_owned()),
            values: values.iter().map(ToString::to_string).collect(),
        }
    }
}

fn values(arg: &clap::Arg) -> Vec<String> {
    arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
}

fn positional(program: &clap::Command) -> String {
    let written = |arg: &clap::Arg| {
        let values = values(arg);
        let name = arg.get_value_names().and_then(<[_]>::first).map_or(arg.get_id().as_str(), |name| name.as_str());
        let shown = if values.is_empty() { name.to_owned() } else { values.join("|") };
        if arg.is_required_set() { format!("<{shown}>") } else { format!("[{shown}]") }
    };
    program.get_positionals().map(written).collect::<Vec<_>>().join(" ")
}

fn first_line(text: Option<&StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

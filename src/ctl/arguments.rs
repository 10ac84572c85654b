//! The words after the program's name, sorted into a command, its options and its arguments.
//!
//! Options may stand anywhere, before the command too, as with RabbitMQ's tools. Which options there are depends on the
//! command, so that it is looked for first.

use super::command::{Command, Needs, Opt, Takes, Tool};
use super::exit::Failure;
use super::table;

/// Options that every command takes.
pub const GENERAL: &[Opt] = &[
    Opt::switch("help", "says what the command does").short('?'),
    Opt::text("node", "<node>", "the node's name; it must be that of the node that answers").short('n'),
    Opt::switch("longnames", "accepted; names may be of either form here").short('l'),
    Opt::number("timeout", "<seconds>", "how long the node gets to answer; infinity for ever").short('t'),
    Opt::switch("quiet", "no informational messages").short('q'),
    Opt::switch("silent", "no informational messages and no table headers").short('s'),
    Opt::text("vhost", "<vhost>", "the virtual host that the command is about [/]").short('p'),
    Opt::text("formatter", "<form>", "table, pretty_table, json, csv or erlang"),
    Opt::switch("no-table-headers", "no table headers"),
    Opt::switch("table-headers", "with table headers (the default)"),
    Opt::text(
        "data-dir",
        "<dir>",
        "the data directory of the node, in which its socket is [./data, or else /var/lib/leveret]",
    ),
    Opt::text("url", "<url>", "the node's HTTP API: http://user:password@host:15672, or https://"),
    Opt::text("cacert", "<file>", "the authorities (PEM) that may have signed an https server's certificate"),
    Opt::switch("insecure", "any certificate of an https server will do"),
    Opt::text("printer", "<printer>", "accepted: everything goes to the standard output"),
    Opt::text("script-name", "<name>", "the tool whose commands there are"),
    Opt::text("erlang-cookie", "<cookie>", "accepted; there is no cookie"),
    Opt::text("rabbitmq-home", "<dir>", "accepted without effect"),
    Opt::text("mnesia-dir", "<dir>", "accepted without effect"),
    Opt::text("plugins-dir", "<dir>", "accepted without effect"),
    Opt::text("enabled-plugins-file", "<file>", "accepted without effect"),
    Opt::switch("print-stacktrace", "accepted without effect"),
];

/// A command line that has been understood.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub tool: Tool,
    pub command: &'static Command,
    pub arguments: Vec<String>,
    options: Vec<(&'static str, String)>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked {
    Command(Parsed),
    /// Help about a command, or about the tool.
    Help(Tool, Option<&'static Command>),
    /// There is no such command.
    Unknown(Tool, String),
    /// The version.
    Version(Tool),
    /// There is no command at all.
    Nothing(Tool),
    /// The command cannot be called like this.
    Wrong(Tool, &'static Command, Failure),
}

/// Reads a command line without the program's name.
pub fn parse(tool: Tool, words: &[String]) -> Asked {
    let tool = named_tool(words).unwrap_or(tool);
    let Some(at) = command_position(words) else {
        let help = words.iter().any(|word| word == "--help" || word == "-?" || word == "-h");
        let version = words.iter().any(|word| word == "--version" || word == "-V");
        return match (help, version) {
            (true, _) => Asked::Help(tool, None),
            (false, true) => Asked::Version(tool),
            (false, false) => Asked::Nothing(tool),
        };
    };
    let name = words.get(at).cloned().unwrap_or_default();
    let Some(command) = table::find(tool, &name) else { return Asked::Unknown(tool, name) };
    let mut rest = words.to_vec();
    rest.remove(at);
    match sort(command, &rest) {
        Ok((options, _)) if options.iter().any(|(name, _)| *name == "help") => Asked::Help(tool, Some(command)),
        Ok((options, arguments)) => match check_count(command, &arguments) {
            Ok(()) => Asked::Command(Parsed { tool, command, arguments, options }),
            Err(failure) => Asked::Wrong(tool, command, failure),
        },
        Err(failure) => Asked::Wrong(tool, command, failure),
    }
}

impl Parsed {
    /// The argument at a place; its number has been checked, so a missing one is an optional one.
    pub fn argument(&self, at: usize) -> Option<&str> {
        self.arguments.get(at).map(String::as_str)
    }

    /// The last value of an option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// All values of an option that may be given several times.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.options.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.option(name).is_some()
    }
}

/// RabbitMQ's scripts say by `--script-name` what they are.
fn named_tool(words: &[String]) -> Option<Tool> {
    let at = words.iter().position(|word| word == "--script-name")?;
    Tool::of_program(words.get(at + 1)?)
}

/// The first word that is neither an option nor the value of a general one.
fn command_position(words: &[String]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        match written_option(word) {
            None => return (!word.is_empty()).then_some(at),
            Some((name, None)) => {
                // Of several letters behind one dash, the last one may take a value.
                let last = name.char_indices().last().map_or(0, |(at, _)| at);
                let name = if name.starts_with('-') { name } else { name.get(last..).unwrap_or(name) };
                let takes_next = GENERAL.iter().any(|o| is_called(o, name) && o.takes != Takes::Nothing);
                at += if takes_next { 2 } else { 1 };
            }
            Some((_, Some(_))) => at += 1,
        }
    }
    None
}

/// The name of an option with what follows its equals sign; `None` for a word that is no option.
fn written_option(word: &str) -> Option<(&str, Option<&str>)> {
    let name = word.strip_prefix('-').filter(|name| !name.is_empty())?;
    // Negative numbers are arguments.
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    })
}

/// Whether an option is meant by what follows the first dash; underscores are as good as dashes.
fn is_called(option: &Opt, name: &str) -> bool {
    match name.strip_prefix('-') {
        Some(long) => long.replace('_', "-") == option.name,
        None => option.short.is_some_and(|letter| name.chars().eq([letter])),
    }
}

/// The letters of several short options behind one dash, each as a word of its own: all are known, and none but the last takes
/// a value.
fn letters(command: &Command, word: &str) -> Option<Vec<String>> {
    let letters: Vec<char> = word.strip_prefix('-')?.chars().collect();
    let (last, first) = letters.split_last()?;
    let known = |letter: char| command.options.iter().chain(GENERAL).find(|option| option.short == Some(letter));
    let is_switch = |letter: &char| known(*letter).is_some_and(|option| option.takes == Takes::Nothing);
    let are_options = !first.is_empty() && first.iter().all(is_switch) && known(*last).is_some();
    are_options.then(|| letters.iter().map(|letter| format!("-{letter}")).collect())
}

/// The options by name with their values, and the arguments.
type Sorted = (Vec<(&'static str, String)>, Vec<String>);

fn sort(command: &Command, words: &[String]) -> Result<Sorted, Failure> {
    let (mut options, mut arguments) = (Vec::new(), Vec::new());
    let mut invalid = Vec::new();
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let apart = |(at, word): (usize, &String)| match letters(command, word).filter(|_| at < end) {
        Some(letters) => letters,
        None => vec![word.clone()],
    };
    let words: Vec<String> = words.iter().enumerate().flat_map(apart).collect();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            arguments.extend(words.by_ref().cloned());
            break;
        }
        let Some((name, value)) = written_option(word) else {
            arguments.push(word.clone());
            continue;
        };
        // A command's own option wins over a general one.
        let Some(option) = command.options.iter().chain(GENERAL).find(|o| is_called(o, name)) else {
            invalid.push(format!("-{name} : {}", value.unwrap_or_default()));
            continue;
        };
        let value = match (option.takes, value) {
            (Takes::Nothing, value) => value.unwrap_or("true").to_owned(),
            (_, Some(value)) => value.to_owned(),
            (_, None) => words.next().cloned().ok_or_else(|| {
                Failure::usage(format!("Invalid options for this command:\n-{name} : {} is missing", option.value))
            })?,
        };
        let is_number = value.parse::<u64>().is_ok() || (option.name == "timeout" && value == "infinity");
        if option.takes == Takes::Number && !is_number {
            invalid.push(format!("-{name} : {value}"));
        }
        options.push((option.name, value));
    }
    if invalid.is_empty() {
        Ok((options, arguments))
    } else {
        Err(Failure::usage(format!("Invalid options for this command:\n{}", invalid.join("\n"))))
    }
}

fn check_count(command: &Command, arguments: &[String]) -> Result<(), Failure> {
    if arguments.len() < command.least {
        return Err(Failure::usage("not enough arguments."));
    }
    if arguments.len() > command.most {
        return Err(Failure::usage("too many arguments."));
    }
    let unknown: Vec<&str> = match command.columns {
        [] => Vec::new(),
        columns => {
            let names = arguments.iter().flat_map(|argument| argument.split(',')).filter(|name| !name.is_empty());
            names.filter(|name| !columns.iter().any(|column| column.name == *name)).collect()
        }
    };
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(Failure::usage(format!("Info key(s) {} are not supported", unknown.join(","))))
    }
}

/// Whether a node is asked at all.
pub fn asks_a_node(parsed: &Parsed) -> bool {
    parsed.command.needs != Needs::NoNode
}

#[cfg(test)]
mod tests;

//! What a command is: one row of the table from which parsing, help and suggestions come.

use super::exit::Failure;
use super::listing::Column;
use super::session::Session;
use crate::connection::login::COMPATIBLE_VERSION;

/// The programs by whose names this one answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `leveret ctl`: knows every command.
    Leveret,
    Ctl,
    Diagnostics,
    Queues,
    Plugins,
    Upgrade,
}

impl Tool {
    pub const ALL: [Self; 6] =
        [Self::Leveret, Self::Ctl, Self::Diagnostics, Self::Queues, Self::Plugins, Self::Upgrade];

    pub fn name(self) -> &'static str {
        match self {
            Self::Leveret => "leveret ctl",
            Self::Ctl => "rabbitmqctl",
            Self::Diagnostics => "rabbitmq-diagnostics",
            Self::Queues => "rabbitmq-queues",
            Self::Plugins => "rabbitmq-plugins",
            Self::Upgrade => "rabbitmq-upgrade",
        }
    }

    /// Scripts that call a tool of RabbitMQ take the answer for RabbitMQ's version.
    pub fn version(self) -> &'static str {
        match self {
            Self::Leveret => env!("CARGO_PKG_VERSION"),
            _ => COMPATIBLE_VERSION,
        }
    }

    /// The tool that a program's file name stands for.
    pub fn of_program(file_name: &str) -> Option<Self> {
        Self::ALL.into_iter().filter(|tool| *tool != Self::Leveret).find(|tool| tool.name() == file_name)
    }
}

/// What the node has to be for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the command asks no node.
    NoNode,
    /// A node that answers, whether its app runs or not.
    Node,
    /// A node that serves clients.
    Running,
    /// A node after `stop_app`.
    Stopped,
}

/// What follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    Text,
    Number,
}

/// An option of a command.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    pub name: &'static str,
    pub short: Option<char>,
    pub takes: Takes,
    /// As help shows it, such as `<priority>`; empty for a switch.
    pub value: &'static str,
    pub help: &'static str,
}

impl Opt {
    pub const fn switch(name: &'static str, help: &'static str) -> Self {
        Self { name, short: None, takes: Takes::Nothing, value: "", help }
    }

    pub const fn text(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self { name, short: None, takes: Takes::Text, value, help }
    }

    pub const fn number(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self { name, short: None, takes: Takes::Number, value, help }
    }

    pub const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }
}

/// What carries a command out.
pub type Run = fn(&mut Session) -> Result<(), Failure>;

/// One command.
#[derive(Clone, Copy)]
pub struct Command {
    pub name: &'static str,
    /// The arguments, as help shows them.
    pub arguments: &'static str,
    /// How few and how many arguments there may be.
    pub least: usize,
    pub most: usize,
    pub options: &'static [Opt],
    /// What a list can show; empty for commands that are none.
    pub columns: &'static [Column],
    pub tools: &'static [Tool],
    pub needs: Needs,
    /// One of the arguments is a password: they are not repeated in messages.
    pub secret: bool,
    pub help: &'static str,
    pub run: Run,
}

impl Command {
    /// A command of `rabbitmqctl` without arguments that needs a running node; the methods below change what differs.
    pub const fn new(name: &'static str, help: &'static str, run: Run) -> Self {
        Self {
            name,
            arguments: "",
            least: 0,
            most: 0,
            options: &[],
            columns: &[],
            tools: &[Tool::Ctl],
            needs: Needs::Running,
            secret: false,
            help,
            run,
        }
    }

    /// Exactly so many arguments.
    pub const fn takes(self, count: usize, arguments: &'static str) -> Self {
        self.takes_between(count, count, arguments)
    }

    pub const fn takes_between(mut self, least: usize, most: usize, arguments: &'static str) -> Self {
        (self.least, self.most, self.arguments) = (least, most, arguments);
        self
    }

    /// So many arguments or more.
    pub const fn takes_from(self, least: usize, arguments: &'static str) -> Self {
        self.takes_between(least, usize::MAX, arguments)
    }

    pub const fn options(mut self, options: &'static [Opt]) -> Self {
        self.options = options;
        self
    }

    /// A list whose columns can be named as arguments.
    pub const fn lists(mut self, columns: &'static [Column]) -> Self {
        self.columns = columns;
        self.takes_from(0, "[<column> ...]")
    }

    pub const fn of(mut self, tools: &'static [Tool]) -> Self {
        self.tools = tools;
        self
    }

    pub const fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    /// One of the arguments is a password.
    pub const fn with_secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Whether a tool has it.
    pub fn is_of(&self, tool: Tool) -> bool {
        tool == Tool::Leveret || self.tools.contains(&tool)
    }

    /// One line that says how it is called.
    pub fn usage(&self, tool: Tool) -> String {
        let mut line = format!("{} [--node <node>] [--quiet] {}", tool.name(), self.name);
        for option in self.options {
            line += &match option.takes {
                Takes::Nothing => format!(" [--{}]", option.name),
                _ => format!(" [--{} {}]", option.name, option.value),
            };
        }
        if !self.arguments.is_empty() {
            line += " ";
            line += self.arguments;
        }
        line
    }
}

//! The table of all commands, in the groups in which help shows them.

use super::command::{Command, Tool};
use super::commands;

/// Commands under a heading.
pub struct Group {
    pub title: &'static str,
    pub commands: &'static [Command],
}

/// All commands. A name may stand more than once, for different tools.
pub const GROUPS: &[Group] = &[
    Group { title: "Help", commands: commands::tool::COMMANDS },
    Group { title: "Nodes", commands: commands::node::COMMANDS },
    Group { title: "Cluster", commands: commands::cluster::COMMANDS },
    Group { title: "Users", commands: commands::users::COMMANDS },
    Group { title: "Access control", commands: commands::permissions::COMMANDS },
    Group { title: "Monitoring and observability", commands: commands::lists::COMMANDS },
    Group { title: "Status", commands: commands::status::COMMANDS },
    Group { title: "Health checks", commands: commands::checks::COMMANDS },
    Group { title: "Logs", commands: commands::logs::COMMANDS },
    Group { title: "Parameters", commands: commands::parameters::COMMANDS },
    Group { title: "Policies", commands: commands::policies::COMMANDS },
    Group { title: "Virtual hosts", commands: commands::vhosts::COMMANDS },
    Group { title: "Limits", commands: commands::limits::COMMANDS },
    Group { title: "Configuration and environment", commands: commands::configuration::COMMANDS },
    Group { title: "Definitions", commands: commands::definitions::COMMANDS },
    Group { title: "Feature flags", commands: commands::flags::COMMANDS },
    Group { title: "Connections", commands: commands::connections::COMMANDS },
    Group { title: "Queues and messages", commands: commands::queues::COMMANDS },
    Group { title: "Why is it so", commands: commands::explain::COMMANDS },
    Group { title: "Replicated queues", commands: commands::replicas::COMMANDS },
    Group { title: "Plugins", commands: commands::plugins::COMMANDS },
    Group { title: "Upgrades", commands: commands::upgrade::COMMANDS },
    Group { title: "Erlang", commands: commands::erlang::COMMANDS },
];

/// All commands of a tool.
pub fn of_tool(tool: Tool) -> impl Iterator<Item = &'static Command> {
    GROUPS.iter().flat_map(|group| group.commands).filter(move |command| command.is_of(tool))
}

/// A command by its name.
pub fn find(tool: Tool, name: &str) -> Option<&'static Command> {
    of_tool(tool).find(|command| command.name == name)
}

/// The command that was probably meant.
pub fn nearest(tool: Tool, name: &str) -> Option<&'static Command> {
    let likeness = |command: &&Command| (strsim::jaro(command.name, name) * 1000.0).round() as u64;
    of_tool(tool).max_by_key(likeness).filter(|command| likeness(command) > 800)
}

#[cfg(test)]
mod tests;

//! What the table of commands says to people.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use super::arguments::GENERAL;
use super::command::{Command, Opt, Takes, Tool};
use super::table;

/// All commands of a tool.
pub fn of_tool(tool: Tool) -> String {
    let usage =
        format!("{} [--node <node>] [--timeout <timeout>] [--quiet] <command> [<command options>]", tool.name());
    let mut text = format!("\n{}\n\n{usage}\n\nAvailable commands:\n", heading("Usage"));
    let width = table::of_tool(tool).map(|command| command.name.len()).max().unwrap_or(0);
    for group in table::GROUPS {
        let mut commands: Vec<_> = group.commands.iter().filter(|command| command.is_of(tool)).collect();
        if commands.is_empty() {
            continue;
        }
        commands.sort_by_key(|command| command.name);
        commands.dedup_by_key(|command| command.name);
        let _ = write!(text, "\n{}:\n\n", heading(group.title));
        for command in commands {
            let _ = writeln!(text, "   {:<width$}  {}", command.name, command.help);
        }
    }
    let _ = writeln!(text, "\nUse '{} help <command>' to learn more about a specific command", tool.name());
    text
}

/// One command in full.
pub fn of_command(tool: Tool, command: &Command) -> String {
    let mut text = format!("\n{}\n\n{}\n\n{}\n", heading("Usage"), command.usage(tool), command.help);
    let mut columns: Vec<&str> = command.columns.iter().map(|column| column.name).collect();
    columns.sort_unstable();
    if !columns.is_empty() || !command.options.is_empty() {
        let _ = write!(text, "\n{}\n", heading("Arguments and Options"));
    }
    if !columns.is_empty() {
        let _ = write!(text, "\n<column>\n\tmust be one of {}\n", columns.join(", "));
    }
    for option in command.options {
        let _ = write!(text, "\n{}\n\t{}\n", written(option), option.help);
    }
    let _ = write!(text, "\n{}\n\n", heading("General Options"));
    for option in GENERAL.iter().filter(|option| !option.help.starts_with("accepted without effect")) {
        let _ = writeln!(text, "   {:<28}  {}", written(option), option.help);
    }
    text
}

/// For a name that no command has.
pub fn not_found(tool: Tool, name: &str) -> String {
    let mut text = format!("\nCommand '{name}' not found. \n");
    match table::nearest(tool, name) {
        Some(command) => {
            let _ = writeln!(text, "Did you mean '{}'? ", command.name);
        }
        None => text += &of_tool(tool),
    }
    text
}

fn written(option: &Opt) -> String {
    let short = option.short.map_or_else(String::new, |letter| format!("-{letter} | "));
    match option.takes {
        Takes::Nothing => format!("{short}--{}", option.name),
        _ => format!("{short}--{} {}", option.name, option.value),
    }
}

/// Bold for people, plain for files.
pub fn heading(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

/// All commands of all tools as a page in Markdown.
pub fn page() -> String {
    let mut text =
        "# Commands\n\nAll commands of `leveret ctl`. *Tool* is which of RabbitMQ's tools has the command too; \
                    [operations.md](operations.md#the-command-line) says how the tools find their node.\n"
            .to_owned();
    for group in table::GROUPS {
        let _ = write!(text, "\n## {}\n\n| Command | Tool | What it does |\n|---|---|---|\n", group.title);
        for command in group.commands {
            let options: String = command.options.iter().map(|option| format!(" [{}]", written(option))).collect();
            let call = format!("{}{options} {}", command.name, command.arguments);
            let tools: Vec<&str> =
                command.tools.iter().map(|tool| tool.name().trim_start_matches("rabbitmq-")).collect();
            let escape = |text: &str| text.replace('|', "\\|");
            let _ = writeln!(text, "| `{}` | {} | {} |", escape(call.trim()), tools.join(", "), escape(command.help));
        }
    }
    text
}

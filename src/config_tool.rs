//! What an operator does with a configuration before a broker runs with it: check it, and see what it comes to.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::effective::print;
use crate::config::{Config, Sources, Strictness};

/// Where the configuration comes from: these, and the environment.
#[derive(Args, Clone, Debug, Default)]
pub struct Given {
    /// A configuration file in rabbit.conf's format, or a directory of .conf files. May be repeated; later ones win.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Where the broker keeps its data [default: ./data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A key of rabbit.conf, as listeners.tcp.default=5673; it wins over the files. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Refuse keys that have no effect.
    #[arg(long)]
    strict: bool,
}

impl Given {
    /// Reads it all.
    ///
    /// # Errors
    /// A line for each thing that is wrong.
    pub fn load(&self) -> Result<Config, String> {
        let mut sources = Sources::new(&self.config, |name| std::env::var(name).ok());
        if let Some(dir) = &self.data_dir {
            let dir = dir.to_str().ok_or_else(|| format!("--data-dir {}: the path is not UTF-8", dir.display()))?;
            sources.set("data_dir", dir);
        }
        for setting in &self.settings {
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| format!("--set {setting}: expected KEY=VALUE, as listeners.tcp.default=5673"))?;
            sources.set(key.trim(), value.trim());
        }
        sources.strictness = self.strict.then_some(Strictness::All);
        sources.load().map_err(|errors| errors.to_string())
    }
}

#[derive(Args, Debug)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Say what is wrong in configuration files, all at once, without the environment; exit code 1 when something is.
    Check {
        /// Files, and directories of .conf files, as a broker would read them one after the other.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Keys that have no effect count as wrong.
        #[arg(long)]
        strict: bool,
    },
    /// Show every key with its value and where that comes from. Passwords are not shown.
    Effective(Given),
}

/// Runs one of the commands.
pub fn run(options: &Options) -> ExitCode {
    let (text, is_wrong) = match &options.command {
        Command::Check { files, strict } => check(files, *strict),
        Command::Effective(given) => match given.load() {
            Ok(config) => (print(&config.effective()), false),
            Err(errors) => (format!("{errors}\n"), true),
        },
    };
    if is_wrong {
        eprint!("{text}");
        return ExitCode::FAILURE;
    }
    print!("{text}");
    ExitCode::SUCCESS
}

/// What is to be said, and whether something is wrong.
fn check(files: &[PathBuf], strict: bool) -> (String, bool) {
    let load = |strictness| Sources { files: files.to_vec(), strictness, ..Sources::default() }.load();
    // Errors and warnings in one list.
    let text = match load(Some(Strictness::All)) {
        Ok(config) => return (format!("{} keys are set, nothing is wrong\n", config.settings.len()), false),
        Err(errors) => format!("{errors}\n"),
    };
    match strict || load(None).is_err() {
        true => (text, true),
        false => (format!("{text}nothing else is wrong\n"), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_says_everything_that_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.conf");
        std::fs::write(&file, "heartbeat = 5\nnet_ticktime = 60\n").unwrap();
        let (text, is_wrong) = check(std::slice::from_ref(&file), false);
        assert!(!is_wrong && text.contains("a.conf:2: net_ticktime") && text.ends_with("nothing else is wrong\n"));
        let (text, is_wrong) = check(std::slice::from_ref(&file), true);
        assert!(is_wrong && text.contains("a.conf:2: net_ticktime is a key of RabbitMQ that has no effect here\n"));
        std::fs::write(&file, "heartbeat = x\nhartbeat = 1\nnet_ticktime = 60\n").unwrap();
        let (text, is_wrong) = check(&[file], false);
        assert!(is_wrong && text.lines().count() == 3, "{text}");
    }

    #[test]
    fn the_command_line_wins_and_has_a_form() {
        let given = Given { settings: vec!["heartbeat = 3".into()], data_dir: Some("/d".into()), ..Given::default() };
        let config = given.load().unwrap();
        assert_eq!((config.limits.heartbeat, config.data_dir), (3, "/d".into()));
        let given = Given { settings: vec!["heartbeat".into()], ..Given::default() };
        assert!(given.load().unwrap_err().starts_with("--set heartbeat: expected KEY=VALUE"));
        let given = Given { settings: vec!["net_ticktime=1".into()], strict: true, ..Given::default() };
        assert!(given.load().unwrap_err().starts_with("override: net_ticktime is a key of RabbitMQ"));
    }
}

//! What an operator does with a configuration before a broker runs with it: check it, and see what it comes to.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::effective::print;
use crate::config::{Config, Examined, Sources, Strictness};
use crate::node::rehearse;

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
    /// Say for what a broker would not start with configuration files, and what it would warn of, without the environment
    /// and without touching ports and data; exit code 1 when it would not start.
    Check {
        /// Files, and directories of .conf files, as a broker would read them one after the other.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Keys that have no effect count as wrong.
        #[arg(long)]
        strict: bool,
        /// The data directory that the broker would have; looked at when it is named, here or in a file.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Show every key with its value and where that comes from. Passwords are not shown.
    Effective(Given),
}

/// Runs one of the commands.
pub fn run(options: &Options) -> ExitCode {
    let (text, is_wrong) = match &options.command {
        Command::Check { files, strict, data_dir } => check(files, *strict, data_dir.as_deref()),
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
fn check(files: &[PathBuf], strict: bool, data_dir: Option<&Path>) -> (String, bool) {
    let mut sources = Sources { files: files.to_vec(), ..Sources::default() };
    sources.strictness = strict.then_some(Strictness::All);
    if let Some(dir) = data_dir {
        sources.set("data_dir", &dir.display().to_string());
    }
    let Examined { config, errors, mut warnings } = sources.examine();
    let mut errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    // What is right is tried all the same: whoever mends the rest does not want to hear of it only then.
    let has_data_dir = config.settings.iter().any(|setting| setting.key == "data_dir");
    let mut rehearsal = rehearse(&config, has_data_dir);
    errors.append(&mut rehearsal.errors);
    warnings.append(&mut rehearsal.warnings);
    let count = config.settings.len() - usize::from(data_dir.is_some());
    if errors.is_empty() && warnings.is_empty() {
        return (format!("{count} keys are set, nothing is wrong\n"), false);
    }
    let text = format!("{}{}{}", group("errors", &errors), group("warnings", &warnings), summary(&errors, &warnings));
    (text, !errors.is_empty())
}

/// Texts under a heading, each with its further lines below it.
fn group(heading: &str, texts: &[String]) -> String {
    let indented = |text: &String| format!("  {}\n", text.replace('\n', "\n    "));
    let texts: String = texts.iter().map(indented).collect();
    if texts.is_empty() { texts } else { format!("{heading}:\n{texts}") }
}

fn summary(errors: &[String], warnings: &[String]) -> String {
    let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let outcome = if errors.is_empty() { "a broker starts with this" } else { "a broker does not start with this" };
    format!("{}, {}: {outcome}\n", count(errors.len(), "error"), count(warnings.len(), "warning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a check says of a file with that text, and whether it is wrong.
    fn check_of(text: &str, strict: bool) -> (String, bool) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.conf");
        std::fs::write(&file, text.replace("DIR", &dir.path().display().to_string())).unwrap();
        let (said, is_wrong) = check(&[file], strict, None);
        (said.replace(&dir.path().display().to_string(), "DIR"), is_wrong)
    }

    #[test]
    fn errors_and_warnings_are_told_apart_and_counted() {
        assert_eq!(check_of("heartbeat = 5\n", false), ("1 keys are set, nothing is wrong\n".to_owned(), false));
        let (text, is_wrong) = check_of("heartbeat = 5\nnet_ticktime = 60\n", false);
        let warning = "  DIR/a.conf:2: net_ticktime is a key of RabbitMQ that has no effect here\n";
        let count = "0 errors, 1 warning: a broker starts with this\n";
        assert_eq!((text, is_wrong), (format!("warnings:\n{warning}{count}"), false));
        let (text, is_wrong) = check_of("heartbeat = 5\nnet_ticktime = 60\n", true);
        let count = "1 error, 0 warnings: a broker does not start with this\n";
        assert_eq!((text, is_wrong), (format!("errors:\n{warning}{count}"), true));
        let (text, is_wrong) = check_of("heartbeat = x\nhartbeat = 1\nnet_ticktime = 60\n", false);
        assert!(is_wrong && text.starts_with("errors:\n  DIR/a.conf:1: heartbeat = x"), "{text}");
        assert!(
            text.contains("warnings:\n  DIR/a.conf:3: net_ticktime") && text.contains("\n2 errors, 1 warning"),
            "{text}"
        );
    }

    #[test]
    fn what_a_start_refuses_is_an_error() {
        let definitions = |text: &str| {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("definitions.json");
            std::fs::write(&file, text).unwrap();
            let said = check_of(&format!("load_definitions = {}\n", file.display()), false);
            (said.0.replace(&dir.path().display().to_string(), "DIR"), said.1)
        };
        for (text, expected) in [
            ("listeners.ssl.default = 5671", "TLS cannot be served: ssl_options.certfile must be set"),
            (
                "listeners.ssl.default = 5671\nssl_options.certfile = DIR/none\nssl_options.keyfile = DIR/none",
                "TLS cannot be served: cannot read DIR/none: No such file or directory",
            ),
            (
                "listeners.ssl.default = 5671\nssl_options.certfile = DIR/a.conf\nssl_options.keyfile = DIR/a.conf",
                "TLS cannot be served: DIR/a.conf holds no certificate",
            ),
            ("management.ssl.port = 15671", "TLS cannot be served: management.ssl.certfile must be set"),
            ("prometheus.ssl.port = 15691", "TLS cannot be served: prometheus.ssl.certfile must be set"),
            ("auth_backends.1 = oauth2", "auth_backends names oauth2: auth_oauth2.resource_server_id must be set"),
            (
                "auth_backends.1 = oauth2\nauth_oauth2.resource_server_id = r",
                "auth_backends names oauth2, and there is no key: set auth_oauth2.jwks_url, .issuer or .signing_keys.ID",
            ),
            (
                "auth_backends.1 = oauth2\nauth_oauth2.resource_server_id = r\nauth_oauth2.signing_keys.k = DIR/none",
                "auth_oauth2.signing_keys.k = DIR/none: No such file or directory",
            ),
            (
                "auth_backends.1 = http\nauth_http.ssl_options.certfile = DIR/a.conf",
                "auth_http.ssl_options.keyfile must be set",
            ),
            ("load_definitions = DIR/none.json", "the definitions in DIR/none.json cannot be read: No such file"),
            ("data_dir = DIR/a.conf", "the data directory DIR/a.conf is no directory"),
            ("data_dir = DIR", "the directory DIR is not empty and not Leveret's"),
            ("log.file = DIR/a.conf/log", "DIR/a.conf/log"),
            (
                "listeners.tcp.default = 15672",
                "DIR/a.conf:1: listeners.tcp.default: port 15672 is management.tcp.port's",
            ),
            (
                "listeners.tcp.a = 127.0.0.1:7000\nlisteners.tcp.b = 0.0.0.0:7000",
                "DIR/a.conf:2: listeners.tcp.b: port 7000 is listeners.tcp.a's already",
            ),
            ("ssl_options.versions.1 = tlsv1.1", "DIR/a.conf:1: ssl_options.versions.1 = tlsv1.1 is not supported"),
        ] {
            let (said, is_wrong) = check_of(text, false);
            assert!(is_wrong && said.contains(expected), "{text}: {said}");
            assert!(
                said.starts_with("errors:\n") && said.contains(", 0 warnings: a broker does not start"),
                "{text}: {said}"
            );
        }
        let (said, is_wrong) = definitions("{\"queues\": [{\"name\": 1}]}");
        assert!(
            is_wrong && said.contains("the definitions in DIR/definitions.json are not loaded:\n    queue"),
            "{said}"
        );
        let (said, is_wrong) = definitions("{\"quues\": []}");
        assert!(!is_wrong && said.contains("warnings:\n") && said.contains("quues"), "{said}");
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let is_there = dir.path().join("there.json");
        std::fs::write(&is_there, "{\"queues\": [{\"name\": 1}]}").unwrap();
        let text = format!(
            "heartbeat = x\nload_definitions = DIR/none.json\ndefinitions.import_backend = local_filesystem\n\
             definitions.local.path = {}\n\
             listeners.ssl.default = 5671\nssl_options.certfile = DIR/cert\nssl_options.keyfile = DIR/key\n\
             ssl_options.cacertfile = DIR/ca\nssl_options.verify = verify_peer\nmanagement.ssl.port = 15671\n\
             auth_backends.1 = http\nauth_http.ssl_options.certfile = DIR/a.conf\nauth_backends.2 = oauth2\n\
             log.file = DIR/a.conf/log\nlog.audit = DIR/a.conf/audit\n",
            is_there.display()
        );
        let (said, is_wrong) = check_of(&text, false);
        for expected in [
            "DIR/a.conf:1: heartbeat = x",
            "the definitions in DIR/none.json cannot be read",
            "there.json are not loaded:",
            "cannot read DIR/cert:",
            "cannot read DIR/key:",
            "cannot read DIR/ca:",
            "management.ssl.certfile must be set",
            "management.ssl.keyfile must be set",
            "auth_http.ssl_options.keyfile must be set",
            "auth_oauth2.resource_server_id must be set",
            "DIR/a.conf/log",
            "DIR/a.conf/audit",
        ] {
            assert!(is_wrong && said.contains(expected), "{expected}: {said}");
        }
        assert!(said.contains("\n12 errors, 0 warnings"), "{said}");
    }

    #[test]
    fn what_would_work_is_no_error_and_nothing_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.conf");
        let (data, log) = (dir.path().join("some/data"), dir.path().join("some/log"));
        let text = format!(
            "data_dir = {}\nlog.file = {}\nlisteners.tcp.a = 127.0.0.1:7000\nlisteners.tcp.b = 127.0.0.2:7000\n\
             listeners.tcp.c = 0\nmanagement.tcp.port = 0\nssl_options.versions.1 = tlsv1.2\n\
             ssl_options.versions.2 = tlsv1.1\n",
            data.display(),
            log.display()
        );
        std::fs::write(&file, text).unwrap();
        let (said, is_wrong) = check(std::slice::from_ref(&file), false, None);
        let old =
            "ssl_options.versions.2 = tlsv1.1 has no effect: TLS 1.2 and 1.3 are served, and nothing older\n0 errors";
        assert!(!is_wrong && said.contains(old), "{said}");
        let (said, is_wrong) = check(std::slice::from_ref(&file), false, Some(&file));
        assert!(is_wrong && said.contains("is no directory"), "{said}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
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

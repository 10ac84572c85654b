//! The built binary under its own name or that of one of RabbitMQ's tools.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::broker::Broker;

const BINARY: &str = env!("CARGO_BIN_EXE_leveret");

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    /// The output of a command that has succeeded without a word on the standard error.
    pub fn good(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// The standard error of a command that has failed with this code.
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self.err
    }
}

/// Runs a tool against a broker's socket.
pub fn tool(broker: &Broker, name: &str, words: &[&str]) -> Done {
    run(name, Some(broker.socket().parent().unwrap()), words, "")
}

/// The same as `rabbitmqctl`.
pub fn ctl(broker: &Broker, words: &[&str]) -> Done {
    tool(broker, "rabbitmqctl", words)
}

/// Runs a tool with something on its standard input.
pub fn run(name: &str, data_dir: Option<&Path>, words: &[&str], input: &str) -> Done {
    let mut command = Command::new(BINARY);
    command.arg0(name);
    if name == "leveret" {
        command.arg("ctl");
    }
    command.args(words);
    if let Some(dir) = data_dir {
        command.arg("--data-dir").arg(dir);
    }
    for variable in ["LEVERET_URL", "LEVERET_USER", "LEVERET_PASSWORD", "RABBITMQ_CONFIG_FILE"] {
        command.env_remove(variable);
    }
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // A command that does not read may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

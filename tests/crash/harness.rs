//! The built broker as a process that can be killed, and how often and with what seed a test is run.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use leveret::persist::sim::Random;

/// Longest time that a start may take, on a machine that does many other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker in a process of its own, on a free port of this machine. It is killed when it is dropped.
pub struct Process {
    child: Child,
    log: Receiver<String>,
}

impl Process {
    /// Starts the broker and does not wait until it serves.
    pub fn spawn(data_dir: &Path, settings: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.arg("--data-dir").arg(data_dir).args(["--set", "listeners.tcp.default=127.0.0.1:0"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the broker's binary runs");
        let lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        let (sender, log) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log }
    }

    /// Starts the broker and waits until it serves.
    pub fn start(data_dir: &Path, settings: &[&str]) -> (Self, SocketAddr) {
        let process = Self::spawn(data_dir, settings);
        let address = process.address();
        (process, address)
    }

    /// Where it serves AMQP, from its log.
    fn address(&self) -> SocketAddr {
        let until = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some((_, rest)) = line.split_once("serves AMQP 0-9-1 on ") {
                        let address = rest.split(',').next().unwrap_or_default();
                        return address.parse().expect("the log names an address");
                    }
                    seen.push(line);
                }
                Err(RecvTimeoutError::Timeout) => panic!("the broker does not start: {}", seen.join("\n")),
                Err(RecvTimeoutError::Disconnected) => panic!("the broker has ended: {}", seen.join("\n")),
            }
        }
    }

    /// kill -9, and waits until the process is gone.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// How often, unless the environment says otherwise.
pub fn count(usual: u64) -> u64 {
    from_environment("LEVERET_CRASH_COUNT").unwrap_or(usual)
}

/// Random numbers; the seed is printed, so that a failure can be repeated.
pub fn random() -> Random {
    let fresh = || getrandom::u64().expect("there is randomness");
    let seed = from_environment("LEVERET_CRASH_SEED").unwrap_or_else(fresh);
    eprintln!("LEVERET_CRASH_SEED={seed}");
    Random::new(seed)
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

//! The built broker as a process of its own: started, killed, stopped, and listened to.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take, on a machine that does many other things; more is a hang.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How many lines of its log are kept for the report of a failure.
const LINES: usize = 200;

const SIGKILL: i32 = 9;

/// A process that was started and may not be serving yet. Dropped, it is killed.
pub struct Broker {
    child: Child,
    lines: Arc<Mutex<VecDeque<String>>>,
    /// Its end is the end of the broker's output.
    serving: Receiver<SocketAddr>,
}

/// How a broker ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Death {
    Killed,
    Exited(ExitStatus),
}

impl Broker {
    /// Starts a broker on a data directory and waits until it serves.
    pub fn start(data: &Path, settings: &[&str]) -> (Self, SocketAddr) {
        let mut broker = Self::spawn(data, settings, None);
        let address = broker.serves().expect("nobody kills it");
        (broker, address)
    }

    /// Starts a broker on a data directory. `die_at` is a named point and which time it is passed.
    pub fn spawn(data: &Path, settings: &[&str], die_at: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.arg("serve").arg("--data-dir").arg(data).args([
            "--set",
            "listeners.tcp.default=127.0.0.1:0",
            "--set",
            "management.tcp=none",
            "--set",
            "prometheus.tcp=none",
        ]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        command.env_remove("LEVERET_DIE_AT").envs(die_at.map(|at| ("LEVERET_DIE_AT", at)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the broker can be run");
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let (sender, serving) = channel();
        listen(child.stdout.take().expect("its output"), &lines, sender.clone());
        listen(child.stderr.take().expect("its output"), &lines, sender);
        Self { child, lines, serving }
    }

    /// Waits until it serves; `None` when it was killed before.
    pub fn serves(&mut self) -> Option<SocketAddr> {
        match self.serving.recv_timeout(PATIENCE) {
            Ok(address) => Some(address),
            Err(RecvTimeoutError::Disconnected) => match self.wait() {
                Death::Killed => None,
                Death::Exited(status) => panic!("the broker did not start: {status}\n{}", self.log()),
            },
            Err(RecvTimeoutError::Timeout) => panic!("the broker does not start\n{}", self.log()),
        }
    }

    /// Kills it, as with kill -9.
    pub fn kill(&mut self) -> Death {
        let _ = self.child.kill();
        self.wait()
    }

    /// Tells it to stop.
    pub fn stop(&mut self) -> Death {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        let _ = kill_process(pid, Signal::TERM);
        self.wait()
    }

    /// Waits for a start that is refused.
    pub fn end(&mut self) -> Death {
        self.wait()
    }

    fn wait(&mut self) -> Death {
        let end = Instant::now() + PATIENCE;
        // There is no wait with a time limit; but its end closes its output, which ends the listeners.
        loop {
            match self.serving.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the broker does not end\n{}", self.log()),
            }
        }
        let status = self.child.wait().expect("the broker is a child");
        if status.signal() == Some(SIGKILL) { Death::Killed } else { Death::Exited(status) }
    }

    /// The end of what it wrote.
    pub fn log(&self) -> String {
        let lines: Vec<String> = self.lines.lock().iter().cloned().collect();
        format!("--- the broker's output ---\n{}\n---", lines.join("\n"))
    }

    /// Lines that a healthy broker does not write.
    pub fn complaints(&self) -> Vec<String> {
        let is_complaint = |line: &&String| line.contains(" [error] ") || line.contains("panicked");
        self.lines.lock().iter().filter(is_complaint).cloned().collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(from: impl Read + Send + 'static, lines: &Arc<Mutex<VecDeque<String>>>, serving: Sender<SocketAddr>) {
    let lines = Arc::clone(lines);
    let listen = move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Some(address) = address_in(&line) {
                let _ = serving.send(address);
            }
            let mut lines = lines.lock();
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    };
    std::thread::Builder::new().name("broker's output".into()).spawn(listen).expect("a thread");
}

/// The address in `... serves AMQP 0-9-1 on 127.0.0.1:4711, data in ...`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(" serves AMQP 0-9-1 on ")?;
    rest.split(',').next()?.parse().ok()
}

//! What a service manager hears from the built binary, from its start to its end, in systemd's protocol.

#![allow(clippy::expect_used, clippy::panic)]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Longer than any message takes to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker and its manager's end of the socket.
struct Service {
    process: Child,
    socket: UnixDatagram,
    /// Lines that have come and not been looked at.
    lines: VecDeque<String>,
}

impl Service {
    fn start(dir: &Path, config: &str) -> Self {
        let (path, file) = (dir.join("notify"), dir.join("rabbit.conf"));
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        std::fs::write(&file, config).expect("the configuration can be written");
        let process = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .args(["--set", "listeners.tcp.default=127.0.0.1:0", "--set", "management.tcp=none"])
            .args(["--set", "prometheus.tcp=none", "--config"])
            .arg(file)
            .arg("--data-dir")
            .arg(dir.join("data"))
            .env("NOTIFY_SOCKET", path)
            .env("WATCHDOG_USEC", "300000")
            .env_remove("WATCHDOG_PID")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        Self { process, socket, lines: VecDeque::new() }
    }

    /// Reads lines up to the first that begins so.
    fn hears(&mut self, beginning: &str) -> String {
        loop {
            let mut buffer = [0; 4096];
            match self.lines.pop_front() {
                Some(line) if line.starts_with(beginning) => return line,
                Some(_) => {}
                None => {
                    let length = self.socket.recv(&mut buffer).unwrap_or_else(|_| panic!("no {beginning} came"));
                    let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
                    self.lines.extend(text.lines().map(str::to_owned));
                }
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended already where the test has got to its end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_manager_hears_of_start_life_reload_and_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut service = Service::start(dir.path(), "vm_memory_high_watermark.absolute = 1GB\n");
    assert!(service.hears("STATUS=").starts_with("STATUS=Opening "));
    service.hears("READY=1");
    assert!(service.hears("STATUS=").starts_with("STATUS=Serving AMQP on 127.0.0.1:"));
    for _ in 0..5 {
        service.hears("WATCHDOG=1");
    }
    // So little that what is there is more.
    std::fs::write(dir.path().join("rabbit.conf"), "disk_free_limit.absolute = 1000TB\n").expect("it can be written");
    service.signal(Signal::HUP);
    service.hears("RELOADING=1");
    service.hears("READY=1");
    let status = "; publishers wait: the disk is nearly full, or cannot be written";
    while !service.hears("STATUS=").ends_with(status) {}
    service.hears("WATCHDOG=1");
    service.signal(Signal::TERM);
    service.hears("STOPPING=1");
    assert!(service.process.wait().expect("it ends").success());
}

#[test]
fn the_log_is_followed_line_by_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut service = Service::start(dir.path(), "");
    service.hears("READY=1");
    let mut follower = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .args(["ctl", "log_tail_stream", "--duration", "60", "--data-dir"])
        .arg(dir.path().join("data"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(follower.stdout.take().expect("its output")).lines().map_while(Result::ok);
    assert!(lines.next().is_some_and(|line| line.starts_with("Streaming logs from node ")));
    service.signal(Signal::HUP);
    service.hears("RELOADING=1");
    service.hears("READY=1");
    service.signal(Signal::HUP);
    let told: Vec<_> = lines.filter(|line| line.contains("the configuration was read again")).take(2).collect();
    assert!(told.len() == 2 && told.first() < told.last(), "each once, in their order: {told:?}");
    follower.kill().expect("it runs");
    follower.wait().expect("it ends");
}

//! `--idle-connections`: what does a connection cost that does nothing?

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::frames::write;

use super::failure::Failure;
use super::methods;
use super::options::Options;
use super::procfs::Process;
use super::report::{grouped, per_item, per_second};
use super::session::{Heartbeats, Session};
use super::socket::Socket;
use super::system::raise_file_limit;

/// Threads that open connections side by side, where --connections does not say.
const OPENERS: usize = 4;

pub struct Idle {
    connections: usize,
    open_seconds: f64,
    held_seconds: f64,
    /// Connections that did not live until the end.
    dropped: usize,
    memory_bytes: Option<f64>,
    /// Of the broker, while all were held.
    cpu_seconds: Option<f64>,
}

pub fn run(options: &Options, connections: usize) -> Result<Idle, Failure> {
    raise_file_limit();
    let broker = options.broker_pid.map(Process::of);
    let memory = || Some(broker.as_ref()?.memory()?.now);
    let cpu = || broker.as_ref()?.cpu();
    let (before, start) = (memory(), Instant::now());
    let held = open_all(options, connections)?;
    let open_seconds = start.elapsed().as_secs_f64();
    let (cpu_before, start) = (cpu(), Instant::now());
    thread::sleep(Duration::from_secs_f64(options.seconds().unwrap_or(10.0)));
    let held_seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = cpu_before.and_then(|before| Some(cpu()? - before));
    let memory_bytes = before.and_then(|before| Some(per_item(memory()?.saturating_sub(before), connections)));
    let dropped = held.iter().filter(|stream| !is_alive(stream)).count();
    held.into_iter().for_each(good_bye);
    Ok(Idle { connections, open_seconds, held_seconds, dropped, memory_bytes, cpu_seconds })
}

fn open_all(options: &Options, connections: usize) -> Result<Vec<Socket>, Failure> {
    let openers = options.connections.map_or(OPENERS, usize::from).min(connections).max(1);
    thread::scope(|scope| {
        let mine = |opener| (opener..connections).step_by(openers).map(|_| open_one(options));
        let threads: Vec<_> =
            (0..openers).map(|n| scope.spawn(move || mine(n).collect::<Result<Vec<_>, _>>())).collect();
        let mut held = Vec::with_capacity(connections);
        for thread in threads {
            held.extend(thread.join().map_err(|_| Failure::Protocol("an opening thread ended".into()))??);
        }
        Ok(held)
    })
}

/// Only the socket is kept: ten thousand read buffers would be gigabytes.
fn open_one(options: &Options) -> Result<Socket, Failure> {
    let mut session = Session::open(options, Heartbeats::Off)?;
    session.call(1, &methods::channel_open())?;
    Ok(session.stream)
}

/// Nothing should have come, least of all the end.
fn is_alive(socket: &Socket) -> bool {
    let stream = socket.raw();
    let nothing = |e: std::io::Error| e.kind() == ErrorKind::WouldBlock;
    stream.set_nonblocking(true).is_ok() && stream.peek(&mut [0]).map_or_else(nothing, |n| n > 0)
}

fn good_bye(mut stream: Socket) {
    let mut out = Vec::new();
    write::cold(&mut out, 0, &methods::close());
    // The answer is of no interest, nor whether there is anybody left to take this.
    let _ = stream.write_all(&out);
}

impl Idle {
    pub fn is_sound(&self) -> bool {
        self.dropped == 0
    }

    pub fn text(&self) -> String {
        let n = self.connections;
        let rate = grouped(per_second(n as u64, self.open_seconds));
        let mut out = format!("{n} connections opened in {:.2} s ({rate}/s)\n", self.open_seconds);
        if let Some(bytes) = self.memory_bytes {
            let _ = writeln!(out, "{:.1} KiB of the broker's memory for each", bytes / 1024.0);
        }
        if let Some(cpu) = self.cpu_seconds {
            let _ = writeln!(out, "{cpu:.2} s of its CPU time while they were held for {:.1} s", self.held_seconds);
        }
        out + &format!("{} of them dropped\n", self.dropped)
    }

    pub fn json(&self) -> Value {
        json!({
            "connections": self.connections,
            "open_seconds": self.open_seconds,
            "held_seconds": self.held_seconds,
            "dropped": self.dropped,
            "broker_memory_bytes_per_connection": self.memory_bytes,
            "broker_cpu_seconds_while_held": self.cpu_seconds,
            "sound": self.is_sound(),
        })
    }
}

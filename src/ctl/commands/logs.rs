//! The node's log.

use std::io::Read as _;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value as Json, json};

use super::status::plain;
use super::{CTL_AND_DIAGNOSTICS, DIAGNOSTICS};
use crate::ctl::command::{Command, Opt};
use crate::ctl::exit::Failure;
use crate::ctl::session::Session;

const NUMBER: &[Opt] = &[Opt::number("number", "<number>", "how many lines [50]").short('N')];
/// Longest piece of the log that is shown at once.
const MOST: u64 = 64 << 20;
/// How long one request waits for lines: less than the node lets it.
const WAIT: Duration = Duration::from_secs(20);
const LEVELS: &[&str] = &["debug", "info", "notice", "warning", "error", "critical", "none"];

pub const COMMANDS: &[Command] = &[
    Command::new("log_tail", "The last lines of the log", log_tail).options(NUMBER).of(CTL_AND_DIAGNOSTICS),
    Command::new("log_tail_stream", "The log as it is written", log_tail_stream)
        .options(&[Opt::number("duration", "<seconds>", "for how long [for ever]").short('d')])
        .of(DIAGNOSTICS),
    Command::new("log_location", "Where the log is", log_location)
        .options(&[Opt::switch("all", "all of them").short('a')])
        .of(DIAGNOSTICS),
    Command::new("rotate_logs", "Begins a new log file", rotate_logs),
    Command::new("set_log_level", "Sets the level of the log, or of a category, until the next start", set_log_level)
        .takes_between(1, 2, "[<category>] <log_level>"),
];

fn log_tail(session: &mut Session) -> Result<(), Failure> {
    let number = session.given.option("number").unwrap_or("50").to_owned();
    let node = session.node().to_owned();
    session.banner(format!("Last {number} log lines on node {node} ..."))?;
    let text = tail(session, &number)?;
    session.out.bytes(text.as_bytes())
}

fn tail(session: &mut Session, lines: &str) -> Result<String, Failure> {
    let reply = session.send(Method::GET, &format!("/api/leveret/log/tail?lines={lines}"), None)?;
    if reply.status != 200 {
        return session.accept(reply).map(|_| String::new());
    }
    let mut text = Vec::new();
    let read = reply.body.take(MOST).read_to_end(&mut text);
    read.map_err(|error| Failure::refused(format!("the log broke off: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The node numbers its lines: each look asks for those after the last one that was seen.
fn log_tail_stream(session: &mut Session) -> Result<(), Failure> {
    let duration = session.given.option("duration").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let node = session.node().to_owned();
    let began = Instant::now();
    let (next, _) = lines_of(&session.get(&format!("/api/leveret/log/tail?since={}", u64::MAX))?);
    let mut next = next.unwrap_or_default();
    session.banner(format!("Streaming logs from node {node} ..."))?;
    session.out.flush()?;
    // An answer that is waited for has to come within --timeout.
    let longest = session.timeout().map_or(WAIT, |timeout| WAIT.min(timeout / 2));
    loop {
        let left = duration.map_or(longest, |duration| duration.saturating_sub(began.elapsed()).min(longest));
        if left.is_zero() {
            return Ok(());
        }
        let path = format!("/api/leveret/log/follow?since={next}&wait={}", left.as_millis());
        let (after, lines) = lines_of(&session.get(&path)?);
        // A node that was started again counts anew.
        next = after.unwrap_or(next);
        lines.iter().try_for_each(|line| session.out.line(plain(line)))?;
        session.out.flush()?;
    }
}

/// The number to ask for next, and lines.
fn lines_of(said: &Json) -> (Option<u64>, Vec<Json>) {
    let lines = said.get("lines").and_then(Json::as_array).cloned().unwrap_or_default();
    (said.get("next").and_then(Json::as_u64), lines)
}

fn log_location(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Log file location(s) on node {node} ..."))?;
    let state = session.get("/api/leveret/node/status")?;
    let files = state.get("log_files").and_then(|files| files.as_array()).cloned().unwrap_or_default();
    files.iter().try_for_each(|file| session.out.line(plain(file)))
}

fn rotate_logs(session: &mut Session) -> Result<(), Failure> {
    session.banner("Rotating logs ...")?;
    session.post("/api/leveret/log/rotate", &json!({})).map(|_| ())
}

fn set_log_level(session: &mut Session) -> Result<(), Failure> {
    let (first, second) = (session.argument(0), session.given.argument(1).map(str::to_owned));
    let (category, level) = second.map_or((None, first.clone()), |level| (Some(first), level));
    let of = category.as_ref().map_or_else(String::new, |category| format!(" for category \"{category}\""));
    session.banner(format!("Setting log level{of} to \"{level}\" ..."))?;
    if !LEVELS.contains(&level.as_str()) {
        return Err(Failure::refused(format!("level {level} is not supported. Try one of {}", LEVELS.join(", "))));
    }
    session.put("/api/leveret/log/level", &json!({ "category": category, "level": level }))
}

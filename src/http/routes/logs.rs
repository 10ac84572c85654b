//! The node's log: its last lines, its levels, new files. These routes are not RabbitMQ's.

use std::time::Duration;

use serde_json::json;

use crate::config::LogLevel;
use crate::http::route::{Later, Outcome};
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::logs::levels::Category;
use crate::logs::{self, LogError, Logs};

pub const ROUTES: &[Route] = &[
    Route::get(
        "/api/leveret/log/tail",
        ADMIN,
        "The last lines of the log; with since=N those from line N on, as JSON.",
        Work::Blocking(tail),
    ),
    Route::get(
        "/api/leveret/log/follow",
        ADMIN,
        "The lines from number since on; waited for up to wait milliseconds if there are none yet.",
        Work::Awaiting(follow),
    ),
    Route::put("/api/leveret/log/level", ADMIN, "The level of the log, or of a category.", Work::Blocking(set_level)),
    Route::post("/api/leveret/log/rotate", ADMIN, "New log files are begun.", Work::Blocking(rotate)),
];

const ADMIN: Access = Access::Administrator;
/// Lines that are shown when it is not said how many.
const LINES: usize = 50;
/// Longest time that lines are waited for; who wants to follow longer asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A broker inside another program has no log of its own.
fn log() -> Result<&'static Logs, ApiError> {
    logs::handle().ok_or_else(|| ApiError::unavailable("this process keeps no log of its own"))
}

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Busy => Self::unavailable(error.to_string()),
            _ => Self::internal(error.to_string()),
        }
    }
}

fn tail(call: &Call) -> Outcome {
    let wrong = |text: &str| ApiError::bad_request(format!("lines must be a whole number, but is '{text}'"));
    let lines = call.query.get("lines").map_or(Ok(LINES), |text| text.parse().map_err(|_| wrong(text)))?;
    let since = number(call, "since")?;
    let log = log()?;
    // What led to this request is among them.
    log.flush();
    if let Some(number) = since {
        return lines_since(log, number);
    }
    let mut text = String::new();
    for line in log.tail(lines) {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(Answer::text(text))
}

/// A number of the query.
fn number(call: &Call, name: &str) -> Result<Option<u64>, ApiError> {
    let wrong = |text: &str| ApiError::bad_request(format!("{name} must be a whole number, but is '{text}'"));
    call.query.get(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
}

fn lines_since(log: &Logs, number: u64) -> Outcome {
    let (next, lines) = log.since(number);
    let lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
    Answer::json(&json!({ "next": next, "lines": lines }))
}

fn follow(call: Call) -> Later {
    Box::pin(async move {
        let since = number(&call, "since")?.unwrap_or_default();
        let wait = Duration::from_millis(number(&call, "wait")?.unwrap_or_default()).min(LONGEST_WAIT);
        let log = log()?;
        tokio::select! {
            () = log.wait_for(since) => {}
            () = call.http.stops() => {}
            () = tokio::time::sleep(wait) => {}
        }
        lines_since(log, since)
    })
}

fn set_level(call: &Call) -> Outcome {
    let fields = call.fields(&["category", "level"])?;
    let (category, level) = (fields.text("category")?, fields.needed_text("level")?);
    let level = LogLevel::parse(level).ok_or_else(|| {
        ApiError::bad_request(format!(
            "'{level}' is no log level: {}",
            LogLevel::NAMES.map(|(name, _)| name).join(", ")
        ))
    })?;
    let named = |name: &str| {
        let known = || Category::ALL.map(Category::name).join(", ");
        Category::parse(name).ok_or_else(|| ApiError::bad_request(format!("'{name}' is no log category: {}", known())))
    };
    let category = category.map(named).transpose()?;
    let log = log()?;
    let (caller, of) = (call.caller.name(), category.map_or("all categories", Category::name));
    // Said before: afterwards it may not be wanted.
    tracing::info!(target: "leveret", "'{caller}' has the log level of {of} set to {}", level.name());
    log.set_level(category, level);
    Ok(Answer::done())
}

fn rotate(call: &Call) -> Outcome {
    log()?.rotate()?;
    tracing::info!(target: "leveret", "'{}' has had new log files begun", call.caller.name());
    Ok(Answer::done())
}

//! The node's log: its last lines, its levels, new files. These routes are not RabbitMQ's.

use serde_json::json;

use crate::config::LogLevel;
use crate::http::route::Outcome;
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
    Route::put("/api/leveret/log/level", ADMIN, "The level of the log, or of a category.", Work::Blocking(set_level)),
    Route::post("/api/leveret/log/rotate", ADMIN, "New log files are begun.", Work::Blocking(rotate)),
];

const ADMIN: Access = Access::Administrator;
/// Lines that are shown when it is not said how many.
const LINES: usize = 50;

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
    let since = |text: &str| {
        text.parse::<u64>().map_err(|_| ApiError::bad_request(format!("since must be a whole number, but is '{text}'")))
    };
    let since = call.query.get("since").map(since).transpose()?;
    let log = log()?;
    // What led to this request is among them.
    log.flush();
    if let Some(number) = since {
        let (next, lines) = log.since(number);
        let lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
        return Answer::json(&json!({ "next": next, "lines": lines }));
    }
    let mut text = String::new();
    for line in log.tail(lines) {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(Answer::text(text))
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

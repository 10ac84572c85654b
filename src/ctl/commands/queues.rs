//! Queues and what is in them.

use std::time::SystemTime;

use hyper::Method;
use serde_json::{Value as Json, json};

use crate::ctl::command::{Command, Opt, Tool};
use crate::ctl::exit::Failure;
use crate::ctl::format::Form;
use crate::ctl::listing::Column;
use crate::ctl::output::cannot_write;
use crate::ctl::session::{Object, Session, encoded, path};
use crate::ctl::term::{Kind, Term};
use crate::logs::time::stamp;

/// Messages that are asked for at a time, and that one request changes.
const PAGE: u64 = 100;
const CHANGED: u64 = 1000;
/// Messages that are shown when nobody says how many, and at most.
const SHOWN: u64 = 50;
const MOST_SHOWN: u64 = 10_000;

const KEY: Opt = Opt::text("key", "<pattern>", "only messages whose routing key matches this regular expression");
const FROM: Opt = Opt::text("exchange", "<exchange>", "only messages published to this exchange");
const HEADER: Opt = Opt::text("header", "<name=value>", "only messages with this header; may be repeated");
const ID: Opt = Opt::text("message-id", "<id>", "only messages with this id");
const OLDER: Opt = Opt::text("older-than", "<time>", "only messages published at least so long ago: 30s, 5m, 2h, 7d");
const YOUNGER: Opt = Opt::text("younger-than", "<time>", "only messages published at most so long ago");
const LIMIT: Opt = Opt::number("limit", "<number>", "no more messages than this");

pub const COMMANDS: &[Command] = &[
    Command::new("delete_queue", "Deletes a queue", delete_queue).takes(1, "<queue_name>").options(&[
        Opt::switch("if-empty", "only when it has no messages").short('e'),
        Opt::switch("if-unused", "only when it has no consumers").short('u'),
        Opt::switch("force", "accepted without effect"),
    ]),
    Command::new("purge_queue", "Removes all ready messages of a queue", purge_queue).takes(1, "<queue>"),
    Command::new("peek_messages", "Shows ready messages of a queue and leaves them as they are", peek_messages)
        .takes(1, "<queue>")
        .options(&[
            KEY,
            FROM,
            HEADER,
            ID,
            OLDER,
            YOUNGER,
            LIMIT,
            Opt::number("from", "<position>", "from this position on [0]"),
            Opt::switch("payload", "with the bodies"),
        ]),
    Command::new("purge_messages", "Removes those ready messages of a queue that a filter names", purge_messages)
        .takes(1, "<queue>")
        .options(&[KEY, FROM, HEADER, ID, OLDER, YOUNGER, LIMIT]),
    Command::new(
        "move_messages",
        "Moves ready messages to another queue, as out of a dead-letter queue",
        move_messages,
    )
    .takes_between(1, 2, "<queue> [<to_queue>]")
    .options(&[
        KEY,
        FROM,
        HEADER,
        ID,
        OLDER,
        YOUNGER,
        LIMIT,
        Opt::text("to-exchange", "<exchange>", "publishes them to this exchange instead"),
        Opt::text("routing-key", "<key>", "with this routing key instead of their own"),
    ]),
    Command::new("list_delayed", "The messages that an exchange holds back, and when they are due", list_delayed)
        .takes(1, "<exchange>")
        .options(&[LIMIT]),
    Command::new("cancel_delayed", "Removes a message that an exchange holds back", cancel_delayed)
        .takes(2, "<exchange> <message_id>"),
    Command::new("peek", "Shows the message at a position of a queue", peek)
        .takes(2, "<queue> <position>")
        .of(&[Tool::Queues]),
];

fn delete_queue(session: &mut Session) -> Result<(), Failure> {
    let (name, vhost) = (session.argument(0), session.vhost());
    let (if_empty, if_unused) = (session.given.has("if-empty"), session.given.has("if-unused"));
    let condition = match (if_empty, if_unused) {
        (true, true) => " if queue is empty and unused",
        (true, false) => " if queue is empty",
        (false, true) => " if queue is unused",
        (false, false) => "",
    };
    session.banner(format!("Deleting queue '{name}' on vhost '{vhost}'{condition} ..."))?;
    let route = path(&["queues", &vhost, &name]);
    let not_found = || Failure::missing("Queue not found");
    let queue = session.find(&format!("{route}?columns=messages_ready"))?.ok_or_else(not_found)?;
    let ready = queue.get("messages_ready").and_then(Json::as_u64).unwrap_or(0);
    if !session.delete(&format!("{route}?if-empty={if_empty}&if-unused={if_unused}"))? {
        return Err(not_found());
    }
    session.say(format!("Queue was successfully deleted with {ready} ready messages"))
}

fn purge_queue(session: &mut Session) -> Result<(), Failure> {
    let (name, vhost) = (session.argument(0), session.vhost());
    session.banner(format!("Purging queue '{name}' in vhost '{vhost}' ..."))?;
    if session.delete(&path(&["queues", &vhost, &name, "contents"]))? {
        Ok(())
    } else {
        Err(Failure::missing("not_found"))
    }
}

const MESSAGE: &[Column] = &[
    Column::plain("position"),
    Column::plain("exchange"),
    Column::plain("routing_key"),
    Column::plain("redelivered"),
    Column::plain("age"),
    Column::plain("payload_bytes"),
    Column::plain("properties").as_kind(Kind::Json),
    Column::plain("payload"),
];

const DELAYED: &[Column] = &[
    Column::of("message_id", "properties.message_id"),
    Column::plain("due"),
    Column::plain("due_in"),
    Column::plain("routing_key"),
    Column::plain("payload_bytes"),
    Column::plain("age"),
];

/// Says what is missing before anything is asked of it.
fn need(session: &mut Session, kind: &str, vhost: &str, name: &str) -> Result<(), Failure> {
    session.need_vhost(vhost)?;
    let what = kind.trim_end_matches('s');
    let missing = || Failure::missing(format!("no {what} '{name}' in vhost '{vhost}'"));
    session.find(&format!("{}?columns=name", path(&[kind, vhost, name])))?.map(|_| ()).ok_or_else(missing)
}

fn peek_messages(session: &mut Session) -> Result<(), Failure> {
    let (name, vhost) = (session.argument(0), session.vhost());
    session.banner(format!("Messages of queue '{name}' in vhost '{vhost}' ..."))?;
    let with_payload = session.given.has("payload") || session.out.form == Form::Json;
    need(session, "queues", &vhost, &name)?;
    let columns: Vec<&Column> = MESSAGE.iter().filter(|column| with_payload || column.name != "payload").collect();
    let (from, limit) = (number(session, "from").unwrap_or(0), number(session, "limit").unwrap_or(SHOWN));
    show(session, &path(&["queues", &vhost, &name, "messages"]), &columns, from, limit)
}

/// Asks for messages page by page and shows them.
fn show(session: &mut Session, route: &str, columns: &[&Column], from: u64, limit: u64) -> Result<(), Failure> {
    let filter = filter(session)?;
    let (mut from, mut left, mut shown) = (Some(from), limit.min(MOST_SHOWN), Vec::new());
    let for_people = !session.out.form.is_for_programs();
    while let Some(at) = from.filter(|_| left > 0) {
        let page = session.get(&format!("{route}?from={at}&count={}{filter}", PAGE.min(left)))?;
        let messages = page.get("messages").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        for mut message in messages.iter().filter_map(Json::as_object).cloned() {
            if let Some(due) = message.get("due").and_then(Json::as_u64) {
                message.insert("due_in".to_owned(), seconds_until(due).into());
            }
            if for_people {
                times_for_people(&mut message);
            }
            shown.push(columns.iter().map(|column| column.term(&message)).collect::<Vec<Term>>());
            left = left.saturating_sub(1);
        }
        from = page.get("next").and_then(Json::as_u64);
    }
    let mut rows = session.out.rows(columns.iter().map(|column| column.name).collect());
    shown.iter().try_for_each(|row| rows.row(row)).map_err(cannot_write)?;
    rows.finish().map_err(cannot_write)
}

fn peek(session: &mut Session) -> Result<(), Failure> {
    let (name, position, vhost) = (session.argument(0), session.argument(1), session.vhost());
    let node = session.node().to_owned();
    session.banner(format!("Peeking at queue {name} at position {position} on node {node} ..."))?;
    let wrong = |_| Failure::bad_argument("Bad argument: the position is a number from 1 on");
    let at = position.parse::<u64>().map_err(wrong)?.saturating_sub(1);
    need(session, "queues", &vhost, &name)?;
    let message = nth(session, &path(&["queues", &vhost, &name, "messages"]), at)?;
    let message = message.ok_or_else(|| Failure::missing("Target queue does not have a message at that position"))?;
    if session.out.as_json(|| Json::Object(message.clone()))? {
        return Ok(());
    }
    let mut rows = session.out.rows(vec!["keys", "values"]);
    for (name, value) in &message {
        rows.row(&[Term::text(name), Term::read(value, Kind::Json)]).map_err(cannot_write)?;
    }
    rows.finish().map_err(cannot_write)
}

/// The message that so many are delivered before.
fn nth(session: &mut Session, route: &str, at: u64) -> Result<Option<Object>, Failure> {
    let (mut from, mut left) = (Some(0), at);
    while let Some(start) = from.filter(|_| left > 0) {
        let page = session.get(&format!("{route}?from={start}&count={}&truncate=0", left.min(PAGE)))?;
        let count = page.get("messages").and_then(Json::as_array).map_or(0, Vec::len);
        left = left.saturating_sub(count as u64);
        from = page.get("next").and_then(Json::as_u64);
    }
    let Some(start) = from else { return Ok(None) };
    let page = session.get(&format!("{route}?from={start}&count=1"))?;
    Ok(page.get("messages").and_then(|messages| messages.get(0)).and_then(Json::as_object).cloned())
}

fn purge_messages(session: &mut Session) -> Result<(), Failure> {
    let (name, vhost) = (session.argument(0), session.vhost());
    if filter(session)?.is_empty() {
        return Err(Failure::usage("name what to remove, or remove everything with purge_queue"));
    }
    session.banner(format!("Removing messages of queue '{name}' in vhost '{vhost}' ..."))?;
    need(session, "queues", &vhost, &name)?;
    let route = path(&["queues", &vhost, &name, "messages"]);
    let removed = change(session, &Method::DELETE, &route, None, "deleted")?;
    session.say(format!("Removed {removed} messages"))
}

fn move_messages(session: &mut Session) -> Result<(), Failure> {
    let (name, vhost) = (session.argument(0), session.vhost());
    let (to_queue, to_exchange) = (session.given.argument(1), session.given.option("to-exchange"));
    let (target, body) = match (to_queue, to_exchange) {
        (None, Some("" | "amq.default")) => {
            return Err(Failure::usage(
                "the default exchange only knows queues: name the queue that gets the messages",
            ));
        }
        (Some(queue), None) => (format!("queue '{queue}'"), json!({ "queue": queue })),
        (None, Some(exchange)) => {
            let key = session.given.option("routing-key");
            let body = [("exchange", Some(exchange)), ("routing_key", key)].into_iter();
            let body = body.filter_map(|(name, value)| Some((name.to_owned(), Json::from(value?))));
            (format!("exchange '{exchange}'"), Json::Object(body.collect()))
        }
        _ => return Err(Failure::usage("name either the queue that gets the messages or --to-exchange")),
    };
    session.banner(format!("Moving messages of queue '{name}' to {target} in vhost '{vhost}' ..."))?;
    need(session, "queues", &vhost, &name)?;
    let route = path(&["queues", &vhost, &name, "messages", "move"]);
    let moved = change(session, &Method::POST, &route, Some(&body), "moved")?;
    session.say(format!("Moved {moved} messages"))
}

/// Changes the messages that the filter options name, some with each request; how many there were.
fn change(
    session: &mut Session,
    method: &Method,
    route: &str,
    body: Option<&Json>,
    counted: &str,
) -> Result<u64, Failure> {
    let filter = filter(session)?;
    let limit = number(session, "limit").unwrap_or(u64::MAX);
    let (mut from, mut done) = (Some(0), 0_u64);
    while let Some(at) = from.filter(|_| done < limit) {
        let count = CHANGED.min(limit.saturating_sub(done));
        let answer = session.ask(method.clone(), &format!("{route}?from={at}&count={count}{filter}"), body)?;
        let stayed = answer.get("stayed").and_then(Json::as_u64).unwrap_or(0);
        done = done.saturating_add(answer.get(counted).and_then(Json::as_u64).unwrap_or(0));
        if stayed > 0 {
            return Err(Failure::refused(format!(
                "{done} are {counted}, but {stayed} were not taken and stay where they are"
            )));
        }
        from = answer.get("next").and_then(Json::as_u64);
    }
    Ok(done)
}

fn list_delayed(session: &mut Session) -> Result<(), Failure> {
    let (name, vhost) = (session.argument(0), session.vhost());
    session.banner(format!("Delayed messages of exchange '{name}' in vhost '{vhost}' ..."))?;
    need(session, "exchanges", &vhost, &name)?;
    let limit = number(session, "limit").unwrap_or(PAGE);
    let columns: Vec<&Column> = DELAYED.iter().collect();
    show(session, &path(&["exchanges", &vhost, &name, "delayed"]), &columns, 0, limit)
}

/// Times as people read them, instead of milliseconds since 1970 and seconds.
fn times_for_people(message: &mut Object) {
    for name in ["due", "expires"] {
        if let Some(at) = message.get(name).and_then(Json::as_u64) {
            let time = stamp(at.saturating_mul(1000));
            message.insert(name.to_owned(), format!("{}Z", time.get(..19).unwrap_or(&time)).into());
        }
    }
    for name in ["due_in", "age"] {
        if let Some(seconds) = message.get(name).and_then(Json::as_f64) {
            message.insert(name.to_owned(), span(seconds as u64).into());
        }
    }
}

/// A number of seconds in its two largest units: `1d 2h`, `5m 0s`, `12s`.
fn span(seconds: u64) -> String {
    let (days, hours, minutes, rest) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m {rest}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Whole seconds until a time in milliseconds since 1970.
fn seconds_until(due: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    due.saturating_sub(u64::try_from(now).unwrap_or(u64::MAX)).div_ceil(1000)
}

fn cancel_delayed(session: &mut Session) -> Result<(), Failure> {
    let (name, id, vhost) = (session.argument(0), session.argument(1), session.vhost());
    session.banner(format!("Cancelling delayed message '{id}' of exchange '{name}' in vhost '{vhost}' ..."))?;
    need(session, "exchanges", &vhost, &name)?;
    let route = format!("{}?message_id={}", path(&["exchanges", &vhost, &name, "delayed"]), encoded(&id));
    let answer = session.ask(Method::DELETE, &route, None)?;
    match answer.get("deleted").and_then(Json::as_u64) {
        None | Some(0) => Err(Failure::missing(format!("exchange '{name}' holds no message '{id}' back"))),
        Some(cancelled) => session.say(format!("Cancelled {cancelled} messages")),
    }
}

fn number(session: &Session, option: &str) -> Option<u64> {
    session.given.option(option).and_then(|number| number.parse().ok())
}

/// The filter options as the end of a query, each with an ampersand before it.
fn filter(session: &Session) -> Result<String, Failure> {
    let mut query = String::new();
    for (option, field) in [("key", "key"), ("exchange", "exchange"), ("message-id", "message_id")] {
        if let Some(value) = session.given.option(option) {
            query += &format!("&{field}={}", encoded(value));
        }
    }
    for header in session.given.all("header") {
        let (name, value) = header
            .split_once('=')
            .ok_or_else(|| Failure::bad_argument(format!("Bad argument: header '{header}' is not name=value")))?;
        query += &format!("&header={}", encoded(&format!("{name}:{value}")));
    }
    for (option, field) in [("older-than", "min_age"), ("younger-than", "max_age")] {
        if let Some(time) = session.given.option(option) {
            query += &format!("&{field}={}", seconds(time)?);
        }
    }
    Ok(query)
}

/// A time such as 90, 30s, 5m, 2h or 7d.
fn seconds(text: &str) -> Result<u64, Failure> {
    let wrong = || Failure::bad_argument(format!("Bad argument: '{text}' is no time such as 30s, 5m, 2h or 7d"));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.get(digits.len()..).unwrap_or_default() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::{seconds, span};

    #[test]
    fn spans_are_short() {
        let spans = [0, 59, 60, 3599, 3600, 7260, 86_399, 86_400, 1_000_000].map(span);
        assert_eq!(spans, ["0s", "59s", "1m 0s", "59m 59s", "1h 0m", "2h 1m", "23h 59m", "1d 0h", "11d 13h"]);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(["90", "30s", "5m", "2h", "7d"].map(|time| seconds(time).unwrap()), [90, 30, 300, 7200, 604_800]);
        for wrong in ["", "m", "5x", "1.5h", "-3s", "99999999999999999999d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}

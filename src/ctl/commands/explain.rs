//! Why something is so: which bindings a message matches, which policy a queue obeys.

use serde_json::{Map, Value as Json, json};

use super::status::plain;
use crate::ctl::command::{Command, Opt};
use crate::ctl::exit::Failure;
use crate::ctl::output::cannot_write;
use crate::ctl::session::{Session, encoded, path};
use crate::ctl::term::{Kind, Term};

pub const COMMANDS: &[Command] = &[
    Command::new("explain_route", "Which bindings a message would match, and why; nothing is published", explain_route)
        .takes_between(1, 2, "<exchange> [<routing_key>]")
        .options(&[Opt::text("header", "<name=value>", "a header of the message; may be repeated")]),
    Command::new(
        "explain_policy",
        "Which policies match a queue, which one counts, and what comes of it",
        explain_policy,
    )
    .takes(1, "<queue>")
    .options(&[Opt::switch("exchange", "an exchange of this name")]),
];

fn explain_route(session: &mut Session) -> Result<(), Failure> {
    let (exchange, key, vhost) = (session.argument(0), session.argument(1), session.vhost());
    let mut headers = Map::new();
    for header in session.given.all("header") {
        let (name, value) = header
            .split_once('=')
            .ok_or_else(|| Failure::bad_argument(format!("Bad argument: header '{header}' is not name=value")))?;
        // A number or a truth value is one, as `headers` exchanges compare types too.
        let value = serde_json::from_str::<Json>(value).unwrap_or_else(|_| Json::from(value));
        headers.insert(name.to_owned(), value);
    }
    session.banner(format!("Routing of key '{key}' by exchange '{exchange}' in vhost '{vhost}' ..."))?;
    let named = if exchange.is_empty() { "amq.default" } else { &exchange };
    let route = path(&["leveret", "explain", "route", &vhost, named]);
    let answer = if headers.is_empty() {
        session.find(&format!("{route}?routing_key={}", encoded(&key)))?
    } else {
        Some(session.post(&route, &json!({ "routing_key": key, "headers": headers }))?)
    };
    let answer = answer.ok_or_else(|| missing("exchange", &exchange, &vhost))?;
    if session.out.as_json(|| answer.clone())? {
        return Ok(());
    }
    let bindings = list(&answer, "bindings");
    table(
        session,
        &["matches", "destination", "kind", "binding_key", "arguments", "why"],
        bindings,
        &["matches", "destination", "destination_type", "routing_key", "arguments", "why"],
    )?;
    let routed: Vec<String> = list(&answer, "routed").iter().map(plain).collect();
    match routed.as_slice() {
        [] => session.say("The message would reach no queue.")?,
        queues => session.say(format!("The message would reach: {}", queues.join(", ")))?,
    }
    match answer.get("alternate").and_then(Json::as_str) {
        Some(alternate) if routed.is_empty() => {
            session.say(format!("It would go to the alternate exchange '{alternate}'."))
        }
        _ => Ok(()),
    }
}

fn explain_policy(session: &mut Session) -> Result<(), Failure> {
    let (name, vhost) = (session.argument(0), session.vhost());
    let (kind, what) = if session.given.has("exchange") { ("exchanges", "exchange") } else { ("queues", "queue") };
    session.banner(format!("Policies of {what} '{name}' in vhost '{vhost}' ..."))?;
    let answer = session.find(&path(&["leveret", "explain", "policy", &vhost, kind, &name]))?;
    let answer = answer.ok_or_else(|| missing(what, &name, &vhost))?;
    if session.out.as_json(|| answer.clone())? {
        return Ok(());
    }
    let columns = ["name", "operator", "pattern", "apply-to", "priority", "matches", "applies", "why"];
    table(session, &columns, list(&answer, "candidates"), &columns)?;
    let effective = answer.get("effective").cloned().unwrap_or_default();
    session.say(format!("In force: {}", plain(&effective)))
}

fn missing(what: &str, name: &str, vhost: &str) -> Failure {
    Failure::missing(format!("there is no {what} '{name}' in vhost '{vhost}'"))
}

fn list<'a>(answer: &'a Json, field: &str) -> &'a [Json] {
    answer.get(field).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

/// A table of some fields of objects.
fn table(session: &mut Session, columns: &[&str], items: &[Json], fields: &[&str]) -> Result<(), Failure> {
    let mut rows = session.out.rows(columns.to_vec());
    for item in items {
        let terms: Vec<Term> = fields
            .iter()
            .map(|field| {
                let kind = if *field == "arguments" { Kind::Table } else { Kind::Json };
                item.get(field).map_or(Term::Absent, |value| Term::read(value, kind))
            })
            .collect();
        rows.row(&terms).map_err(cannot_write)?;
    }
    rows.finish().map_err(cannot_write)
}

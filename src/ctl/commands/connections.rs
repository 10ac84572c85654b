//! Closing connections, as the node's operator: clients see 320.

use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use serde_json::Value as Json;

use crate::ctl::command::{Command, Opt};
use crate::ctl::exit::Failure;
use crate::ctl::session::{Object, Session, path};

/// Most connections that one command closes.
const MOST: usize = 1_000_000;

pub const COMMANDS: &[Command] = &[
    Command::new(
        "close_connection",
        "Closes a connection, by the pid that list_connections shows, or by its name",
        close_one,
    )
    .takes(2, "<connection pid> <explanation>"),
    Command::new("close_all_connections", "Closes all connections, or those to a virtual host", close_all)
        .takes(1, "<explanation>")
        .options(&[
            Opt::switch("global", "to all virtual hosts (also when none is named)"),
            Opt::number("limit", "<limit>", "no more than so many"),
            Opt::number("per-connection-delay", "<milliseconds>", "waits between one and the next"),
        ]),
    Command::new("close_all_user_connections", "Closes all connections of a user", close_all_of_user)
        .takes(2, "<username> <explanation>"),
];

fn close_one(session: &mut Session) -> Result<(), Failure> {
    let (which, reason) = (session.argument(0), session.argument(1));
    session.banner(format!("Closing connection {which}, reason: {reason}..."))?;
    let is_meant = |connection: &Object| field(connection, "pid") == which || field(connection, "name") == which;
    let found = connections(session, 1, is_meant)?;
    match found.first() {
        Some(name) if close(session, name, &reason)? => Ok(()),
        // The pid is that of a connection, and it has gone: that is what was wanted.
        _ if is_pid(&which) => Ok(()),
        _ => Err(Failure::missing(format!("invalid_pid_syntax: there is no connection '{which}'"))),
    }
}

fn close_all(session: &mut Session) -> Result<(), Failure> {
    let (vhost, reason) = (session.given.option("vhost").map(str::to_owned), session.argument(0));
    let vhost = vhost.filter(|_| !session.given.has("global"));
    let limit = session.given.option("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
    let delay = session.given.option("per-connection-delay").and_then(|delay| delay.parse().ok()).unwrap_or(0);
    let many = limit.map_or_else(|| "all".to_owned(), |limit: usize| limit.to_string());
    match &vhost {
        Some(vhost) => session.banner(format!("Closing {many} connections in vhost {vhost}, reason: {reason}..."))?,
        None => {
            let node = session.node().to_owned();
            session.banner(format!("Closing {many} connections to node {node}, reason: {reason}..."))?;
        }
    }
    let is_meant = |connection: &Object| vhost.as_ref().is_none_or(|vhost| field(connection, "vhost") == vhost);
    let names = connections(session, limit.unwrap_or(MOST), is_meant)?;
    let mut closed = 0;
    for name in names {
        closed += usize::from(close(session, &name, &reason)?);
        std::thread::sleep(Duration::from_millis(delay));
    }
    session.say(format!("Closed {closed} connections"))
}

fn close_all_of_user(session: &mut Session) -> Result<(), Failure> {
    let (user, reason) = (session.argument(0), session.argument(1));
    session.banner(format!("Closing connections of user {user}, reason: {reason}..."))?;
    let names = connections(session, MOST, |connection| field(connection, "user") == user)?;
    names.iter().try_for_each(|name| close(session, name, &reason).map(|_| ()))
}

/// The names of connections of a kind, so many at most.
fn connections(session: &mut Session, most: usize, is_meant: impl Fn(&Object) -> bool) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    session.each("/api/connections?columns=name,pid,user,vhost", |connection| {
        if names.len() < most && is_meant(&connection) {
            names.push(field(&connection, "name").to_owned());
        }
        Ok(())
    })?;
    Ok(names)
}

fn field<'a>(connection: &'a Object, name: &str) -> &'a str {
    connection.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// False when it has gone already.
fn close(session: &mut Session, name: &str, reason: &str) -> Result<bool, Failure> {
    // A header holds no line ends and no bytes beyond ASCII.
    let reason: String = reason.chars().map(|c| if c.is_ascii() && !c.is_control() { c } else { '?' }).collect();
    let reply =
        session.send_with(Method::DELETE, &path(&["connections", name]), &[("x-reason", &reason)], Bytes::new())?;
    if reply.status == 404 {
        return Ok(false);
    }
    session.accept(reply).map(|_| true)
}

/// `<node.1.2.3>`, as lists show it.
fn is_pid(text: &str) -> bool {
    let inner = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    let mut parts = inner.unwrap_or_default().rsplit('.').take(3);
    parts.by_ref().all(|part| part.parse::<u64>().is_ok()) && inner.is_some_and(|i| i.split('.').count() > 3)
}

#[cfg(test)]
mod tests {
    #[test]
    fn pids_are_known_by_their_form() {
        assert!(super::is_pid("<rabbit@host.1.17.0>"));
        assert!(!super::is_pid("<1.2.3>"));
        assert!(!super::is_pid("rabbit@host.1.17.0"));
        assert!(!super::is_pid("bad"));
    }
}

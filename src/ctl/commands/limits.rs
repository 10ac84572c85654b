//! Limits of users and of virtual hosts.

use serde_json::{Value as Json, json};

use super::json_argument;
use super::users::user;
use super::{CTL_AND_DIAGNOSTICS, Failure};
use crate::ctl::command::{Command, Opt};
use crate::ctl::listing::Column;
use crate::ctl::session::{Object, Session, path};
use crate::ctl::term::Kind;

pub const COMMANDS: &[Command] = &[
    Command::new(
        "set_vhost_limits",
        "Sets a virtual host's limits: max-connections, max-queues, rates of publishing, max-stored-bytes",
        set_vhost_limits,
    )
    .takes(1, "<definition>"),
    Command::new("clear_vhost_limits", "Clears a virtual host's limits", clear_vhost_limits),
    Command::new("list_vhost_limits", "Lists a virtual host's limits", list_vhost_limits)
        .options(&[Opt::switch("global", "of all virtual hosts")])
        .of(CTL_AND_DIAGNOSTICS),
    Command::new(
        "set_user_limits",
        "Sets a user's limits: max-connections, max-channels, rates of publishing, max-stored-bytes",
        set_user_limits,
    )
    .takes(2, "<username> <definition>"),
    Command::new("clear_user_limits", "Clears a limit of a user, or all", clear_user_limits)
        .takes(2, "<username> <limit_type> | all"),
    Command::new("list_user_limits", "Lists a user's limits", list_user_limits)
        .options(&[Opt::text("user", "<username>", "the user [guest]"), Opt::switch("global", "of all users")])
        .of(CTL_AND_DIAGNOSTICS),
];

const OF_VHOSTS: &[&str] =
    &["max-connections", "max-queues", "max-publish-rate", "max-publish-bytes-rate", "max-stored-bytes"];
const OF_USERS: &[&str] =
    &["max-connections", "max-channels", "max-publish-rate", "max-publish-bytes-rate", "max-stored-bytes"];

const LIMITS: Column = Column::of("limits", "value").as_kind(Kind::Json);

fn set_vhost_limits(session: &mut Session) -> Result<(), Failure> {
    let (vhost, definition) = (session.vhost(), session.argument(0));
    session.banner(format!("Setting vhost limits to \"{definition}\" for vhost \"{vhost}\" ..."))?;
    let limits = limits_of(&definition, OF_VHOSTS)?;
    session.need_vhost(&vhost)?;
    // What is not in the new definition is no limit any more.
    let known = known(session, &path(&["vhost-limits", &vhost]))?;
    set(session, "vhost-limits", &vhost, &limits)?;
    let gone = known.keys().filter(|name| !limits.contains_key(*name));
    gone.into_iter().try_for_each(|name| session.delete(&path(&["vhost-limits", &vhost, name])).map(|_| ()))
}

fn clear_vhost_limits(session: &mut Session) -> Result<(), Failure> {
    let vhost = session.vhost();
    session.banner(format!("Clearing vhost \"{vhost}\" limits ..."))?;
    session.need_vhost(&vhost)?;
    clear(session, "vhost-limits", &vhost)
}

fn list_vhost_limits(session: &mut Session) -> Result<(), Failure> {
    if session.given.has("global") {
        session.banner("Listing limits for all vhosts ...")?;
        return session.write_list("/api/vhost-limits", &[&Column::plain("vhost"), &LIMITS], Some);
    }
    let vhost = session.vhost();
    session.banner(format!("Listing limits for vhost \"{vhost}\" ..."))?;
    session.need_vhost(&vhost)?;
    show(session, &path(&["vhost-limits", &vhost]))
}

fn set_user_limits(session: &mut Session) -> Result<(), Failure> {
    let (name, definition) = (session.argument(0), session.argument(1));
    session.banner(format!("Setting user limits to \"{definition}\" for user \"{name}\" ..."))?;
    let limits = limits_of(&definition, OF_USERS)?;
    need_user(session, &name)?;
    set(session, "user-limits", &name, &limits)
}

fn clear_user_limits(session: &mut Session) -> Result<(), Failure> {
    let (name, limit) = (session.argument(0), session.argument(1));
    session.banner(format!("Clearing \"{limit}\" limit for user \"{name}\" ..."))?;
    need_user(session, &name)?;
    match limit.as_str() {
        "all" => clear(session, "user-limits", &name),
        limit if !OF_USERS.contains(&limit) => {
            Err(Failure::refused(format!("there is no limit '{limit}', only all or {}", OF_USERS.join(", "))))
        }
        limit => session.delete(&path(&["user-limits", &name, limit])).map(|_| ()),
    }
}

fn list_user_limits(session: &mut Session) -> Result<(), Failure> {
    if session.given.has("global") {
        session.banner("Listing limits for all users ...")?;
        return session.write_list("/api/user-limits", &[&Column::plain("user"), &LIMITS], Some);
    }
    let name = session.given.option("user").unwrap_or("guest").to_owned();
    session.banner(format!("Listing limits for user \"{name}\" ..."))?;
    need_user(session, &name)?;
    show(session, &path(&["user-limits", &name]))
}

/// Everything that is wrong is found before anything is set: the node takes one limit at a time.
fn limits_of(definition: &str, known: &[&str]) -> Result<Object, Failure> {
    let Json::Object(limits) = json_argument(definition)? else {
        return Err(Failure::refused("limits are a JSON object, such as {\"max-connections\": 100}"));
    };
    for (name, value) in &limits {
        if !known.contains(&name.as_str()) {
            return Err(Failure::refused(format!("there is no limit '{name}', only {}", known.join(", "))));
        }
        if !value.is_i64() {
            return Err(Failure::refused(format!("limit '{name}' is a whole number, not {value}")));
        }
    }
    Ok(limits)
}

fn set(session: &mut Session, kind: &str, of: &str, limits: &Object) -> Result<(), Failure> {
    limits.iter().try_for_each(|(name, value)| session.put(&path(&[kind, of, name]), &json!({ "value": value })))
}

fn clear(session: &mut Session, kind: &str, of: &str) -> Result<(), Failure> {
    let known = known(session, &path(&[kind, of]))?;
    known.keys().try_for_each(|name| session.delete(&path(&[kind, of, name])).map(|_| ()))
}

/// The limits at a path, which answers a list with one object or none.
fn known(session: &mut Session, path: &str) -> Result<Object, Failure> {
    let found = session.find(path)?.unwrap_or_default();
    Ok(found.get(0).and_then(|item| item.get("value")).and_then(Json::as_object).cloned().unwrap_or_default())
}

fn show(session: &mut Session, path: &str) -> Result<(), Failure> {
    let limits = known(session, path)?;
    session.out.line(Json::Object(limits).to_string())
}

fn need_user(session: &mut Session, name: &str) -> Result<(), Failure> {
    user(session, name)?.map(|_| ()).ok_or_else(|| Failure::no_such_user(name))
}

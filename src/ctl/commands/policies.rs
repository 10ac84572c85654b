//! Policies and operator policies.

use serde_json::json;

use super::parameters::gone;
use super::{CTL_AND_DIAGNOSTICS, json_argument};
use crate::ctl::command::{Command, Opt};
use crate::ctl::exit::Failure;
use crate::ctl::listing::Column;
use crate::ctl::session::{Session, path};
use crate::ctl::term::Kind;

const OPTIONS: &[Opt] = &[
    Opt::number("priority", "<priority>", "of two that match the higher one counts [0]"),
    Opt::text("apply-to", "<apply-to>", "queues, exchanges or all [all]"),
];

pub const COMMANDS: &[Command] = &[
    Command::new("set_policy", "Sets a policy", set_policy).takes(3, "<name> <pattern> <definition>").options(OPTIONS),
    Command::new("clear_policy", "Clears a policy", clear_policy).takes(1, "<name>"),
    Command::new("list_policies", "Lists the policies of a virtual host", list_policies).of(CTL_AND_DIAGNOSTICS),
    Command::new("set_operator_policy", "Sets an operator policy, which bounds what policies say", set_operator_policy)
        .takes(3, "<name> <pattern> <definition>")
        .options(OPTIONS),
    Command::new("clear_operator_policy", "Clears an operator policy", clear_operator_policy).takes(1, "<name>"),
    Command::new("list_operator_policies", "Lists the operator policies of a virtual host", list_operator_policies)
        .of(CTL_AND_DIAGNOSTICS),
];

const COLUMNS: &[&Column] = &[
    &Column::plain("vhost"),
    &Column::plain("name"),
    &Column::plain("pattern"),
    &Column::plain("apply-to"),
    &Column::plain("definition").as_kind(Kind::Json),
    &Column::plain("priority"),
];

fn set_policy(session: &mut Session) -> Result<(), Failure> {
    set(session, "policy", "policies", "all")
}

fn set_operator_policy(session: &mut Session) -> Result<(), Failure> {
    set(session, "operator policy override", "operator-policies", "queues")
}

fn clear_policy(session: &mut Session) -> Result<(), Failure> {
    clear(session, "policy", "policies")
}

fn clear_operator_policy(session: &mut Session) -> Result<(), Failure> {
    clear(session, "operator policy", "operator-policies")
}

fn list_policies(session: &mut Session) -> Result<(), Failure> {
    list(session, "policies", "policies")
}

fn list_operator_policies(session: &mut Session) -> Result<(), Failure> {
    list(session, "operator policy overrides", "operator-policies")
}

fn set(session: &mut Session, what: &str, route: &str, applies_to: &str) -> Result<(), Failure> {
    let (name, pattern, definition) = (session.argument(0), session.argument(1), session.argument(2));
    let (vhost, priority) = (session.vhost(), session.given.option("priority").unwrap_or("0").to_owned());
    session.banner(format!(
        "Setting {what} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \"{priority}\" for vhost \
         \"{vhost}\" ..."
    ))?;
    let definition = json_argument(&definition)?;
    session.need_vhost(&vhost)?;
    let body = json!({
        "pattern": pattern,
        "definition": definition,
        "priority": priority.parse::<i64>().unwrap_or(0),
        "apply-to": session.given.option("apply-to").unwrap_or(applies_to),
    });
    session.put(&path(&[route, &vhost, &name]), &body)
}

fn clear(session: &mut Session, what: &str, route: &str) -> Result<(), Failure> {
    let (name, vhost) = (session.argument(0), session.vhost());
    session.banner(format!("Clearing {what} \"{name}\" on vhost \"{vhost}\" ..."))?;
    gone(session.delete(&path(&[route, &vhost, &name]))?)
}

fn list(session: &mut Session, what: &str, route: &str) -> Result<(), Failure> {
    let vhost = session.vhost();
    session.banner(format!("Listing {what} for vhost \"{vhost}\" ..."))?;
    session.need_vhost(&vhost)?;
    session.write_list(&path(&[route, &vhost]), COLUMNS, Some)
}

//! Who may do what in which virtual host.

use serde_json::json;

use super::CTL_AND_DIAGNOSTICS;
use super::users::user;
use crate::ctl::command::Command;
use crate::ctl::exit::Failure;
use crate::ctl::listing::Column;
use crate::ctl::session::{Session, path};

pub const COMMANDS: &[Command] = &[
    Command::new("set_permissions", "Gives a user access to a virtual host", set_permissions)
        .takes(4, "<username> <conf> <write> <read>"),
    Command::new("clear_permissions", "Takes a user's access to a virtual host away", clear_permissions)
        .takes(1, "<username>"),
    Command::new("list_permissions", "Lists who has access to a virtual host", list_permissions)
        .of(CTL_AND_DIAGNOSTICS),
    Command::new("list_user_permissions", "Lists the virtual hosts that a user has access to", list_user_permissions)
        .takes(1, "<username>")
        .of(CTL_AND_DIAGNOSTICS),
    Command::new("set_topic_permissions", "Limits a user to routing keys of a topic exchange", set_topic_permissions)
        .takes(4, "<username> <exchange> <write> <read>"),
    Command::new("clear_topic_permissions", "Ends a user's limits to routing keys", clear_topic_permissions)
        .takes_between(1, 2, "<username> [<exchange>]"),
    Command::new("list_topic_permissions", "Lists the topic permissions of a virtual host", list_topic_permissions)
        .of(CTL_AND_DIAGNOSTICS),
    Command::new("list_user_topic_permissions", "Lists the topic permissions of a user", list_user_topic_permissions)
        .takes(1, "<username>")
        .of(CTL_AND_DIAGNOSTICS),
];

const USER: Column = Column::plain("user");
const VHOST: Column = Column::plain("vhost");
const EXCHANGE: Column = Column::plain("exchange");
const CONFIGURE: Column = Column::plain("configure");
const WRITE: Column = Column::plain("write");
const READ: Column = Column::plain("read");

fn set_permissions(session: &mut Session) -> Result<(), Failure> {
    let (name, vhost) = (session.argument(0), session.vhost());
    session.banner(format!("Setting permissions for user \"{name}\" in vhost \"{vhost}\" ..."))?;
    need_both(session, &name, &vhost)?;
    let body = json!({
        "configure": session.argument(1), "write": session.argument(2), "read": session.argument(3),
    });
    session.put(&path(&["permissions", &vhost, &name]), &body)
}

fn clear_permissions(session: &mut Session) -> Result<(), Failure> {
    let (name, vhost) = (session.argument(0), session.vhost());
    session.banner(format!("Clearing permissions for user \"{name}\" in vhost \"{vhost}\" ..."))?;
    need_both(session, &name, &vhost)?;
    session.delete(&path(&["permissions", &vhost, &name])).map(|_| ())
}

fn list_permissions(session: &mut Session) -> Result<(), Failure> {
    let vhost = session.vhost();
    session.banner(format!("Listing permissions for vhost \"{vhost}\" ..."))?;
    session.need_vhost(&vhost)?;
    session.write_list(&path(&["vhosts", &vhost, "permissions"]), &[&USER, &CONFIGURE, &WRITE, &READ], Some)
}

fn list_user_permissions(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Listing permissions for user \"{name}\" ..."))?;
    need_user(session, &name)?;
    session.write_list(&path(&["users", &name, "permissions"]), &[&VHOST, &CONFIGURE, &WRITE, &READ], Some)
}

fn set_topic_permissions(session: &mut Session) -> Result<(), Failure> {
    let (name, exchange, vhost) = (session.argument(0), session.argument(1), session.vhost());
    session
        .banner(format!("Setting topic permissions on \"{exchange}\" for user \"{name}\" in vhost \"{vhost}\" ..."))?;
    need_both(session, &name, &vhost)?;
    let body = json!({ "exchange": exchange, "write": session.argument(2), "read": session.argument(3) });
    session.put(&path(&["topic-permissions", &vhost, &name]), &body)
}

fn clear_topic_permissions(session: &mut Session) -> Result<(), Failure> {
    let (name, vhost) = (session.argument(0), session.vhost());
    let exchange = session.given.argument(1).map(str::to_owned);
    let on = exchange.as_ref().map_or_else(String::new, |exchange| format!(" on \"{exchange}\""));
    session.banner(format!("Clearing topic permissions{on} for user \"{name}\" in vhost \"{vhost}\" ..."))?;
    need_both(session, &name, &vhost)?;
    let route = match &exchange {
        Some(exchange) => path(&["topic-permissions", &vhost, &name, exchange]),
        None => path(&["topic-permissions", &vhost, &name]),
    };
    session.delete(&route).map(|_| ())
}

fn list_topic_permissions(session: &mut Session) -> Result<(), Failure> {
    let vhost = session.vhost();
    session.banner(format!("Listing topic permissions for vhost \"{vhost}\" ..."))?;
    session.need_vhost(&vhost)?;
    session.write_list(&path(&["vhosts", &vhost, "topic-permissions"]), &[&USER, &EXCHANGE, &WRITE, &READ], Some)
}

fn list_user_topic_permissions(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Listing topic permissions for user \"{name}\" ..."))?;
    need_user(session, &name)?;
    session.write_list(&path(&["users", &name, "topic-permissions"]), &[&VHOST, &EXCHANGE, &WRITE, &READ], Some)
}

fn need_user(session: &mut Session, name: &str) -> Result<(), Failure> {
    match user(session, name)? {
        Some(_) => Ok(()),
        None => Err(Failure::no_such_user(name)),
    }
}

fn need_both(session: &mut Session, user: &str, vhost: &str) -> Result<(), Failure> {
    // RabbitMQ's words and code for a vhost that is missing differ from those of lists.
    let missing = |_| Failure::missing(format!("Virtual host {vhost} does not exist"));
    session
        .need_vhost(vhost)
        .map_err(|failure| if failure == Failure::no_such_vhost(vhost) { missing(()) } else { failure })?;
    need_user(session, user)
}

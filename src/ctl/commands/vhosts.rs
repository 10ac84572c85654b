//! Virtual hosts.

use hyper::Method;
use serde_json::{Value as Json, json};

use super::{CTL_AND_DIAGNOSTICS, named};
use crate::ctl::command::{Command, Opt};
use crate::ctl::exit::{Failure, code};
use crate::ctl::listing::Column;
use crate::ctl::session::{Object, Session, path};
use crate::ctl::term::Kind;

const METADATA: &[Opt] = &[
    Opt::text("description", "<text>", "what the virtual host is for"),
    Opt::text("tags", "<tag1,tag2>", "tags, separated by commas"),
    Opt::text("default-queue-type", "<type>", "the type of queues that are declared without one"),
];

pub const COMMANDS: &[Command] = &[
    Command::new("add_vhost", "Makes a virtual host", add_vhost).takes(1, "<vhost>").options(METADATA),
    Command::new(
        "update_vhost_metadata",
        "Changes a virtual host's description, tags or default queue type",
        update_vhost,
    )
    .takes(1, "<vhost>")
    .options(METADATA),
    Command::new("delete_vhost", "Deletes a virtual host with all that is in it", delete_vhost).takes(1, "<vhost>"),
    Command::new("enable_vhost_deletion_protection", "Protects a virtual host from deletion", protect)
        .takes(1, "<vhost>"),
    Command::new("disable_vhost_deletion_protection", "Lets a virtual host be deleted again", unprotect)
        .takes(1, "<vhost>"),
    Command::new("enable_vhost_protection_from_deletion", "Another name of enable_vhost_deletion_protection", protect)
        .takes(1, "<vhost>"),
    Command::new(
        "disable_vhost_protection_from_deletion",
        "Another name of disable_vhost_deletion_protection",
        unprotect,
    )
    .takes(1, "<vhost>"),
    Command::new("list_vhosts", "Lists virtual hosts", list_vhosts).lists(VHOSTS).of(CTL_AND_DIAGNOSTICS),
    Command::new("restart_vhost", "Starts a virtual host that has failed", restart_vhost),
    Command::new("set_vhost_tags", "Sets a virtual host's tags", set_vhost_tags).takes_from(1, "<vhost> <tag> [...]"),
    Command::new("trace_on", "Copies every message to the exchange amq.rabbitmq.trace", trace_on),
    Command::new("trace_off", "Ends trace_on", trace_off),
];

const VHOSTS: &[Column] = &[
    Column::plain("name"),
    Column::plain("description"),
    Column::plain("tags").as_kind(Kind::Atoms),
    Column::plain("default_queue_type"),
    Column::plain("protected_from_deletion"),
    Column::plain("tracing"),
    Column::plain("cluster_state").as_kind(Kind::Json),
    Column::plain("metadata").as_kind(Kind::Json),
    Column::plain("messages"),
    Column::plain("messages_ready"),
    Column::plain("messages_unacknowledged"),
];

fn add_vhost(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    named("vhost", &name)?;
    session.banner(format!("Adding vhost \"{name}\" ..."))?;
    let body = metadata(session);
    session.put(&path(&["vhosts", &name]), &Json::Object(body))
}

fn update_vhost(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Updating metadata of vhost \"{name}\" ..."))?;
    let changes = metadata(session);
    change(session, &name, changes)
}

fn delete_vhost(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Deleting vhost \"{name}\" ..."))?;
    let reply = session.send(Method::DELETE, &path(&["vhosts", &name]), None)?;
    match reply.status {
        404 => Err(Failure::no_such_vhost(&name)),
        412 => Err(Failure::error(
            code::DATA,
            "Cannot delete this virtual host: it is protected from deletion. \
             disable_vhost_deletion_protection lifts the protection",
        )),
        _ => session.accept(reply).map(|_| ()),
    }
}

fn protect(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Protecting virtual host \"{name}\" from removal by updating its metadata..."))?;
    session.need_vhost(&name)?;
    session.post(&path(&["vhosts", &name, "deletion", "protection"]), &json!({})).map(|_| ())
}

fn unprotect(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Removing deletion protection of virtual host \"{name}\" by updating its metadata..."))?;
    match session.delete(&path(&["vhosts", &name, "deletion", "protection"]))? {
        true => Ok(()),
        false => Err(Failure::no_such_vhost(&name)),
    }
}

fn list_vhosts(session: &mut Session) -> Result<(), Failure> {
    session.banner("Listing vhosts ...")?;
    session.list("/api/vhosts", &["name"], Some)
}

fn restart_vhost(session: &mut Session) -> Result<(), Failure> {
    let (vhost, node) = (session.vhost(), session.node().to_owned());
    session.banner(format!("Trying to restart vhost '{vhost}' on node '{node}' ..."))?;
    session.need_vhost(&vhost)?;
    session.say(format!("Vhost '{vhost}' is already running on node '{node}'"))
}

fn set_vhost_tags(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    let tags: Vec<String> = session.given.arguments.iter().skip(1).cloned().collect();
    session.banner(format!("Setting tags for virtual host \"{name}\" to [{}] ...", tags.join(", ")))?;
    change(session, &name, Object::from_iter([("tags".to_owned(), json!(tags.join(",")))]))
}

fn trace_on(session: &mut Session) -> Result<(), Failure> {
    let vhost = session.vhost();
    session.banner(format!("Starting tracing for vhost \"{vhost}\" ..."))?;
    change(session, &vhost, Object::from_iter([("tracing".to_owned(), json!(true))]))?;
    session.say(format!("Trace enabled for vhost {vhost}"))
}

fn trace_off(session: &mut Session) -> Result<(), Failure> {
    let vhost = session.vhost();
    session.banner(format!("Stopping tracing for vhost \"{vhost}\" ..."))?;
    change(session, &vhost, Object::from_iter([("tracing".to_owned(), json!(false))]))?;
    session.say(format!("Trace disabled for vhost {vhost}"))
}

fn metadata(session: &Session) -> Object {
    let given = ["description", "tags", "default-queue-type"].into_iter().filter_map(|name| {
        let value = session.given.option(name)?;
        Some((name.replace('-', "_"), json!(value)))
    });
    given.collect()
}

/// Changes some of a virtual host's fields; the others stay.
fn change(session: &mut Session, name: &str, changes: Object) -> Result<(), Failure> {
    session.need_vhost(name)?;
    session.put(&path(&["vhosts", name]), &Json::Object(changes))
}

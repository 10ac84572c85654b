//! Runtime parameters.

use serde_json::json;

use super::{CTL_AND_DIAGNOSTICS, json_argument};
use crate::ctl::command::Command;
use crate::ctl::exit::Failure;
use crate::ctl::listing::Column;
use crate::ctl::session::{Session, path};
use crate::ctl::term::Kind;

pub const COMMANDS: &[Command] = &[
    Command::new("set_parameter", "Sets a parameter of a virtual host", set_parameter)
        .takes(3, "<component_name> <name> <value>"),
    Command::new("clear_parameter", "Clears a parameter of a virtual host", clear_parameter)
        .takes(2, "<component_name> <name>"),
    Command::new("list_parameters", "Lists the parameters of a virtual host", list_parameters).of(CTL_AND_DIAGNOSTICS),
    Command::new("set_global_parameter", "Sets a parameter of the broker", set_global_parameter)
        .takes(2, "<name> <value>"),
    Command::new("clear_global_parameter", "Clears a parameter of the broker", clear_global_parameter)
        .takes(1, "<name>"),
    Command::new("list_global_parameters", "Lists the parameters of the broker", list_global_parameters)
        .of(CTL_AND_DIAGNOSTICS),
];

const NAME: Column = Column::plain("name");
const VALUE: Column = Column::plain("value").as_kind(Kind::Json);

fn set_parameter(session: &mut Session) -> Result<(), Failure> {
    let (component, name, value) = (session.argument(0), session.argument(1), session.argument(2));
    let vhost = session.vhost();
    session.banner(format!(
        "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{value}\" in vhost \"{vhost}\" ..."
    ))?;
    let value = json_argument(&value)?;
    session.need_vhost(&vhost)?;
    let body = json!({ "component": component, "vhost": vhost, "name": name, "value": value });
    session.put(&path(&["parameters", &component, &vhost, &name]), &body)
}

fn clear_parameter(session: &mut Session) -> Result<(), Failure> {
    let (component, name, vhost) = (session.argument(0), session.argument(1), session.vhost());
    session.banner(format!(
        "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ..."
    ))?;
    gone(session.delete(&path(&["parameters", &component, &vhost, &name]))?)
}

fn list_parameters(session: &mut Session) -> Result<(), Failure> {
    let vhost = session.vhost();
    session.banner(format!("Listing runtime parameters for vhost \"{vhost}\" ..."))?;
    session.need_vhost(&vhost)?;
    session.write_list("/api/parameters", &[&Column::plain("component"), &NAME, &VALUE], |parameter| {
        let is_here = parameter.get("vhost").and_then(|name| name.as_str()) == Some(&vhost);
        is_here.then_some(parameter)
    })
}

fn set_global_parameter(session: &mut Session) -> Result<(), Failure> {
    let (name, value) = (session.argument(0), session.argument(1));
    session.banner(format!("Setting global runtime parameter \"{name}\" to \"{value}\" ..."))?;
    let value = json_argument(&value)?;
    session.put(&path(&["global-parameters", &name]), &json!({ "name": name, "value": value }))
}

fn clear_global_parameter(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Clearing global runtime parameter \"{name}\" ..."))?;
    gone(session.delete(&path(&["global-parameters", &name]))?)
}

fn list_global_parameters(session: &mut Session) -> Result<(), Failure> {
    session.banner("Listing global runtime parameters ...")?;
    session.write_list("/api/global-parameters", &[&NAME, &VALUE], Some)
}

pub fn gone(was_there: bool) -> Result<(), Failure> {
    if was_there { Ok(()) } else { Err(Failure::missing("Parameter does not exist")) }
}

//! `rabbitmq-plugins`: what are plugins elsewhere is part of the program here, and always on.

use serde_json::json;

use super::EVERYWHERE;
use crate::ctl::command::{Command, Needs, Opt, Tool};
use crate::ctl::exit::{Failure, code};
use crate::ctl::session::Session;
use crate::plugins::{ABSENT, BUILT_IN};

const PLUGINS: &[Tool] = &[Tool::Plugins];
const WHERE: &[Opt] = &[
    Opt::switch("offline", "asks no node"),
    Opt::switch("online", "asks the node"),
    Opt::switch("all", "all plugins"),
];

pub const COMMANDS: &[Command] = &[
    Command::new("list", "Lists plugins: what is part of the program, and what there is not", list)
        .takes_between(0, 1, "[pattern]")
        .options(&[
            Opt::switch("verbose", "accepted").short('v'),
            Opt::switch("minimal", "names only").short('m'),
            Opt::switch("enabled", "only what is there").short('E'),
            Opt::switch("implicitly-enabled", "only what is there").short('e'),
        ])
        .of(PLUGINS)
        .needs(Needs::NoNode),
    Command::new("is_enabled", "Whether plugins are there", is_enabled)
        .takes_from(1, "<plugin1> [ <plugin2>]")
        .options(WHERE)
        .of(PLUGINS)
        .needs(Needs::NoNode),
    Command::new("enable", "What is part of the program is on already", enable)
        .takes_from(0, "<plugin1> [ <plugin2>] | --all")
        .options(WHERE)
        .of(PLUGINS)
        .needs(Needs::NoNode),
    Command::new("set", "What is part of the program is on already", enable)
        .takes_from(0, "<plugin1> [ <plugin2>]")
        .options(WHERE)
        .of(PLUGINS)
        .needs(Needs::NoNode),
    Command::new("disable", "What is part of the program stays on", disable)
        .takes_from(0, "<plugin1> [ <plugin2>] | --all")
        .options(WHERE)
        .of(PLUGINS)
        .needs(Needs::NoNode),
    Command::new("directories", "Where plugins are: nowhere", directories)
        .options(WHERE)
        .of(PLUGINS)
        .needs(Needs::NoNode),
    Command::new("list_plugins", "The same as rabbitmq-plugins list -E -m", list_names)
        .of(EVERYWHERE)
        .needs(Needs::NoNode),
];

fn list(session: &mut Session) -> Result<(), Failure> {
    let pattern = session.argument(0);
    session
        .banner(format!("Listing plugins with pattern \"{}\" ...", if pattern.is_empty() { ".*" } else { &pattern }))?;
    let pattern = fancy_regex::Regex::new(&pattern).map_err(|e| Failure::bad_argument(format!("Bad argument: {e}")))?;
    let only_enabled = session.given.has("enabled") || session.given.has("implicitly-enabled");
    let absent: &[&str] = if only_enabled { &[] } else { ABSENT };
    let is_meant = |name: &&str| pattern.is_match(name).unwrap_or(false);
    let mut plugins: Vec<&str> = BUILT_IN.iter().chain(absent).copied().filter(is_meant).collect();
    plugins.sort_unstable();
    let version = env!("CARGO_PKG_VERSION");
    let is_built_in = |name: &str| BUILT_IN.contains(&name);
    if session.given.has("minimal") {
        return plugins.iter().try_for_each(|name| session.out.line(name));
    }
    let done = session.out.as_json(|| {
        let plugin = |name: &&str| {
            let on = is_built_in(name);
            let state = if on { "enabled" } else { "not_enabled" };
            json!({ "name": name, "enabled": state, "running": on, "version": version, "running_version": on.then_some(version) })
        };
        json!({ "format": "normal", "plugins": plugins.iter().map(plugin).collect::<Vec<_>>() })
    })?;
    if done {
        return Ok(());
    }
    session.banner(" Configured: E = explicitly enabled; e = implicitly enabled")?;
    session.banner(" | Status: * = running")?;
    session.banner(" |/")?;
    let width = plugins.iter().map(|name| name.len()).max().unwrap_or(0);
    for name in plugins {
        let state = if is_built_in(name) { "[E*]" } else { "[  ]" };
        session.out.line(format!("{state} {name:<width$} {version}"))?;
    }
    Ok(())
}

fn list_names(session: &mut Session) -> Result<(), Failure> {
    BUILT_IN.iter().try_for_each(|name| session.out.line(name))
}

fn is_enabled(session: &mut Session) -> Result<(), Failure> {
    let asked = session.given.arguments.clone();
    let missing: Vec<&str> = asked.iter().map(String::as_str).filter(|name| !BUILT_IN.contains(name)).collect();
    match missing.as_slice() {
        [] => {
            let (noun, verb) = if asked.len() == 1 { ("Plugin", "is") } else { ("Plugins", "are") };
            session.say(format!("{noun} {} {verb} enabled", asked.join(", ")))
        }
        missing => Err(Failure::refused(format!(
            "Plugin {} is not enabled. Enabled plugins and dependencies: {}",
            missing.join(", "),
            BUILT_IN.join(", ")
        ))),
    }
}

fn enable(session: &mut Session) -> Result<(), Failure> {
    let asked = session.given.arguments.clone();
    session.banner("Enabling plugins:")?;
    asked.iter().try_for_each(|name| session.banner(name))?;
    let absent: Vec<&str> = asked.iter().map(String::as_str).filter(|name| ABSENT.contains(name)).collect();
    if !absent.is_empty() {
        return Err(Failure::error(
            code::SOFTWARE,
            format!("there is nothing of {} in this broker", absent.join(", ")),
        ));
    }
    known(&asked)?;
    session.say("Plugin configuration unchanged.")
}

fn disable(session: &mut Session) -> Result<(), Failure> {
    let asked = session.given.arguments.clone();
    session.banner("Disabling plugins:")?;
    asked.iter().try_for_each(|name| session.banner(name))?;
    known(&asked)?;
    session.say("Plugin configuration unchanged: what is part of the program stays on.")
}

fn known(asked: &[String]) -> Result<(), Failure> {
    let is_known = |name: &&String| BUILT_IN.contains(&name.as_str()) || ABSENT.contains(&name.as_str());
    let unknown: Vec<String> = asked.iter().filter(|name| !is_known(name)).map(|name| format!(":{name}")).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Failure::error(code::SOFTWARE, format!("{{:plugins_not_found, [{}]}}", unknown.join(", "))))
}

fn directories(session: &mut Session) -> Result<(), Failure> {
    session.say("There are no plugin directories: everything is part of the program")
}

//! What only means something with an Erlang runtime. `eval` knows the few expressions that client test suites send; anything
//! else is refused, with what to use instead.

use serde_json::json;

use super::{CTL_AND_DIAGNOSTICS, DIAGNOSTICS};
use crate::ctl::command::{Command, Needs, Opt};
use crate::ctl::exit::{Failure, code};
use crate::ctl::session::{Session, path};

pub const COMMANDS: &[Command] = &[
    Command::new("eval", "The few expressions that client test suites need: alarms and application:set_env", eval)
        .takes_from(1, "<expression>")
        .needs(Needs::Node),
    Command::new("eval_file", "Not here: there is no Erlang", no_erlang).takes(1, "<file path>").needs(Needs::NoNode),
    Command::new("exec", "Not here: there is no Elixir", no_erlang)
        .takes_from(1, "<expression>")
        .options(&[Opt::switch("offline", "accepted")])
        .needs(Needs::NoNode),
    Command::new("remote_shell", "Not here: there is no Erlang", no_erlang).of(DIAGNOSTICS).needs(Needs::NoNode),
    Command::new("observer", "Not here: there is no Erlang; see the metrics", no_erlang)
        .options(&[Opt::number("interval", "<seconds>", "accepted")])
        .of(DIAGNOSTICS)
        .needs(Needs::NoNode),
    Command::new("schema_info", "Not here: there is no Mnesia", no_erlang)
        .takes_from(0, "[<column> ...]")
        .of(CTL_AND_DIAGNOSTICS)
        .needs(Needs::NoNode),
    Command::new("erlang_cookie_hash", "Not here: there is no cookie", no_erlang).of(DIAGNOSTICS).needs(Needs::NoNode),
    Command::new("erlang_cookie_sources", "Not here: there is no cookie", no_erlang)
        .of(DIAGNOSTICS)
        .needs(Needs::NoNode),
    Command::new("runtime_thread_stats", "Not here: there are no Erlang schedulers; see the metrics", no_erlang)
        .options(&[Opt::number("sample-interval", "<seconds>", "accepted")])
        .of(DIAGNOSTICS)
        .needs(Needs::NoNode),
    Command::new("erlang_version", "The Erlang version that the HTTP API names, for tools that ask", erlang_version)
        .of(DIAGNOSTICS)
        .needs(Needs::NoNode),
    Command::new("maybe_stuck", "Stuck Erlang processes: there are none", maybe_stuck).of(DIAGNOSTICS),
    Command::new("force_gc", "Nothing: memory is given back at once", nothing_to_do),
    Command::new("hipe_compile", "Nothing", nothing_to_do).takes(1, "<directory>").needs(Needs::NoNode),
];

fn no_erlang(session: &mut Session) -> Result<(), Failure> {
    let (name, tool) = (session.given.command.name, session.given.tool.name());
    Err(Failure::error(
        code::SOFTWARE,
        format!("{name}: this broker does not run on Erlang. '{tool} help' lists what there is"),
    ))
}

fn erlang_version(session: &mut Session) -> Result<(), Failure> {
    session.say("none: this broker does not run on Erlang")
}

fn maybe_stuck(session: &mut Session) -> Result<(), Failure> {
    session.say("Found 0 suspicious processes.")
}

fn nothing_to_do(session: &mut Session) -> Result<(), Failure> {
    session.say("There is nothing to do")
}

/// An expression that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    SetAlarm(&'static str),
    ClearAlarm(&'static str),
    SetEnv(String, String),
}

fn eval(session: &mut Session) -> Result<(), Failure> {
    let expression = session.given.arguments.join(" ");
    let known = read(&expression).ok_or_else(|| {
        Failure::error(
            code::SOFTWARE,
            "this broker does not run on Erlang. Of eval there is rabbit_alarm:set_alarm and clear_alarm of memory and disk, and \
             application:set_env(rabbit, channel_max | loopback_users, ...). 'config effective' shows settings, and every other \
             change has a command of its own",
        )
    })?;
    let told = match known {
        Known::SetAlarm(resource) => session.put(&path(&["leveret", "alarms", resource]), &json!({})),
        Known::ClearAlarm(resource) => session.delete(&path(&["leveret", "alarms", resource])).map(|_| ()),
        Known::SetEnv(key, value) => session.put(&path(&["leveret", "node", "env", &key]), &json!({ "value": value })),
    };
    told?;
    session.out.line("ok")
}

/// Reads an expression; blanks do not matter.
fn read(expression: &str) -> Option<Known> {
    let text: String = expression.chars().filter(|c| !c.is_whitespace()).collect();
    let text = text.strip_suffix('.').unwrap_or(&text);
    let resource = |name: &str| match name {
        "memory" => Some("memory"),
        "disk" => Some("disk"),
        _ => None,
    };
    if let Some(name) = between(text, "rabbit_alarm:set_alarm({{resource_limit,", ",node()},[]})") {
        return resource(name).map(Known::SetAlarm);
    }
    if let Some(name) = between(text, "rabbit_alarm:clear_alarm({resource_limit,", ",node()})") {
        return resource(name).map(Known::ClearAlarm);
    }
    let (key, value) = between(text, "application:set_env(rabbit,", ")")?.split_once(',')?;
    match key {
        "channel_max" => value.parse::<u16>().ok()?,
        "loopback_users" if value.starts_with('[') && value.ends_with(']') => 0,
        _ => return None,
    };
    Some(Known::SetEnv(key.to_owned(), value.to_owned()))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expressions_of_client_suites_are_read() {
        for resource in ["memory", "disk"] {
            let set = format!("rabbit_alarm:set_alarm({{{{resource_limit, {resource}, node()}}, []}}).");
            assert_eq!(read(&set), Some(Known::SetAlarm(resource)));
            let clear = format!("rabbit_alarm:clear_alarm({{resource_limit, {resource}, node()}}).");
            assert_eq!(read(&clear), Some(Known::ClearAlarm(resource)));
        }
        let set = |key: &str, value: &str| Some(Known::SetEnv(key.to_owned(), value.to_owned()));
        assert_eq!(read("application:set_env(rabbit, channel_max, 5)."), set("channel_max", "5"));
        assert_eq!(read("application:set_env(rabbit, loopback_users, [])."), set("loopback_users", "[]"));
        assert_eq!(
            read("application:set_env(rabbit,loopback_users,[<<\"guest\">>])"),
            set("loopback_users", "[<<\"guest\">>]")
        );
    }

    #[test]
    fn everything_else_is_not() {
        for other in [
            "1+1.",
            "",
            "application:set_env(rabbit, channel_max, many).",
            "init:stop().",
            "rabbit_alarm:set_alarm({{resource_limit, cpu, node()}, []}).",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}

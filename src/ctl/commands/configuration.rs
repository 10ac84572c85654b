//! Settings of the running node.

use serde_json::{Value as Json, json};

use super::status::plain;
use super::{CTL_AND_DIAGNOSTICS, DIAGNOSTICS};
use crate::ctl::command::{Command, Needs, Opt};
use crate::ctl::exit::{Failure, code};
use crate::ctl::session::Session;

pub const COMMANDS: &[Command] = &[
    Command::new("set_cluster_name", "Sets the cluster's name", set_cluster_name).takes(1, "<name>"),
    Command::new(
        "set_vm_memory_high_watermark",
        "Sets the memory at which publishers wait, until the next start",
        set_memory,
    )
    .takes_between(1, 2, "<fraction> | absolute <value>"),
    Command::new(
        "set_disk_free_limit",
        "Sets the free disk space at which publishers wait, until the next start",
        set_disk,
    )
    .takes_between(1, 2, "<disk_limit> | mem_relative <fraction>"),
    Command::new("config", "effective: every setting that is in force; reload: reads the file again", config)
        .takes(1, "effective | reload")
        .of(CTL_AND_DIAGNOSTICS),
    Command::new("environment", "Every setting that is in force", environment)
        .of(CTL_AND_DIAGNOSTICS)
        .needs(Needs::Node),
    Command::new("os_env", "The environment variables that this broker reads", os_env)
        .of(DIAGNOSTICS)
        .needs(Needs::NoNode),
    Command::new("encode", "Not here: settings are not encrypted", no_encryption)
        .takes_from(0, "value passphrase")
        .options(CIPHER)
        .needs(Needs::NoNode),
    Command::new("decode", "Not here: settings are not encrypted", no_encryption)
        .takes_from(0, "value passphrase")
        .options(CIPHER)
        .needs(Needs::NoNode),
    Command::new("list_ciphers", "Ciphers of encode: none", no_encryption).of(CTL_AND_DIAGNOSTICS).needs(Needs::NoNode),
    Command::new("list_hashes", "Hash functions of passwords", list_hashes)
        .of(CTL_AND_DIAGNOSTICS)
        .needs(Needs::NoNode),
];

const CIPHER: &[Opt] = &[
    Opt::text("cipher", "<cipher>", "accepted"),
    Opt::text("hash", "<hash>", "accepted"),
    Opt::number("iterations", "<iterations>", "accepted"),
];

fn set_cluster_name(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Setting cluster name to {name} ..."))?;
    session.put("/api/cluster-name", &json!({ "name": name }))
}

fn set_memory(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    let (first, second) = (session.argument(0), session.given.argument(1).map(str::to_owned));
    let (shown, body) = match second {
        Some(amount) if first == "absolute" => (format!("{amount} bytes"), json!({ "absolute": amount })),
        None => (first.clone(), json!({ "relative": fraction(&first)? })),
        Some(_) => return Err(Failure::bad_argument("Bad argument.")),
    };
    session.banner(format!("Setting memory threshold on {node} to {shown} ..."))?;
    session.put("/api/leveret/memory/watermark", &body)
}

fn set_disk(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    let (first, second) = (session.argument(0), session.given.argument(1).map(str::to_owned));
    let (shown, body) = match second {
        Some(share) if first == "mem_relative" => {
            (format!("{share} times the total RAM"), json!({ "mem_relative": positive(&share)? }))
        }
        None => (format!("{first} bytes"), json!({ "absolute": first })),
        Some(_) => return Err(Failure::bad_argument("Bad argument.")),
    };
    session.banner(format!("Setting disk free limit on {node} to {shown} ..."))?;
    session.put("/api/leveret/disk/limit", &body)
}

/// A share of the memory, from 0 to 1.
fn fraction(text: &str) -> Result<f64, Failure> {
    match positive(text)? {
        share if share <= 1.0 => Ok(share),
        _ => Err(Failure::bad_argument("The threshold should be a fraction between 0.0 and 1.0")),
    }
}

fn positive(text: &str) -> Result<f64, Failure> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| Failure::bad_argument("Bad argument."))
}

fn config(session: &mut Session) -> Result<(), Failure> {
    match session.argument(0).as_str() {
        "effective" => environment(session),
        "reload" => {
            session.banner("Reading the configuration again ...")?;
            let answer = session.post("/api/leveret/config/reload", &json!({}))?;
            show(session, &answer)?;
            let failures = answer.get("failures").and_then(Json::as_array).map_or(0, Vec::len);
            if failures > 0 {
                return Err(Failure::refused(format!("{failures} of the changes could not be made, as said above")));
            }
            Ok(())
        }
        other => Err(Failure::usage(format!("there is no 'config {other}': effective or reload"))),
    }
}

fn environment(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Application environment of node {node} ..."))?;
    let settings = session.get("/api/leveret/config")?;
    show(session, &settings)
}

/// Text as it is, settings a line each.
fn show(session: &mut Session, answer: &Json) -> Result<(), Failure> {
    if session.out.as_json(|| answer.clone())? {
        return Ok(());
    }
    match answer {
        Json::Null => Ok(()),
        Json::Object(settings) => {
            settings.iter().try_for_each(|(key, value)| session.out.line(format!("{key} = {}", plain(value))))
        }
        Json::Array(items) => items.iter().try_for_each(|item| session.out.line(setting(item))),
        other => session.out.line(plain(other)),
    }
}

/// A setting as a line of the configuration file.
fn setting(item: &Json) -> String {
    let word = |field: &str| item.get(field).map(plain);
    match (word("key"), word("value").filter(|value| !value.is_empty()), word("source")) {
        (Some(key), Some(value), Some(source)) => format!("{key} = {value}  # {source}"),
        (Some(key), None, _) => format!("# {key} is not set"),
        _ => plain(item),
    }
}

fn os_env(session: &mut Session) -> Result<(), Failure> {
    session.banner("Listing the environment variables that this broker and its tools read ...")?;
    let mut known: Vec<(String, String)> = std::env::vars()
        .filter(|(name, _)| name.starts_with("RABBITMQ_") || name.starts_with("LEVERET_"))
        .map(|(name, value)| {
            let secret = ["PASS", "COOKIE", "SECRET"].iter().any(|word| name.contains(word));
            (name, if secret { "(not shown)".to_owned() } else { value })
        })
        .collect();
    known.sort();
    known.iter().try_for_each(|(name, value)| session.out.line(format!("{name}={value}")))
}

fn no_encryption(_: &mut Session) -> Result<(), Failure> {
    Err(Failure::error(
        code::SOFTWARE,
        "values in the configuration are not encrypted here: keep the file readable for the broker's user only, or give \
         passwords by the environment",
    ))
}

fn list_hashes(session: &mut Session) -> Result<(), Failure> {
    session.banner("Listing supported hash algorithms ...")?;
    let names = crate::auth::Hashing::ALL.map(crate::auth::Hashing::name);
    names.iter().try_for_each(|name| session.out.line(name))
}

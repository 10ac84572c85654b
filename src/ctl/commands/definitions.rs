//! Definitions: users, virtual hosts, queues and all the rest as one JSON document.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hyper::Method;
use hyper::body::Bytes;
use serde_json::{Value as Json, json};

use crate::ctl::command::{Command, Opt};
use crate::ctl::exit::{Failure, code};
use crate::ctl::format::Form;
use crate::ctl::session::{Session, encoded, path};
use crate::visible::visible;

/// Largest file of definitions.
const LARGEST: u64 = 256 << 20;
const FORMAT: Opt = Opt::text("format", "<json | erlang>", "json; there is no Erlang here");

pub const COMMANDS: &[Command] = &[
    Command::new("export_definitions", "Writes all definitions to a file, or - for the standard output", export)
        .takes(1, "<file_path | \"-\">")
        .options(&[FORMAT]),
    Command::new("import_definitions", "Reads definitions from a file or the standard input; all or nothing", import)
        .takes_between(0, 1, "<file_path | \"-\">")
        .options(&[FORMAT, Opt::switch("skip-if-unchanged", "nothing is done when nothing differs")]),
    Command::new(
        "definitions",
        "plan: shows what a file would change; apply: changes it, all or nothing",
        plan_or_apply,
    )
    .takes(2, "plan | apply <file_path | \"-\">")
    .options(&[
        Opt::switch("prune", "also removes what the file does not have"),
        Opt::switch("exit-code", "with plan: 2 when there are differences"),
    ]),
];

fn export(session: &mut Session) -> Result<(), Failure> {
    check_format(session)?;
    let file = session.argument(0);
    if file != "-" {
        session.banner(format!("Exporting definitions in JSON to a file at \"{file}\" ..."))?;
    }
    let route =
        session.given.option("vhost").map_or_else(|| path(&["definitions"]), |vhost| path(&["definitions", vhost]));
    let reply = session.send(Method::GET, &route, None)?;
    if reply.status != 200 {
        return session.accept(reply).map(|_| ());
    }
    let bytes = reply.bytes().map_err(|error| Failure::refused(error.to_string()))?;
    if file == "-" {
        session.out.bytes(&bytes)?;
        return session.out.line("");
    }
    // Hashes of passwords are in it.
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file);
    let written = opened.and_then(|mut file| file.write_all(&bytes));
    written.map_err(|error| Failure::bad_argument(format!("Bad argument: {file} cannot be written: {error}")))
}

fn import(session: &mut Session) -> Result<(), Failure> {
    check_format(session)?;
    let file = session.given.argument(0).unwrap_or("-").to_owned();
    let document = read(&file)?;
    match file.as_str() {
        "-" => session.banner("Importing definitions in JSON from standard input ...")?,
        file => session.banner(format!("Importing definitions in JSON from a file at \"{file}\" ..."))?,
    }
    if session.given.has("skip-if-unchanged") {
        let answer = ask(session, &path(&["leveret", "definitions", "plan"]), document.clone())?;
        let changes =
            |action: &str| answer.get("summary").and_then(|s| s.get(action)).and_then(Json::as_u64).unwrap_or(0);
        if ["create", "change", "conflict", "invalid"].iter().all(|action| changes(action) == 0) {
            return session.say("Nothing differs: nothing was done.");
        }
    }
    let warnings = send(session, document)?;
    let done = "Successfully imported definitions.";
    if session.out.form == Form::Json && !session.out.silent {
        let answer = json!({ "result": "ok", "message": done, "warnings": warnings });
        return session.out.line(answer.to_string());
    }
    warn(&warnings);
    session.say(done)
}

/// Imports, and says what the node has to remark. A broker that only has RabbitMQ's route remarks nothing.
fn send(session: &mut Session, document: Bytes) -> Result<Vec<String>, Failure> {
    let vhost = session.given.option("vhost").map(str::to_owned);
    let query = vhost.as_deref().map_or_else(String::new, |vhost| format!("?vhost={}", encoded(vhost)));
    let route = format!("{}{query}", path(&["leveret", "definitions", "apply"]));
    let reply = session.send_with(Method::POST, &route, &[], document.clone())?;
    if reply.status == 404 {
        let _ = reply.bytes();
        let of_vhost = |vhost: &String| path(&["definitions", vhost]);
        let route = vhost.as_ref().map_or_else(|| path(&["definitions"]), of_vhost);
        return ask(session, &route, document).map(|_| Vec::new());
    }
    let answer = session.accept(reply)?;
    Ok(warnings_of(&answer))
}

fn warnings_of(answer: &Json) -> Vec<String> {
    let warnings = answer.get("warnings").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    warnings.iter().filter_map(Json::as_str).map(visible).collect()
}

/// Says beside the output, which scripts read, what the node has to remark.
fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
}

fn plan_or_apply(session: &mut Session) -> Result<(), Failure> {
    let (what, file) = (session.argument(0), session.argument(1));
    if !matches!(what.as_str(), "plan" | "apply") {
        return Err(Failure::usage(format!("there is no 'definitions {what}': plan or apply")));
    }
    let document = read(&file)?;
    let prune = session.given.has("prune");
    session.banner(format!("{} definitions of {file} ...", if what == "plan" { "Comparing" } else { "Applying" }))?;
    let route = format!("{}?prune={prune}", path(&["leveret", "definitions", &what]));
    let reply = session.send_with(Method::POST, &route, &[], document)?;
    let status = reply.status;
    let answer = reply.json().unwrap_or_default();
    let Some(text) = answer.get("text").and_then(Json::as_str) else {
        let reason = answer.get("reason").and_then(Json::as_str).unwrap_or("the node does not know definitions");
        return Err(Failure::error(code::DATA, reason));
    };
    if session.out.as_json(|| answer.clone())? {
        return outcome(session, status, &answer);
    }
    session.out.bytes(text.as_bytes())?;
    warn(&warnings_of(&answer));
    if text.is_empty() {
        session.say("Nothing differs.")?;
    }
    outcome(session, status, &answer)
}

fn outcome(session: &mut Session, status: u16, answer: &Json) -> Result<(), Failure> {
    session.out.flush()?;
    let count = |action: &str| answer.get("summary").and_then(|s| s.get(action)).and_then(Json::as_u64).unwrap_or(0);
    let problems = count("conflict") + count("invalid");
    if status >= 300 || problems > 0 {
        return Err(Failure::error(code::DATA, format!("{problems} of these cannot be applied: nothing was changed")));
    }
    let differs = ["create", "change", "delete"].iter().any(|action| count(action) > 0);
    if session.given.has("exit-code") && differs {
        // As `diff` says that there are differences.
        return Err(Failure::bare(2, "there are differences"));
    }
    Ok(())
}

fn ask(session: &mut Session, route: &str, document: Bytes) -> Result<Json, Failure> {
    let reply = session.send_with(Method::POST, route, &[], document)?;
    session.accept(reply)
}

fn check_format(session: &Session) -> Result<(), Failure> {
    match session.given.option("format") {
        None | Some("json") => Ok(()),
        Some(_) => Err(Failure::usage("Format should be json: there is no Erlang here")),
    }
}

fn read(file: &str) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    if file == "-" {
        let read = std::io::stdin().take(LARGEST).read_to_end(&mut bytes);
        read.map_err(|error| Failure::error(code::DATA, format!("the standard input cannot be read: {error}")))?;
        return Ok(bytes.into());
    }
    if !Path::new(file).exists() {
        return Err(Failure::bad_argument(format!("Bad argument: File {file} does not exist")));
    }
    let read = std::fs::File::open(file).and_then(|opened| opened.take(LARGEST).read_to_end(&mut bytes));
    read.map_err(|error| Failure::bad_argument(format!("Bad argument: File {file} cannot be read: {error}")))?;
    Ok(bytes.into())
}

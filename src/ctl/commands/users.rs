//! Users and their passwords.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::{Value as Json, json};

use super::{CTL_AND_DIAGNOSTICS, named};
use crate::auth::Hashing;
use crate::auth::password;
use crate::ctl::command::{Command, Needs, Opt};
use crate::ctl::exit::{Failure, code};
use crate::ctl::listing::Column;
use crate::ctl::session::{Session, path};
use crate::ctl::term::Kind;

/// Longest password that is read from the standard input.
const LONGEST_PASSWORD: u64 = 64 << 10;

const PRE_HASHED: &[Opt] = &[Opt::switch("pre-hashed-password", "the password is a hash, in Base64")];

pub const COMMANDS: &[Command] = &[
    Command::new("add_user", "Makes a user, who has no permissions yet", add_user)
        .takes_between(1, 2, "<username> [<password>]")
        .options(PRE_HASHED)
        .with_secret(),
    Command::new("delete_user", "Removes a user", delete_user).takes(1, "<username>"),
    Command::new("change_password", "Changes a user's password", change_password)
        .takes_between(1, 2, "<username> [<password>]")
        .options(PRE_HASHED)
        .with_secret(),
    Command::new("clear_password", "Takes a user's password away: no login by password any more", clear_password)
        .takes(1, "<username>"),
    Command::new("authenticate_user", "Tries a user's password", authenticate_user)
        .takes_between(1, 2, "<username> [<password>]")
        .with_secret(),
    Command::new("set_user_tags", "Sets a user's tags", set_user_tags).takes_from(1, "<username> <tag> [...]"),
    Command::new("list_users", "Lists users and their tags", list_users).of(CTL_AND_DIAGNOSTICS),
    Command::new("hash_password", "Hashes a password as definitions have it", hash_password)
        .takes_between(0, 1, "[<password>]")
        .needs(Needs::NoNode)
        .with_secret(),
];

const USERS: &[Column] = &[Column::of("user", "name"), Column::plain("tags").as_kind(Kind::Atoms)];

fn add_user(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    named("user", &name)?;
    session.banner(format!("Adding user \"{name}\" ..."))?;
    let credentials = credentials(session)?;
    if user(session, &name)?.is_some() {
        return Err(Failure::error(code::SOFTWARE, format!("User \"{name}\" already exists")));
    }
    put_user(session, &name, credentials, json!([]))?;
    let tool = session.given.tool.name();
    session.say(format!(
        "Done. Don't forget to grant the user permissions to some virtual hosts! See '{tool} help set_permissions' to learn more."
    ))
}

fn delete_user(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Deleting user \"{name}\" ..."))?;
    if session.delete(&path(&["users", &name]))? { Ok(()) } else { Err(Failure::no_such_user(&name)) }
}

fn change_password(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Changing password for user \"{name}\" ..."))?;
    let credentials = credentials(session)?;
    let tags = existing(session, &name)?.get("tags").cloned().unwrap_or_default();
    put_user(session, &name, credentials, tags)
}

fn clear_password(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Clearing password for user \"{name}\" ..."))?;
    let tags = existing(session, &name)?.get("tags").cloned().unwrap_or_default();
    put_user(session, &name, json!({ "password_hash": "" }), tags)
}

fn set_user_tags(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    let tags: Vec<String> = session.given.arguments.iter().skip(1).cloned().collect();
    session.banner(format!("Setting tags for user \"{name}\" to [{}] ...", tags.join(", ")))?;
    let user = existing(session, &name)?;
    let hash = user.get("password_hash").and_then(Json::as_str).unwrap_or_default();
    let mut credentials = json!({ "password_hash": hash });
    if let (Some(object), Some(algorithm)) = (credentials.as_object_mut(), user.get("hashing_algorithm")) {
        object.insert("hashing_algorithm".to_owned(), algorithm.clone());
    }
    put_user(session, &name, credentials, json!(tags))
}

fn list_users(session: &mut Session) -> Result<(), Failure> {
    session.banner("Listing users ...")?;
    session.write_list("/api/users?columns=name,tags", &USERS.iter().collect::<Vec<_>>(), Some)
}

fn authenticate_user(session: &mut Session) -> Result<(), Failure> {
    let name = session.argument(0);
    session.banner(format!("Authenticating user \"{name}\" ..."))?;
    let password = password(session, 1)?;
    let body = json!({ "username": name, "password": password });
    let answer = session.post(&path(&["leveret", "auth", "check"]), &body)?;
    if answer.get("accepted").and_then(Json::as_bool) == Some(true) {
        return session.say("Success");
    }
    let reason = answer.get("reason").and_then(Json::as_str).unwrap_or("refused");
    Err(Failure::error(code::DATA, format!("Error: failed to authenticate user \"{name}\"\n{reason}")))
}

fn hash_password(session: &mut Session) -> Result<(), Failure> {
    session.banner("Will hash password")?;
    let hash = password::hash(password(session, 0)?.as_bytes(), Hashing::Sha256)
        .map_err(|error| Failure::error(code::SOFTWARE, error.to_string()))?;
    session.out.line(hash)
}

/// A user as the node knows it.
pub fn user(session: &mut Session, name: &str) -> Result<Option<Json>, Failure> {
    session.find(&path(&["users", name]))
}

fn existing(session: &mut Session, name: &str) -> Result<Json, Failure> {
    user(session, name)?.ok_or_else(|| Failure::no_such_user(name))
}

fn put_user(session: &mut Session, name: &str, mut user: Json, tags: Json) -> Result<(), Failure> {
    if let Some(object) = user.as_object_mut() {
        object.insert("tags".to_owned(), tags);
    }
    session.put(&path(&["users", name]), &user)
}

/// What a user logs in with, as the HTTP API takes it.
fn credentials(session: &Session) -> Result<Json, Failure> {
    let given = password(session, 1)?;
    if given.is_empty() {
        return Err(Failure::bad_argument("Bad argument: password cannot be an empty string"));
    }
    let field = if session.given.has("pre-hashed-password") { "password_hash" } else { "password" };
    Ok(json!({ field: given }))
}

/// The password of the command line, or else the first line of the standard input.
fn password(session: &Session, at: usize) -> Result<String, Failure> {
    match session.given.argument(at) {
        Some(password) => Ok(password.to_owned()),
        None => {
            read_password().map_err(|error| Failure::error(code::DATA, format!("the password cannot be read: {error}")))
        }
    }
}

fn read_password() -> std::io::Result<String> {
    let stdin = std::io::stdin();
    let mut line = String::new();
    if stdin.is_terminal() {
        eprint!("Password: ");
        std::io::stderr().flush()?;
        let shown = tcgetattr(&stdin)?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
        let read = stdin.lock().take(LONGEST_PASSWORD).read_line(&mut line);
        tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
        eprintln!();
        read?;
    } else {
        stdin.lock().take(LONGEST_PASSWORD).read_line(&mut line)?;
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

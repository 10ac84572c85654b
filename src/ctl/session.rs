//! What a command works with: its arguments, the node, and the output.

use std::io::{BufReader, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use super::arguments::Parsed;
use super::client::{Client, ClientError, Reply, Target, Trust};
use super::command::Needs;
use super::exit::{Failure, code};
use super::format::Form;
use super::listing::{self, Column};
use super::output::{Output, cannot_write};
use super::term::Term;
use crate::config::{Config, Sources};

/// The socket's name in the data directory.
pub const SOCKET: &str = "leveret.sock";
/// The packaged service's data directory.
const OF_SERVICE: &str = "/var/lib/leveret";
/// How long the node gets to answer, as with RabbitMQ's tools.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What may stand in a path as it is.
const IN_A_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An object of the HTTP API.
pub type Object = Map<String, Json>;

/// One command at work.
pub struct Session {
    pub given: Parsed,
    pub out: Output,
    client: Client,
    node: Option<NodeState>,
}

/// What a node says of itself.
#[derive(Clone, Debug)]
struct NodeState {
    name: String,
    runs: bool,
}

/// A path of the HTTP API from its parts, encoded.
pub fn path(parts: &[&str]) -> String {
    let mut path = "/api".to_owned();
    for part in parts {
        path.push('/');
        path.extend(utf8_percent_encode(part, IN_A_PATH));
    }
    path
}

/// A value in a query.
pub fn encoded(value: &str) -> String {
    utf8_percent_encode(value, IN_A_PATH).to_string()
}

impl Session {
    /// Reads the general options and sees that the node is what the command needs.
    pub fn open(given: Parsed) -> Result<Self, Failure> {
        let form = given.option("formatter").unwrap_or("table");
        let form = Form::named(form).ok_or_else(|| {
            Failure::usage(format!("there is no formatter '{form}': table, pretty_table, json, csv or erlang"))
        })?;
        let headers = !given.has("no-table-headers") && given.option("table-headers") != Some("false");
        let out = Output::new(form, given.has("quiet"), given.has("silent"), headers);
        let client =
            Client::new(target(&given)?, timeout(&given)).map_err(|e| Failure::error(code::SOFTWARE, e.to_string()))?;
        let mut session = Self { given, out, client, node: None };
        session.check_node()?;
        Ok(session)
    }

    fn check_node(&mut self) -> Result<(), Failure> {
        let needs = self.given.command.needs;
        if needs == Needs::NoNode {
            return Ok(());
        }
        let node = self.ask_node()?;
        if let Some(name) = self.given.option("node").filter(|name| !is_name_of(name, &node.name)) {
            let text = format!(
                "Error: unable to perform an operation on node '{name}'.\n\n{} belongs to node '{}'. Another node is \
                 reached with its data directory (--data-dir) or its HTTP API (--url).",
                self.client.target().name(),
                node.name
            );
            return Err(Failure::bare(code::UNAVAILABLE, text));
        }
        let runs = node.runs;
        self.node = Some(node);
        match needs {
            Needs::Running if !runs => Err(Failure::wrong_state(
                "this command requires the 'rabbit' app to be running on the target node. Start it with 'rabbitmqctl start_app'.",
            )),
            Needs::Stopped if runs => Err(Failure::wrong_state(
                "this command requires the 'rabbit' app to be stopped on the target node. Stop it with 'rabbitmqctl stop_app'.",
            )),
            _ => Ok(()),
        }
    }

    fn ask_node(&mut self) -> Result<NodeState, Failure> {
        let said = self.find(&path(&["leveret", "node", "status"]))?;
        // Another broker with RabbitMQ's API has no such route.
        let said = match said {
            Some(said) => said,
            None => self.get("/api/overview?columns=node")?,
        };
        let name = said.get("name").or_else(|| said.get("node")).and_then(Json::as_str);
        let runs = said.get("running").and_then(Json::as_bool).unwrap_or(true);
        Ok(NodeState { name: name.unwrap_or_default().to_owned(), runs })
    }

    /// How long a request may take.
    pub fn timeout(&self) -> Option<Duration> {
        timeout(&self.given)
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        self.node.as_ref().map_or("", |node| &node.name)
    }

    /// Whether the node serves clients.
    pub fn runs(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.runs)
    }

    /// An argument that the table says is there.
    pub fn argument(&self, at: usize) -> String {
        self.given.argument(at).unwrap_or_default().to_owned()
    }

    /// The virtual host that the command is about.
    pub fn vhost(&self) -> String {
        self.given.option("vhost").unwrap_or("/").to_owned()
    }

    pub fn banner(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.out.banner(text)
    }

    pub fn say(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.out.say(text)
    }

    /// Sends a request; any status is an answer.
    pub fn send(&mut self, method: Method, path: &str, body: Option<&Json>) -> Result<Reply, Failure> {
        let body = body.map_or_else(Bytes::new, |json| json.to_string().into());
        self.send_with(method, path, &[], body)
    }

    pub fn send_with(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, Failure> {
        self.client
            .send(method, path, headers, body)
            .map_err(|error| no_answer(error, &self.given, self.client.target()))
    }

    /// What there is at a path.
    pub fn get(&mut self, path: &str) -> Result<Json, Failure> {
        self.ask(Method::GET, path, None)
    }

    /// The same, or nothing when the node says that there is nothing.
    pub fn find(&mut self, path: &str) -> Result<Option<Json>, Failure> {
        let reply = self.send(Method::GET, path, None)?;
        if reply.status == 404 {
            let _ = reply.bytes();
            return Ok(None);
        }
        self.accept(reply).map(Some)
    }

    pub fn put(&mut self, path: &str, body: &Json) -> Result<(), Failure> {
        self.ask(Method::PUT, path, Some(body)).map(|_| ())
    }

    pub fn post(&mut self, path: &str, body: &Json) -> Result<Json, Failure> {
        self.ask(Method::POST, path, Some(body))
    }

    /// Deletes what is at a path; false when there was nothing.
    pub fn delete(&mut self, path: &str) -> Result<bool, Failure> {
        let reply = self.send(Method::DELETE, path, None)?;
        if reply.status == 404 {
            let _ = reply.bytes();
            return Ok(false);
        }
        self.accept(reply).map(|_| true)
    }

    /// Sends a request and takes only a good answer.
    pub fn ask(&mut self, method: Method, path: &str, body: Option<&Json>) -> Result<Json, Failure> {
        let reply = self.send(method, path, body)?;
        self.accept(reply)
    }

    /// The body of a good answer.
    pub fn accept(&self, reply: Reply) -> Result<Json, Failure> {
        if (200..300).contains(&reply.status) {
            return reply.json().map_err(|error| no_answer(error, &self.given, self.client.target()));
        }
        let status = reply.status;
        Err(refusal(status, &reply.bytes().unwrap_or_default()))
    }

    /// Whether there is a virtual host; RabbitMQ's tools say so in advance.
    pub fn need_vhost(&mut self, name: &str) -> Result<(), Failure> {
        match self.find(&format!("{}?columns=name", path(&["vhosts", name])))? {
            Some(_) => Ok(()),
            None => Err(Failure::no_such_vhost(name)),
        }
    }

    /// Calls a function with each object of a list, as it comes.
    pub fn each(&mut self, path: &str, mut take: impl FnMut(Object) -> Result<(), Failure>) -> Result<(), Failure> {
        let reply = self.send(Method::GET, path, None)?;
        match reply.status {
            200..300 => read_list(reply, &mut take),
            _ => self.accept(reply).map(|_| ()),
        }
    }

    /// Writes a list of the HTTP API, with the columns that the arguments name. The function may change an object, or
    /// leave it out.
    pub fn list(
        &mut self,
        path: &str,
        default: &[&str],
        change: impl FnMut(Object) -> Option<Object>,
    ) -> Result<(), Failure> {
        let columns = listing::chosen(self.given.command.columns, &self.given.arguments, default);
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}columns={}", listing::fields(&columns));
        self.write_list(&path, &columns, change)
    }

    /// The same with given columns.
    pub fn write_list(
        &mut self,
        path: &str,
        columns: &[&Column],
        mut change: impl FnMut(Object) -> Option<Object>,
    ) -> Result<(), Failure> {
        let reply = self.send(Method::GET, path, None)?;
        if !(200..300).contains(&reply.status) {
            return self.accept(reply).map(|_| ());
        }
        let mut rows = self.out.rows(columns.iter().map(|column| column.name).collect());
        read_list(reply, &mut |object| {
            let Some(object) = change(object) else { return Ok(()) };
            let terms: Vec<Term> = columns.iter().map(|column| column.term(&object)).collect();
            rows.row(&terms).map_err(cannot_write)
        })?;
        rows.finish().map_err(cannot_write)
    }
}

/// Reads a list object by object, until one of them fails.
fn read_list(reply: Reply, take: &mut dyn FnMut(Object) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut failure = None;
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::with_capacity(64 << 10, reply.body));
    let read = deserializer.deserialize_seq(Each(&mut |object| take(object).map_err(|e| failure = Some(e)).is_ok()));
    match (failure, read) {
        (Some(failure), _) => Err(failure),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(Failure::error(code::TEMPORARY, format!("the list broke off: {error}"))),
    }
}

/// Reads a JSON array item by item; the function says whether to go on.
struct Each<'a>(&'a mut dyn FnMut(Object) -> bool);

impl<'de> Visitor<'de> for Each<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(object) = items.next_element::<Object>()? {
            if !(self.0)(object) {
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// Whether a name that was typed is the node's; without a host it may be short.
fn is_name_of(typed: &str, name: &str) -> bool {
    typed == name || (!typed.contains('@') && name.split('@').next() == Some(typed))
}

fn timeout(given: &Parsed) -> Option<Duration> {
    match given.option("timeout") {
        Some("infinity") => None,
        Some(seconds) => seconds.parse().ok().map(Duration::from_secs).filter(|timeout| !timeout.is_zero()),
        None => Some(TIMEOUT),
    }
}

/// Where the node is: `--url`, `--data-dir`, the same from the environment, or what the configuration says.
fn target(given: &Parsed) -> Result<Target, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let url = given.option("url").map(str::to_owned).or_else(|| variable("LEVERET_URL"));
    match (url, given.option("data-dir").map(PathBuf::from)) {
        (Some(url), None) => Target::parse(&url, variable("LEVERET_USER"), variable("LEVERET_PASSWORD"))
            .map(|target| target.trusting(trust(given)))
            .map_err(|error| Failure::bad_argument(error.to_string())),
        (Some(_), Some(_)) if given.has("url") => Err(Failure::usage("either --url or --data-dir, not both")),
        (_, Some(dir)) => Ok(Target::Socket(dir.join(SOCKET))),
        (None, None) => Ok(Target::Socket(default_data_dir().join(SOCKET))),
    }
}

fn trust(given: &Parsed) -> Trust {
    match given.option("cacert") {
        _ if given.has("insecure") => Trust::Anybody,
        Some(file) => Trust::File(file.into()),
        None => Trust::System,
    }
}

/// What a broker would take that is started here with the same environment; where that says nothing and none was started
/// here, the packaged service's.
fn default_data_dir() -> PathBuf {
    let sources = Sources::new(&[], |name| std::env::var(name).ok());
    let here = sources.load().map_or_else(|_| PathBuf::from("data"), |config| config.data_dir);
    let is_by_default = here == Config::default().data_dir && !here.join(SOCKET).exists();
    let of_service = PathBuf::from(OF_SERVICE);
    if is_by_default && of_service.exists() { of_service } else { here }
}

fn no_answer(error: ClientError, given: &Parsed, target: &Target) -> Failure {
    match error {
        ClientError::TimedOut(_) => Failure::error(code::TEMPORARY, format!("Error: operation timed out: {error}")),
        ClientError::Unreachable(error) => {
            let (place, origin) = (target.place(), origin(given));
            let advice = advice(&error, target).map(|line| format!(" * {line}\n")).collect::<String>();
            let text = format!(
                "Error: unable to perform an operation: no node answers at {place}: {error}\n\n{origin}\n\n{}",
                advice.trim_end()
            );
            Failure::bare(code::UNAVAILABLE, text)
        }
        ClientError::Broken(text) => Failure::error(code::UNAVAILABLE, format!("{}: {text}", target.name())),
    }
}

/// Why this place was looked at.
fn origin(given: &Parsed) -> &'static str {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match (given.has("data-dir"), given.has("url")) {
        (true, _) => "That is where --data-dir says.",
        (false, true) => "That is where --url says.",
        (false, false) if is_set("LEVERET_URL") => "That is where LEVERET_URL says.",
        (false, false) if is_set("LEVERET_DATA_DIR") => "That is where LEVERET_DATA_DIR says.",
        (false, false) => {
            "That is the default: the data directory of the configuration that the environment names, or ./data, or \
             /var/lib/leveret where no node was started in that."
        }
    }
}

/// What to do about it.
fn advice(error: &std::io::Error, target: &Target) -> impl Iterator<Item = &'static str> {
    let is_socket = matches!(target, Target::Socket(_));
    let why = match error.kind() {
        ErrorKind::PermissionDenied => "Only the user that the node runs as, and root, may use its socket: try sudo.",
        ErrorKind::NotFound if is_socket => {
            "No node runs with this data directory: start it (`leveret`, or its service)."
        }
        ErrorKind::ConnectionRefused if is_socket => {
            "A node was here and has ended without saying so: start it again, its log says why it ended."
        }
        _ => "Does the node run? `leveret` or its service starts it, its log says why it does not.",
    };
    let elsewhere =
        "A node with another data directory is reached with --data-dir DIR, one on another machine with --url URL.";
    [why, elsewhere].into_iter()
}

/// What a refusal of the HTTP API says to an operator.
fn refusal(status: u16, body: &[u8]) -> Failure {
    let said = serde_json::from_slice::<Json>(body).unwrap_or_default();
    let reason = said.get("reason").or_else(|| said.get("error"));
    let reason = match reason {
        Some(Json::String(reason)) => reason.clone(),
        Some(other) => other.to_string(),
        None => format!("the node answered {status}"),
    };
    match status {
        401 | 403 => Failure::refused(format!("the node does not let this user do that: {reason}")),
        // What a path that no route has is answered with, as well as an object that is not there.
        404 if reason == "Not Found" => Failure::error(code::DATA, "not_found: the node knows nothing of that"),
        404 => Failure::error(code::DATA, reason),
        408 | 504 => Failure::error(code::TEMPORARY, reason),
        500.. if status != 503 => Failure::error(code::SOFTWARE, reason),
        _ => Failure::refused(reason),
    }
}

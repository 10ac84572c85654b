//! `docs/compatibility.md`: what RabbitMQ has, and whether it is here.
//!
//! The lists of what RabbitMQ has are the text files beside this one: an item a line, and behind a bar `different: how` or
//! `absent: why`. Whether it is here is asked of the code itself: the table of routes, the tables of commands and of keys, and
//! a scrape of a node. A line that says anything else than the code fails the test.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::auth::Protocol;
use crate::config::keys::{self, Key};
use crate::ctl::command::Tool;
use crate::ctl::table;
use crate::http::routes;
use crate::node::Node;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md");

const HEAD: &str = "\
# What of RabbitMQ is here

This page is made from the code and from lists of what RabbitMQ has; a test keeps it equal to both.
[clients.md](clients.md) is about clients, [http.md](http.md) about fields and answers.
";

/// A line of a list.
struct Item {
    name: &'static str,
    note: Note,
}

enum Note {
    None,
    Different(&'static str),
    Absent(String),
}

fn read(list: &'static str) -> Vec<Item> {
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let item = |line: &'static str| match line.split_once(" | ") {
        None => Item { name: line, note: Note::None },
        Some((name, note)) => match note.split_once(": ") {
            Some(("different", how)) => Item { name, note: Note::Different(how) },
            Some(("absent", why)) => Item { name, note: Note::Absent(why.to_owned()) },
            _ => panic!("{line}"),
        },
    };
    lines.map(item).collect()
}

/// A section of the page. `find` says how an item is called here, if it is here.
fn section(title: &str, intro: &str, items: &[Item], find: impl Fn(&str) -> Option<String>) -> String {
    let (mut here, mut different, mut absent) = (Vec::new(), Vec::new(), Vec::<(&str, Vec<&str>)>::new());
    let mut wrong = Vec::new();
    for item in items {
        match (find(item.name), &item.note) {
            (Some(name), Note::None) => here.push(name),
            (Some(name), Note::Different(how)) => different.push((name, how)),
            (None, Note::Absent(why)) => match absent.iter_mut().find(|(known, _)| known == why) {
                Some((_, names)) => names.push(item.name),
                None => absent.push((why, vec![item.name])),
            },
            (None, _) => wrong.push(format!("{} is not here: say why", item.name)),
            (Some(_), Note::Absent(_)) => wrong.push(format!("{} is here", item.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut text = format!("\n## {title}\n\n{intro}\n\n**As in RabbitMQ** ({}): {}\n", here.len(), listed(&here));
    if !different.is_empty() {
        text += "\n| Different | How |\n|---|---|\n";
        different.iter().for_each(|(name, how)| writeln!(text, "| {} | {how} |", quoted(name)).unwrap());
    }
    text += "\n| Absent | Why |\n|---|---|\n";
    absent.iter().for_each(|(why, names)| writeln!(text, "| {} | {why} |", listed(names)).unwrap());
    text
}

fn listed(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| quoted(name.as_ref())).collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('|', "\\|"))
}

fn own(names: &[impl AsRef<str>]) -> String {
    format!("\n**Only here** ({}): {}\n", names.len(), listed(names))
}

fn of_routes() -> String {
    let items = read(include_str!("compatibility/routes.txt"));
    let same = |theirs: &str, ours: &str| {
        let (theirs, ours): (Vec<_>, Vec<_>) = (theirs.split('/').collect(), ours.split('/').collect());
        theirs.len() == ours.len() && theirs.iter().zip(&ours).all(|(a, b)| a == b || *a == ":x")
    };
    let find = |name: &str| {
        let methods: BTreeSet<&str> =
            routes::all().filter(|route| same(name, route.path)).map(|route| route.method.as_str()).collect();
        (!methods.is_empty()).then(|| format!("{} {name}", methods.into_iter().collect::<Vec<_>>().join("/")))
    };
    let intro = "`:x` is a part that varies. The methods are those that are served here; HEAD goes where GET does.";
    let others = routes::all().filter(|route| !items.iter().any(|item| same(item.name, route.path)));
    let others: BTreeSet<String> = others.map(|route| format!("{} {}", route.method, route.path)).collect();
    section("HTTP routes", intro, &items, find) + &own(&others.into_iter().collect::<Vec<_>>())
}

fn of_commands() -> String {
    let mut items = read(include_str!("compatibility/commands.txt"));
    let found = |name: &str| {
        let (tool, command) = name.split_once(' ').unwrap();
        table::find(Tool::of_program(tool).unwrap(), command)
    };
    // Commands that are there to say that they do nothing say so in the table.
    let refusal = |name: &str| found(name).and_then(|command| command.help.strip_prefix("Not here: "));
    for item in &mut items {
        if let (Note::None, Some(why)) = (&item.note, refusal(item.name)) {
            item.note = Note::Absent(why.to_owned());
        }
    }
    let find = |name: &str| found(name).filter(|_| refusal(name).is_none()).map(|_| name.to_owned());
    let known: BTreeSet<&str> = items.iter().filter_map(|item| Some(item.name.split_once(' ')?.1)).collect();
    let others: BTreeSet<&str> = table::of_tool(Tool::Leveret).map(|command| command.name).collect();
    let others: Vec<&str> = others.difference(&known).copied().collect();
    let intro = "`leveret ctl` has the commands of all tools; [ctl.md](ctl.md) says what each does.";
    section("Commands", intro, &items, find) + &own(&others)
}

fn of_keys() -> String {
    let mut items = read(include_str!("compatibility/keys.txt"));
    let same = |theirs: &str, ours: &str| {
        let (theirs, ours): (Vec<_>, Vec<_>) = (theirs.split('.').collect(), ours.split('.').collect());
        let is_same = |(a, b): (&&str, &&str)| a == b || (a.starts_with('$') && b.starts_with('$'));
        theirs.len() == ours.len() && theirs.iter().zip(&ours).all(is_same)
    };
    let all: Vec<&Key> = keys::SECTIONS.iter().flat_map(|section| section.keys).collect();
    let found = |name: &str| all.iter().find(|key| same(name, key.name));
    for item in &mut items {
        if let (Note::None, Some(key)) = (&item.note, found(item.name).filter(|key| !key.has_effect)) {
            item.note = Note::Absent(key.help.trim_start_matches("No effect: ").trim_end_matches('.').to_owned());
        }
    }
    let find = |name: &str| found(name).filter(|key| key.has_effect).map(|key| key.name.to_owned());
    let others: Vec<&str> =
        all.iter().filter(|key| !items.iter().any(|item| same(item.name, key.name))).map(|key| key.name).collect();
    let intro = "Keys that are absent are accepted with a warning that names them, or refused with `strict_config`. \
                 [rabbit.conf.example](../rabbit.conf.example) explains those that are here.";
    section("Keys of rabbit.conf", intro, &items, find) + &own(&others)
}

async fn of_metrics() -> String {
    let items = read(include_str!("compatibility/metrics.txt"));
    let served = scrape().await;
    let others: Vec<&str> = served
        .iter()
        .map(String::as_str)
        .filter(|name| !name.starts_with("rabbitmq_detailed_") && !items.iter().any(|item| item.name == *name))
        .collect();
    let find = |name: &str| served.contains(name).then(|| name.to_owned());
    let intro = "Under `/metrics`, `/metrics/per-object` or `/metrics/detailed`, where the names begin with \
                 `rabbitmq_detailed_`. [operations.md](operations.md#metrics-and-statistics) says more.";
    section("Metrics", intro, &items, find) + &own(&others)
}

/// The names of all metrics that a node serves.
async fn scrape() -> BTreeSet<String> {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = crate::config::Sources::default();
    for (key, value) in [
        ("data_dir", dir.path().to_str().unwrap()),
        ("listeners.tcp.default", "127.0.0.1:0"),
        ("management.tcp", "none"),
        ("prometheus.tcp.ip", "127.0.0.1"),
        ("prometheus.tcp.port", "0"),
        ("track_auth_attempt_source", "true"),
    ] {
        sources.set(key, value);
    }
    let node = Node::start(sources.load().unwrap()).await.unwrap();
    node.broker().logins.note(Protocol::Http, std::net::Ipv4Addr::LOCALHOST.into(), "guest", true);
    let address = node.metrics_addr().unwrap();
    let families = ["exchange_bindings", "exchange_names", "vhost_status", "queue_metrics", "exchange_metrics"];
    let detailed = families.map(|family| format!("family={family}")).join("&");
    let paths = ["/metrics".to_owned(), "/metrics/per-object".to_owned(), format!("/metrics/detailed?{detailed}")];
    let mut names = BTreeSet::new();
    for path in paths {
        let text = tokio::task::spawn_blocking(move || get(address, &path)).await.unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        names.extend(types.filter_map(|rest| rest.split(' ').next()).map(str::to_owned));
    }
    node.stop().await;
    names
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains(" 200 OK"), "{text}");
    text
}

async fn page() -> String {
    HEAD.to_owned() + &of_routes() + &of_commands() + &of_keys() + &of_metrics().await
}

/// `cargo test --lib write_the_page_of_compatibility -- --ignored` writes it.
#[tokio::test]
#[ignore = "writes docs/compatibility.md"]
async fn write_the_page_of_compatibility() {
    std::fs::write(PAGE, page().await).unwrap();
}

#[tokio::test]
async fn the_page_of_compatibility_is_that_of_the_code() {
    let written = std::fs::read_to_string(PAGE).unwrap();
    let hint = "run: cargo test --lib write_the_page_of_compatibility -- --ignored";
    assert!(written == page().await, "{hint}");
}

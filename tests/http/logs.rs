//! The log of this process, which all tests share: each looks for lines of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::OnceLock;

use base64::Engine as _;
use leveret::config::Config;
use leveret::logs;
use serde_json::json;

use super::harness::Broker;

/// A broker of a process that logs to this file.
fn start() -> (Broker, PathBuf) {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let dir_text = dir.path().display().to_string();
        let settings = [("log.dir", dir_text.as_str()), ("log.file", "l.log"), ("log.console", "false")];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        logs::start(&Config::load(None, &settings).unwrap()).unwrap();
        dir
    });
    (Broker::start(), dir.path().join("l.log"))
}

fn tail(broker: &Broker, lines: usize) -> String {
    let response = broker.get(&format!("/api/leveret/log/tail?lines={lines}")).expect(200);
    assert!(response.header("content-type").unwrap().starts_with("text/plain"));
    response.text()
}

#[test]
fn the_last_lines_are_shown() {
    let (broker, file) = start();
    tracing::warn!(target: "leveret::queue", "a line to be found");
    let all = tail(&broker, 100_000);
    assert!(all.lines().any(|line| line.ends_with("[warning] <queue> a line to be found")), "{all}");
    let few = tail(&broker, 1);
    assert!(few.lines().count() == 1 && few.ends_with('\n'), "{few}");
    assert!(broker.get("/api/leveret/log/tail").expect(200).text().lines().count() <= 50);
    assert_eq!(tail(&broker, 0), "");
    let files = &broker.json("/api/leveret/node/status")["log_files"];
    assert!(files.as_array().unwrap().contains(&json!(file.display().to_string())), "{files}");
}

#[test]
fn levels_are_set_for_a_category_or_for_all() {
    let (broker, _) = start();
    let set = |body: &str| broker.put("/api/leveret/log/level", body).expect(204);
    let say = |n: u32| tracing::debug!(target: "leveret::channel", "said for the {n}. time");
    say(1);
    set(r#"{"category":"channel","level":"debug"}"#);
    say(2);
    set(r#"{"category":null,"level":"info"}"#);
    say(3);
    let all = tail(&broker, 100_000);
    let said: Vec<_> = all.lines().filter(|line| line.contains("said for the")).collect();
    assert!(said.len() == 1 && said[0].ends_with("[debug] <channel> said for the 2. time"), "{said:?}");
    assert!(all.contains("'guest' has the log level of channel set to debug"), "{all}");
}

#[test]
fn rotation_begins_a_new_file() {
    let (broker, file) = start();
    tracing::warn!(target: "leveret::queue", "before the rotation");
    broker.post("/api/leveret/log/rotate", "").expect(204);
    tracing::warn!(target: "leveret::queue", "after the rotation");
    logs::handle().unwrap().flush();
    let old = std::fs::read_to_string(format!("{}.0", file.display())).unwrap();
    let new = std::fs::read_to_string(file).unwrap();
    assert!(old.contains("before the rotation") && !old.contains("after the rotation"), "{old}");
    assert!(new.contains("after the rotation") && !new.contains("before the rotation"), "{new}");
}

#[test]
fn the_log_is_followed_without_asking_again_and_again() {
    let (broker, _) = start();
    let follow = |since: u64, wait: u64| broker.json(&format!("/api/leveret/log/follow?since={since}&wait={wait}"));
    logs::handle().unwrap().flush();
    let since = follow(u64::MAX, 0)["next"].as_u64().unwrap();
    let wanted = "said to whoever follows";
    let found = std::thread::scope(|scope| {
        let following = scope.spawn(|| {
            // Other tests of the process log, too.
            let mut next = since;
            loop {
                let said = follow(next, 30_000);
                next = said["next"].as_u64().unwrap();
                let lines = said["lines"].as_array().unwrap();
                assert!(!lines.is_empty(), "it is answered when there is something to say");
                if lines.iter().any(|line| line.as_str().unwrap().ends_with(wanted)) {
                    return lines.len();
                }
            }
        });
        tracing::warn!(target: "leveret::queue", "{wanted}");
        following.join().unwrap()
    });
    assert!(found > 0);
    broker.get("/api/leveret/log/follow?wait=soon").expect_error(400, "wait must be a whole number");
}

#[test]
fn whoever_follows_is_answered_when_the_node_stops() {
    let (mut broker, _) = start();
    let credentials = base64::engine::general_purpose::STANDARD.encode("guest:guest");
    let head = format!("HTTP/1.1\r\nhost: t\r\nauthorization: Basic {credentials}\r\n\r\n");
    let mut stream = TcpStream::connect(broker.http).unwrap();
    // With the first answer, the second request is there.
    let far = u64::MAX / 2;
    let requests = format!("GET /api/whoami {head}GET /api/leveret/log/follow?since={far}&wait=30000 {head}");
    stream.write_all(requests.as_bytes()).unwrap();
    let mut first = Vec::new();
    while !first.ends_with(b"}") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        first.push(byte[0]);
    }
    broker.get("/api/whoami").expect(200);
    let node = broker.node.take().unwrap();
    broker.runtime.block_on(node.stop());
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK") && rest.contains("\"lines\":[]"), "{rest}");
}

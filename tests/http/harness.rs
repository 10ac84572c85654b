//! A broker of this process and a small HTTP client.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use leveret::config::Config;
use leveret::node::Node;
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A running broker.
pub struct Broker {
    pub runtime: Runtime,
    pub node: Option<Node>,
    pub http: SocketAddr,
    pub data: TempDir,
    pub config: Config,
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum As<'a> {
    Nobody,
    User(&'a str, &'a str),
    /// Through the socket in the data directory.
    Local,
}

pub const GUEST: As<'static> = As::User("guest", "guest");

impl Broker {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With lines of its configuration file.
    pub fn start_with(lines: &[(&str, &str)]) -> Self {
        Self::start_from(None, lines)
    }

    /// With a configuration file too; the lines count for more than what is in it.
    pub fn start_from(file: Option<&Path>, lines: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut settings = vec![
            ("listeners.tcp.default".to_owned(), "127.0.0.1:0".to_owned()),
            ("management.tcp.port".to_owned(), "0".to_owned()),
            ("prometheus.tcp".to_owned(), "none".to_owned()),
            ("management.tcp.ip".to_owned(), "127.0.0.1".to_owned()),
            ("data_dir".to_owned(), data.path().join("data").display().to_string()),
        ];
        settings.extend(lines.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let config = Config::load(file, &settings).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let node = runtime.block_on(Node::start(config.clone())).unwrap();
        let http = node.http_addr().unwrap();
        Self { runtime, node: Some(node), http, data, config }
    }

    /// Stops it and starts it again with the same data.
    pub fn restart(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.stop());
        }
        let node = self.runtime.block_on(Node::start(self.config.clone())).unwrap();
        self.http = node.http_addr().unwrap();
        self.node = Some(node);
    }

    pub fn socket(&self) -> PathBuf {
        self.data.path().join("data/leveret.sock")
    }

    /// As `guest`, an administrator.
    pub fn get(&self, path: &str) -> Response {
        self.ask(GUEST, "GET", path, "")
    }

    pub fn put(&self, path: &str, body: &str) -> Response {
        self.ask(GUEST, "PUT", path, body)
    }

    pub fn post(&self, path: &str, body: &str) -> Response {
        self.ask(GUEST, "POST", path, body)
    }

    pub fn delete(&self, path: &str) -> Response {
        self.ask(GUEST, "DELETE", path, "")
    }

    /// The JSON of a path that must be there.
    #[track_caller]
    pub fn json(&self, path: &str) -> Json {
        let response = self.get(path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.json()
    }

    pub fn ask(&self, who: As<'_>, method: &str, path: &str, body: &str) -> Response {
        let login = match who {
            As::User(name, password) => {
                let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
                format!("authorization: Basic {credentials}\r\n")
            }
            As::Nobody | As::Local => String::new(),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{login}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        match who {
            As::Local => exchange(UnixStream::connect(self.socket()).unwrap(), head.as_bytes()),
            _ => self.raw(head.as_bytes()),
        }
    }

    /// Sends these bytes, and reads until the broker closes.
    pub fn raw(&self, request: &[u8]) -> Response {
        exchange(TcpStream::connect(self.http).unwrap(), request)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.stop());
        }
    }
}

fn exchange(mut stream: impl std::io::Read + Write, request: &[u8]) -> Response {
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    Response::parse(&bytes)
}

impl Response {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned())).unwrap());
        Self { status, headers: headers.collect(), body: bytes[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// It has this status; gives it back for more.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// It is refused, with a reason that contains this text.
    #[track_caller]
    pub fn expect_error(self, status: u16, reason: &str) {
        let response = self.expect(status);
        let json = response.json();
        let found = json["reason"].as_str().unwrap_or_else(|| panic!("no reason in {json}"));
        assert!(found.contains(reason), "expected '{reason}' in '{found}'");
    }
}

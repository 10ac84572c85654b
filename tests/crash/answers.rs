//! What the HTTP API has answered is there after kill -9: no answer goes out before the catalog has it on disk.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::broker::{Broker, Death};

const ROUNDS: usize = 6;

/// The status of the answer to a request over the socket in the data directory.
fn ask(data: &Path, method: &str, path: &str, body: &str) -> u16 {
    let mut stream = UnixStream::connect(data.join("leveret.sock")).expect("the socket");
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}");
    write!(stream, "{head}\r\n\r\n{body}").expect("a request");
    let mut first = [0; 12];
    stream.read_exact(&mut first).expect("the line with the status");
    let status = std::str::from_utf8(&first[9..]).expect("text");
    status.parse().expect("a number")
}

#[test]
fn what_the_http_api_has_answered_survives_kill_9() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path();
    let things = |round: usize| {
        [
            (format!("/api/users/u{round}"), r#"{"password":"p","tags":""}"#),
            (format!("/api/queues/%2F/q{round}"), r#"{"durable":true}"#),
            (format!("/api/policies/%2F/p{round}"), r#"{"pattern":"^q","definition":{"max-length":5}}"#),
        ]
    };
    for round in 0..ROUNDS {
        let (mut broker, _) = Broker::start(data, &[]);
        for (path, _) in (0..round).flat_map(things) {
            assert_eq!(ask(data, "GET", &path, ""), 200, "{path} after {round} kills");
        }
        for (path, body) in things(round) {
            assert_eq!(ask(data, "PUT", &path, body), 201, "{path}");
        }
        // At once: nothing has time to reach the disk that was not there with the answer.
        assert_eq!(broker.kill(), Death::Killed);
    }
}

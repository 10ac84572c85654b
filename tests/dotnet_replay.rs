//! Replays what RabbitMQ.Client for .NET says, byte for byte, and checks the answers that it reads. The conversations
//! and their format are described in `tests/dotnet_replay/README.md`.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "compat"]
mod compat {
    #[allow(dead_code, unused_imports)]
    pub mod harness;
}

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use compat::harness::Broker;
use compat::harness::wire::{Wire, frame_bytes};
use leveret::frames::content::{ContentHeader, Properties};
use leveret::frames::frame::FrameKind;
use leveret::frames::{Reader, table};

/// What a field of a method must be.
#[derive(Debug, PartialEq)]
enum Field {
    Number(u64),
    Bit(bool),
    Text(String),
    Table,
}

/// The methods that a broker sends: name, class, method, and fields with a letter for the type: octet, short, long,
/// long-long, bit (of one octet), short string, long string, table.
const METHODS: &[(&str, u16, u16, &str)] = &[
    ("connection.start", 10, 10, "version-major:o version-minor:o server-properties:T mechanisms:S locales:S"),
    ("connection.tune", 10, 30, "channel-max:h frame-max:l heartbeat:h"),
    ("connection.open-ok", 10, 41, "known-hosts:s"),
    ("connection.close", 10, 50, "reply-code:h reply-text:s class-id:h method-id:h"),
    ("connection.close-ok", 10, 51, ""),
    ("channel.open-ok", 20, 11, "channel-id:S"),
    ("channel.close", 20, 40, "reply-code:h reply-text:s class-id:h method-id:h"),
    ("channel.close-ok", 20, 41, ""),
    ("exchange.declare-ok", 40, 11, ""),
    ("exchange.delete-ok", 40, 21, ""),
    ("exchange.bind-ok", 40, 31, ""),
    ("exchange.unbind-ok", 40, 51, ""),
    ("queue.declare-ok", 50, 11, "queue:s message-count:l consumer-count:l"),
    ("queue.bind-ok", 50, 21, ""),
    ("queue.purge-ok", 50, 31, "message-count:l"),
    ("queue.delete-ok", 50, 41, "message-count:l"),
    ("queue.unbind-ok", 50, 51, ""),
    ("basic.qos-ok", 60, 11, ""),
    ("basic.consume-ok", 60, 21, "consumer-tag:s"),
    ("basic.cancel", 60, 30, "consumer-tag:s nowait:b"),
    ("basic.cancel-ok", 60, 31, "consumer-tag:s"),
    ("basic.return", 60, 50, "reply-code:h reply-text:s exchange:s routing-key:s"),
    ("basic.deliver", 60, 60, "consumer-tag:s delivery-tag:L redelivered:b exchange:s routing-key:s"),
    ("basic.get-ok", 60, 71, "delivery-tag:L redelivered:b exchange:s routing-key:s message-count:l"),
    ("basic.get-empty", 60, 72, "cluster-id:s"),
    ("basic.ack", 60, 80, "delivery-tag:L multiple:b"),
    ("confirm.select-ok", 85, 11, ""),
];

/// A conversation under way.
struct Replay {
    wire: Wire,
    captured: HashMap<String, String>,
    /// Bytes of the body that the last header announced.
    body_size: usize,
}

impl Replay {
    fn line(&mut self, line: &str) {
        let (direction, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (direction, rest.trim()) {
            (">", "eof") => self.wire.shut_down_writing(),
            (">", hex) => self.wire.write(&unhex(hex)),
            (">+", parts) => self.send_parts(parts),
            ("<", "eof") => assert_eq!(self.next_frame(), None, "a frame instead of the end"),
            ("<", expected) => self.expect(expected),
            _ => panic!("not a line of a conversation: {line}"),
        }
    }

    fn send_parts(&mut self, parts: &str) {
        let mut words = parts.split_whitespace();
        let mut number = || words.next().and_then(|w| w.parse::<u16>().ok()).expect("type and channel");
        let (kind, channel) = (number(), number());
        let mut payload = vec![];
        for part in words {
            match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => {
                    let value = &self.captured[name];
                    payload.push(u8::try_from(value.len()).expect("a short string"));
                    payload.extend(value.as_bytes());
                }
                None => payload.extend(unhex(part)),
            }
        }
        self.wire.write(&frame_bytes(u8::try_from(kind).expect("a frame type"), channel, &payload));
    }

    /// The next frame that is no heartbeat.
    fn next_frame(&mut self) -> Option<(FrameKind, u16, Vec<u8>)> {
        loop {
            let frame = self.wire.next_raw_frame("the broker's next frame")?;
            if frame.0 != FrameKind::Heartbeat {
                return Some(frame);
            }
        }
    }

    fn expect_frame(&mut self, kind: FrameKind, channel: u16) -> Vec<u8> {
        let (got, on, payload) = self.next_frame().expect("a frame, not the end of the connection");
        assert_eq!((got, on), (kind, channel), "payload {payload:?}");
        payload
    }

    fn expect(&mut self, expected: &str) {
        let (channel, rest) = expected.split_once(' ').expect("a channel");
        let channel: u16 = channel.parse().expect("a channel number");
        let (what, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        match what {
            "header" => self.expect_header(channel, rest),
            "body" => self.expect_body(channel, &unhex(rest)),
            "confirms" => self.expect_confirms(channel, rest),
            method => {
                let payload = self.expect_frame(FrameKind::Method, channel);
                let fields = decode(method, &payload);
                for (name, value) in assignments(rest) {
                    self.check(&fields[name.as_str()], &value, &name);
                }
            }
        }
    }

    fn check(&mut self, field: &Field, expected: &str, name: &str) {
        let quoted = |end: &str| expected.strip_prefix('"').and_then(|e| e.strip_suffix(end)).map(str::to_owned);
        let matches = match (field, expected) {
            (_, "*") => true,
            (Field::Number(n), number) => number.parse() == Ok(*n),
            (Field::Bit(bit), text) => bit.to_string() == text,
            (Field::Table, _) => false,
            (Field::Text(text), _) => match (quoted("\"~"), quoted("\"^"), quoted("\"")) {
                (Some(start), _, _) => text.starts_with(&start),
                (_, Some(word), _) => text.split(' ').any(|w| w == word),
                (_, _, Some(whole)) => *text == whole,
                _ => self.capture_or_compare(text, expected),
            },
        };
        assert!(matches, "{name} is {field:?}, expected {expected}");
    }

    fn capture_or_compare(&mut self, text: &str, expected: &str) -> bool {
        if let Some(name) = expected.strip_prefix('$') {
            self.captured.insert(name.into(), text.into());
            return !text.is_empty();
        }
        let name = expected.trim_start_matches('{').trim_end_matches('}');
        self.captured.get(name).is_some_and(|value| value == text)
    }

    fn expect_header(&mut self, channel: u16, rest: &str) {
        let payload = self.expect_frame(FrameKind::Header, channel);
        let header = ContentHeader::parse(&payload).expect("a content header");
        Properties::parse(header.properties).expect("properties");
        for (name, value) in assignments(rest) {
            match name.as_str() {
                "class" => assert_eq!(header.class_id.to_string(), value),
                "body-size" => assert_eq!(header.body_size.to_string(), value),
                "properties" => assert_eq!(header.properties, unhex(&value), "properties"),
                other => panic!("a header has no {other}"),
            }
        }
        self.body_size = usize::try_from(header.body_size).expect("a body that fits");
    }

    fn expect_body(&mut self, channel: u16, expected: &[u8]) {
        let mut body = vec![];
        while body.len() < self.body_size {
            body.extend(self.expect_frame(FrameKind::Body, channel));
        }
        assert_eq!(body, expected);
    }

    fn expect_confirms(&mut self, channel: u16, range: &str) {
        let (first, last) = range.split_once("..").expect("a range of tags");
        let (first, last): (u64, u64) = (first.parse().expect("a tag"), last.parse().expect("a tag"));
        let mut open: BTreeSet<u64> = (first..=last).collect();
        while !open.is_empty() {
            let fields = decode("basic.ack", &self.expect_frame(FrameKind::Method, channel));
            let Field::Number(tag) = fields["delivery-tag"] else { panic!("{fields:?}") };
            assert!(open.contains(&tag), "tag {tag} is confirmed twice or was never given");
            let multiple = fields["multiple"] == Field::Bit(true);
            open.retain(|t| *t > tag || (*t < tag && !multiple));
        }
    }
}

/// All fields of a method; it must be this one and decode completely.
fn decode(name: &str, payload: &[u8]) -> HashMap<&'static str, Field> {
    let known = METHODS.iter().find(|(known, ..)| *known == name);
    let &(_, class, method, fields) = known.unwrap_or_else(|| panic!("{name} is not known here"));
    let mut r = Reader::new(payload);
    let id = (r.u16().expect("a class"), r.u16().expect("a method"));
    assert_eq!(id, (class, method), "instead of {name}: {}", String::from_utf8_lossy(payload));
    let fields = fields.split_whitespace().map(|field| {
        let (name, letter) = field.split_once(':').expect("name and type");
        (name, read_field(letter, &mut r))
    });
    let fields = fields.collect();
    r.finish().expect("nothing after the last field");
    fields
}

fn read_field(letter: &str, r: &mut Reader<'_>) -> Field {
    let text = |bytes: &[u8]| Field::Text(String::from_utf8_lossy(bytes).into_owned());
    let field = match letter {
        "o" => r.u8().map(|n| Field::Number(n.into())),
        "h" => r.u16().map(|n| Field::Number(n.into())),
        "l" => r.u32().map(|n| Field::Number(n.into())),
        "L" => r.u64().map(Field::Number),
        "b" => r.u8().map(|n| Field::Bit(n & 1 != 0)),
        "s" => r.short_bytes().map(text),
        "S" => r.long_bytes().map(text),
        _ => r.long_bytes().and_then(|inside| table::validate(inside, true)).map(|()| Field::Table),
    };
    field.expect("a whole field")
}

/// `name=value` pairs; a value in double quotes may have blanks.
fn assignments(line: &str) -> Vec<(String, String)> {
    let mut words: Vec<String> = vec![];
    let mut quoted = false;
    for c in line.trim().chars() {
        quoted ^= c == '"';
        match words.last_mut() {
            Some(word) if c != ' ' || quoted => word.push(c),
            None => words.push(c.into()),
            _ => words.push(String::new()),
        }
    }
    let pair = |word: &String| word.split_once('=').map(|(name, value)| (name.into(), value.into()));
    words.iter().filter(|word| !word.is_empty()).map(|word| pair(word).expect("name=value")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let octet = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    digits.chunks(2).map(|pair| octet(pair).expect("two hex digits")).collect()
}

/// The line without its comment, which begins with a `#` after a blank and outside quotes.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        quoted ^= c == '"';
        if c == '#' && !quoted && before.is_whitespace() {
            return line[..at].trim();
        }
        before = c;
    }
    line.trim()
}

fn replay(scenario: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dotnet_replay").join(scenario);
    let text = std::fs::read_to_string(&path).expect("the scenario can be read");
    let broker = Broker::start();
    let wire = Wire::connect(broker.address);
    let mut replay = Replay { wire, captured: HashMap::new(), body_size: 0 };
    for (number, line) in text.lines().enumerate() {
        let line = without_comment(line);
        if !line.is_empty() {
            eprintln!("{scenario}:{}: {}", number + 1, line.get(..120).unwrap_or(line));
            replay.line(line);
        }
    }
}

macro_rules! scenarios {
    ($($name:ident $file:literal)*) => {
        const SCENARIOS: &[&str] = &[$($file),*];
        $(#[test] fn $name() { replay($file); })*
    };
}

scenarios! {
    v6_auth_failure "v6-auth-failure.txt"
    v6_close "v6-close.txt"
    v6_confirms "v6-confirms.txt"
    v6_connect "v6-connect.txt"
    v6_dispose "v6-dispose.txt"
    v6_publish_consume "v6-publish-consume.txt"
    v6_server_close "v6-server-close.txt"
    v6_topology "v6-topology.txt"
    v7_auth_failure "v7-auth-failure.txt"
    v7_close "v7-close.txt"
    v7_confirms_tracked_bytes "v7-confirms-tracked-bytes.txt"
    v7_confirms_tracked "v7-confirms-tracked.txt"
    v7_confirms "v7-confirms.txt"
    v7_connect "v7-connect.txt"
    v7_dispose "v7-dispose.txt"
    v7_publish_consume "v7-publish-consume.txt"
    v7_recovery "v7-recovery.txt"
    v7_server_close "v7-server-close.txt"
    v7_topology "v7-topology.txt"
}

/// No scenario is forgotten.
#[test]
fn every_scenario_is_replayed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dotnet_replay");
    for entry in std::fs::read_dir(folder).expect("the folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(!name.ends_with(".txt") || SCENARIOS.contains(&name.as_str()), "{name} is not replayed");
    }
}

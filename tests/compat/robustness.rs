//! Clients that behave badly: others are served as before, and nothing in the broker panics.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use leveret::frames::content::Property;
use leveret::frames::{Table, Value};

use super::harness::client::header_payload;
use super::harness::wire::frame_bytes;
use super::harness::*;

/// A broker that nobody else uses, or the one outside.
enum Victim {
    Own(Box<Broker>),
    Outside(&'static Broker),
}

impl std::ops::Deref for Victim {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        match self {
            Self::Own(broker) => broker,
            Self::Outside(broker) => broker,
        }
    }
}

fn victim() -> Victim {
    Broker::start_with(&[]).map_or_else(|| Victim::Outside(Broker::start()), |own| Victim::Own(Box::new(own)))
}

#[test]
fn a_client_that_never_reads() {
    let broker = victim();
    let deaf = broker.connect().channel();
    let other = broker.connect().channel();
    let queue = unique("q");
    other.declare(queue_declare(&queue));
    deaf.send(basic_consume(&queue, "deaf").no_ack());
    other.call(confirm_select());
    let body = "x".repeat(100_000);
    let before = resident_memory();
    // 100 MB for somebody who does not take them.
    for _ in 0..1000 {
        other.publish("", &queue, &body);
    }
    other.expect_confirms(1000);
    let left = other.ready(&queue);
    assert!(left > 500, "{} of 1000 messages went into the broker's memory for one client", 1000 - left);
    let grown = resident_memory().saturating_sub(before);
    eprintln!("resident memory grew by {} MB", grown >> 20);
    broker.expect_healthy();
    other.delete(queue_delete(&queue));
}

fn resident_memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Answers are bounded too: a client that asks on and on without reading is not read from any more.
#[test]
fn a_client_that_asks_but_never_reads() {
    let Some(broker) = Broker::start_with(&[]) else { return };
    let mut stream = TcpStream::connect(broker.address).expect("a connection");
    stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a socket option");
    stream.write_all(&opening()).expect("an opening");
    let payloads: [(u8, &[u8]); 3] = [
        (1, &basic_publish("", "nobody").mandatory().payload()),
        (2, &header_payload(60, 100_000, &props())),
        (3, &[0; 100_000]),
    ];
    let returned: Vec<u8> = payloads.iter().flat_map(|(kind, payload)| frame_bytes(*kind, 1, payload)).collect();
    let mut sent = 0usize;
    while sent < 300_000_000 {
        match stream.write(&returned) {
            Ok(n) if n == returned.len() => sent += n,
            _ => break,
        }
    }
    assert!(sent < 300_000_000, "the broker kept 300 MB for a client that does not read");
    broker.expect_healthy();
}

/// Everything that a client says until its first channel is open.
fn opening() -> Vec<u8> {
    let mut bytes = b"AMQP\0\0\x09\x01".to_vec();
    for method in
        [start_ok(Table::default(), "PLAIN", b"\0guest\0guest"), tune_ok(2047, 131_072, 0), connection_open("/")]
    {
        bytes.extend(frame_bytes(1, 0, &method.payload()));
    }
    bytes.extend(frame_bytes(1, 1, &channel_open().payload()));
    bytes
}

#[test]
fn a_client_that_says_everything_at_once() {
    let broker = victim();
    let client = broker.socket();
    let mut bytes = opening();
    bytes.extend(frame_bytes(1, 1, &queue_declare("").exclusive().payload()));
    client.send_bytes(&bytes);
    client.expect_start();
    client.expect_tune();
    client.expect_answer((10, 40));
    let channel = client.unopened_channel(1);
    channel.expect_answer((20, 10));
    channel.expect_answer((50, 10));
}

#[test]
fn a_client_that_sends_one_byte_at_a_time() {
    let broker = victim();
    let client = broker.socket();
    let mut bytes = opening();
    bytes.extend(frame_bytes(1, 1, &confirm_select().payload()));
    let publish = client.unopened_channel(1).message_bytes(&basic_publish("", "nobody"), &props(), b"body");
    bytes.extend(publish);
    for byte in bytes {
        client.send_bytes(&[byte]);
    }
    let channel = client.unopened_channel(1);
    channel.expect_answer((20, 10));
    channel.expect_answer((85, 10));
    channel.expect_ack(1);
}

#[test]
fn half_open_sockets() {
    let broker = victim();
    let opening = opening();
    // Every point at which a client may fall silent or hang up.
    for end in (0..opening.len()).step_by(3) {
        let client = broker.socket();
        client.send_bytes(&opening[..end]);
        if end % 2 == 0 {
            client.wire().shut_down_writing();
        }
    }
    broker.expect_healthy();
}

#[test]
fn ten_thousand_connects_and_drops() {
    let broker = victim();
    let opening = opening();
    parallel(8, |thread| {
        for n in 0..1250 {
            let mut stream = TcpStream::connect(broker.address).expect("a connection");
            match (thread + n) % 4 {
                0 => {}
                1 => stream.write_all(&opening[..8]).expect("written"),
                2 => stream.write_all(&opening).expect("written"),
                _ => drop(stream.write_all(b"\xff\0\xff\0\xff\0\xff\0\xff")),
            }
        }
    });
    broker.expect_healthy();
}

#[test]
fn garbage_on_the_port() {
    let broker = victim();
    let mut random = Random::new(1);
    for _ in 0..200 {
        let mut bytes = random.bytes(200);
        if random.below(2) == 0 {
            bytes.splice(0..0, *b"AMQP\0\0\x09\x01");
        }
        let client = broker.socket();
        client.wire().try_write(&bytes);
    }
    broker.expect_healthy();
}

#[test]
fn garbage_after_the_opening() {
    let broker = victim();
    let mut random = Random::new(2);
    for _ in 0..200 {
        let client = broker.socket();
        let mut bytes = opening();
        bytes.extend(random.bytes(300));
        client.wire().try_write(&bytes);
    }
    broker.expect_healthy();
}

#[test]
fn frames_that_promise_four_gigabytes() {
    let broker = victim();
    let clients: Vec<Client> = (0..50).map(|_| broker.connect()).collect();
    for client in &clients {
        client.send_bytes(&[3, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    }
    for client in clients {
        client.expect_connection_close(501, "…frame_too_large…", (0, 0));
    }
    broker.expect_healthy();
}

/// Before tune-ok nothing but small frames can be meant.
#[test]
fn frames_that_are_too_large_for_the_handshake() {
    let broker = victim();
    let client = broker.socket();
    client.greet();
    client.send_bytes(&[1, 0, 0, 0x7f, 0xff, 0xff, 0xff]);
    client.wire().expect_any_end();
    broker.expect_healthy();
}

/// A table in a table in a table, or an array in an array.
fn nested(depth: usize, letter: u8) -> Vec<u8> {
    let mut inside: Vec<u8> = vec![];
    for _ in 0..depth {
        let key: &[u8] = if letter == b'F' { b"\x01k" } else { b"" };
        let length = u32::try_from(inside.len()).expect("a length").to_be_bytes();
        inside = [key, &[letter], &length, &inside].concat();
    }
    if letter == b'A' {
        inside = [b"\x01k", inside.as_slice()].concat();
    }
    let length = u32::try_from(inside.len()).expect("a length").to_be_bytes();
    [&length, inside.as_slice()].concat()
}

#[test]
fn deeply_nested_tables() {
    let broker = victim();
    for letter in [b'F', b'A'] {
        let table = nested(10_000, letter);
        let declare = Method::new(50, 10).short(0).text(unique("q")).octet(4).bytes(&table);
        let client = broker.connect();
        client.channel().send(declare);
        client.call_or_end();

        let client = broker.connect();
        let channel = client.channel();
        channel.send(basic_publish("", "nobody"));
        channel.send_frame(2, &header_payload(60, 0, &props().raw(Property::Headers, table)));
        client.call_or_end();
    }
    broker.expect_healthy();
}

impl Client {
    /// Either the broker has closed the connection or it still answers.
    fn call_or_end(&self) {
        self.wire().try_write(&frame_bytes(1, 0, &connection_close().payload()));
        assert!(self.wire().next(0, "close or close-ok").is_some());
    }
}

#[test]
fn tables_as_deep_as_anybody_needs() {
    let channel = channel();
    let queue = channel.temporary_queue();
    let table = nested(20, b'F');
    channel.publish_with("", &queue, props().raw(Property::Headers, table.clone()), "m");
    assert_eq!(channel.expect_get(&queue).props, props().raw(Property::Headers, table));
}

#[test]
fn two_thousand_channels() {
    let broker = victim();
    let client = broker.connect();
    let channels: Vec<Channel> = (1..=2000).map(|n| client.unopened_channel(n)).collect();
    channels.iter().for_each(|channel| channel.send(channel_open()));
    channels.iter().for_each(|channel| drop(channel.expect_answer((20, 10))));
    let queue = channels[0].temporary_queue();
    for channel in &channels {
        channel.send(confirm_select());
        channel.publish("", &queue, "m");
    }
    for channel in &channels {
        channel.expect_answer((85, 10));
        channel.expect_ack(1);
    }
    assert_eq!(channels[1999].ready(&queue), 2000);
    channels.iter().for_each(|channel| channel.send(channel_close()));
    channels.iter().for_each(|channel| drop(channel.expect_answer((20, 40))));
    broker.expect_healthy();
}

/// The fields of every method, in letters: octet, short, long, long-long, string, long string, table.
const METHODS: &[(u16, u16, &str)] = &[
    (10, 11, "TsSs"),
    (10, 21, "S"),
    (10, 31, "hlh"),
    (10, 40, "sso"),
    (10, 50, "hshh"),
    (10, 51, ""),
    (10, 70, "Ss"),
    (20, 10, "s"),
    (20, 20, "o"),
    (20, 21, "o"),
    (20, 40, "hshh"),
    (20, 41, ""),
    (30, 10, "so"),
    (40, 10, "hssoT"),
    (40, 20, "hso"),
    (40, 30, "hsssoT"),
    (40, 40, "hsssoT"),
    (50, 10, "hsoT"),
    (50, 20, "hsssoT"),
    (50, 30, "hso"),
    (50, 40, "hso"),
    (50, 50, "hsssT"),
    (60, 10, "lho"),
    (60, 20, "hssoT"),
    (60, 30, "so"),
    (60, 31, "s"),
    (60, 40, "hsso"),
    (60, 60, "sLoss"),
    (60, 70, "hso"),
    (60, 80, "Lo"),
    (60, 90, "Lo"),
    (60, 100, "o"),
    (60, 110, "o"),
    (60, 120, "Lo"),
    (85, 10, "o"),
    (90, 10, ""),
    (90, 20, ""),
    (90, 30, ""),
];

/// Names that mean something to a broker, and some that do not.
fn names(prefix: &str) -> Vec<String> {
    let known = ["", "amq.direct", "amq.topic", "amq.headers", "amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.x", "/"];
    let mut names: Vec<String> = known.iter().map(|s| (*s).into()).collect();
    names.extend((0..4).map(|n| format!("{prefix}-{n}")));
    names.extend(["direct", "topic", "headers", "fanout", "x-delayed-message", "ü", "a.#.*"].map(Into::into));
    names
}

fn random_value(random: &mut Random, depth: u64) -> Value {
    match random.below(if depth > 3 { 12 } else { 14 }) {
        0 => Value::Bool(true),
        1 => Value::I8(-1),
        2 => Value::U16(60_000),
        3 => Value::I32(-5),
        4 => Value::I64(i64::MIN),
        5 => Value::U32(u32::MAX),
        6 => Value::F64(f64::NAN),
        7 => Value::Decimal(255, 1),
        8 => Value::text(*random.pick(&["", "all", "any", "lazy", "classic", "drop-head", "first", "10"])),
        9 => Value::Timestamp(u64::MAX),
        10 => Value::Void,
        11 => Value::Bytes(random.bytes(10)),
        12 => Value::Array((0..random.below(3)).map(|_| random_value(random, depth + 1)).collect()),
        _ => Value::Table(random_table(random, depth + 1)),
    }
}

fn random_table(random: &mut Random, depth: u64) -> Table {
    let keys = [
        "x-message-ttl",
        "x-expires",
        "x-max-length",
        "x-max-priority",
        "x-overflow",
        "x-dead-letter-exchange",
        "x-queue-mode",
        "x-match",
        "x-priority",
        "alternate-exchange",
        "x-single-active-consumer",
        "x-delayed-type",
        "CC",
        "x-death",
        "other",
    ];
    (0..random.below(4)).map(|_| (*random.pick(&keys), random_value(random, depth))).collect()
}

fn random_method(random: &mut Random, names: &[String]) -> Method {
    let &(class, id, fields) = random.pick(METHODS);
    let mut method = Method::new(class, id);
    for field in fields.chars() {
        let small = u16::from(random.octet() % 20);
        method = match field {
            'o' => method.octet(random.octet() & 31),
            'h' => method.short(small),
            'l' => method.long(if small < 15 { 0 } else { small.into() }),
            'L' => method.longlong(if small == 0 { u64::MAX } else { small.into() }),
            's' => method.text(random.pick(names)),
            'S' => method.long_text(random.bytes(20)),
            _ => {
                let mut bytes = vec![];
                random_table(random, 0).encode(&mut bytes);
                method.bytes(&bytes)
            }
        };
    }
    method
}

fn random_props(random: &mut Random, names: &[String]) -> Props {
    let mut props = props();
    if random.below(2) == 0 {
        props = props.octet(Property::DeliveryMode, random.octet() & 3);
    }
    if random.below(4) == 0 {
        props = props.text(Property::ReplyTo, random.pick(names).as_str());
    }
    if random.below(4) == 0 {
        let expiration = *random.pick(&["0", "1", "x", "-1", "99999999999999999999999"]);
        props = props.expiration(expiration);
    }
    if random.below(3) == 0 {
        let mut table = vec![];
        random_table(random, 0).encode(&mut table);
        props = props.raw(Property::Headers, table);
    }
    props
}

/// One client that says anything at all, in any state, until it is thrown out.
fn say_anything(broker: &Broker, random: &mut Random, names: &[String]) {
    let client = broker.socket();
    if random.below(4) > 0 {
        client.handshake(&Options::default());
        client.channel();
    } else {
        client.send_bytes(b"AMQP\0\0\x09\x01");
    }
    for _ in 0..60 {
        let channel = client.unopened_channel(*random.pick(&[1, 1, 1, 1, 1, 1, 2, 0]));
        let bytes = match random.below(12) {
            0 => frame_bytes(1, channel.number, &channel_open().payload()),
            1 => frame_bytes(1, channel.number, &channel_close_ok().payload()),
            2 => frame_bytes(*random.pick(&[1, 2, 3, 8, 9]), channel.number, &random.bytes(30)),
            3..6 => {
                let body = random.bytes(50);
                let props = random_props(random, names);
                channel.message_bytes(
                    &basic_publish(random.pick(names).as_str(), random.pick(names).as_str()),
                    &props,
                    &body,
                )
            }
            _ => frame_bytes(1, channel.number, &random_method(random, names).payload()),
        };
        if !client.wire().try_write(&bytes) {
            return;
        }
    }
}

/// Every method with every kind of argument in every state.
#[test]
fn anything_at_all() {
    let broker = victim();
    let names = names(&unique("any"));
    let end = Instant::now() + Duration::from_secs(6);
    parallel(4, |thread| {
        let mut random = Random::new(thread as u64);
        for _ in 0..500 {
            if Instant::now() > end {
                break;
            }
            say_anything(&broker, &mut random, &names);
        }
    });
    broker.expect_healthy();
    let cleaner = broker.connect().channel();
    for name in names.iter().filter(|name| name.starts_with("any")) {
        cleaner.delete(queue_delete(name));
        cleaner.call(exchange_delete(name));
    }
}

//! How exactly messages keep their time: fills a queue with messages that expire, or a delayed exchange, and measures when
//! each of them arrives.
//!
//! ```text
//! cargo bench --bench timing -- fill-ttl   127.0.0.1:5672 COUNT FIRST LAST   dead letters, each at a random time
//! cargo bench --bench timing -- fill-delay 127.0.0.1:5672 COUNT SOON  LAST   delayed messages: SOON of them at 10,000 per
//!                                                                            second, the others much later
//! cargo bench --bench timing -- watch      127.0.0.1:5672 COUNT              takes COUNT messages, prints how late they were
//! ```
//!
//! FIRST and LAST are seconds from now (`fill-delay`: those that are soon begin at LAST). Nothing is asserted.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[allow(dead_code, unused_imports)]
#[path = "../tests/compat"]
mod compat {
    pub mod harness;
}

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use compat::harness::*;

const QUEUE: &str = "timing";
const SOURCE: &str = "timing.source";
const EXCHANGE: &str = "timing.delayed";
/// Messages that are published before their confirms are waited for.
const AT_ONCE: u64 = 10_000;
/// The same of messages whose time begins when the broker takes them in.
const FEW: usize = 500;
/// Milliseconds within which a batch is published of whose messages it is known when their time began.
const QUICK: i64 = 5;
/// What the body of a message begins with that says how long it took to publish a batch.
const TOOK: &str = "took";

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    u64::try_from(since.as_millis()).expect("a time before the end of time")
}

/// A number of 32 bits that depends on `n` and nothing else.
fn scatter(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) >> 32
}

/// Waits until `until` messages are confirmed.
fn confirmed(channel: &Channel, acked: &mut u64, until: u64) {
    while *acked < until {
        match channel.next("a confirm") {
            Incoming::Ack { tag, .. } => *acked = tag.max(*acked),
            other => panic!("{other:?} instead of a confirm"),
        }
    }
}

fn publish_all(channel: &Channel, count: u64, mut message: impl FnMut(u64) -> Vec<u8>) {
    channel.call(confirm_select());
    let start = Instant::now();
    let (mut sent, mut acked) = (0, 0);
    while sent < count {
        let end = (sent + AT_ONCE).min(count);
        let bytes: Vec<u8> = (sent..end).flat_map(&mut message).collect();
        channel.send_bytes(&bytes);
        sent = end;
        confirmed(channel, &mut acked, sent);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} published and confirmed in {seconds:.1} s, {:.0} per second", count as f64 / seconds);
}

fn body(due: u64) -> String {
    format!("{due:013} {}", "x".repeat(86))
}

/// The broker counts an expiration from when it takes the message in, between when it was made and when it was confirmed.
/// So messages go out in small batches, and where that took long, [`watch`] is told, by a message that starts with [`TOOK`].
fn fill_ttl(channel: &Channel, count: u64, first: u64, last: u64) {
    channel.declare(queue_declare(QUEUE).durable());
    let source = queue_declare(SOURCE).durable().arg("x-dead-letter-exchange", "");
    channel.declare(source.arg("x-dead-letter-routing-key", QUEUE));
    channel.call(confirm_select());
    let start = Instant::now();
    let (mut published, mut acked, mut longest) = (0, 0, 0);
    let mut publish = |bytes: &[u8], messages: u64| {
        channel.send_bytes(bytes);
        published += messages;
        confirmed(channel, &mut acked, published);
    };
    let begin = now_ms();
    for from in (0..count).step_by(FEW) {
        let made = now_ms();
        let batch = from..(from + FEW as u64).min(count);
        let messages = batch.end - batch.start;
        let mut bytes = Vec::new();
        for n in batch {
            let due = begin + first * 1000 + scatter(n) % ((last - first) * 1000);
            // Nothing expires before it is published.
            let due = due.max(made);
            let props = props().persistent().expiration(&(due - made).to_string());
            let body = format!("{} {from}", body(due));
            bytes.extend(channel.message_bytes(&basic_publish("", SOURCE), &props, body.as_bytes()));
        }
        publish(&bytes, messages);
        let took = now_ms() - made;
        longest = longest.max(took);
        if took > 1 {
            let body = format!("{TOOK} {from} {took}");
            publish(&channel.message_bytes(&basic_publish("", QUEUE), &props(), body.as_bytes()), 1);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} published and confirmed in {seconds:.1} s, {FEW} of them in {longest} ms at most");
}

fn fill_delay(channel: &Channel, count: u64, soon: u64, begin: u64) {
    channel.declare(queue_declare(QUEUE).durable());
    channel.call(exchange_declare(EXCHANGE, "x-delayed-message").durable().arg("x-delayed-type", "fanout"));
    channel.call(queue_bind(QUEUE, EXCHANGE, ""));
    let begin = now_ms() + begin * 1000;
    publish_all(channel, count, |n| {
        // A number that is coprime to most counts: the order of publishing is not that of the times.
        let place = n * 7_368_787 % count;
        let due = if place < soon { begin + place / 10 } else { begin + 86_400_000 + scatter(n) };
        let props = props().persistent().header("x-deliver-at", i64::try_from(due).expect("a date"));
        channel.message_bytes(&basic_publish(EXCHANGE, ""), &props, body(due).as_bytes())
    });
    println!("the first are due in {} s", begin.saturating_sub(now_ms()) / 1000);
}

/// How late messages are, in order.
fn print_late(what: &str, mut late: Vec<i64>) {
    late.sort_unstable();
    let part = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    println!(
        "{what}: least {}, median {}, p90 {}, p99 {}, p99.9 {}, most {}",
        part(0.0),
        part(0.5),
        part(0.9),
        part(0.99),
        part(0.999),
        part(1.0)
    );
}

fn watch(channel: &Channel, count: usize) {
    channel.declare(queue_declare(QUEUE).durable());
    channel.consume(basic_consume(QUEUE, "").no_ack());
    // Of each message: how late it was, and its batch, if it has one.
    let mut late: Vec<(i64, Option<u64>)> = Vec::with_capacity(count);
    let mut took: HashMap<u64, i64> = HashMap::new();
    while late.len() < count {
        let message = channel.expect_deliver();
        let now = i64::try_from(now_ms()).expect("a date");
        let mut words = message.text().split(' ');
        match words.next() {
            Some(TOOK) => {
                let batch = words.next().and_then(|text| text.parse().ok()).expect("a batch");
                took.insert(batch, words.next().and_then(|text| text.parse().ok()).expect("a time"));
            }
            due => {
                let due: i64 = due.and_then(|text| text.parse().ok()).expect("a time in the body");
                late.push((now - due, words.nth(1).and_then(|text| text.parse().ok())));
            }
        }
    }
    print_late(&format!("{count} messages, late by ms"), late.iter().map(|(late, _)| *late).collect());
    if !took.is_empty() {
        let is_quick = |batch: &Option<u64>| batch.and_then(|batch| took.get(&batch)).is_none_or(|took| *took <= QUICK);
        let quick: Vec<_> = late.iter().filter(|(_, batch)| is_quick(batch)).map(|(late, _)| *late).collect();
        print_late(&format!("the {} of them that were published within {QUICK} ms", quick.len()), quick);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let Some((what, rest)) = arguments.split_first().filter(|(_, rest)| rest.len() >= 2) else {
        eprintln!("timing fill-ttl|fill-delay|watch ADDRESS COUNT [...]");
        return;
    };
    let address: SocketAddr = rest[0].parse().expect("an address as 127.0.0.1:5672");
    let numbers: Vec<u64> = rest[1..].iter().map(|text| text.parse().expect("a number")).collect();
    let client = Client::new(address);
    client.handshake(&Options::default());
    let channel = client.channel();
    match (&**what, &*numbers) {
        ("fill-ttl", [count, first, last]) => fill_ttl(&channel, *count, *first, *last),
        ("fill-delay", [count, soon, begin]) => fill_delay(&channel, *count, *soon, *begin),
        ("watch", [count]) => watch(&channel, usize::try_from(*count).expect("a count")),
        _ => eprintln!("timing fill-ttl|fill-delay|watch ADDRESS COUNT [...]"),
    }
}

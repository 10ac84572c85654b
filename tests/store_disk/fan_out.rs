//! A message of a fan-out is written once.

use super::broker::{Broker, settled};
use crate::compat::harness::{confirm_select, props, queue_bind, queue_declare};

const BODY: u64 = 10 << 10;

#[test]
fn a_message_for_a_hundred_queues_is_written_once() {
    // Files so large that nothing is moved to segments.
    let broker = Broker::start(&[("store.journal_file_size", "4MiB"), ("store.segment_size", "4MiB")]);
    let client = broker.connect();
    let channel = client.channel();
    for number in 0..100 {
        let queue = format!("q{number}");
        channel.declare(queue_declare(&queue).durable());
        channel.call(queue_bind(&queue, "amq.fanout", ""));
    }
    channel.call(confirm_select());
    let body = "x".repeat(BODY as usize);
    // The first message may have to wait for files.
    channel.publish_with("amq.fanout", "", props().persistent(), "first");
    channel.expect_ack(1);
    let written = || {
        let under = |dir: &str| broker.disk.counters(broker.store(dir)).bytes_written;
        under("journal") + under("queues")
    };
    let before = settled(written);
    channel.publish_with("amq.fanout", "", props().persistent(), &body);
    channel.expect_ack(2);
    let bytes = written() - before;
    assert!((BODY..2 * BODY).contains(&bytes), "{bytes} bytes were written");
    assert_eq!(channel.expect_get("q99").text(), "first");
    assert_eq!(channel.expect_get("q99").text(), body);
}

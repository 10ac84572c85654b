//! A backlog of transient messages is larger than memory.

use super::broker::{Broker, number};
use crate::compat::harness::{basic_ack, confirm_select};
use crate::compat::harness::{basic_consume, basic_qos, eventually, props, queue_declare};

const COUNT: usize = 3000;

#[test]
fn a_transient_backlog_leaves_memory_comes_back_in_order_and_does_not_survive() {
    let mut broker = Broker::start(&[("vm_memory_high_watermark.absolute", "2MB")]);
    for declare in [queue_declare("durable").durable(), queue_declare("transient")] {
        let client = broker.connect();
        let channel = client.channel();
        let queue = channel.declare(declare).queue.to_string();
        channel.call(confirm_select());
        // Three times what may be in memory.
        for i in 0..COUNT {
            let body = format!("{i} {}", "x".repeat(2000));
            channel.publish_with("", &queue, props(), &body);
        }
        assert!(channel.expect_confirms(COUNT).is_empty());
        eventually("memory is below the watermark", || !broker.node().broker().memory.is_over());
        assert_eq!(channel.ready(&queue), COUNT as u32);
        let consumer = client.channel();
        consumer.call(basic_qos(100));
        consumer.consume(basic_consume(&queue, ""));
        for expected in 0..COUNT - 10 {
            assert_eq!(number(consumer.expect_deliver().text()), expected);
            consumer.send(basic_ack(expected as u64 + 1));
        }
    }
    broker.restart();
    let client = broker.connect();
    assert_eq!(client.channel().ready("durable"), 0);
    assert!(broker.disk.files(broker.store("transient")).is_empty());
}

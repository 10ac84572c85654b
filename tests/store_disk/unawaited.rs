//! What nobody waits for is written at once and synced soon, without a sync of its own.

use super::broker::{Broker, settled};
use crate::compat::harness::{basic_ack, confirm_select, eventually, props, queue_declare};

#[test]
fn an_ack_costs_no_sync_of_its_own() {
    const ACKS: u64 = 500;
    let broker = Broker::start(&[("store.journal_file_size", "4MiB")]);
    let client = broker.connect();
    let channel = client.channel();
    channel.declare(queue_declare("q").durable());
    channel.call(confirm_select());
    for _ in 0..ACKS {
        channel.publish_with("", "q", props().persistent(), "m");
    }
    channel.expect_confirms(ACKS as usize);
    let syncs = || broker.disk.counters(broker.store("journal")).syncs;
    let before = syncs();
    for _ in 0..ACKS {
        // The next one is asked for when the ack of the last has been carried out.
        let got = channel.expect_get("q");
        channel.send(basic_ack(got.delivery_tag));
    }
    let after = syncs() - before;
    assert!(after < ACKS, "{after} syncs for {ACKS} acks");
}

#[test]
fn a_publish_that_nobody_waits_for_is_on_disk_soon() {
    let mut broker = Broker::start(&[]);
    let syncs = |broker: &Broker| broker.disk.counters(broker.store("journal")).syncs;
    let channel = broker.connect().channel();
    channel.declare(queue_declare("q").durable());
    let before = settled(|| syncs(&broker));
    channel.publish_with("", "q", props().persistent(), "m");
    eventually("the journal is synced", || syncs(&broker) > before);
    broker.cut_power();
    assert_eq!(broker.connect().channel().expect_get("q").text(), "m");
}

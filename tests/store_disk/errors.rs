//! A disk that errs: what was confirmed is there all the same.

use std::time::Duration;

use leveret::persist::sim::{Fault, Kind};

use super::broker::{Broker, Publisher, numbers};

#[test]
fn writes_that_fail_for_a_while_cost_nothing_but_time() {
    for under in ["journal", ""] {
        for after in [0, 7] {
            let mut broker = Broker::start(&[]);
            let mut publisher = Publisher::new(&broker, "q");
            publisher.publish_all(5);
            broker.disk.inject(Fault::io(&[Kind::Write]).under(broker.store(under)).after(after).lasting());
            assert_eq!(publisher.publish_until_blocked(), "low on disk");
            broker.disk.heal();
            publisher.expect_unblocked();
            publisher.expect_all_confirmed();
            publisher.publish_all(50);
            broker.cut_power();
            assert_eq!(numbers(&broker, "q"), Vec::from_iter(0..publisher.published), "'{under}' after {after} writes");
        }
    }
}

#[test]
fn after_a_sync_that_fails_nothing_is_confirmed_until_a_restart() {
    let mut broker = Broker::start(&[]);
    let mut publisher = Publisher::new(&broker, "q");
    publisher.publish_all(40);
    broker.disk.inject(Fault::io(&Kind::SYNCS).under(broker.store("")));
    publisher.publish();
    let failed = async { tokio::time::timeout(Duration::from_secs(30), broker.node().failed()).await };
    let why = broker.runtime.block_on(failed).expect("the node has to be stopped");
    assert!(why.contains("cannot be synced"), "{why}");
    // The next sync would succeed, and would not bring back what this one has lost.
    publisher.publish();
    broker.cut_power();
    publisher.expect_no_confirm_until_the_end();
    let found = numbers(&broker, "q");
    assert_eq!(found[..40], Vec::from_iter(0..40));
    // What was not confirmed may be there, too.
    assert_eq!(found, Vec::from_iter(0..found.len()));
    assert!(found.len() <= publisher.published);
}

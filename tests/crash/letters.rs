//! Dead letters and delayed messages under kill -9: a load that makes them, and cycles of kills.
//!
//! Workers publish to queues in which messages die (of a time-out, of rejects, of too little room) and to a delayed
//! exchange, consume what was rejected and what has moved, and tell a [`Ledger`]. At the beginning of each cycle one
//! client looks into all queues at once. With quorum queues, what is not delayed is transient.

mod ledger;
mod worker;

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;

use super::broker::{Broker, Death};
use super::client::End;
use super::harness::random;
use ledger::Ledger;
use worker::{Shared, Worker};

/// Small files, so that a short cycle goes through all of their life.
const SETTINGS: [&str; 3] = ["store.journal_file_size=256KiB", "store.journal_keep=1", "store.segment_size=128KiB"];
const WORKERS: u32 = 3;
/// The longest that a cycle loads the broker, in milliseconds.
const CYCLE: u64 = 1500;

/// Kills the broker so many times under this load; in the end every message is where it should be.
pub fn survive_kills(times: u64, in_quorum_queues: bool) {
    let mut data = tempfile::tempdir().expect("a directory");
    let shared = Shared::new(Ledger::new(), in_quorum_queues);
    let mut random = random();
    for _ in 0..times {
        let (mut broker, address) = Broker::start(data.path(), &SETTINGS);
        look(&shared, address);
        std::thread::scope(|scope| {
            for number in 1..=WORKERS {
                let (shared, seed) = (&shared, random.next());
                scope.spawn(move || match Worker::connect(shared, address, number, seed).and_then(Worker::work) {
                    Ok(()) | Err(End::Cut) => {}
                    Err(end) => shared.ledger.lock().fault(format!("worker {number}: {end:?}")),
                });
            }
            // Not a wait for anything: the broker is to be killed at any time.
            std::thread::park_timeout(Duration::from_millis(random.below(CYCLE)));
            assert_eq!(broker.kill(), Death::Killed);
        });
        check(&shared, &broker, &mut data);
        shared.ledger.lock().restarted();
    }
    let (mut broker, address) = Broker::start(data.path(), &SETTINGS);
    look(&shared, address);
    // What was taken may not be there any more, and the rest must.
    broker.kill();
    shared.ledger.lock().restarted();
    let (broker, address) = Broker::start(data.path(), &SETTINGS);
    look(&shared, address);
    check(&shared, &broker, &mut data);
    let ledger = shared.ledger.lock();
    eprintln!("{} kills, {} confirmed, {} moved", times, ledger.confirmed, ledger.moved);
    assert!(times == 0 || ledger.moved > 0, "nothing has moved");
}

/// Looks into all queues, and takes what has moved.
fn look(shared: &Shared, address: SocketAddr) {
    let result = Worker::connect(shared, address, 0, 0).and_then(Worker::inspect);
    if let Err(end) = result {
        shared.ledger.lock().fault(format!("the inspector: {end:?}"));
    }
}

fn check(shared: &Shared, broker: &Broker, data: &mut TempDir) {
    let faults: Vec<String> = shared.ledger.lock().faults().iter().take(15).cloned().collect();
    let complaints = broker.complaints();
    if !faults.is_empty() || !complaints.is_empty() {
        data.disable_cleanup(true);
        let data = data.path().display();
        panic!("data in {data}\n{}\n{}\n{}", faults.join("\n"), complaints.join("\n"), broker.log());
    }
}

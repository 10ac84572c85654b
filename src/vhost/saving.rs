//! Saves what exchanges and queues with deduplication have seen, so that it outlives the process.
//!
//! An identifier may be saved only when its message is safe: else a power cut could take the message and leave the
//! identifier, and the publisher's next attempt would be taken for a repetition. So [`Saving::tick`] takes a picture of all
//! windows and writes the one before, once everything that had been handed to the journal by then is committed.
//! [`Saving::last`] is for an orderly stop.

use parking_lot::Mutex;

use super::broker::Broker;
use crate::persist::Store;

/// All windows: their owners' numbers in the store, and their bytes.
type Picture = Vec<(u64, Vec<u8>)>;

/// What waits to be saved.
#[derive(Default)]
pub struct Saving {
    /// A picture, and the commit that was being gathered when it was taken.
    next: Mutex<Option<(u64, Picture)>>,
}

impl Saving {
    /// To be called every few seconds. Blocks on the disk.
    pub fn tick(&self, broker: &Broker) {
        let Some(store) = &broker.store else { return };
        let mut next = self.next.lock();
        if let Some((_, picture)) = next.take_if(|(commit, _)| is_committed(store, *commit)) {
            save(store, &picture);
        }
        if next.is_none() {
            let commit = store.journal.gathering();
            *next = Some((commit, picture(broker)));
        }
    }

    /// The node stops, and the journal is written to its end.
    pub fn last(&self, broker: &Broker) {
        let Some(store) = &broker.store else { return };
        *self.next.lock() = None;
        if store.failure().borrow().is_none() {
            save(store, &picture(broker));
        }
    }
}

/// Whether all is committed that was handed to the journal some seconds ago, when this commit was being gathered.
fn is_committed(store: &Store, commit: u64) -> bool {
    let (committed, gathering) = (store.journal.committed(), store.journal.gathering());
    // The writer takes what has gathered at once: if it has not, there was nothing.
    committed >= commit || (gathering == commit && committed + 1 == commit)
}

fn save(store: &Store, picture: &Picture) {
    if let Err(error) = store.windows.save(picture) {
        tracing::warn!(
            target: "leveret::store",
            "what exchanges and queues have seen cannot be saved: {error}. A restart may let repetitions through."
        );
    }
}

fn picture(broker: &Broker) -> Picture {
    let mut windows = Vec::new();
    for vhost in broker.vhosts() {
        let topology = vhost.topology.read();
        let (exchanges, queues): (Vec<_>, Vec<_>) =
            (topology.exchanges.values().cloned().collect(), topology.queues.values().cloned().collect());
        drop(topology);
        windows.extend(exchanges.iter().filter_map(|exchange| exchange.window()));
        windows.extend(queues.iter().filter_map(|queue| queue.window()));
    }
    windows.sort_unstable_by_key(|(owner, _)| *owner);
    windows
}

//! What is known of the messages: which were confirmed, and which acked.

use std::collections::{BTreeMap, HashSet, VecDeque};

use parking_lot::Mutex;

/// So many that are gone are looked for.
const REMEMBERED: usize = 10_000;

#[derive(Default)]
pub struct Ledger(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    next: u64,
    /// Confirmed and not acked.
    safe: HashSet<u64>,
    acked: HashSet<u64>,
    /// Queue and position of what was settled before something that has been confirmed.
    gone: VecDeque<(u64, u64)>,
    /// What has happened to those that are not acked, for people.
    notes: BTreeMap<u64, String>,
    confirmed: u64,
    moved: u64,
}

impl Ledger {
    /// A number that no message has had.
    pub fn new_id(&self) -> u64 {
        let mut inner = self.0.lock();
        inner.next += 1;
        inner.next
    }

    pub fn note(&self, id: u64, text: &str) {
        let mut inner = self.0.lock();
        if !inner.acked.contains(&id) {
            let notes = inner.notes.entry(id).or_default();
            notes.push_str(text);
            notes.push_str("; ");
        }
    }

    pub fn confirm(&self, id: u64) {
        let mut inner = self.0.lock();
        inner.confirmed += 1;
        if !inner.acked.contains(&id) {
            inner.safe.insert(id);
        }
    }

    /// It will be acked: to be told before that is said to the broker.
    pub fn ack(&self, id: u64) {
        let mut inner = self.0.lock();
        inner.acked.insert(id);
        inner.safe.remove(&id);
        inner.notes.remove(&id);
    }

    /// What was settled there is stored.
    pub fn is_gone(&self, queue: u64, position: u64) {
        let gone = &mut self.0.lock().gone;
        gone.push_back((queue, position));
        if gone.len() > REMEMBERED {
            gone.pop_front();
        }
    }

    /// What must not be there any more.
    pub fn gone(&self) -> HashSet<(u64, u64)> {
        self.0.lock().gone.iter().copied().collect()
    }

    /// What is known of a message.
    pub fn notes(&self, id: u64) -> String {
        self.0.lock().notes.get(&id).cloned().unwrap_or_default()
    }

    /// A message has come to its second queue.
    pub fn move_on(&self) {
        self.0.lock().moved += 1;
    }

    /// What must be there.
    pub fn safe(&self) -> HashSet<u64> {
        self.0.lock().safe.clone()
    }

    /// Of those that were not found, the ones that should have been, and what is known of them.
    pub fn missing(&self, not_found: impl Iterator<Item = u64>) -> Vec<(u64, String)> {
        let inner = self.0.lock();
        let missing = not_found.filter(|id| !inner.acked.contains(id));
        missing.map(|id| (id, inner.notes.get(&id).cloned().unwrap_or_default())).collect()
    }

    /// How many are safe.
    pub fn count(&self) -> usize {
        self.0.lock().safe.len()
    }

    pub fn confirmed(&self) -> u64 {
        self.0.lock().confirmed
    }

    pub fn moved(&self) -> u64 {
        self.0.lock().moved
    }
}

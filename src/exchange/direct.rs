//! Direct exchanges: a message goes to the destinations that are bound with exactly its routing key.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

use super::few::Targets;

/// Destinations by binding key.
#[derive(Debug)]
pub struct Direct<D>(HashMap<Box<[u8]>, Targets<D>, RandomState>);

impl<D> Default for Direct<D> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<D: Clone + Eq + Hash> Direct<D> {
    pub fn insert(&mut self, key: &str, dest: D) {
        self.0.entry(key.as_bytes().into()).or_default().add(dest);
    }

    pub fn remove(&mut self, key: &str, dest: &D) {
        let Some(targets) = self.0.get_mut(key.as_bytes()) else { return };
        targets.take(dest);
        if targets.is_empty() {
            self.0.remove(key.as_bytes());
        }
    }

    pub fn route(&self, routing_key: &[u8], out: &mut Vec<D>) {
        if let Some(targets) = self.0.get(routing_key) {
            out.extend(targets.keys().cloned());
        }
    }
}

//! A map that is most often empty or holds one entry, and must stay fast when it holds a hundred thousand.
//!
//! Nearly every routing key has one queue and nearly every queue one binding, so a hash table for each would be most of
//! an exchange's memory.

use std::hash::Hash;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

/// The destinations below one point of an index, each with the number of bindings that put it there.
pub type Targets<D> = Few<D, u32>;

/// A map from `K` to `V`, without a heap block of its own until the second entry.
#[derive(Debug, Default)]
pub enum Few<K, V> {
    #[default]
    None,
    One(K, V),
    Many(Box<IndexMap<K, V, RandomState>>),
}

impl<K: Eq + Hash, V> Few<K, V> {
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(..) => 1,
            Self::Many(map) => map.len(),
        }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        match self {
            Self::None => None,
            Self::One(k, v) => (k == key).then_some(v),
            Self::Many(map) => map.get(key),
        }
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self {
            Self::None => None,
            Self::One(k, v) => (k == key).then_some(v),
            Self::Many(map) => map.get_mut(key),
        }
    }

    /// Sets the value of `key`.
    pub fn insert(&mut self, key: K, value: V) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(key, value),
            Self::One(k, _) if k == key => Self::One(key, value),
            Self::One(k, v) => Self::Many(Box::new(IndexMap::from_iter([(k, v), (key, value)]))),
            Self::Many(mut map) => {
                map.insert(key, value);
                Self::Many(map)
            }
        };
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (rest, removed) = match std::mem::take(self) {
            Self::One(k, v) if k == *key => (Self::None, Some(v)),
            Self::Many(mut map) => {
                let removed = map.swap_remove(key);
                (Self::of(map), removed)
            }
            other => (other, None),
        };
        *self = rest;
        removed
    }

    /// The smallest form for a map that has just lost an entry.
    fn of(mut map: Box<IndexMap<K, V, RandomState>>) -> Self {
        if map.len() > 1 {
            return Self::Many(map);
        }
        map.pop().map_or(Self::None, |(k, v)| Self::One(k, v))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(k, v) => (Some((k, v)), None),
            Self::Many(map) => (None, Some(map.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(k, _)| k)
    }

    /// The key at a place in an order that lasts until the next change.
    pub fn nth(&self, place: usize) -> Option<&K> {
        match self {
            Self::One(k, _) if place == 0 => Some(k),
            Self::Many(map) => map.get_index(place).map(|(k, _)| k),
            _ => None,
        }
    }
}

impl<D: Eq + Hash> Targets<D> {
    /// Counts one more binding to `dest`.
    pub fn add(&mut self, dest: D) {
        match self.get_mut(&dest) {
            Some(bindings) => *bindings += 1,
            None => self.insert(dest, 1),
        }
    }

    /// Counts one binding to `dest` less.
    pub fn take(&mut self, dest: &D) {
        match self.get_mut(dest) {
            Some(bindings) if *bindings > 1 => *bindings -= 1,
            _ => drop(self.remove(dest)),
        }
    }
}

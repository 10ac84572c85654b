//! Exchanges that give each message to one of their destinations: by a hash, or at random.
//!
//! Hashes are SipHash with a fixed key, and destinations enter them by name, so the same key goes to the same queue
//! after a restart and on every machine.

use std::hash::{BuildHasher, Hash};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use siphasher::sip::SipHasher13;

use super::few::Targets;
use super::settings::{HashOn, HashProperty};
use super::{RouteInput, Target};
use crate::frames::table::{self, ValueRef};

/// The hash of a message or a name.
fn hash(bytes: &[u8]) -> u64 {
    SipHasher13::new().hash(bytes)
}

fn hash_value(value: ValueRef<'_>) -> u64 {
    let (letter, bytes) = value.identity();
    hash(&[&[letter], &*bytes].concat())
}

/// `hash` scaled down to a number below `n`.
fn below(hash: u64, n: usize) -> usize {
    let scaled = (u128::from(hash) * n as u128) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}

/// The number that a binding key of an `x-consistent-hash` exchange gives, if it gives one: as Erlang reads integers.
pub fn weight(key: &str) -> Option<i64> {
    let digits = key.strip_prefix(['-', '+']).unwrap_or(key);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let limit = if key.starts_with('-') { i64::MIN } else { i64::MAX };
    Some(key.parse().unwrap_or(limit))
}

/// Rendezvous hashing: each destination draws a lot for the message, and the best lot takes it.
///
/// A destination's lots do not depend on the others, so one that comes or goes moves only its own share of the keys.
/// Weights are exact and cost no memory, whatever their size; several bindings of one destination add up. A message
/// costs some ten nanoseconds for each destination, which the route cache saves where the routing key is hashed.
#[derive(Debug)]
pub struct ConsistentHash<D> {
    on: HashOn,
    places: IndexMap<D, Place, RandomState>,
}

#[derive(Debug)]
struct Place {
    seed: u64,
    weight: f64,
    bindings: u32,
}

impl Place {
    /// The lot for a message with this hash: exponentially distributed, the rate being the weight. The least one wins.
    fn lot(&self, hash: u64) -> f64 {
        // 53 bits are what a float holds; the half keeps the logarithm finite.
        let uniform = ((mixed(hash ^ self.seed) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -uniform.ln() / self.weight
    }
}

/// Each bit of the result depends on every bit of `x` (the last step of splitmix64).
fn mixed(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl<D: Target> ConsistentHash<D> {
    pub fn new(on: HashOn) -> Self {
        Self { on, places: IndexMap::default() }
    }

    pub fn insert(&mut self, key: &str, dest: D) {
        let seed = hash(dest.lasting_name().as_bytes());
        let place = self.places.entry(dest).or_insert(Place { seed, weight: 0.0, bindings: 0 });
        place.bindings += 1;
        place.weight += weight_of(key);
    }

    pub fn remove(&mut self, key: &str, dest: &D) {
        let Some(place) = self.places.get_mut(dest) else { return };
        place.bindings -= 1;
        place.weight -= weight_of(key);
        if place.bindings == 0 {
            self.places.swap_remove(dest);
        }
    }

    pub fn route(&self, input: &RouteInput<'_>, out: &mut Vec<D>) {
        let hash = self.hash_of(input);
        let lots = self.places.iter().map(|(dest, place)| (place.lot(hash), dest));
        out.extend(lots.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, dest)| dest.clone()));
    }

    /// A message without what is hashed goes to one destination, always the same.
    fn hash_of(&self, input: &RouteInput<'_>) -> u64 {
        let properties = input.properties;
        match &self.on {
            HashOn::RoutingKey => hash(input.first_key()),
            HashOn::Property(HashProperty::MessageId) => hash(properties.message_id.unwrap_or_default()),
            HashOn::Property(HashProperty::CorrelationId) => hash(properties.correlation_id.unwrap_or_default()),
            HashOn::Property(HashProperty::Timestamp) => {
                hash(properties.timestamp.map(|t| t.to_string()).unwrap_or_default().as_bytes())
            }
            HashOn::Header(name) => {
                let value = table::find(properties.headers.unwrap_or_default(), name);
                value.map_or(0, hash_value)
            }
        }
    }
}

/// A binding's weight; its key has been checked when it was made.
fn weight_of(key: &str) -> f64 {
    weight(key).map_or(0.0, |weight| weight as f64)
}

/// The key's hash modulo the number of destinations.
#[derive(Debug)]
pub struct ModulusHash<D> {
    targets: Targets<D>,
    /// The destinations by name, put in order when a message comes after a change.
    ordered: OnceLock<Box<[D]>>,
}

impl<D> Default for ModulusHash<D> {
    fn default() -> Self {
        Self { targets: Targets::None, ordered: OnceLock::new() }
    }
}

impl<D: Target> ModulusHash<D> {
    pub fn insert(&mut self, dest: D) {
        self.targets.add(dest);
        self.ordered = OnceLock::new();
    }

    pub fn remove(&mut self, dest: &D) {
        self.targets.take(dest);
        self.ordered = OnceLock::new();
    }

    pub fn route(&self, input: &RouteInput<'_>, out: &mut Vec<D>) {
        let ordered = self.ordered.get_or_init(|| {
            let mut all: Box<[D]> = self.targets.keys().cloned().collect();
            all.sort_by_cached_key(|dest| dest.lasting_name().into_owned());
            all
        });
        let place = hash(input.first_key()).checked_rem(ordered.len() as u64);
        let place = place.and_then(|place| usize::try_from(place).ok());
        out.extend(place.and_then(|place| ordered.get(place)).cloned());
    }
}

/// A destination at random.
#[derive(Debug)]
pub struct Random<D> {
    targets: Targets<D>,
    /// Its hashes of rising numbers, with a key that nobody knows, are the random numbers.
    hasher: RandomState,
    drawn: AtomicU64,
}

impl<D> Default for Random<D> {
    fn default() -> Self {
        Self { targets: Targets::None, hasher: RandomState::default(), drawn: AtomicU64::new(0) }
    }
}

impl<D: Clone + Eq + Hash> Random<D> {
    pub fn insert(&mut self, dest: D) {
        self.targets.add(dest);
    }

    pub fn remove(&mut self, dest: &D) {
        self.targets.take(dest);
    }

    pub fn route(&self, out: &mut Vec<D>) {
        let number = self.hasher.hash_one(self.drawn.fetch_add(1, Ordering::Relaxed));
        out.extend(self.targets.nth(below(number, self.targets.len())).cloned());
    }
}

#[cfg(test)]
mod tests;

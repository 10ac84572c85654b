//! Headers exchanges: a binding's arguments are conditions on a message's headers, and `x-match` says whether all or
//! any of them must hold.
//!
//! A condition is a header's name and value; a void value asks only that the header be there. Values are compared by
//! what they mean and not by their width: an `I` 5 equals an `l` 5, as in RabbitMQ. Names that begin with `x-` are no
//! conditions, except with `all-with-x` and `any-with-x`. `all` without conditions matches every message, `any` without
//! conditions none.
//!
//! **Index.** An `all` binding is filed under one of its conditions, the one that fewest bindings are filed under at
//! that moment; an `any` binding under each. A message looks up each of its headers twice (by name, by name and value),
//! and only the bindings found so are compared in full. That comparison also makes the index safe against colliding
//! hashes, so it holds hashes only and no texts.

mod value;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

use super::BindingError;
use super::few::Few;
use super::scratch::Scratch;
use crate::frames::table::{Table, Value, ValueRef, entries};
use value::Scalar;
pub use value::printed;

/// Headers of a message that are looked up without an allocation.
const FEW_HEADERS: usize = 16;

/// How a binding's conditions combine, and whether names that begin with `x-` count.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mode {
    any: bool,
    with_x: bool,
}

impl Mode {
    /// The mode of a binding's arguments; `all` when they name none, or none that is known.
    fn of(arguments: &Table) -> Self {
        match arguments.get("x-match") {
            Some(Value::LongStr(text)) => Self::named(text),
            _ => None,
        }
        .unwrap_or(Self { any: false, with_x: false })
    }

    fn named(text: &[u8]) -> Option<Self> {
        let (any, with_x) = match text {
            b"all" => (false, false),
            b"any" => (true, false),
            b"all-with-x" => (false, true),
            b"any-with-x" => (true, true),
            _ => return None,
        };
        Some(Self { any, with_x })
    }

    fn is_condition(self, name: &str) -> bool {
        name != "x-match" && (self.with_x || !name.starts_with("x-"))
    }
}

/// Whether `x-match` is absent or one of the four known texts.
pub fn check(arguments: &Table) -> Result<(), BindingError> {
    match arguments.get("x-match") {
        None => Ok(()),
        Some(Value::LongStr(text)) if Mode::named(text).is_some() => Ok(()),
        Some(text @ Value::LongStr(_)) => Err(BindingError::MatchValue(text.clone())),
        Some(other) => Err(BindingError::MatchType(other.clone())),
    }
}

/// The bindings of one headers exchange.
#[derive(Debug)]
pub struct Headers<D> {
    matchers: Vec<Option<Matcher<D>>>,
    /// Places in `matchers` that are not in use.
    free: Vec<u32>,
    /// Hash of a condition -> the matchers filed under it.
    filed: HashMap<u64, Few<u32, ()>, RandomState>,
    /// The matchers without conditions that match every message.
    always: Few<u32, ()>,
    hasher: RandomState,
}

/// One binding.
#[derive(Debug)]
struct Matcher<D> {
    dest: D,
    any: bool,
    conditions: Box<[(Box<[u8]>, Value)]>,
    /// What it is filed under.
    hashes: Box<[u64]>,
}

/// A header of a message: name and value.
type Header<'a> = (&'a [u8], ValueRef<'a>);

impl<D> Default for Headers<D> {
    fn default() -> Self {
        Self {
            matchers: Vec::new(),
            free: Vec::new(),
            filed: HashMap::default(),
            always: Few::None,
            hasher: RandomState::default(),
        }
    }
}

impl<D: Clone + Eq + Hash> Headers<D> {
    /// Adds a binding; the ticket is for [`Self::remove`].
    pub fn insert(&mut self, arguments: &Table, dest: D) -> u32 {
        let mode = Mode::of(arguments);
        let conditions: Box<[_]> = arguments
            .iter()
            .filter(|(name, _)| mode.is_condition(name))
            .map(|(name, value)| (name.as_bytes().into(), value.clone()))
            .collect();
        let hashes = self.hashes_to_file(mode, &conditions);
        let id = self.free.pop().unwrap_or_else(|| self.new_place());
        for hash in &hashes {
            self.filed.entry(*hash).or_default().insert(id, ());
        }
        if conditions.is_empty() && !mode.any {
            self.always.insert(id, ());
        }
        if let Some(place) = self.matchers.get_mut(id as usize) {
            *place = Some(Matcher { dest, any: mode.any, conditions, hashes });
        }
        id
    }

    pub fn remove(&mut self, ticket: u32) {
        let Some(matcher) = self.matchers.get_mut(ticket as usize).and_then(Option::take) else { return };
        for hash in &matcher.hashes {
            self.take_from_file(*hash, ticket);
        }
        self.always.remove(&ticket);
        self.free.push(ticket);
    }

    /// Appends the destinations of a message with these headers (the inside of the encoded table).
    pub fn route(&self, headers: &[u8], out: &mut Vec<D>) {
        self.emit(self.always.keys(), out);
        if self.filed.is_empty() {
            return;
        }
        let mut scratch = Scratch::<Header<'_>, FEW_HEADERS>::new((&[], ValueRef::Void));
        entries(headers).map_while(Result::ok).for_each(|header| scratch.push(header));
        let headers = first_of_each(scratch.as_mut_slice());
        for (name, value) in headers {
            self.route_filed(self.hash_name(name), headers, out);
            self.route_filed(self.hash_pair(name, Scalar::from(*value)), headers, out);
        }
    }

    fn route_filed(&self, hash: u64, headers: &[Header<'_>], out: &mut Vec<D>) {
        let Some(filed) = self.filed.get(&hash) else { return };
        self.emit(filed.keys().filter(|id| self.matcher(**id).is_some_and(|m| m.matches(headers))), out);
    }

    fn emit<'a>(&self, ids: impl Iterator<Item = &'a u32>, out: &mut Vec<D>) {
        out.extend(ids.filter_map(|id| self.matcher(*id)).map(|matcher| matcher.dest.clone()));
    }

    fn matcher(&self, id: u32) -> Option<&Matcher<D>> {
        self.matchers.get(id as usize)?.as_ref()
    }

    fn new_place(&mut self) -> u32 {
        self.matchers.push(None);
        u32::try_from(self.matchers.len() - 1).unwrap_or(u32::MAX)
    }

    /// All conditions of an `any` binding; of an `all` binding the one with the fewest others.
    fn hashes_to_file(&self, mode: Mode, conditions: &[(Box<[u8]>, Value)]) -> Box<[u64]> {
        let hashes = conditions.iter().map(|(name, value)| self.hash_condition(name, value));
        if mode.any {
            return hashes.collect();
        }
        hashes.min_by_key(|hash| self.filed.get(hash).map_or(0, Few::len)).into_iter().collect()
    }

    fn take_from_file(&mut self, hash: u64, ticket: u32) {
        let Some(filed) = self.filed.get_mut(&hash) else { return };
        filed.remove(&ticket);
        if filed.is_empty() {
            self.filed.remove(&hash);
        }
    }

    fn hash_condition(&self, name: &[u8], value: &Value) -> u64 {
        if *value == Value::Void { self.hash_name(name) } else { self.hash_pair(name, Scalar::from(value)) }
    }

    fn hash_name(&self, name: &[u8]) -> u64 {
        self.hasher.hash_one(name)
    }

    fn hash_pair(&self, name: &[u8], value: Scalar<'_>) -> u64 {
        self.hasher.hash_one((name, value))
    }
}

impl<D> Matcher<D> {
    fn matches(&self, headers: &[Header<'_>]) -> bool {
        let holds = |(name, wanted): &(Box<[u8]>, Value)| {
            let found = headers.binary_search_by(|(header, _)| (*header).cmp(name)).ok().and_then(|at| headers.get(at));
            found.is_some_and(|(_, value)| *wanted == Value::Void || value::equal(wanted, *value))
        };
        if self.any { self.conditions.iter().any(holds) } else { self.conditions.iter().all(holds) }
    }
}

/// Sorts headers by name and keeps the first of each name.
fn first_of_each<'s, 'a>(headers: &'s mut [Header<'a>]) -> &'s [Header<'a>] {
    headers.sort_by_key(|(name, _)| *name);
    let mut kept = 0;
    for at in 0..headers.len() {
        let is_new = at == 0 || name_at(headers, at) != name_at(headers, kept - 1);
        if is_new {
            headers.swap(kept, at);
            kept += 1;
        }
    }
    headers.get(..kept).unwrap_or_default()
}

fn name_at<'a>(headers: &[Header<'a>], at: usize) -> Option<&'a [u8]> {
    headers.get(at).map(|(name, _)| *name)
}

#[cfg(test)]
pub(super) mod tests;

//! Exchanges: which destinations get a message. No I/O, no clock, no names of queues: a destination is whatever handle
//! the caller binds.
//!
//! One [`Bindings`] belongs to one exchange. It keeps the bindings twice: as they were made, by destination, which
//! answers "is this binding there" and "forget this queue" without looking at other queues' bindings; and in an index
//! of the exchange's own type, which answers "where does this message go" at a cost that grows with the matches and
//! not with the bindings:
//!
//! | type    | index                                              | module      |
//! |---------|----------------------------------------------------|-------------|
//! | direct  | hash map by routing key                            | [`direct`]  |
//! | fanout  | the set of destinations                            | here        |
//! | topic   | trie over dot-separated words                      | [`topic`]   |
//! | headers | hash map by one condition of each binding          | [`headers`] |
//! | hash, random | the destinations, of which one is picked      | [`spread`]  |
//!
//! [`Settings`] is what a declaration says: the type and its own arguments.
//!
//! [`Bindings::bind`] and [`Bindings::unbind`] change both; [`Bindings::route`] only reads the index.

mod direct;
mod few;
mod headers;
mod history;
mod kind;
mod scratch;
mod settings;
mod spec;
mod spread;
#[cfg(test)]
mod tests;
mod topic;

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

use crate::frames::{Properties, Table, Value};
use direct::Direct;
use few::{Few, Targets};
use headers::Headers;
pub use history::History;
pub use kind::ExchangeType;
pub use settings::{HashOn, HashProperty, Matching, Settings, SettingsError};
use spec::Spec;
use spread::{ConsistentHash, ModulusHash, Random};
use topic::Trie;

/// Why a binding is refused. The texts are RabbitMQ's, values printed as Erlang prints them.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BindingError {
    #[error("Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x", headers::printed(.0))]
    MatchValue(Value),
    #[error("Invalid x-match field type {} (value {}); expected longstr", .0.type_name(), headers::printed(.0))]
    MatchType(Value),
    #[error("The binding key must be an integer: {}", headers::printed(.0))]
    NoInteger(Value),
    #[error("The binding key must be greater than 0")]
    NotPositive,
    #[error("Non empty binding '{0}' key not permitted")]
    NotEmpty(String),
}

/// What a binding can lead to.
pub trait Target: Clone + Eq + Hash {
    /// A name that is the same after a restart, and that no other destination of the exchange has.
    fn lasting_name(&self) -> Cow<'_, str>;
}

/// What of a message can decide where it goes.
#[derive(Clone, Copy, Debug)]
pub struct RouteInput<'a> {
    /// The message's own routing key, then those of its CC and BCC headers. Where a message goes one way only, the first
    /// counts.
    pub keys: &'a [&'a [u8]],
    pub properties: &'a Properties<'a>,
    /// In milliseconds since 1970.
    pub now: u64,
}

impl<'a> RouteInput<'a> {
    fn first_key(&self) -> &'a [u8] {
        self.keys.first().copied().unwrap_or_default()
    }
}

/// One binding, as [`Bindings::iter`] shows it.
#[derive(Debug)]
pub struct BindingRef<'a, D> {
    pub key: &'a str,
    /// Sorted by key.
    pub arguments: &'a Table,
    pub dest: &'a D,
}

/// The bindings of one exchange. `D` is cloned for each match and should be cheap to clone, as an `Arc` is.
#[derive(Debug)]
pub struct Bindings<D> {
    /// Every binding as it was made, with the ticket that the index gave for it.
    made: HashMap<D, Few<Spec, u32>, RandomState>,
    index: Index<D>,
    len: usize,
}

#[derive(Debug)]
enum Index<D> {
    Direct(Direct<D>),
    Fanout(Targets<D>),
    Topic(Trie<D>),
    Headers(Headers<D>),
    ConsistentHash(ConsistentHash<D>),
    ModulusHash(ModulusHash<D>),
    Random(Random<D>),
}

impl<D: Target> Bindings<D> {
    pub fn new(matching: &Matching) -> Self {
        let index = match matching {
            Matching::Direct => Index::Direct(Direct::default()),
            Matching::Fanout => Index::Fanout(Targets::default()),
            Matching::Topic => Index::Topic(Trie::default()),
            Matching::Headers => Index::Headers(Headers::default()),
            Matching::ConsistentHash(on) => Index::ConsistentHash(ConsistentHash::new(on.clone())),
            Matching::ModulusHash => Index::ModulusHash(ModulusHash::default()),
            Matching::Random | Matching::LocalRandom => Index::Random(Random::default()),
        };
        Self { made: HashMap::default(), index, len: 0 }
    }

    /// Whether a binding with this key and these arguments may be made. The error's text is RabbitMQ's, for a channel
    /// error 406.
    pub fn check(matching: &Matching, key: &str, arguments: &Table) -> Result<(), BindingError> {
        match matching {
            Matching::Headers => headers::check(arguments),
            Matching::ConsistentHash(_) => match spread::weight(key) {
                None => Err(BindingError::NoInteger(Value::text(key))),
                Some(..1) => Err(BindingError::NotPositive),
                Some(_) => Ok(()),
            },
            Matching::LocalRandom if !key.is_empty() => Err(BindingError::NotEmpty(key.to_owned())),
            _ => Ok(()),
        }
    }

    /// Adds a binding that has passed [`Self::check`]. False when this very binding exists: the same
    /// destination, key and arguments (in any order, but of the same types).
    ///
    /// `key` is at most 255 bytes, as the protocol has it. A longer one is kept, but in a topic exchange it matches
    /// nothing when it has more than 256 words.
    pub fn bind(&mut self, key: &str, arguments: &Table, dest: D) -> bool {
        let spec = Spec::new(key, arguments);
        let specs = self.made.entry(dest.clone()).or_default();
        if specs.get(&spec).is_some() {
            return false;
        }
        let ticket = self.index.insert(&spec, dest);
        specs.insert(spec, ticket);
        self.len += 1;
        true
    }

    /// Removes a binding; false when there was none.
    pub fn unbind(&mut self, key: &str, arguments: &Table, dest: &D) -> bool {
        let spec = Spec::new(key, arguments);
        let Some(specs) = self.made.get_mut(dest) else { return false };
        let Some(ticket) = specs.remove(&spec) else { return false };
        if specs.is_empty() {
            self.made.remove(dest);
        }
        self.index.remove(&spec, ticket, dest);
        self.len -= 1;
        true
    }

    /// Removes all bindings to a destination and tells how many there were. The cost grows with that number only.
    pub fn remove_destination(&mut self, dest: &D) -> usize {
        let Some(specs) = self.made.remove(dest) else { return 0 };
        for (spec, ticket) in specs.iter() {
            self.index.remove(spec, *ticket, dest);
        }
        self.len -= specs.len();
        specs.len()
    }

    /// Appends the destinations of a message to `out`; one may be appended several times.
    #[inline]
    pub fn route(&self, input: &RouteInput<'_>, out: &mut Vec<D>) {
        match &self.index {
            Index::Direct(direct) => input.keys.iter().for_each(|key| direct.route(key, out)),
            Index::Fanout(targets) => out.extend(targets.keys().cloned()),
            Index::Topic(trie) => input.keys.iter().for_each(|key| trie.route(key, out)),
            Index::Headers(index) => index.route(input.properties.headers.unwrap_or_default(), out),
            Index::ConsistentHash(hash) => hash.route(input, out),
            Index::ModulusHash(hash) => hash.route(input, out),
            Index::Random(random) => random.route(out),
        }
    }

    /// Whether this very binding exists.
    pub fn contains(&self, key: &str, arguments: &Table, dest: &D) -> bool {
        self.made.get(dest).is_some_and(|specs| specs.get(&Spec::new(key, arguments)).is_some())
    }

    /// The bindings to one destination, in no particular order.
    pub fn of_destination<'a>(&'a self, dest: &'a D) -> impl Iterator<Item = BindingRef<'a, D>> {
        let specs = self.made.get(dest).into_iter().flat_map(Few::keys);
        specs.map(move |spec| BindingRef { key: &spec.key, arguments: &spec.arguments, dest })
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of bindings.
    pub fn len(&self) -> usize {
        self.len
    }

    /// All bindings, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = BindingRef<'_, D>> {
        self.made.iter().flat_map(|(dest, specs)| {
            specs.keys().map(move |spec| BindingRef { key: &spec.key, arguments: &spec.arguments, dest })
        })
    }
}

impl<D: Target> Index<D> {
    fn insert(&mut self, spec: &Spec, dest: D) -> u32 {
        match self {
            Self::Direct(direct) => direct.insert(&spec.key, dest),
            Self::Fanout(targets) => targets.add(dest),
            Self::Topic(trie) => trie.insert(&spec.key, dest),
            Self::Headers(headers) => return headers.insert(&spec.arguments, dest),
            Self::ConsistentHash(hash) => hash.insert(&spec.key, dest),
            Self::ModulusHash(hash) => hash.insert(dest),
            Self::Random(random) => random.insert(dest),
        }
        0
    }

    fn remove(&mut self, spec: &Spec, ticket: u32, dest: &D) {
        match self {
            Self::Direct(direct) => direct.remove(&spec.key, dest),
            Self::Fanout(targets) => targets.take(dest),
            Self::Topic(trie) => trie.remove(&spec.key, dest),
            Self::Headers(headers) => headers.remove(ticket),
            Self::ConsistentHash(hash) => hash.remove(&spec.key, dest),
            Self::ModulusHash(hash) => hash.remove(dest),
            Self::Random(random) => random.remove(dest),
        }
    }
}

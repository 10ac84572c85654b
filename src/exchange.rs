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
//!
//! [`Bindings::bind`] and [`Bindings::unbind`] change both; [`Bindings::route`] only reads the index.

mod direct;
mod few;
mod headers;
mod scratch;
mod spec;
#[cfg(test)]
mod tests;
mod topic;

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::frames::Table;
use direct::Direct;
use few::{Few, Targets};
pub use headers::BindingError;
use headers::Headers;
use spec::Spec;
use topic::Trie;

/// The built-in exchange types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeType {
    Direct,
    Fanout,
    Topic,
    Headers,
}

impl ExchangeType {
    /// The name as it stands in exchange.declare.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }

    /// The type of that name; names are case-sensitive.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Direct, Self::Fanout, Self::Topic, Self::Headers].into_iter().find(|kind| kind.name() == name)
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
}

impl<D: Clone + Eq + Hash> Bindings<D> {
    pub fn new(kind: ExchangeType) -> Self {
        let index = match kind {
            ExchangeType::Direct => Index::Direct(Direct::default()),
            ExchangeType::Fanout => Index::Fanout(Targets::default()),
            ExchangeType::Topic => Index::Topic(Trie::default()),
            ExchangeType::Headers => Index::Headers(Headers::default()),
        };
        Self { made: HashMap::default(), index, len: 0 }
    }

    /// Whether a binding with these arguments may be made. The error's text is RabbitMQ's, for a channel error 406.
    pub fn check(kind: ExchangeType, arguments: &Table) -> Result<(), BindingError> {
        match kind {
            ExchangeType::Headers => headers::check(arguments),
            _ => Ok(()),
        }
    }

    /// Adds a binding whose arguments have passed [`Self::check`]. False when this very binding exists: the same
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

    /// Appends the destinations of a message to `out`; one may be appended several times. `headers` is the inside of
    /// the encoded headers table, validated before; only a headers exchange looks at it.
    #[inline]
    pub fn route(&self, routing_key: &[u8], headers: Option<&[u8]>, out: &mut Vec<D>) {
        match &self.index {
            Index::Direct(direct) => direct.route(routing_key, out),
            Index::Fanout(targets) => out.extend(targets.keys().cloned()),
            Index::Topic(trie) => trie.route(routing_key, out),
            Index::Headers(index) => index.route(headers.unwrap_or_default(), out),
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

impl<D: Clone + Eq + Hash> Index<D> {
    fn insert(&mut self, spec: &Spec, dest: D) -> u32 {
        match self {
            Self::Direct(direct) => direct.insert(&spec.key, dest),
            Self::Fanout(targets) => targets.add(dest),
            Self::Topic(trie) => trie.insert(&spec.key, dest),
            Self::Headers(headers) => return headers.insert(&spec.arguments, dest),
        }
        0
    }

    fn remove(&mut self, spec: &Spec, ticket: u32, dest: &D) {
        match self {
            Self::Direct(direct) => direct.remove(&spec.key, dest),
            Self::Fanout(targets) => targets.take(dest),
            Self::Topic(trie) => trie.remove(&spec.key, dest),
            Self::Headers(headers) => headers.remove(ticket),
        }
    }
}

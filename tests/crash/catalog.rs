//! A naive model of what was declared: random changes to a small set of objects, and what must be stored after them.

use std::collections::{BTreeMap, BTreeSet};

use leveret::frames::{Table, Value};
use leveret::persist::record::{ApplyTo, BindingRecord, ExchangeRecord, PolicyRecord, QueueRecord, Record};
use leveret::persist::sim::Random;

pub const VHOST: &str = "/";
const NAMES: u64 = 6;
const KEYS: u64 = 3;
/// What stands before and after the limit in a policy's definition.
const DEFINITION: (&str, &str) = ("{\"max-length\":", "}");

/// One change, as a client asks for it or, of policies, an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    DeclareQueue { name: String, limit: i32 },
    DeleteQueue { name: String },
    DeclareExchange { name: String },
    DeleteExchange { name: String },
    Bind(Binding),
    Unbind(Binding),
    SetPolicy { name: PolicyName, limit: i32 },
    ClearPolicy { name: PolicyName },
}

/// Policies and operator policies may have the same names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyName {
    pub operator: bool,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    pub source: String,
    pub destination: String,
    pub to_exchange: bool,
    pub key: String,
}

/// The durable objects of one client, which nobody else touches: their names begin with its prefix.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// With the `x-max-length` they were declared with.
    queues: BTreeMap<String, i32>,
    exchanges: BTreeSet<String>,
    bindings: BTreeSet<Binding>,
    /// With their `max-length`.
    policies: BTreeMap<PolicyName, i32>,
}

impl Model {
    /// A change of anything, policies among it.
    pub fn random_change_of_any(&self, prefix: &str, random: &mut Random) -> Change {
        if random.chance(4, 5) {
            return self.random_change(prefix, random);
        }
        let name = PolicyName { operator: random.chance(1, 2), name: format!("{prefix}p{}", random.below(NAMES)) };
        if self.policies.contains_key(&name) && random.chance(1, 3) {
            return Change::ClearPolicy { name };
        }
        Change::SetPolicy { name, limit: random.below(1000) as i32 }
    }

    /// A change that a client can make now.
    pub fn random_change(&self, prefix: &str, random: &mut Random) -> Change {
        loop {
            let (queue, exchange) = (|n: u64| format!("{prefix}q{n}"), |n: u64| format!("{prefix}e{n}"));
            let name = random.below(NAMES);
            match random.below(10) {
                0..3 => {
                    let name = queue(name);
                    if !self.queues.contains_key(&name) {
                        return Change::DeclareQueue { name, limit: random.below(1000) as i32 };
                    }
                }
                3..4 => {
                    if self.queues.contains_key(&queue(name)) {
                        return Change::DeleteQueue { name: queue(name) };
                    }
                }
                4..6 => {
                    if !self.exchanges.contains(&exchange(name)) {
                        return Change::DeclareExchange { name: exchange(name) };
                    }
                }
                6..7 => {
                    if self.exchanges.contains(&exchange(name)) {
                        return Change::DeleteExchange { name: exchange(name) };
                    }
                }
                kind => {
                    let to_exchange = random.chance(1, 3);
                    let destination =
                        if to_exchange { exchange(random.below(NAMES)) } else { queue(random.below(NAMES)) };
                    let key = format!("k{}", random.below(KEYS));
                    let binding = Binding { source: exchange(name), destination, to_exchange, key };
                    let is_bound = self.bindings.contains(&binding);
                    if kind == 9 && is_bound {
                        return Change::Unbind(binding);
                    }
                    if kind < 9 && !is_bound && self.has_ends_of(&binding) {
                        return Change::Bind(binding);
                    }
                }
            }
        }
    }

    fn has_ends_of(&self, binding: &Binding) -> bool {
        self.exchanges.contains(&binding.source)
            && match binding.to_exchange {
                true => self.exchanges.contains(&binding.destination),
                false => self.queues.contains_key(&binding.destination),
            }
    }

    /// Makes a change; with an object its bindings go.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::DeclareQueue { name, limit } => drop(self.queues.insert(name.clone(), *limit)),
            Change::DeleteQueue { name } => {
                self.queues.remove(name);
                self.bindings.retain(|b| b.to_exchange || b.destination != *name);
            }
            Change::DeclareExchange { name } => drop(self.exchanges.insert(name.clone())),
            Change::DeleteExchange { name } => {
                self.exchanges.remove(name);
                self.bindings.retain(|b| b.source != *name && (!b.to_exchange || b.destination != *name));
            }
            Change::Bind(binding) => drop(self.bindings.insert(binding.clone())),
            Change::Unbind(binding) => drop(self.bindings.remove(binding)),
            Change::SetPolicy { name, limit } => drop(self.policies.insert(name.clone(), *limit)),
            Change::ClearPolicy { name } => drop(self.policies.remove(name)),
        }
    }

    pub fn after(&self, change: &Change) -> Self {
        let mut next = self.clone();
        next.apply(change);
        next
    }

    /// What these records say of the objects with a prefix.
    pub fn stored(records: &[Record], prefix: &str) -> Self {
        let mut model = Self::default();
        for record in records {
            match record {
                Record::Queue(q) if q.name.starts_with(prefix) => {
                    let Some(Value::I32(limit)) = q.arguments.get("x-max-length") else {
                        panic!("a strange queue: {q:?}")
                    };
                    model.queues.insert(q.name.clone(), *limit);
                }
                Record::Exchange(e) if e.name.starts_with(prefix) => drop(model.exchanges.insert(e.name.clone())),
                Record::Binding(b) if b.source.starts_with(prefix) => {
                    let (source, destination) = (b.source.clone(), b.destination.clone());
                    let (to_exchange, key) = (b.to_exchange, b.key.clone());
                    model.bindings.insert(Binding { source, destination, to_exchange, key });
                }
                Record::Policy(p) if p.name.starts_with(prefix) => {
                    let limit = p.definition.trim_start_matches(DEFINITION.0).trim_end_matches(DEFINITION.1);
                    let name = PolicyName { operator: p.operator, name: p.name.clone() };
                    model.policies.insert(name, limit.parse().expect("a policy as it was set"));
                }
                _ => {}
            }
        }
        model
    }

    /// The records of all objects, by key.
    pub fn records(&self) -> BTreeMap<Vec<u8>, Record> {
        let queues = self.queues.iter().map(|(name, limit)| queue(name, *limit));
        let exchanges = self.exchanges.iter().map(|name| exchange(name));
        let bindings = self.bindings.iter().map(binding);
        let policies = self.policies.iter().map(|(name, limit)| policy(name, *limit));
        queues.chain(exchanges).chain(bindings).chain(policies).map(|record| (record.key(), record)).collect()
    }
}

fn queue(name: &str, limit: i32) -> Record {
    let arguments: Table = [("x-max-length", Value::I32(limit))].into_iter().collect();
    let (vhost, name) = (VHOST.to_owned(), name.to_owned());
    Record::Queue(QueueRecord { vhost, name, durable: true, auto_delete: false, arguments, id: 1 })
}

fn exchange(name: &str) -> Record {
    let (vhost, name, kind) = (VHOST.to_owned(), name.to_owned(), "direct".to_owned());
    let arguments = Table::default();
    Record::Exchange(ExchangeRecord {
        vhost,
        name,
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
        id: 0,
    })
}

fn binding(binding: &Binding) -> Record {
    let Binding { source, destination, to_exchange, key } = binding.clone();
    let (vhost, arguments) = (VHOST.to_owned(), Table::default());
    Record::Binding(BindingRecord { vhost, source, destination, to_exchange, key, arguments })
}

fn policy(name: &PolicyName, limit: i32) -> Record {
    let PolicyName { operator, name } = name.clone();
    let (vhost, pattern, apply_to, priority) =
        (VHOST.to_owned(), "^c".to_owned(), ApplyTo::Queues, i64::from(limit) - 500);
    let definition = format!("{}{limit}{}", DEFINITION.0, DEFINITION.1);
    Record::Policy(PolicyRecord { vhost, name, operator, pattern, apply_to, priority, definition })
}

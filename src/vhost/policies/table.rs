//! The policies of one virtual host, and what they give to whom.

use std::collections::HashMap;
use std::sync::Arc;

use super::policy::{Policy, Thing};
use crate::frames::{Table, Value};
use crate::persist::record::ExchangeRecord;
use crate::queue::arguments;
use crate::queue::policy::ALTERNATE_EXCHANGE;
use crate::queue::settings::{Note, Settings, Sources};
use crate::vhost::topology::InForce;

/// Policies and operator policies.
#[derive(Debug, Default)]
pub struct Policies {
    own: Ranked,
    operator: Ranked,
}

/// Policies of one kind.
#[derive(Debug, Default)]
struct Ranked {
    /// The one that counts most comes first.
    by_rank: Vec<Arc<Policy>>,
    by_name: HashMap<Arc<str>, Arc<Policy>>,
}

/// The policy that applies, if one does.
type Found<'a> = Option<&'a Arc<Policy>>;

/// Which of the two kinds has changed, and the name.
#[derive(Clone, Debug)]
pub struct Changed {
    pub name: Arc<str>,
    pub operator: bool,
}

impl Ranked {
    fn remove(&mut self, name: &str) -> Option<Arc<Policy>> {
        let removed = self.by_name.remove(name)?;
        self.by_rank.retain(|policy| *policy.name != *name);
        Some(removed)
    }

    fn put(&mut self, policy: Arc<Policy>) -> Option<Arc<Policy>> {
        let replaced = self.remove(&policy.name);
        let at = self.by_rank.partition_point(|other| other.rank() < policy.rank());
        self.by_rank.insert(at, Arc::clone(&policy));
        self.by_name.insert(Arc::clone(&policy.name), policy);
        replaced
    }

    /// The policy that applies.
    fn best(&self, thing: Thing, name: &str) -> Found<'_> {
        self.by_rank.iter().find(|policy| policy.applies_to(thing, name))
    }

    /// The policy of which somebody says that it applies.
    fn known(&self, policy: Option<&Arc<str>>, thing: Thing, name: &str) -> Found<'_> {
        match policy {
            None => None,
            Some(policy) => self.by_name.get(policy).or_else(|| self.best(thing, name)),
        }
    }

    /// The policy that applies after a change, when the changed one did apply or does now; `current` is the one that did.
    ///
    /// It is looked for among all, because other changes may be on their way to the same thing.
    fn after(&self, changed: &str, current: Option<&Arc<str>>, thing: Thing, name: &str) -> Option<Found<'_>> {
        if current.is_some_and(|current| **current == *changed) {
            return Some(self.best(thing, name));
        }
        let new = self.by_name.get(changed)?;
        let current = current.and_then(|current| self.by_name.get(current));
        let counts_more = current.is_none_or(|current| new.rank() < current.rank());
        (counts_more && new.applies_to(thing, name)).then(|| self.best(thing, name))
    }
}

impl Policies {
    fn of(&self, operator: bool) -> &Ranked {
        if operator { &self.operator } else { &self.own }
    }

    pub fn ranked(&self, operator: bool) -> &[Arc<Policy>] {
        &self.of(operator).by_rank
    }

    pub fn get(&self, operator: bool, name: &str) -> Option<&Arc<Policy>> {
        self.of(operator).by_name.get(name)
    }

    /// Adds a policy; gives back the one of that name that it replaces.
    pub fn put(&mut self, policy: Arc<Policy>) -> Option<Arc<Policy>> {
        let ranked = if policy.record.operator { &mut self.operator } else { &mut self.own };
        ranked.put(policy)
    }

    pub fn take(&mut self, operator: bool, name: &str) -> Option<Arc<Policy>> {
        let ranked = if operator { &mut self.operator } else { &mut self.own };
        ranked.remove(name)
    }

    /// The settings of a new queue.
    pub fn for_queue(&self, name: &str, arguments: &Table) -> (Settings, Vec<Note>) {
        let thing = Thing::Queue(arguments::type_of(arguments));
        resolve(arguments, self.own.best(thing, name), self.operator.best(thing, name))
    }

    /// The settings of a queue after a change, when it concerns the queue.
    pub fn after_for_queue(
        &self,
        changed: &Changed,
        name: &str,
        arguments: &Table,
        now: &Settings,
    ) -> Option<(Settings, Vec<Note>)> {
        let thing = Thing::Queue(arguments::type_of(arguments));
        let (own, operator) = self.after(changed, thing, name, now.policy.as_ref(), now.operator_policy.as_ref())?;
        Some(resolve(arguments, own, operator))
    }

    /// The settings of a new exchange.
    pub fn for_exchange(&self, record: &ExchangeRecord) -> InForce {
        let own = self.own.best(Thing::Exchange, &record.name);
        let operator = self.operator.best(Thing::Exchange, &record.name);
        exchange_settings(record, own, operator)
    }

    /// The settings of an exchange after a change, when it concerns the exchange.
    pub fn after_for_exchange(&self, changed: &Changed, record: &ExchangeRecord, now: &InForce) -> Option<InForce> {
        let (policy, operator) = (now.policy.as_ref(), now.operator_policy.as_ref());
        let (own, operator) = self.after(changed, Thing::Exchange, &record.name, policy, operator)?;
        Some(exchange_settings(record, own, operator))
    }

    fn after(
        &self,
        changed: &Changed,
        thing: Thing,
        name: &str,
        policy: Option<&Arc<str>>,
        operator: Option<&Arc<str>>,
    ) -> Option<(Found<'_>, Found<'_>)> {
        Some(match changed.operator {
            false => {
                let own = self.own.after(&changed.name, policy, thing, name)?;
                (own, self.operator.known(operator, thing, name))
            }
            true => {
                let operator = self.operator.after(&changed.name, operator, thing, name)?;
                (self.own.known(policy, thing, name), operator)
            }
        })
    }
}

fn resolve(arguments: &Table, policy: Found<'_>, operator: Found<'_>) -> (Settings, Vec<Note>) {
    let kind = arguments::type_of(arguments);
    let policy = policy.map(|p| (&p.name, &p.definition));
    let operator = operator.map(|p| (&p.name, &p.definition));
    Sources { kind, arguments, policy, operator }.resolve()
}

fn exchange_settings(record: &ExchangeRecord, policy: Found<'_>, operator: Found<'_>) -> InForce {
    let argument = match record.arguments.get(ALTERNATE_EXCHANGE) {
        Some(Value::LongStr(name)) => std::str::from_utf8(name).ok(),
        _ => None,
    };
    let alternate = argument.or_else(|| policy?.definition.text(ALTERNATE_EXCHANGE));
    let name = |policy: Found<'_>| policy.map(|p| Arc::clone(&p.name));
    InForce { alternate: alternate.map(Into::into), policy: name(policy), operator_policy: name(operator) }
}

#[cfg(test)]
mod tests;

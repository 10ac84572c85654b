//! Policies: what operators set for queues and exchanges by patterns of their names.
//!
//! A policy is checked whole when it is set ([`policy::Policy::new`]). A virtual host's [`Policies`] tell which policy and
//! which operator policy apply to a name: of those that match, the one of the highest priority, and of equals the first by
//! name. A queue or exchange keeps the names of the two in its settings.
//!
//! A change is made in two steps. Under the broker's lock it is written to the catalog and the table is changed; from then
//! on whatever is declared has it. Then a [`Spread`] goes through the queues and exchanges that are there and renews those
//! whose policy it was or is, a few at a time. The table's lock is held while a queue is looked at and renewed, so that of
//! two changes at a time the later one is in force at the end. Which queues have to be looked at [`ByName`] tells: with a
//! pattern like `^orders-`, only those whose names begin so.

mod by_name;
mod policy;
mod shared;
mod spread;
mod table;

use std::sync::Arc;

use super::apply::{persist, vhost_of};
use super::broker::Broker;
use super::command::Applied;
use super::events::told;
use super::topology::{Exchange, Vhost};
use crate::auth::Pattern;
use crate::config::Config;
use crate::frames::Refusal;
use crate::persist::record::{ApplyTo, PolicyRecord};
use crate::persist::{Change, Record};
use crate::queue::Queue;
use crate::queue::policy::Definition;
pub use by_name::ByName;
pub use policy::{Policy, Thing, from_json};
pub use shared::Shared;
pub use spread::Spread;
pub use table::Policies;

/// What policies give a queue or an exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EffectivePolicy {
    pub policy: Option<Arc<str>>,
    pub operator_policy: Option<Arc<str>>,
    /// Both, merged.
    pub definition: serde_json::Map<String, serde_json::Value>,
}

impl Vhost {
    /// Its policies, or its operator policies, in the order in which they count.
    pub fn policies(&self, operator: bool) -> Vec<Arc<Policy>> {
        self.policies.read().ranked(operator).to_vec()
    }

    /// What policies give a queue.
    pub fn effective_policy(&self, queue: &Queue) -> EffectivePolicy {
        let settings = queue.settings();
        self.effective(settings.policy.clone(), settings.operator_policy.clone())
    }

    /// What policies give an exchange.
    pub fn effective_policy_of_exchange(&self, exchange: &Exchange) -> EffectivePolicy {
        let settings = exchange.in_force();
        self.effective(settings.policy.clone(), settings.operator_policy.clone())
    }

    fn effective(&self, policy: Option<Arc<str>>, operator_policy: Option<Arc<str>>) -> EffectivePolicy {
        let policies = self.policies.read();
        let find = |operator, name: &Option<Arc<str>>| policies.get(operator, name.as_deref()?);
        let (own, cap) = (find(false, &policy), find(true, &operator_policy));
        let definition = Definition::merged(own.map(|p| &p.definition), cap.map(|p| &p.definition));
        EffectivePolicy { policy, operator_policy, definition }
    }
}

pub(super) fn set(broker: &Broker, record: PolicyRecord) -> Result<Applied, Refusal> {
    let vhost = vhost_of(broker, &record.vhost)?;
    let policy = Policy::new(record).map_err(Refusal::precondition_failed)?;
    let applied = persist(broker, &[Change::Put(Record::Policy(policy.record.clone()))])?;
    if policy.record.operator {
        broker.note_event(|| told::operator_policy_set(&policy.record));
    }
    broker.note_event(|| told::policy_set(&policy.record));
    let idle = policy.definition.without_effect();
    if !idle.is_empty() {
        let PolicyRecord { name, vhost, .. } = &policy.record;
        tracing::warn!(
            target: "leveret::policy",
            "policy '{name}' in vhost '{vhost}': {} accepted, without effect",
            idle.join(", ")
        );
    }
    let policy = Arc::new(policy);
    let replaced = vhost.policies.write().put(Arc::clone(&policy));
    let spread = Spread::new(vhost, policy, replaced);
    Ok(Applied { spread: Some(spread), ..applied })
}

pub(super) fn clear(broker: &Broker, vhost: &str, name: &str, operator: bool) -> Result<Applied, Refusal> {
    let vhost = vhost_of(broker, vhost)?;
    let found = vhost.policies.read().get(operator, name).cloned();
    let policy = found.ok_or_else(|| {
        let kind = if operator { "operator policy" } else { "policy" };
        Refusal::not_found(format!("no {kind} '{name}' in vhost '{}'", vhost.name))
    })?;
    let applied = persist(broker, &[Change::Delete(Record::Policy(policy.record.clone()))])?;
    if operator {
        broker.note_event(|| told::parameter_cleared("operator_policy", &policy.record.vhost, name));
    }
    broker.note_event(|| told::policy_cleared(&policy.record));
    vhost.policies.write().take(operator, name);
    let spread = Spread::new(vhost, policy, None);
    Ok(Applied { spread: Some(spread), ..applied })
}

/// The operator policies that the configuration has for a new virtual host.
///
/// # Errors
/// What is wrong with one of them.
pub(super) fn defaults_of(config: &Config, vhost: &str) -> Result<Vec<Policy>, String> {
    let mut policies = Vec::new();
    for default in &config.defaults.operator_policies {
        let failed = |e: &dyn std::fmt::Display| format!("default_policies.operator.{}: {e}", default.id);
        let pattern = Pattern::new(default.vhost_pattern.as_deref().unwrap_or(".*")).map_err(|e| failed(&e))?;
        if !pattern.matches(vhost) {
            continue;
        }
        let record = PolicyRecord {
            vhost: vhost.to_owned(),
            name: default.id.clone(),
            operator: true,
            pattern: default.queue_pattern.clone().unwrap_or_default(),
            apply_to: ApplyTo::Queues,
            priority: 0,
            definition: default.definition_text(),
        };
        policies.push(Policy::new(record).map_err(|e| failed(&e))?);
    }
    Ok(policies)
}

/// Takes a stored policy over, before there is anything that it could apply to.
pub(super) fn restore(broker: &Broker, record: PolicyRecord) -> Result<(), (String, String)> {
    let what = format!("policy '{}' in vhost '{}'", record.name, record.vhost);
    let vhost = vhost_of(broker, &record.vhost).map_err(|e| (what.clone(), e.text))?;
    let policy = Policy::new(record).map_err(|e| (what, e))?;
    vhost.policies.write().put(Arc::new(policy));
    Ok(())
}

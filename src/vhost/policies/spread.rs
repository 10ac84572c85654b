//! Bringing a change of policies to the queues and exchanges that are there.

use std::sync::Arc;

use super::by_name::{ByName, with_prefix};
use super::policy::Policy;
use super::table::Changed;
use crate::queue::Queue;
use crate::queue::settings::Note;
use crate::vhost::topology::{Exchange, Vhost};

/// Queues that are looked at in one go. The policies are locked meanwhile, so nothing can be declared.
const BATCH: usize = 256;

/// A change that is in the table and has yet to come into force.
#[derive(Clone, Debug)]
pub struct Spread {
    vhost: Arc<Vhost>,
    changed: Changed,
    /// The policy as it is, or was before it was cleared.
    policy: Arc<Policy>,
    /// What it was before it was set anew.
    replaced: Option<Arc<Policy>>,
}

impl Spread {
    pub fn new(vhost: Arc<Vhost>, policy: Arc<Policy>, replaced: Option<Arc<Policy>>) -> Self {
        let changed = Changed { name: Arc::clone(&policy.name), operator: policy.record.operator };
        Self { vhost, changed, policy, replaced }
    }

    /// Renews the settings of everything that the change concerns.
    pub fn run(&self) {
        let queues = ByName::of(&self.vhost);
        let mut noted = Vec::new();
        for prefix in self.prefixes() {
            self.renew_queues(with_prefix(&queues, &prefix), &mut noted);
        }
        self.vhost.shared.have_changed();
        for (note, count) in noted {
            let (name, vhost) = (&self.changed.name, &self.vhost.name);
            tracing::warn!(target: "leveret::policy", "policy '{name}' in vhost '{vhost}', {count} queues: {note}");
        }
        let exchanges: Vec<_> = self.vhost.topology.read().exchanges.values().cloned().collect();
        self.renew_exchanges(&exchanges);
    }

    /// What the names begin with of everything that has the policy, had it, or gets it. None is the beginning of another.
    fn prefixes(&self) -> Vec<String> {
        let mut prefixes = vec![self.policy.prefix()];
        if let Some(old) = self.replaced.as_ref().map(|policy| policy.prefix()) {
            prefixes.retain(|new| !new.starts_with(&old));
            if !prefixes.iter().any(|new| old.starts_with(new)) {
                prefixes.push(old);
            }
        }
        prefixes
    }

    /// Whoever has a policy matches it as it is or as it was: this change need not look at others.
    fn may_concern(&self, name: &str) -> bool {
        self.policy.matches(name) || self.replaced.as_ref().is_some_and(|policy| policy.matches(name))
    }

    fn renew_queues(&self, queues: &[Arc<Queue>], noted: &mut Vec<(Note, usize)>) {
        for batch in queues.chunks(BATCH) {
            let policies = self.vhost.policies.read();
            for queue in batch.iter().filter(|queue| self.may_concern(&queue.spec.name)) {
                let (name, arguments, now) = (&queue.spec.name, &queue.spec.arguments, queue.settings());
                let Some((settings, notes)) = policies.after_for_queue(&self.changed, name, arguments, &now) else {
                    continue;
                };
                if settings != *now {
                    queue.set_settings(self.vhost.shared.one(settings));
                }
                for note in notes {
                    match noted.iter_mut().find(|(same, _)| *same == note) {
                        Some((_, count)) => *count += 1,
                        None => noted.push((note, 1)),
                    }
                }
            }
        }
    }

    fn renew_exchanges(&self, exchanges: &[Arc<Exchange>]) {
        let mut routes_differ = false;
        for batch in exchanges.chunks(BATCH) {
            let policies = self.vhost.policies.read();
            for exchange in batch {
                let now = exchange.in_force();
                let after = policies.after_for_exchange(&self.changed, &exchange.record, &now);
                if let Some(settings) = after.filter(|settings| *settings != *now) {
                    routes_differ |= settings.alternate != now.alternate;
                    exchange.set_in_force(settings);
                }
            }
        }
        if routes_differ {
            self.vhost.move_epoch();
        }
    }
}

//! Bringing a change of policies to the queues and exchanges that are there.

use std::sync::Arc;

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
}

impl Spread {
    pub fn new(vhost: Arc<Vhost>, name: &Arc<str>, operator: bool) -> Self {
        Self { vhost, changed: Changed { name: Arc::clone(name), operator } }
    }

    /// Renews the settings of everything that the change concerns.
    pub fn run(&self) {
        let (queues, exchanges) = {
            let topology = self.vhost.topology.read();
            let queues: Vec<_> = topology.queues.values().cloned().collect();
            let exchanges: Vec<_> = topology.exchanges.values().cloned().collect();
            (queues, exchanges)
        };
        self.renew_queues(&queues);
        self.renew_exchanges(&exchanges);
    }

    fn renew_queues(&self, queues: &[Arc<Queue>]) {
        let mut noted: Vec<(Note, usize)> = Vec::new();
        for batch in queues.chunks(BATCH) {
            let policies = self.vhost.policies.read();
            for queue in batch {
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
        for (note, count) in noted {
            let (name, vhost) = (&self.changed.name, &self.vhost.name);
            tracing::warn!(target: "leveret::policy", "policy '{name}' in vhost '{vhost}', {count} queues: {note}");
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

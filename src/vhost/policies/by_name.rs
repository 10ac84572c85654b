//! The queues of a virtual host in the order of their names, so that a policy for few of many need not look at all.
//!
//! The list is made when a policy changes and kept until a queue comes or goes: of many changes in a row only the first pays
//! for it, and who only declares pays nothing.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::queue::Queue;
use crate::vhost::topology::Vhost;

/// Queues by name.
#[derive(Default)]
pub struct ByName(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    queues: Option<Arc<[Arc<Queue>]>>,
    /// How often it had to be forgotten.
    age: u64,
}

impl ByName {
    /// A queue has come or gone.
    pub fn forget(&self) {
        let mut kept = self.0.lock();
        kept.age += 1;
        let old = kept.queues.take();
        drop(kept);
        drop(old);
    }

    /// The queues of the virtual host whose this is.
    pub fn of(vhost: &Vhost) -> Arc<[Arc<Queue>]> {
        let kept = vhost.by_name.0.lock();
        if let Some(queues) = &kept.queues {
            return Arc::clone(queues);
        }
        let age = kept.age;
        drop(kept);
        let mut queues: Vec<_> = vhost.topology.read().queues.values().cloned().collect();
        queues.sort_unstable_by(|a, b| a.spec.name.cmp(&b.spec.name));
        let queues: Arc<[_]> = queues.into();
        let mut kept = vhost.by_name.0.lock();
        if kept.age == age {
            kept.queues = Some(Arc::clone(&queues));
        }
        queues
    }
}

/// Those of which the name begins so.
pub fn with_prefix<'a>(queues: &'a [Arc<Queue>], prefix: &str) -> &'a [Arc<Queue>] {
    let (_, rest) = queues.split_at(queues.partition_point(|queue| *queue.spec.name < *prefix));
    rest.split_at(rest.partition_point(|queue| queue.spec.name.starts_with(prefix))).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::local::{QueueSpec, Shared};

    #[test]
    fn only_queues_with_the_prefix_are_looked_at() {
        let queue = |name: &str| {
            let spec = QueueSpec { name: name.into(), ..QueueSpec::default() };
            Queue::new(1, spec, &Arc::default(), Shared::alone(None), None)
        };
        let queues = ["a", "ab", "abc", "b", "ba", "é"].map(queue);
        let found = |prefix| with_prefix(&queues, prefix).iter().map(|q| &*q.spec.name).collect::<Vec<_>>();
        assert_eq!(found("ab"), ["ab", "abc"]);
        assert_eq!(found("b"), ["b", "ba"]);
        assert_eq!(found("é"), ["é"]);
        assert_eq!(found("c"), [""; 0]);
        assert_eq!(found("").len(), queues.len());
    }
}

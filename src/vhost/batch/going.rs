//! What goes with a batch: the virtual hosts and users that it deletes, and the queues and exchanges, those auto-delete
//! exchanges among them that lose their last binding by it.
//!
//! It is known before anything is written, so that one write has all of it; and what the same batch makes for something that
//! goes is not written at all, as a node would not start with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Step;
use super::view::ends;
use crate::persist::{Change, Record};
use crate::vhost::bindings::record_of;
use crate::vhost::broker::Broker;
use crate::vhost::declare;
use crate::vhost::throttles::Of;
use crate::vhost::topology::{Destination, Exchange, Vhost};

/// What goes, and what the catalog has to forget of queues and exchanges.
#[derive(Default)]
pub struct Going {
    vhosts: HashSet<Arc<str>>,
    users: HashSet<String>,
    /// Queues and exchanges by number.
    ids: HashSet<u64>,
    /// Auto-delete exchanges that nobody has named.
    pub followers: Vec<(Arc<Vhost>, Arc<Exchange>)>,
    pub forgotten: Vec<Change>,
}

impl Going {
    pub fn of(broker: &Broker, steps: &[Step]) -> Self {
        let mut all = Self::default();
        let mut leaving: HashMap<Arc<str>, (Arc<Vhost>, Vec<Destination>)> = HashMap::new();
        let mut leave = |ids: &mut HashSet<u64>, vhost: &Arc<Vhost>, one: Destination| {
            if ids.insert(one.id()) {
                let name = Arc::clone(&vhost.name);
                leaving.entry(name).or_insert_with(|| (Arc::clone(vhost), Vec::new())).1.push(one);
            }
        };
        for step in steps {
            match step {
                Step::DropVhost(vhost) => drop(all.vhosts.insert(Arc::clone(&vhost.name))),
                Step::DropUser(name) => drop(all.users.insert(name.clone())),
                Step::DropQueue(vhost, queue) => leave(&mut all.ids, vhost, Destination::Queue(Arc::clone(queue))),
                Step::DropExchange(vhost, exchange) => {
                    leave(&mut all.ids, vhost, Destination::Exchange(Arc::clone(exchange)));
                }
                _ => {}
            }
        }
        let named = all.ids.clone();
        let bindings = Changed::of(broker, steps, &named);
        for (vhost, source) in &bindings.sources {
            if source.record.auto_delete && bindings.lost(source, &named) {
                leave(&mut all.ids, vhost, Destination::Exchange(Arc::clone(source)));
            }
        }
        for (vhost, first) in leaving.into_values() {
            let lost = |exchange: &Exchange, gone: &HashSet<u64>| bindings.lost(exchange, gone);
            let (going, mut forgotten) = declare::going(&vhost.topology.read(), first, lost);
            all.forgotten.append(&mut forgotten);
            for one in going {
                all.ids.insert(one.id());
                if let Destination::Exchange(exchange) = one
                    && !named.contains(&exchange.id)
                {
                    all.followers.push((Arc::clone(&vhost), exchange));
                }
            }
        }
        all
    }

    pub fn has_vhosts_or_users(&self) -> bool {
        !self.vhosts.is_empty() || !self.users.is_empty()
    }

    /// Whether a record is of something that goes.
    pub fn takes(&self, broker: &Broker, record: &Record) -> bool {
        let (vhost, user) = match Of::owner(record) {
            Some(Of::Vhost(name)) => (Some(name), None),
            Some(Of::User(name)) => (None, Some(name)),
            None => (record.vhost(), record.user()),
        };
        if vhost.is_some_and(|name| self.vhosts.contains(name)) || user.is_some_and(|name| self.users.contains(name)) {
            return true;
        }
        let Record::Binding(binding) = record else { return false };
        let ids = || ends(broker, binding).map(|(_, source, destination)| [source.id, destination.id()]);
        !self.ids.is_empty() && ids().is_some_and(|ids| ids.iter().any(|id| self.ids.contains(id)))
    }
}

/// What a batch does to the bindings that there are.
#[derive(Default)]
struct Changed {
    /// Keys of those that end by name.
    unbound: HashSet<Vec<u8>>,
    /// Exchanges of which bindings end by name.
    sources: Vec<(Arc<Vhost>, Arc<Exchange>)>,
    /// Exchanges that get a binding which stays.
    bound: HashSet<u64>,
}

impl Changed {
    fn of(broker: &Broker, steps: &[Step], gone: &HashSet<u64>) -> Self {
        let mut all = Self::default();
        for step in steps {
            match step {
                Step::Unbind { record, .. } => {
                    all.unbound.insert(Record::Binding(record.clone()).key());
                    all.sources.extend(ends(broker, record).map(|(vhost, source, _)| (vhost, source)));
                }
                Step::Bind { record, .. } => {
                    let source = broker.vhost(&record.vhost).and_then(|vhost| vhost.exchange(&record.source));
                    let stays = ends(broker, record).is_none_or(|(.., to)| !gone.contains(&to.id()));
                    all.bound.extend(source.filter(|_| stays).map(|source| source.id));
                }
                _ => {}
            }
        }
        all
    }

    /// Whether an exchange has no binding left.
    fn lost(&self, exchange: &Exchange, gone: &HashSet<u64>) -> bool {
        if self.bound.contains(&exchange.id) {
            return false;
        }
        if self.unbound.is_empty() {
            return declare::loses_all(exchange, gone);
        }
        let is_unbound = |binding| self.unbound.contains(&Record::Binding(record_of(exchange, &binding)).key());
        exchange.bindings.read().iter().all(|binding| gone.contains(&binding.dest.id()) || is_unbound(binding))
    }
}

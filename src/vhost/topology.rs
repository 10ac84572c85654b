//! One virtual host: its exchanges and queues by name, and who is bound to whom.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;

use super::flows::Flows;
use super::limits::Limits;
use super::parameters::Parameters;
use super::policies::{ByName, Policies, Shared};
use super::recall::Recall;
use crate::exchange::{Bindings, Settings, Target};
use crate::message::memory::MemoryAccount;
use crate::persist::Store;
use crate::persist::record::{BindingRecord, ExchangeRecord, VhostRecord};
use crate::persist::windows::Remembering;
use crate::queue::Queue;
use crate::queue::counting::Sums;
use crate::stats::{ExchangeCounts, Totals};

/// Where a binding leads.
#[derive(Clone, Debug)]
pub enum Destination {
    Queue(Arc<Queue>),
    Exchange(Arc<Exchange>),
}

impl Destination {
    /// Unique among all queues and exchanges of the process.
    pub fn id(&self) -> u64 {
        match self {
            Self::Queue(q) => q.id,
            Self::Exchange(e) => e.id,
        }
    }
}

impl PartialEq for Destination {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Destination {}

impl Hash for Destination {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl Target for Destination {
    fn lasting_name(&self) -> Cow<'_, str> {
        match self {
            Self::Queue(queue) => format!("queue {}", queue.spec.name).into(),
            Self::Exchange(exchange) => format!("exchange {}", exchange.record.name).into(),
        }
    }
}

/// What arguments and policies come to for an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// The exchange that gets what this one cannot route.
    pub alternate: Option<Arc<str>>,
    /// The policy that applies, by name.
    pub policy: Option<Arc<str>>,
    pub operator_policy: Option<Arc<str>>,
}

/// An exchange with its bindings.
pub struct Exchange {
    pub id: u64,
    pub record: ExchangeRecord,
    pub settings: Settings,
    pub bindings: RwLock<Bindings<Destination>>,
    /// What its arguments and policies come to.
    in_force: RwLock<Arc<InForce>>,
    /// Where messages wait until they are due, in a delayed exchange.
    pub delays: Option<Arc<Queue>>,
    recall: Recall,
    pub counts: Arc<ExchangeCounts>,
}

/// What an exchange needs to keep messages.
pub struct Keeps {
    pub memory: &'static MemoryAccount,
    /// Where what a durable exchange has seen outlives the process.
    pub store: Option<Arc<Store>>,
    /// What has expired by now is not remembered.
    pub now: u64,
    /// Where messages wait until they are due, in a delayed exchange.
    pub delays: Option<Arc<Queue>>,
}

impl Exchange {
    pub fn new(id: u64, settings: Settings, record: ExchangeRecord, keeps: Keeps) -> Self {
        let bindings = RwLock::new(Bindings::new(&settings.matching));
        let kept_in = keeps.store.filter(|_| record.id != 0).map(|store| (record.id, store));
        let recall = Recall::new(&settings, kept_in, keeps.now, keeps.memory);
        Self {
            id,
            record,
            settings,
            bindings,
            in_force: RwLock::default(),
            delays: keeps.delays,
            recall,
            counts: Arc::default(),
        }
    }

    /// What it remembers of messages.
    pub fn recall(&self) -> &Recall {
        &self.recall
    }

    /// What is in force for it.
    pub fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read())
    }

    pub(super) fn set_in_force(&self, in_force: InForce) {
        *self.in_force.write() = Arc::new(in_force);
    }
}

impl Remembering for Exchange {
    fn window(&self) -> Option<Vec<u8>> {
        self.recall.window()
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Exchange({} '{}')", self.id, self.record.name)
    }
}

/// Names and bindings. Changed only by the broker's `apply`, under its lock.
#[derive(Default)]
pub struct Topology {
    pub exchanges: HashMap<Arc<str>, Arc<Exchange>>,
    pub queues: HashMap<Arc<str>, Arc<Queue>>,
    /// For each destination that has bindings: the exchanges they come from, with their number.
    sources: HashMap<u64, HashMap<u64, (Arc<Exchange>, usize)>>,
}

impl Topology {
    /// Adds a binding; false when it exists.
    pub fn bind(&mut self, source: &Arc<Exchange>, destination: &Destination, record: &BindingRecord) -> bool {
        if !source.bindings.write().bind(&record.key, &record.arguments, destination.clone()) {
            return false;
        }
        let sources = self.sources.entry(destination.id()).or_default();
        sources.entry(source.id).or_insert_with(|| (Arc::clone(source), 0)).1 += 1;
        true
    }

    /// Removes a binding; false when there is none.
    pub fn unbind(&mut self, source: &Arc<Exchange>, destination: &Destination, record: &BindingRecord) -> bool {
        if !source.bindings.write().unbind(&record.key, &record.arguments, destination) {
            return false;
        }
        self.forget(destination.id(), source.id);
        true
    }

    fn forget(&mut self, destination: u64, source: u64) {
        if let Entry::Occupied(mut sources) = self.sources.entry(destination) {
            if let Entry::Occupied(mut count) = sources.get_mut().entry(source) {
                count.get_mut().1 -= 1;
                if count.get().1 == 0 {
                    count.remove();
                }
            }
            if sources.get().is_empty() {
                sources.remove();
            }
        }
    }

    /// The exchanges that have bindings to a destination.
    pub fn sources_of(&self, destination: u64) -> Vec<Arc<Exchange>> {
        let sources = self.sources.get(&destination);
        sources.into_iter().flat_map(|s| s.values().map(|(exchange, _)| Arc::clone(exchange))).collect()
    }

    /// Removes all bindings to a destination.
    pub fn unbind_destination(&mut self, destination: &Destination) {
        for (source, _) in self.sources.remove(&destination.id()).unwrap_or_default().into_values() {
            source.bindings.write().remove_destination(destination);
        }
    }

    /// Removes everything, for a virtual host that is deleted; gives back the queues. Exchanges that are bound in a circle
    /// hold on to each other, so their bindings must go too.
    pub fn clear(&mut self) -> Vec<Arc<Queue>> {
        let mut queues: Vec<_> = self.queues.drain().map(|(_, queue)| queue).collect();
        for (_, exchange) in self.exchanges.drain() {
            *exchange.bindings.write() = Bindings::new(&exchange.settings.matching);
            queues.extend(exchange.delays.clone());
        }
        self.sources.clear();
        queues
    }

    /// Removes all bindings of an exchange that is going away.
    pub fn unbind_source(&mut self, source: &Arc<Exchange>) {
        let bindings = std::mem::replace(&mut *source.bindings.write(), Bindings::new(&source.settings.matching));
        for binding in bindings.iter() {
            self.forget(binding.dest.id(), source.id);
        }
    }
}

/// A virtual host.
pub struct Vhost {
    pub name: Arc<str>,
    record: RwLock<Arc<VhostRecord>>,
    pub limits: Limits,
    pub(super) parameters: Parameters,
    pub(super) policies: RwLock<Policies>,
    /// Settings of its queues, each once.
    pub(super) shared: Shared,
    /// Its queues as changes of policies go through them.
    pub(super) by_name: ByName,
    pub topology: RwLock<Topology>,
    /// Moves on with every change that can alter a route.
    pub epoch: AtomicU64,
    /// Publishes and deliveries are traced.
    pub(super) traced: Arc<AtomicBool>,
    /// What the default exchange counts.
    pub default_exchange: Arc<ExchangeCounts>,
    /// What channels and connections that have ended have counted.
    pub totals: Totals,
    /// Messages in its queues.
    pub sums: Sums,
    /// What has gone from which exchange into which queue, where that is counted.
    pub flows: Option<Flows>,
}

impl Vhost {
    /// Moves when its queues may limit their publishers in another way. While it is 0, none does.
    #[inline]
    pub fn limits_epoch(&self) -> u64 {
        self.shared.limits_epoch()
    }

    /// `limits` are those of the configuration.
    pub fn new(record: VhostRecord, limits: Limits) -> Self {
        Self {
            name: record.name.as_str().into(),
            record: RwLock::new(Arc::new(record)),
            limits,
            parameters: Parameters::default(),
            policies: RwLock::default(),
            shared: Shared::default(),
            by_name: ByName::default(),
            topology: RwLock::default(),
            epoch: AtomicU64::new(1),
            traced: Arc::default(),
            default_exchange: Arc::default(),
            totals: Totals::default(),
            sums: Sums::default(),
            flows: None,
        }
    }

    /// One that counts what goes from which exchange into which queue.
    pub(super) fn with_flows(self) -> Self {
        Self { flows: Some(Flows::default()), ..self }
    }

    /// Its description and what else is set for it.
    pub fn record(&self) -> Arc<VhostRecord> {
        Arc::clone(&self.record.read())
    }

    pub(super) fn set_record(&self, record: VhostRecord) {
        *self.record.write() = Arc::new(record);
    }

    pub fn queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.topology.read().queues.get(name).cloned()
    }

    pub fn exchange(&self, name: &str) -> Option<Arc<Exchange>> {
        self.topology.read().exchanges.get(name).cloned()
    }

    /// All queues, by name.
    pub fn queues_by_name(&self) -> Arc<[Arc<Queue>]> {
        ByName::of(self)
    }

    /// All exchanges, by name.
    pub fn exchanges_by_name(&self) -> Vec<Arc<Exchange>> {
        let mut all: Vec<_> = self.topology.read().exchanges.values().cloned().collect();
        all.sort_unstable_by(|a, b| a.record.name.cmp(&b.record.name));
        all
    }

    /// Has every queue do what became due while the node was down.
    pub fn wake_queues(&self) {
        let topology = self.topology.read();
        let delays = topology.exchanges.values().filter_map(|exchange| exchange.delays.clone());
        let queues: Vec<_> = topology.queues.values().cloned().chain(delays).collect();
        drop(topology);
        queues.iter().for_each(|queue| queue.wake_up());
    }

    /// Makes every cached route stale.
    pub fn move_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }

    #[inline]
    pub fn current_epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for Vhost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vhost('{}')", self.name)
    }
}

//! A queue of this node: the engine behind a short lock, run by whoever brings work.
//!
//! Deliveries go straight into the consumers' outlets while the lock is held; outlets that had nothing to say before
//! are collected in [`Wakes`] and woken after it is released, once for a whole batch. What has to survive is told to the
//! store's journal after the lock is released: the journal does not care about the order of what it is told of a queue.
//! The other half of a queue, how it leaves memory and comes back, is in [`super::stored`].

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use super::engine::{
    Accept, Cold, ConsumerKey, Delivery, Engine, Found, Got, Outlets, Placed, Settlement, SubscribeError, Terms,
};
use super::settings::Settings;
use crate::frames::Table;
use crate::message::{Incoming, Message, MessageView};
use crate::persist::Store;
use crate::persist::journal::item::ItemWriter;
use crate::persist::ranges::Ranges;
use crate::persist::recovery::FoundQueue;
use crate::persist::shelf::Shelf;

/// What a queue was declared as.
#[derive(Clone, Debug)]
pub struct QueueSpec {
    pub vhost: Arc<str>,
    pub name: Arc<str>,
    pub durable: bool,
    pub auto_delete: bool,
    /// The connection that declared it, when only that one may use it.
    pub exclusive_owner: Option<u64>,
    pub arguments: Table,
    /// The store's name for a durable queue; 0 for others.
    pub store_id: u64,
    /// What it begins with. [`Queue::settings`] tells what is in force.
    pub settings: Arc<Settings>,
}

/// Where a consumer's deliveries go: the outbox of its connection.
pub trait Outlet: Send + Sync {
    /// Writes a delivery. The flag says that the outlet was idle and has to be woken after the batch.
    fn deliver(&self, subscriber: &Subscriber, consumer: ConsumerKey, delivery: Delivery<'_>) -> (Accept, bool);
    /// Writes a direct reply to a channel; false when nobody waits there any more.
    fn deliver_reply(&self, channel: u16, consumer_tag: &[u8], message: MessageView<'_>) -> bool;
    /// The consumer is gone because its queue is; `queue` is the queue's number.
    fn cancelled(&self, subscriber: &Subscriber, queue: u64);
    /// Gets what has been written on its way.
    fn wake(&self);
}

/// A consumer as its queue knows it.
pub struct Subscriber {
    pub outlet: Arc<dyn Outlet>,
    pub channel: u16,
    /// The channel's own number for this consumer.
    pub slot: u32,
    pub tag: Box<[u8]>,
}

/// What is left to do once the locks are released: outlets to wake, and what the journal has to know.
#[derive(Default)]
pub struct Wakes {
    outlets: Vec<Arc<dyn Outlet>>,
    /// Items for the journal. Whoever has more for it takes them along, so that all of a batch is one commit.
    items: Vec<u8>,
    store: Option<Arc<Store>>,
}

impl Wakes {
    pub fn add(&mut self, outlet: Arc<dyn Outlet>) {
        self.outlets.push(outlet);
    }

    /// Takes the items for the journal.
    pub fn take_items(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.items)
    }

    /// Wakes them all, and tells the journal. No lock may be held.
    pub fn run(&mut self) {
        if let (Some(store), false) = (&self.store, self.items.is_empty()) {
            store.journal.append(&self.items, None);
            self.items.clear();
        }
        for outlet in self.outlets.drain(..) {
            outlet.wake();
        }
    }
}

/// The engine's view of the outlets: hands over and notes who must be woken.
impl Outlets<Subscriber> for Wakes {
    #[inline]
    fn deliver(&mut self, consumer: ConsumerKey, to: &Subscriber, delivery: Delivery<'_>) -> Accept {
        let (answer, wake) = to.outlet.deliver(to, consumer, delivery);
        if wake {
            self.outlets.push(Arc::clone(&to.outlet));
        }
        answer
    }
}

/// Why a queue does not take a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumeError {
    Deleted,
    InExclusiveUse,
    /// What it has on disk is damaged: where and how.
    Damaged(Arc<str>),
}

/// Why `basic.get` has no answer yet, or will have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GetError {
    /// Something has to be read or written first: ask again after [`Queue::wait`]'s waker was called.
    NotYet,
    /// What the queue has on disk is damaged: where and how.
    Damaged(Arc<str>),
}

/// Numbers shown by declare-ok and the like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    pub ready: usize,
    pub unacked: usize,
    pub consumers: usize,
}

/// What has become of a run of messages in one queue, as far as the journal has to know.
#[derive(Debug, Default)]
pub struct Landed {
    /// Position of the first one; the others follow without gaps.
    pub first: u64,
    /// At least one has been delivered.
    pub delivered: bool,
    /// Those that a consumer without acks has taken, by index.
    pub consumed: Vec<usize>,
}

/// What the lock guards.
pub(super) struct State {
    pub engine: Engine<Subscriber>,
    pub deleted: bool,
    /// An auto-delete queue goes with its last consumer, not before its first.
    pub had_consumer: bool,
    /// What is on disk. Queues that do not survive have one only once they were paged out.
    pub shelf: Option<Shelf>,
    /// From which position on messages are in which commit of the journal, or a later one.
    pub marks: VecDeque<(u64, u64)>,
    /// A flush is on its way.
    pub flushing: bool,
    /// Cold messages are being read.
    pub loading: bool,
    /// The horizon that is on its way to the disk.
    pub horizon_wanted: u64,
    /// Commit with which it is there.
    pub horizon_commit: u64,
    /// The node stops: the journal has been told what has been delivered, and no horizon may follow.
    pub resting: bool,
    /// What is on disk is damaged: where and how.
    pub damage: Option<Arc<str>>,
    /// Connections that wait for what `basic.get` will find.
    pub getters: Vec<Arc<dyn crate::persist::journal::Waiter>>,
}

/// A queue. Shared by the name table, routes, and everything that may settle a message of it.
pub struct Queue {
    /// Unique in this process.
    pub id: u64,
    pub spec: QueueSpec,
    /// What is in force now.
    settings: RwLock<Arc<Settings>>,
    pub(super) state: Mutex<State>,
    pub(super) store: Option<Arc<Store>>,
    /// Itself, for those who come back to it later.
    pub(super) me: Weak<Queue>,
}

/// Messages that were settled and have to be taken out of the journal, or noted there.
#[derive(Default)]
pub(super) struct Leaving {
    acked: Vec<(u64, Message)>,
    /// The same of messages that are in segments: their acks have to be written in any case.
    stored: Vec<u64>,
    /// Position, how often returned.
    returned: Vec<(u64, u32)>,
}

impl Leaving {
    /// A message has been settled for good.
    fn settled(&mut self, shelf: Option<&mut Shelf>, position: u64, message: Message, persistent: bool) {
        let is_stored = shelf.is_some_and(|shelf| {
            shelf.settle(position, persistent, Some(message.view().body.len() as u64));
            position < shelf.flushed()
        });
        match (persistent, is_stored) {
            (true, true) => self.stored.push(position),
            (true, false) => self.acked.push((position, message)),
            (false, _) => {}
        }
    }
}

impl Queue {
    /// A queue that keeps what must survive in `store`; `found` is what was there at start.
    pub fn new(id: u64, spec: QueueSpec, store: Option<Arc<Store>>, found: Option<FoundQueue>) -> Arc<Self> {
        let single_active =
            matches!(spec.arguments.get(super::arguments::SINGLE_ACTIVE), Some(crate::frames::Value::Bool(true)));
        let is_durable = spec.durable && store.is_some();
        let mut engine = Engine::new(single_active, is_durable);
        let mut shelf = None;
        let mut damage = None;
        if let Some(store) = store.as_ref().filter(|_| is_durable) {
            shelf = Some(match found {
                None => store.new_shelf(spec.store_id),
                Some(found) => {
                    damage = found.damage_text();
                    engine.restore(Found {
                        next_position: found.next_position,
                        cold: Cold { from: 0, to: found.shelf.flushed(), count: found.shelf.live() },
                        messages: found.messages,
                        delivered_below: found.horizon,
                        returns: found.returns,
                    });
                    found.shelf
                }
            });
        }
        let horizon_wanted = engine.horizon();
        let state = State {
            engine,
            deleted: false,
            had_consumer: false,
            shelf,
            marks: VecDeque::new(),
            flushing: false,
            loading: false,
            horizon_wanted,
            horizon_commit: 0,
            resting: false,
            damage,
            getters: Vec::new(),
        };
        let settings = RwLock::new(Arc::clone(&spec.settings));
        let queue = Arc::new_cyclic(|me| Self { id, spec, settings, state: Mutex::new(state), store, me: me.clone() });
        queue.register();
        queue
    }

    /// What is in force: arguments and policies, merged.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }

    /// Something else is in force from now on, because a policy has changed.
    pub fn set_settings(&self, settings: Arc<Settings>) {
        *self.settings.write() = settings;
    }

    /// True when persistent messages in it survive.
    #[inline]
    pub fn is_durable(&self) -> bool {
        self.spec.durable && self.store.is_some()
    }

    /// Enqueues a batch in order. A deleted queue takes the messages and drops them, as one that is deleted a moment
    /// later would: `None`.
    ///
    /// # Errors
    /// What is damaged, when the queue is not served: nothing has been taken.
    #[inline]
    pub fn publish<'m, 'b: 'm>(
        &self,
        batch: impl Iterator<Item = &'m mut Incoming<'b>>,
        wakes: &mut Wakes,
    ) -> Result<Option<Landed>, Arc<str>> {
        let mut state = self.state.lock();
        if state.deleted {
            return Ok(None);
        }
        if let Some(damage) = &state.damage {
            return Err(Arc::clone(damage));
        }
        if !self.is_durable() {
            for incoming in batch {
                state.engine.publish(incoming, wakes);
            }
            return Ok(None);
        }
        let mut landed = Landed { first: state.engine.next_position(), ..Landed::default() };
        let mut survives = false;
        for (index, incoming) in batch.enumerate() {
            let persistent = incoming.is_persistent();
            match state.engine.publish(incoming, wakes) {
                Placed::Waiting => survives |= persistent,
                Placed::Delivered => {
                    survives |= persistent;
                    landed.delivered = true;
                }
                Placed::Consumed => landed.consumed.push(index),
            }
        }
        if survives {
            self.mark(&mut state, landed.first);
        }
        Ok(Some(landed))
    }

    /// Notes from which position on messages are not in commits before the one that is being gathered.
    #[inline]
    fn mark(&self, state: &mut State, position: u64) {
        let Some(store) = &self.store else { return };
        let gathering = store.journal.gathering();
        if state.marks.back().is_none_or(|(commit, _)| *commit != gathering) {
            state.marks.push_back((gathering, position));
        }
    }

    /// Settles a batch, then delivers what has become possible.
    pub fn settle(&self, batch: impl Iterator<Item = u64>, how: Settlement, wakes: &mut Wakes) {
        let mut leaving = Leaving::default();
        let mut state = self.state.lock();
        if state.deleted {
            return;
        }
        let durable = self.is_durable();
        for position in batch {
            let Some(message) = state.engine.settle(position, how) else { continue };
            let persistent = durable && message.is_persistent();
            if how == Settlement::Requeue {
                if persistent {
                    let count = state.engine.returns().get(&position).copied().unwrap_or(1);
                    leaving.returned.push((position, count));
                }
                continue;
            }
            leaving.settled(state.shelf.as_mut(), position, message, persistent);
        }
        self.pump(&mut state, wakes, &mut leaving);
        drop(state);
        self.tell_journal(leaving, wakes);
    }

    /// Adds a consumer. `announce` runs before its first delivery.
    ///
    /// # Errors
    /// When the queue is gone, in exclusive use, or damaged.
    pub fn subscribe(
        &self,
        subscriber: Subscriber,
        terms: Terms,
        announce: impl FnOnce(ConsumerKey),
        wakes: &mut Wakes,
    ) -> Result<(), ConsumeError> {
        let mut leaving = Leaving::default();
        let mut state = self.state.lock();
        if state.deleted {
            return Err(ConsumeError::Deleted);
        }
        if let Some(damage) = &state.damage {
            return Err(ConsumeError::Damaged(Arc::clone(damage)));
        }
        let subscribed = state.engine.subscribe(subscriber, terms);
        let key = subscribed.map_err(|SubscribeError::InExclusiveUse| ConsumeError::InExclusiveUse)?;
        state.had_consumer = true;
        announce(key);
        self.pump(&mut state, wakes, &mut leaving);
        drop(state);
        self.tell_journal(leaving, wakes);
        Ok(())
    }

    /// Removes a consumer; with `announce` running after its last delivery.
    pub fn cancel(&self, consumer: ConsumerKey, announce: impl FnOnce(), wakes: &mut Wakes) {
        let mut leaving = Leaving::default();
        let mut state = self.state.lock();
        let removed = state.engine.cancel(consumer);
        announce();
        self.pump(&mut state, wakes, &mut leaving);
        drop(state);
        drop(removed);
        self.tell_journal(leaving, wakes);
    }

    /// The consumer's outlet has room again.
    pub fn resume(&self, consumer: ConsumerKey, wakes: &mut Wakes) {
        let mut leaving = Leaving::default();
        let mut state = self.state.lock();
        state.engine.resume(consumer);
        self.pump(&mut state, wakes, &mut leaving);
        drop(state);
        self.tell_journal(leaving, wakes);
    }

    /// Takes one message; `answer` runs under the queue's lock, so that order is kept.
    ///
    /// # Errors
    /// When it has to be asked again ([`Queue::wait`]), or the queue is damaged.
    pub fn get(&self, no_ack: bool, answer: impl FnOnce(Option<Got>)) -> Result<(), GetError> {
        let mut leaving = Leaving::default();
        let mut state = self.state.lock();
        if let Some(damage) = &state.damage {
            return Err(GetError::Damaged(Arc::clone(damage)));
        }
        match state.engine.get(no_ack) {
            Ok(got) => answer(got),
            Err(stall) => {
                self.see_to(&mut state, Some(stall));
                return Err(GetError::NotYet);
            }
        }
        self.take_consumed(&mut state, &mut leaving);
        self.see_to(&mut state, None);
        drop(state);
        let mut told = Wakes::default();
        self.tell_journal(leaving, &mut told);
        told.run();
        Ok(())
    }

    /// Drops all ready messages; says how many.
    pub fn purge(&self) -> usize {
        let mut state = self.state.lock();
        let purged = state.engine.purge();
        self.forget_below_next(&mut state);
        drop(state);
        purged.count()
    }

    pub fn counts(&self) -> QueueCounts {
        let state = self.state.lock();
        let engine = &state.engine;
        QueueCounts { ready: engine.ready_count(), unacked: engine.unacked_count(), consumers: engine.consumer_count() }
    }

    /// Where and how what it has on disk is damaged.
    pub fn damage(&self) -> Option<Arc<str>> {
        self.state.lock().damage.clone()
    }

    /// True for an auto-delete queue whose last consumer has gone.
    pub fn is_abandoned(&self) -> bool {
        let state = self.state.lock();
        self.spec.auto_delete && state.had_consumer && state.engine.consumer_count() == 0 && !state.deleted
    }

    pub fn is_single_active(&self) -> bool {
        self.state.lock().engine.is_single_active()
    }

    /// Ends the queue unless `keep` objects to its numbers. Its consumers are told. Returns the numbers at the end, or
    /// `Err` with them when it was kept.
    ///
    /// # Errors
    /// With the numbers that made `keep` object.
    pub fn delete(&self, keep: impl FnOnce(QueueCounts) -> bool) -> Result<QueueCounts, QueueCounts> {
        let mut state = self.state.lock();
        let counts = QueueCounts {
            ready: state.engine.ready_count(),
            unacked: state.engine.unacked_count(),
            consumers: state.engine.consumer_count(),
        };
        if state.deleted {
            return Ok(QueueCounts::default());
        }
        if keep(counts) {
            return Err(counts);
        }
        state.deleted = true;
        let (consumers, purged) = state.engine.close();
        self.forget_below_next(&mut state);
        drop(state);
        drop(purged);
        self.forget_files();
        for consumer in &consumers {
            consumer.outlet.cancelled(consumer, self.id);
        }
        Ok(counts)
    }

    /// Delivers what can be delivered and sees to what cannot.
    pub(super) fn pump(&self, state: &mut State, wakes: &mut Wakes, leaving: &mut Leaving) {
        let stall = state.engine.pump(wakes);
        self.take_consumed(state, leaving);
        self.see_to(state, stall);
    }

    fn take_consumed(&self, state: &mut State, leaving: &mut Leaving) {
        if !self.is_durable() {
            return;
        }
        for (position, message) in state.engine.take_consumed() {
            let persistent = message.is_persistent();
            leaving.settled(state.shelf.as_mut(), position, message, persistent);
        }
    }

    /// Everything published so far is gone but what is unacked.
    fn forget_below_next(&self, state: &mut State) {
        let below = state.engine.next_position();
        let unacked = |persistent: bool| -> Ranges {
            let of_kind =
                state.engine.unacked().filter(|(_, m)| (self.is_durable() && m.is_persistent()) == persistent);
            of_kind.map(|(position, _)| position).collect()
        };
        let (kept, transient) =
            if state.deleted { (Ranges::new(), Ranges::new()) } else { (unacked(true), unacked(false)) };
        if let Some(shelf) = &mut state.shelf {
            shelf.purge(below, &kept, &transient);
        }
        if let (Some(store), true) = (&self.store, self.is_durable()) {
            let mut items = Vec::new();
            ItemWriter(&mut items).purge(self.spec.store_id, below, &kept);
            store.journal.append(&items, None);
        }
    }

    /// Has the journal know what has left the queue, once `wakes` are run. No lock may be held.
    pub(super) fn tell_journal(&self, leaving: Leaving, wakes: &mut Wakes) {
        let Leaving { acked, stored, returned } = leaving;
        if acked.is_empty() && stored.is_empty() && returned.is_empty() {
            return;
        }
        let Some(store) = &self.store else { return };
        wakes.store.get_or_insert_with(|| Arc::clone(store));
        let mut writer = ItemWriter(&mut wakes.items);
        let mut acked = store.take_back(acked);
        acked.extend(stored);
        if !acked.is_empty() {
            writer.ack(self.spec.store_id, runs(acked).into_iter());
        }
        let mut returned = returned;
        returned.sort_unstable_by_key(|(position, count)| (*count, *position));
        for same_count in returned.chunk_by(|a, b| a.1 == b.1) {
            let count = same_count.first().map_or(0, |(_, count)| u64::from(*count));
            let positions = same_count.iter().map(|(position, _)| *position).collect();
            writer.requeue(self.spec.store_id, count, runs(positions).into_iter());
        }
    }
}

/// Positions as ranges that rise.
fn runs(mut positions: Vec<u64>) -> Vec<std::ops::Range<u64>> {
    positions.sort_unstable();
    let mut runs: Vec<std::ops::Range<u64>> = Vec::new();
    for position in positions {
        match runs.last_mut() {
            Some(run) if run.end == position => run.end += 1,
            _ => runs.push(position..position + 1),
        }
    }
    runs
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({} '{}')", self.id, self.spec.name)
    }
}

impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Queue {}

impl std::hash::Hash for Queue {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

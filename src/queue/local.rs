//! A queue of this node: the engine behind a short lock, run by whoever brings work.
//!
//! Deliveries go straight into the consumers' outlets while the lock is held; outlets that had nothing to say before
//! are collected in [`Wakes`] and woken after it is released, once for a whole batch.

use std::sync::Arc;

use parking_lot::Mutex;

use super::engine::{Accept, ConsumerKey, Delivery, Engine, Got, Outlets, Settlement, SubscribeError, Terms};
use crate::frames::Table;
use crate::message::{Incoming, MessageView};

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
    /// Its name in the message store; 0 for a queue that is not durable.
    pub store_id: u64,
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

/// Outlets to wake once the locks are released.
#[derive(Default)]
pub struct Wakes(Vec<Arc<dyn Outlet>>);

impl Wakes {
    pub fn add(&mut self, outlet: Arc<dyn Outlet>) {
        self.0.push(outlet);
    }

    /// Wakes them all. No lock may be held.
    pub fn run(&mut self) {
        for outlet in self.0.drain(..) {
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
            self.0.push(Arc::clone(&to.outlet));
        }
        answer
    }
}

/// Why a queue does not take a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumeError {
    Deleted,
    InExclusiveUse,
}

/// Numbers shown by declare-ok and the like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    pub ready: usize,
    pub unacked: usize,
    pub consumers: usize,
}

struct State {
    engine: Engine<Subscriber>,
    deleted: bool,
    /// An auto-delete queue goes with its last consumer, not before its first.
    had_consumer: bool,
}

/// A queue. Shared by the name table, routes, and everything that may settle a message of it.
pub struct Queue {
    /// Unique in this process.
    pub id: u64,
    pub spec: QueueSpec,
    state: Mutex<State>,
}

impl Queue {
    pub fn new(id: u64, spec: QueueSpec) -> Self {
        let single_active =
            matches!(spec.arguments.get(super::arguments::SINGLE_ACTIVE), Some(crate::frames::Value::Bool(true)));
        let engine = Engine::new(single_active);
        Self { id, spec, state: Mutex::new(State { engine, deleted: false, had_consumer: false }) }
    }

    /// Enqueues a batch in order. A deleted queue takes the messages and drops them, as one that is deleted a moment
    /// later would.
    #[inline]
    pub fn publish<'m, 'b: 'm>(&self, batch: impl Iterator<Item = &'m mut Incoming<'b>>, wakes: &mut Wakes) {
        let mut state = self.state.lock();
        if state.deleted {
            return;
        }
        for incoming in batch {
            state.engine.publish(incoming, wakes);
        }
    }

    /// Settles a batch, then delivers what has become possible.
    pub fn settle(&self, batch: impl Iterator<Item = u64>, how: Settlement, wakes: &mut Wakes) {
        let mut state = self.state.lock();
        if state.deleted {
            return;
        }
        for position in batch {
            state.engine.settle(position, how);
        }
        state.engine.pump(wakes);
    }

    /// Adds a consumer. `announce` runs before its first delivery.
    ///
    /// # Errors
    /// When the queue is gone or in exclusive use.
    pub fn subscribe(
        &self,
        subscriber: Subscriber,
        terms: Terms,
        announce: impl FnOnce(ConsumerKey),
        wakes: &mut Wakes,
    ) -> Result<(), ConsumeError> {
        let mut state = self.state.lock();
        if state.deleted {
            return Err(ConsumeError::Deleted);
        }
        let SubscribeError::InExclusiveUse = match state.engine.subscribe(subscriber, terms) {
            Ok(key) => {
                state.had_consumer = true;
                announce(key);
                state.engine.pump(wakes);
                return Ok(());
            }
            Err(error) => error,
        };
        Err(ConsumeError::InExclusiveUse)
    }

    /// Removes a consumer; with `announce` running after its last delivery.
    pub fn cancel(&self, consumer: ConsumerKey, announce: impl FnOnce(), wakes: &mut Wakes) {
        let mut state = self.state.lock();
        let removed = state.engine.cancel(consumer);
        announce();
        state.engine.pump(wakes);
        drop(state);
        drop(removed);
    }

    /// The consumer's outlet has room again.
    pub fn resume(&self, consumer: ConsumerKey, wakes: &mut Wakes) {
        let mut state = self.state.lock();
        state.engine.resume(consumer);
        state.engine.pump(wakes);
    }

    /// Takes one message; `answer` runs under the queue's lock, so that order is kept.
    pub fn get(&self, no_ack: bool, answer: impl FnOnce(Option<Got>)) {
        let mut state = self.state.lock();
        let got = state.engine.get(no_ack);
        answer(got);
    }

    /// Drops all ready messages; says how many.
    pub fn purge(&self) -> usize {
        let purged = self.state.lock().engine.purge();
        purged.count()
    }

    pub fn counts(&self) -> QueueCounts {
        let state = self.state.lock();
        let engine = &state.engine;
        QueueCounts { ready: engine.ready_count(), unacked: engine.unacked_count(), consumers: engine.consumer_count() }
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
        drop(state);
        drop(purged);
        for consumer in &consumers {
            consumer.outlet.cancelled(consumer, self.id);
        }
        Ok(counts)
    }
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

//! A queue of this node: the engine behind a short lock, run by whoever brings work.
//!
//! Deliveries go straight into the consumers' outlets while the lock is held; outlets that had nothing to say before
//! are collected in [`Wakes`] and woken after it is released, once for a whole batch. What has to survive is told to the
//! store's journal after the lock is released: the journal does not care about the order of what it is told of a queue.
//! The other half of a queue, how it leaves memory and comes back, is in [`super::stored`].

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::arguments::QueueType;
use super::counting::{Handed, Lengths, Moved, Numbers};
use super::engine::{
    Accept, Cold, ConsumerKey, Delivery, Engine, Found, Got, Outlets, Placed, Settled, Settlement, SubscribeError,
    Terms,
};
use super::letter::Reason;
use super::letter::{Letter, Postman};
use super::rare::{Absent, Rare};
use super::repetitions;
use super::settings::{Overflow, Settings};
use super::timekeeper::Timekeeper;
use super::watched::{Delivered, Owner, Watched};
use crate::clock::Clock;
use crate::dedup::seen::Seen;
use crate::frames::{Properties, Table};
use crate::message::{Incoming, Keeps, Message, MessageView};
use crate::persist::Store;
use crate::persist::journal::Waiter;
use crate::persist::journal::item::ItemWriter;
use crate::persist::ranges::Ranges;
use crate::persist::recovery::FoundQueue;
use crate::persist::shelf::Shelf;
use crate::persist::windows::Notes;
use crate::stats::Kind;

/// What a queue was declared as.
#[derive(Clone, Debug, Default)]
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
    /// The delayed exchange whose messages it keeps until they are due.
    pub delays_for: Option<Arc<str>>,
    /// Its virtual host's switch: deliveries are traced.
    pub traced: Arc<AtomicBool>,
    /// Where its messages count.
    pub lengths: Arc<Lengths>,
}

/// What the queues of a node share.
pub struct Shared {
    /// Where messages survive; none in a broker that keeps everything in memory.
    pub store: Option<Arc<Store>>,
    pub clock: Arc<Clock>,
    pub timekeeper: Arc<Timekeeper>,
    pub postman: Weak<dyn Postman>,
    /// Queues that have changed.
    pub moved: Moved,
}

impl Shared {
    /// For queues that nobody serves: no time passes in them, and no letter leaves.
    pub fn alone(store: Option<Arc<Store>>) -> Arc<Self> {
        struct Nobody;
        impl Postman for Nobody {
            fn collect(&self, _: Vec<Arc<Queue>>) {}
            fn expired(&self, _: &Arc<Queue>) {}
            fn tell(&self, _: Vec<Delivered>) {}
        }
        let clock = Arc::new(Clock::system());
        let timekeeper = Timekeeper::asleep(Arc::clone(&clock));
        Arc::new(Self { store, clock, timekeeper, postman: Weak::<Nobody>::new(), moved: Moved::default() })
    }
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
    fn owner(&self) -> Owner;
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
    /// Queues that have letters to be collected.
    senders: Vec<Arc<Queue>>,
    postman: Option<Arc<dyn Postman>>,
    /// The queue that delivers now, where deliveries are traced.
    watched: Option<Watched>,
    delivered: Vec<Delivered>,
    /// What the queue that delivers now has handed over.
    handed: Handed,
}

impl Wakes {
    /// Has letters delivered: when this returns, the journal has them. No lock may be held.
    pub fn send_letters(&mut self) {
        if !self.senders.is_empty() {
            let senders = self.take_senders();
            if let Some(postman) = &self.postman {
                postman.collect(senders);
            }
        }
    }

    /// A queue is about to deliver.
    #[inline]
    fn watch(&mut self, queue: &Queue) {
        let is_traced = queue.spec.traced.load(Ordering::Relaxed);
        if is_traced || self.watched.is_some() {
            self.watched = is_traced.then(|| Watched::new(&queue.spec));
            self.postman = self.postman.take().or_else(|| queue.shared.postman.upgrade());
        }
    }

    pub fn add(&mut self, outlet: Arc<dyn Outlet>) {
        self.outlets.push(outlet);
    }

    /// Takes the items for the journal.
    pub fn take_items(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.items)
    }

    /// A queue has letters.
    pub(super) fn post(&mut self, postman: &Weak<dyn Postman>, from: Arc<Queue>) {
        if self.senders.last().is_none_or(|last| last.id != from.id) {
            self.senders.push(from);
        }
        if self.postman.is_none() {
            self.postman = postman.upgrade();
        }
    }

    /// Takes the queues that have letters, for somebody who collects them.
    pub fn take_senders(&mut self) -> Vec<Arc<Queue>> {
        std::mem::take(&mut self.senders)
    }

    /// Wakes them all, tells the journal, and has letters delivered. No lock may be held.
    pub fn run(&mut self) {
        if let (Some(store), false) = (&self.store, self.items.is_empty()) {
            store.journal.append(&self.items, None);
            self.items.clear();
        }
        for outlet in self.outlets.drain(..) {
            outlet.wake();
        }
        self.send_letters();
        if !self.delivered.is_empty() {
            let delivered = std::mem::take(&mut self.delivered);
            if let Some(postman) = &self.postman {
                postman.tell(delivered);
            }
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
        if answer != Accept::Refused {
            self.handed.note(&delivery);
            if let Some(watched) = &self.watched {
                self.delivered.push(watched.saw(to, &delivery));
            }
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
    /// Returned messages that are not delivered before a time.
    pub held_back: usize,
    pub consumers: usize,
}

/// What has become of a run of messages in one queue, as far as the journal has to know.
#[derive(Debug, Default)]
pub struct Landed {
    /// Position of the first one; the others follow without gaps.
    pub first: u64,
    /// At least one has been delivered.
    pub delivered: bool,
    /// Those that the queue has not kept, by index: a consumer without acks has taken them, or they were refused.
    pub consumed: Vec<usize>,
    /// Those that the full queue has refused, by index.
    pub refused: Vec<usize>,
    /// Position of one that was a repetition. It may be confirmed once the first one is safe.
    pub repetition: Option<u64>,
    /// What the queue remembers of them.
    pub notes: Option<Box<Notes>>,
    /// What of them survives: the journal has to know.
    pub keeps: Keeps,
}

/// What the lock guards.
pub(super) struct State {
    pub engine: Engine<Subscriber>,
    /// What it remembers of its messages, when it leaves out repetitions.
    pub seen: Option<Box<Seen>>,
    pub deleted: bool,
    /// An auto-delete queue goes with its last consumer, not before its first.
    pub had_consumer: bool,
    /// What is on disk. Queues that do not survive have one only once they were paged out.
    pub shelf: Option<Box<Shelf>>,
    /// From which position on messages are in which commit of the journal, or a later one.
    pub marks: VecDeque<(u64, u64)>,
    /// A flush is on its way.
    pub flushing: bool,
    /// Cold messages are being read.
    pub loading: bool,
    /// The node stops: the journal has been told what has been delivered, and no horizon may follow.
    pub resting: bool,
    /// The next read is of messages that leave.
    pub unread_first: bool,
    /// The queue goes when it is unused for long.
    pub expires: bool,
    /// Since when nobody uses it.
    pub unused_since: u64,
    /// What it has counted, once there was something.
    pub numbers: Option<Box<Numbers>>,
    pub unusual: Rare<Unusual>,
}

/// What most queues never need: nothing has been consumed, nothing is due, nothing is wrong.
pub(super) struct Unusual {
    /// The horizon that is on its way to the disk.
    pub horizon_wanted: u64,
    /// Commit with which it is there.
    pub horizon_commit: u64,
    /// What is on disk is damaged: where and how.
    pub damage: Option<Arc<str>>,
    /// Letters of messages that were never taken in.
    pub unopened: VecDeque<Letter>,
    /// Connections that wait for what `basic.get` will find.
    pub getters: Vec<Arc<dyn Waiter>>,
    /// When the timekeeper comes; `u64::MAX` for never.
    pub alarm: u64,
    /// Before which time it does not come again.
    pub next_visit: u64,
}

impl Absent for Unusual {
    const ABSENT: Self = Self {
        horizon_wanted: 0,
        horizon_commit: 0,
        damage: None,
        unopened: VecDeque::new(),
        getters: Vec::new(),
        alarm: u64::MAX,
        next_visit: 0,
    };

    fn absent() -> &'static Self {
        static NONE: Unusual = Unusual::ABSENT;
        &NONE
    }
}

impl State {
    fn counts(&self) -> QueueCounts {
        let engine = &self.engine;
        QueueCounts {
            ready: engine.ready_count(),
            unacked: engine.unacked_count(),
            held_back: engine.held_back_count(),
            consumers: engine.consumer_count(),
        }
    }

    /// Does what the time brings, for so many messages; true when there is more to do at once.
    pub fn tick(&mut self) -> bool {
        let Self { engine, shelf, .. } = self;
        let is_dead = |position| shelf.as_ref().is_some_and(|shelf| !shelf.holds(position));
        engine.tick(super::departing::AT_A_TIME, is_dead)
    }
}

/// A queue. Shared by the name table, routes, and everything that may settle a message of it.
pub struct Queue {
    /// Unique in this process.
    pub id: u64,
    pub spec: QueueSpec,
    pub(super) state: Mutex<State>,
    /// Held by the postman who takes letters, and before the state.
    pub(super) letterbox: Mutex<()>,
    /// Which of its messages survive.
    keeps: Keeps,
    pub(super) shared: Arc<Shared>,
    /// Itself, for those who come back to it later.
    pub(super) me: Weak<Queue>,
}

/// Messages that were settled and have to be taken out of the journal, or noted there.
#[derive(Default)]
pub(super) struct Leaving {
    acked: Vec<(u64, Message)>,
    /// The same of messages that are in segments: their acks have to be written in any case.
    stored: Vec<u64>,
    /// Position, how often returned, until when held back.
    returned: Vec<(u64, u32, Option<u64>)>,
}

impl Leaving {
    /// A message has been settled for good.
    pub(super) fn settled(&mut self, shelf: Option<&mut Shelf>, position: u64, message: Message, kept: bool) {
        let is_stored = shelf.is_some_and(|shelf| {
            shelf.settle(position, kept, Some(message.view().body.len() as u64));
            position < shelf.flushed()
        });
        match (kept, is_stored) {
            (true, true) => self.stored.push(position),
            (true, false) => self.acked.push((position, message)),
            (false, _) => {}
        }
    }
}

impl Queue {
    /// A queue; `settings` are in force at first, `found` is what was in the store at start.
    pub fn new(
        id: u64,
        spec: QueueSpec,
        settings: &Arc<Settings>,
        shared: Arc<Shared>,
        found: Option<FoundQueue>,
    ) -> Arc<Self> {
        let store = shared.store.clone();
        let single_active =
            matches!(spec.arguments.get(super::arguments::SINGLE_ACTIVE), Some(crate::frames::Value::Bool(true)));
        let keeps = match super::arguments::type_of(&spec.arguments) {
            _ if !spec.durable || store.is_none() => Keeps::Nothing,
            // As the plugin's table: whoever sends a message into the future expects it to get there.
            _ if spec.delays_for.is_some() => Keeps::Everything,
            QueueType::Quorum => Keeps::Everything,
            QueueType::Classic | QueueType::Stream => Keeps::Persistent,
        };
        let is_durable = keeps.is_durable();
        let mut engine = Engine::new(single_active, keeps);
        if let Some(highest) = settings.max_priority {
            engine = engine.with_priorities(highest);
        }
        if spec.delays_for.is_some() {
            engine = engine.delaying();
        }
        engine.set_settings(Arc::clone(settings));
        let saved = repetitions::saved(&spec, store.as_deref().filter(|_| is_durable));
        let mut seen = repetitions::begin(settings, store.as_deref(), saved.as_deref(), shared.clock.now_ms());
        repetitions::tell_consumed(&mut engine, seen.as_deref());
        let mut shelf = None;
        let mut damage = None;
        if let Some(store) = store.as_ref().filter(|_| is_durable) {
            shelf = Some(match found {
                None => store.new_shelf(spec.store_id),
                Some(mut found) => {
                    if engine.has_priorities()
                        && let Err(error) = found.index_all(store.disk())
                    {
                        found.damage.push(format!("its segments cannot be read: {error}"));
                    }
                    if let Some(seen) = &mut seen {
                        repetitions::restore(seen, &mut found, store);
                    }
                    damage = found.damage_text();
                    engine.restore(Found {
                        next_position: found.next_position,
                        cold: Cold { from: 0, to: found.shelf.flushed(), count: found.shelf.live() },
                        cold_bytes: found.shelf.live_content(),
                        marked: found.indexed.into_iter().map(|m| (m.position, m.due, m.priority)).collect(),
                        held_back: found.held_back,
                        messages: found.messages,
                        delivered_below: found.horizon,
                        returns: found.returns,
                    });
                    found.shelf
                }
            });
        }
        let horizon = engine.horizon();
        let mut state = State {
            engine,
            seen,
            deleted: false,
            had_consumer: false,
            shelf: shelf.map(Box::new),
            marks: VecDeque::new(),
            flushing: false,
            loading: false,
            resting: false,
            unread_first: false,
            expires: settings.expires.is_some(),
            unused_since: shared.clock.now_ms(),
            numbers: None,
            unusual: Rare::default(),
        };
        if is_durable && horizon > 0 {
            state.unusual.horizon_wanted = horizon;
        }
        if damage.is_some() {
            state.unusual.damage = damage;
        }
        let queue = Arc::new_cyclic(|me| Self {
            id,
            spec,
            keeps,
            state: Mutex::new(state),
            letterbox: Mutex::new(()),
            shared,
            me: me.clone(),
        });
        queue.register();
        queue.register_window();
        queue.count_handed(&mut queue.state.lock(), Handed::default());
        queue
    }

    /// Which of its messages survive.
    #[inline]
    pub(super) fn keeping(&self) -> Keeps {
        self.keeps
    }

    /// True when it survives, and some of its messages do.
    #[inline]
    pub fn is_durable(&self) -> bool {
        self.keeps.is_durable()
    }

    /// True when a message survives in it.
    #[inline]
    pub fn keeps(&self, message: &Message) -> bool {
        self.keeps.keeps(message.is_persistent())
    }

    /// True when a message of this queue was published as persistent, and is so wherever it goes: what a quorum queue has read
    /// back from the disk counts as such here.
    pub fn was_persistent(&self, message: &Message) -> bool {
        let is_said = || Properties::parse(message.view().properties).is_ok_and(|found| found.is_persistent());
        message.is_persistent() && (self.keeps != Keeps::Everything || is_said())
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
    ) -> Result<Landed, Arc<str>> {
        let mut state = self.state.lock();
        if state.deleted {
            return Ok(Landed::default());
        }
        if let Some(damage) = &state.unusual.damage {
            return Err(Arc::clone(damage));
        }
        let (keeps, durable) = (self.keeps, self.is_durable());
        let mut landed = Landed { first: state.engine.next_position(), keeps, ..Landed::default() };
        let (mut surviving, mut left_out) = (0, 0);
        wakes.watch(self);
        for (index, incoming) in batch.enumerate() {
            let traits = incoming.traits();
            if index == 0 {
                state.engine.set_now(traits.at);
            }
            if !state.is_new(incoming) {
                left_out += 1;
                landed.repetition = Some(state.engine.next_position());
                landed.consumed.push(index);
                state.engine.skip();
                continue;
            }
            match state.engine.publish(incoming, wakes) {
                Placed::Waiting => surviving += u64::from(keeps.keeps(traits.persistent)),
                Placed::Delivered => {
                    surviving += u64::from(keeps.keeps(traits.persistent));
                    landed.delivered = true;
                }
                Placed::Consumed => {
                    state.was_consumed(incoming);
                    if durable {
                        landed.consumed.push(index);
                    }
                }
                Placed::Refused => {
                    left_out += 1;
                    landed.refused.push(index);
                    landed.consumed.push(index);
                    state.was_refused(incoming);
                    self.return_to_sender(&mut state, incoming, wakes);
                }
            }
            self.note_seen(&state, incoming, &mut landed);
        }
        if durable && surviving > 0 {
            state.count(Kind::DiskWrites, surviving);
            self.mark(&mut state, landed.first);
        }
        let published = state.engine.next_position() - landed.first - left_out;
        self.count_run(&mut state, published, std::mem::take(&mut wakes.handed));
        if state.engine.is_special() {
            self.limit(state, wakes);
        }
        Ok(landed)
    }

    /// After a batch: what is too much or too old leaves.
    fn limit(&self, mut state: parking_lot::MutexGuard<'_, State>, wakes: &mut Wakes) {
        let mut leaving = Leaving::default();
        let is_due = state.engine.is_due();
        if is_due {
            state.tick();
        }
        self.pump(&mut state, wakes, &mut leaving);
        drop(state);
        self.tell_journal(leaving, wakes);
    }

    /// A message that the full queue refuses may be a dead letter.
    fn return_to_sender(&self, state: &mut State, incoming: &mut Incoming<'_>, wakes: &mut Wakes) {
        let settings = state.engine.settings();
        if settings.overflow != Overflow::RejectPublishDlx || settings.dead_letters.is_none() {
            return;
        }
        let Some(from) = self.me.upgrade() else { return };
        let (message, settings) = (incoming.hold(), Arc::clone(settings));
        let letter = Letter {
            from: Arc::clone(&from),
            position: None,
            message,
            reason: Reason::MaxLen,
            settings,
            had: Vec::new(),
        };
        state.unusual.unopened.push_back(letter);
        wakes.post(&self.shared.postman, from);
    }

    /// Begins with what is due. To be called once everything is there that letters need.
    pub fn wake_up(&self) {
        let (mut wakes, mut leaving) = (Wakes::default(), Leaving::default());
        let mut state = self.state.lock();
        self.look_at_clock(&mut state);
        self.pump(&mut state, &mut wakes, &mut leaving);
        drop(state);
        self.tell_journal(leaving, &mut wakes);
        wakes.run();
    }

    /// Notes from which position on messages are not in commits before the one that is being gathered.
    #[inline]
    fn mark(&self, state: &mut State, position: u64) {
        let Some(store) = &self.shared.store else { return };
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
        let mut acked = 0;
        self.look_at_clock(&mut state);
        for position in batch {
            match state.engine.settle(position, how) {
                Some(Settled::Gone(message)) => {
                    acked += 1;
                    let kept = self.keeps(&message);
                    state.has_left(&message);
                    leaving.settled(state.shelf.as_deref_mut(), position, message, kept);
                }
                Some(Settled::Returned { message, count, until }) if self.keeps(&message) => {
                    leaving.returned.push((position, count, until));
                }
                Some(Settled::Returned { .. } | Settled::Leaves) | None => {}
            }
        }
        if how == Settlement::Ack {
            state.count(Kind::Ack, acked);
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
        if let Some(damage) = &state.unusual.damage {
            return Err(ConsumeError::Damaged(Arc::clone(damage)));
        }
        let subscribed = state.engine.subscribe(subscriber, terms);
        let key = subscribed.map_err(|SubscribeError::InExclusiveUse| ConsumeError::InExclusiveUse)?;
        state.had_consumer = true;
        announce(key);
        self.look_at_clock(&mut state);
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
        if state.expires {
            state.unused_since = self.shared.clock.now_ms();
        }
        self.look_at_clock(&mut state);
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
        self.look_at_clock(&mut state);
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
        if let Some(damage) = &state.unusual.damage {
            return Err(GetError::Damaged(Arc::clone(damage)));
        }
        let mut told = Wakes::default();
        self.look_at_clock(&mut state);
        if state.expires {
            state.unused_since = self.shared.clock.now_ms();
        }
        let result = state.engine.get(no_ack);
        self.count_get(&mut state, no_ack, &result);
        self.take_consumed(&mut state, &mut leaving);
        self.see_to(&mut state, result.as_ref().err().copied());
        self.see_off(&mut state, &mut told, &mut leaving);
        let result = result.map(answer);
        drop(state);
        self.tell_journal(leaving, &mut told);
        told.run();
        result.map_err(|_stall| GetError::NotYet)
    }

    /// Drops all ready messages; says how many.
    pub fn purge(&self) -> usize {
        let mut state = self.state.lock();
        let purged = state.engine.purge();
        state.ready_have_left();
        self.count_handed(&mut state, Handed::default());
        self.forget_below_next(&mut state);
        drop(state);
        let count = purged.count();
        purged.forget();
        count
    }

    pub fn counts(&self) -> QueueCounts {
        self.state.lock().counts()
    }

    /// Bytes of the bodies of all its messages, ready and unacked.
    pub fn stored_bytes(&self) -> u64 {
        let state = self.state.lock();
        state.engine.ready_bytes() + state.engine.unacked_bytes()
    }

    /// Where and how what it has on disk is damaged.
    pub fn damage(&self) -> Option<Arc<str>> {
        self.state.lock().unusual.damage.clone()
    }

    /// True for an auto-delete queue whose last consumer has gone.
    pub fn is_abandoned(&self) -> bool {
        let state = self.state.lock();
        self.spec.auto_delete && state.had_consumer && state.engine.consumer_count() == 0 && !state.deleted
    }

    /// Whether messages go to a consumer now.
    pub fn is_active(&self, consumer: ConsumerKey) -> bool {
        self.state.lock().engine.is_active(consumer)
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
        let counts = state.counts();
        if state.deleted {
            return Ok(QueueCounts::default());
        }
        if keep(counts) {
            return Err(counts);
        }
        state.deleted = true;
        let (consumers, purged) = state.engine.close();
        self.forget_below_next(&mut state);
        self.leave_sums(&mut state);
        drop(state);
        purged.forget();
        self.forget_files();
        for consumer in &consumers {
            consumer.outlet.cancelled(consumer, self.id);
        }
        Ok(counts)
    }

    /// Delivers what can be delivered and sees to what cannot.
    pub(super) fn pump(&self, state: &mut State, wakes: &mut Wakes, leaving: &mut Leaving) {
        if state.unusual.damage.is_some() {
            return;
        }
        wakes.watch(self);
        let stall = state.engine.pump(wakes);
        self.take_consumed(state, leaving);
        self.see_to(state, stall);
        self.see_off(state, wakes, leaving);
        self.count_handed(state, std::mem::take(&mut wakes.handed));
    }

    fn take_consumed(&self, state: &mut State, leaving: &mut Leaving) {
        if !self.is_durable() && state.seen.is_none() {
            return;
        }
        for (position, message) in state.engine.take_consumed() {
            let kept = self.keeps(&message);
            state.has_left(&message);
            leaving.settled(state.shelf.as_deref_mut(), position, message, kept);
        }
    }

    /// Everything published so far is gone but what is unacked.
    fn forget_below_next(&self, state: &mut State) {
        let below = state.engine.next_position();
        let unacked = |kept: bool| -> Ranges {
            let of_kind = state.engine.unacked().filter(|(_, message)| self.keeps(message) == kept);
            of_kind.map(|(position, _)| position).collect()
        };
        let (kept, transient) =
            if state.deleted { (Ranges::new(), Ranges::new()) } else { (unacked(true), unacked(false)) };
        if let Some(shelf) = &mut state.shelf {
            shelf.purge(below, &kept, &transient);
        }
        if let (Some(store), true) = (&self.shared.store, self.is_durable()) {
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
        let Some(store) = &self.shared.store else { return };
        wakes.store.get_or_insert_with(|| Arc::clone(store));
        let mut writer = ItemWriter(&mut wakes.items);
        let mut acked = store.take_back(acked);
        acked.extend(stored);
        if !acked.is_empty() {
            writer.ack(self.spec.store_id, runs(acked).into_iter());
        }
        let mut returned = returned;
        returned.sort_unstable_by_key(|(position, count, until)| (*count, *until, *position));
        for alike in returned.chunk_by(|a, b| (a.1, a.2) == (b.1, b.2)) {
            let Some((_, count, until)) = alike.first() else { continue };
            let positions = runs(alike.iter().map(|(position, ..)| *position).collect()).into_iter();
            match until.and_then(NonZeroU64::new) {
                None => writer.requeue(self.spec.store_id, u64::from(*count), positions),
                Some(until) => writer.requeue_until(self.spec.store_id, u64::from(*count), until, positions),
            }
        }
    }
}

/// Positions as ranges that rise.
pub fn runs(mut positions: Vec<u64>) -> Vec<std::ops::Range<u64>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred thousand queues of nothing are to cost less than 100 MB, and this is most of it.
    #[test]
    fn a_queue_of_nothing_is_small() {
        assert!(size_of::<Queue>() <= 616, "{}", size_of::<Queue>());
    }
}
